"""Features of a corpus: encoded once, kept on disk, mapped into memory afterwards."""

from fedaffect.client.features.encoding import encode_corpus, feature_key
from fedaffect.edge.system.folders import cache_folder

__all__ = ["cache_folder", "encode_corpus", "feature_key"]
