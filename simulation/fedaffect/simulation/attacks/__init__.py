"""Malicious clients, simulated: what they do to their data, and what they send."""
