"""The formulas: shares of requests (3), shares of work (2), and the simulation that they are held against. Pure."""
