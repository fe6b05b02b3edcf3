"""The edge runtime's tiny bundle, for devices that learn from their own examples."""

from tests.edge_runtime.conftest import _own_keys, make_bundle, tiny_bundle

__all__ = ["_own_keys", "make_bundle", "tiny_bundle"]
