"""Features of a corpus: encoded once, kept on disk, mapped into memory afterwards."""

from fedaffect.client.features.cache import cache_folder
from fedaffect.client.features.encoding import encode_corpus, feature_key

__all__ = ["cache_folder", "encode_corpus", "feature_key"]
