"""Differential privacy of a run: its mechanisms, what they cost, and settings that would break them."""
