"""``python -m fedaffect.server.models.bundling.carry_calibration BUNDLE FUSION``.

The fusion that this project ships is calibrated like this, so that a bundle built from it asks the cloud where its
development rows said that it pays.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
from safetensors.torch import save_file

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.errors import BundleError
from fedaffect.edge.system.files import replacing
from fedaffect.server.models.bundling.fusion import read_fusion
from fedaffect.server.models.bundling.recipe import METADATA, describe


def carry_calibration(bundle: Bundle, fusion: Path) -> None:
    """Write a bundle's temperatures and thresholds into the metadata of the fusion that it was built from.

    Parameters
    ----------
    bundle : Bundle
        As `fedaffect edge calibrate` left it.
    fusion : Path
        A safetensors file with our metadata; replaced at once or not at all.

    Raises
    ------
    BundleError
        If the file is no fusion, or the bundle predicts other emotions.
    """
    weights = read_fusion(fusion)
    labels = bundle.manifest.label_set
    if labels is None or labels.labels != weights.labels.labels:
        raise BundleError(f"{bundle.path} was not built from {fusion}; give the bundle that was calibrated")
    about = {**describe(fusion), "calibration": asdict(bundle.manifest.calibration)}
    with replacing(fusion) as part:
        save_file(dict(weights.state), part, {METADATA: json.dumps(about)})


@click.command(help=__doc__)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("fusion", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(bundle: Path, fusion: Path) -> None:
    """See the module's text."""
    carry_calibration(Bundle.load(bundle), fusion)


if __name__ == "__main__":
    main()
