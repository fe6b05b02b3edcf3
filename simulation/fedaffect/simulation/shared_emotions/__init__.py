"""One federation over what real corpora share: faces, voices and words in seven emotions."""
