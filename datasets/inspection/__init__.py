"""Check, repair and describe a data set."""
