"""Fusion models: one file each, found through one registry."""
