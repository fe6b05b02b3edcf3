"""Bundles of the edge runtime's tests, for devices of a fleet."""

from tests.edge_runtime.conftest import _own_keys, make_bundle, tiny_bundle

__all__ = ["_own_keys", "make_bundle", "tiny_bundle"]
