"""Writing a calibration into a bundle, signed again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from fedaffect.edge.bundle import MANIFEST, SIGNATURE, Bundle, Calibration, SigningKey, sign
from fedaffect.edge.errors import BundleError
from fedaffect.edge.subsets import SUBSETS


def subsets_of(modalities: Iterable[str]) -> tuple[str, ...]:
    """Keys of all subsets of some modalities, the empty one left out."""
    present = {*modalities}
    return tuple(subset for subset in SUBSETS if present.issuperset(subset.split("+")))


def write_calibration(
    bundle: Bundle, temperatures: Mapping[str, float], thresholds: Mapping[str, float], key: SigningKey
) -> Bundle:
    """Put temperatures and thresholds into a bundle's manifest and sign it.

    Subsets that are not given keep what they have. Manifest and signature are made ready beside the bundle and moved
    in at the end, so that an interruption leaves the old ones; the bundle's version changes with its content.

    Parameters
    ----------
    bundle : Bundle
        Its folder is changed.
    temperatures, thresholds : mapping of str to float
        By subset of modalities.
    key : SigningKey
        The signer from now on.

    Returns
    -------
    Bundle
        As it lies there now.

    Raises
    ------
    BundleError
        If the folder cannot be written or the values make no calibration.
    """
    old = bundle.manifest.calibration
    calibration = Calibration({**old.temperatures, **temperatures}, {**old.thresholds, **thresholds})
    manifest = replace(bundle.manifest, calibration=calibration)
    draft = None
    try:
        # In the folder itself: a rename must not cross to another disk.
        draft = Path(tempfile.mkdtemp(prefix=".calibration-", dir=bundle.path))
        manifest.write(draft)
        sign(draft, key)
        for name in (MANIFEST, SIGNATURE):
            (draft / name).replace(bundle.path / name)
    except OSError as error:
        raise BundleError(
            f"{bundle.path} cannot be written ({error.strerror}); copy the bundle to a folder of yours"
        ) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
    return Bundle.load(bundle.path, verify=False, trust=None)
