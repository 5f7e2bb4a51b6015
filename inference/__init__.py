"""Inference: the network fused for speed, in a precision that is checked."""
