"""Flower's SuperLink at a Unix socket, and the gate in front of it."""
