"""How good the results are: metrics, protocols, statistics, reports."""
