"""How fast the network animates and trains, and at what cost, against its plain form."""
