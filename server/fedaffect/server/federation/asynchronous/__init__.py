"""Asynchronous federation: buffered aggregation (FedBuff), and simulated time."""
