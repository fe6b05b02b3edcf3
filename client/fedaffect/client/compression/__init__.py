"""Smaller updates: what a client sends is its change of the parameters, in fewer bytes."""
