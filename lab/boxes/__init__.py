"""What may stand on a path: one file for each kind of box, each does one thing to packets."""
