"""The network fused for speed: the same pictures at less cost, in a precision that is checked."""
