"""From pretrained weights to a bundle: exported to ONNX, quantised where that pays, measured, described."""
