"""A run as one page that a person can open, keep and send."""
