"""Traces of devices: how fast they are, when they are there, and whether they come back."""
