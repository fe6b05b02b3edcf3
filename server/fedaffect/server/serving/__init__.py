"""Answering: one engine behind gRPC and REST."""
