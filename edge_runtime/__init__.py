"""What a device runs: preprocessing, ONNX encoders and fusion. Never torch."""
