"""Streams of a fusion model learned from clips alone, without labels."""
