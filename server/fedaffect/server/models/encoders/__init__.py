"""Encoders that are taught emotion on public corpora, before a federation freezes them."""
