"""A bundle: a folder that a device can run."""

from edge_runtime.bundle.folder import Bundle, default_bundle_path
from edge_runtime.bundle.manifest import MANIFEST, RUNTIME, EncoderEntry, FileEntry, Manifest, Source

__all__ = [
    "MANIFEST",
    "RUNTIME",
    "Bundle",
    "EncoderEntry",
    "FileEntry",
    "Manifest",
    "Source",
    "default_bundle_path",
]
