"""The edge runtime's tiny bundle, for devices that learn from their own examples."""

from tests.edge.conftest import make_bundle, tiny_bundle

__all__ = ["make_bundle", "tiny_bundle"]
