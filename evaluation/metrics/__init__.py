"""Metrics of frames, of clips and of all frames together.

A new metric is one entry in ``METRICS`` of ``registry.py``: its columns (title, better side,
digits) and a function that makes it.  The class that measures stands in a file of its own here and
follows one of the protocols in ``interface.py``.  Option, tables, report, ``frames.csv`` and
``result.json`` follow from the entry.
"""
