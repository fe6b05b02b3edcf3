"""Commands about corpora and devices; each is imported when called."""
