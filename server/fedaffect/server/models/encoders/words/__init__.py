"""Words: MiniLM learns seven emotions, GoEmotions' finer ones, valence and arousal."""
