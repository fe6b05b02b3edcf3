"""Differential privacy on a device: clipped sums, noise, accounting, and the ledger of what was spent."""
