"""Clients that mean harm, simulated: what they do to their data, and what they send."""
