"""Learning without torch: a bundle's training step through ONNX Runtime, all else through NumPy."""
