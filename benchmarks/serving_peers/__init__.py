"""Servers that benchmarks/serving.py is compared with, and what all of them are asked."""
