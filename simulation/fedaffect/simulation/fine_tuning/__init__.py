"""`fedaffect train`: encoders that learn too, in one process or by Ray Train in several."""
