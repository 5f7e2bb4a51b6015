"""Results of an evaluation: statistics, tables, comparison and report."""
