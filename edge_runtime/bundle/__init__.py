"""A bundle: a folder that a device can run."""

from edge_runtime.bundle.entries import Calibration, EncoderEntry, FileEntry, FusionEntry, Source, Variant
from edge_runtime.bundle.folder import Bundle, default_bundle_path
from edge_runtime.bundle.fusion import Fusion
from edge_runtime.bundle.manifest import MANIFEST, RUNTIME, Manifest
from edge_runtime.bundle.signature import SIGNATURE, PublicKey, SigningKey, Trust, sign
from edge_runtime.bundle.store import BundleStore, usual_bundle_path

__all__ = [
    "MANIFEST",
    "RUNTIME",
    "SIGNATURE",
    "Bundle",
    "BundleStore",
    "Calibration",
    "EncoderEntry",
    "FileEntry",
    "Fusion",
    "FusionEntry",
    "Manifest",
    "PublicKey",
    "SigningKey",
    "Source",
    "Trust",
    "Variant",
    "default_bundle_path",
    "sign",
    "usual_bundle_path",
]
