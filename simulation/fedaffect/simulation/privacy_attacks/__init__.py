"""Attacks on our own training: what they get shows whether claims of privacy could be true."""
