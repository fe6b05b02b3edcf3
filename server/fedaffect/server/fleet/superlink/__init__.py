"""Flower's SuperLink as a fleet runs it, and the Control API."""
