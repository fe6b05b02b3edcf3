"""Smaller encoders from larger ones: layers dropped, features and labels learned."""
