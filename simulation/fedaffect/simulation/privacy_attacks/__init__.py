"""Attacks on this project's own training, which test whether its privacy claims can be true."""
