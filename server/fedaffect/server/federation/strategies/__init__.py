"""Strategies by name: Flower's own, and ours beside them."""
