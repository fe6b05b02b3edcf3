"""Bundles of the edge runtime's tests, for devices of a fleet."""

from tests.edge_runtime.conftest import make_bundle, tiny_bundle

__all__ = ["make_bundle", "tiny_bundle"]
