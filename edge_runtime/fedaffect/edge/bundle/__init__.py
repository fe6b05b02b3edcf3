"""A bundle: a folder that a device can run."""

from fedaffect.edge.bundle.entries import Calibration, EncoderEntry, FileEntry, FusionEntry, Source, Variant
from fedaffect.edge.bundle.folder import Bundle, default_bundle_path, keys_of
from fedaffect.edge.bundle.fusion import Fusion
from fedaffect.edge.bundle.manifest import MANIFEST, RUNTIME, Manifest
from fedaffect.edge.bundle.signature import SIGNATURE, PublicKey, SigningKey, Trust, sign
from fedaffect.edge.bundle.store import BundleStore, usual_bundle_path

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
    "keys_of",
    "sign",
    "usual_bundle_path",
]
