"""What a device learns: corpora, fusion models, local training. Needs torch."""
