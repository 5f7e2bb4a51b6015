"""The network of MCNet, one file for each box of the paper's figure."""
