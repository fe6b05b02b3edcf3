"""Corpora of emotional utterances, each read lazily from the layout its authors give out."""
