"""Demonstrations that a person can run: the real commands, on constructed people."""
