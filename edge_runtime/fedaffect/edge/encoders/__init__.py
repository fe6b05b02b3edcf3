"""Frozen networks from one modality to a sequence of feature vectors, in ONNX Runtime."""
