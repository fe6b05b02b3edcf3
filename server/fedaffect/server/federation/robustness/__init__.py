"""Checks against broken and malicious updates, and deadlines for late ones."""
