"""What turned pictures cost: labels of real faces, upright and turned; one command measures and prints all of it.

    python -m benchmarks.turned_faces --data-dir DATA [--bundle FOLDER] [--faces 300] [--out FILE.json]

``DATA`` holds ``ferplus`` (development part, whose votes say what is right) and ``fairface`` (no emotions: the share of
pictures that are answered as they are upright). FER+'s faces are seen twice: as the corpus has them, filling a square
of 48 pixels, and pasted at 2.5 times that size into a grey picture, as a camera sees a face. Pictures turn about
their centre on a grey ground that grows with them. Choose nothing by other parts of these corpora.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedaffect.client.corpora.ferplus import FerPlus
from fedaffect.edge import EdgeRuntime, Sample
from fedaffect.edge.errors import DataError
from fedaffect.edge.labels import label_set
from fedaffect.edge.media.picture import decode_video
from fedaffect.edge.sample import Frames

ANGLES = (0, 10, 15, 20, 30, 45, 60, 90, 135, 180, 270)
_GREY = (128, 128, 128)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--faces", type=int, default=300, help="of each corpus")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, dict[int, float]] = {}
    with EdgeRuntime.load(arguments.bundle) as runtime:
        judged = list(_judged(arguments.data_dir / "ferplus", arguments.faces))
        figures["FER+, as it is"] = {
            angle: _share(runtime, [(_turned(face, angle), label) for face, label in judged])
            for angle in ANGLES
            if angle % 90 == 0
        }
        scenes = [(_scene(face), label) for face, label in judged]
        figures["FER+, in a picture"] = {
            angle: _share(runtime, [(_turned(scene, angle), label) for scene, label in scenes]) for angle in ANGLES
        }
        portraits = list(_portraits(arguments.data_dir / "fairface", arguments.faces))
        upright = [(portrait, _label(runtime, portrait)) for portrait in portraits]
        figures["FairFace, as upright"] = {
            angle: _share(runtime, [(_turned(portrait, angle), label) for portrait, label in upright])
            for angle in ANGLES
        }
    print("| pictures | " + " | ".join(f"{angle}°" for angle in ANGLES) + " |")
    print("|---" * (len(ANGLES) + 1) + "|")
    for name, shares in figures.items():
        cells = (f"{shares[angle]:.3f}" if angle in shares else "" for angle in ANGLES)
        print(f"| {name} | " + " | ".join(cells) + " |")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1))


def _judged(folder: Path, count: int) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Faces of the development part, evenly spread over it, with the label that most judges gave."""
    labels = label_set("shared7")
    kept = [u for u in FerPlus(folder) if u.split == "dev" and labels.index(u.label) is not None]
    for utterance in kept[:: max(1, len(kept) // count)][:count]:
        label = labels.labels[labels.index(utterance.label) or 0]
        if utterance.sample.video is not None:
            yield decode_video(utterance.sample.video, 5.0, 1).images[0], label


def _portraits(folder: Path, count: int) -> Iterator[NDArray[np.uint8]]:
    files = sorted(folder.rglob("*.jpg"))
    for path in files[:: max(1, len(files) // count)][:count]:
        yield decode_video(path, 5.0, 1).images[0]


def _scene(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scene = np.full((240, 320, 3), _GREY, np.uint8)
    scene[60:180, 100:220] = np.asarray(Image.fromarray(face).resize((120, 120), Image.Resampling.BICUBIC))
    return scene


def _turned(image: NDArray[np.uint8], angle: int) -> NDArray[np.uint8]:
    """Counterclockwise, by degrees."""
    if angle % 90 == 0:
        return np.ascontiguousarray(np.rot90(image, angle // 90))
    picture = Image.fromarray(image).rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=_GREY)
    return np.asarray(picture)


def _share(runtime: EdgeRuntime, pictures: list[tuple[NDArray[np.uint8], str | None]]) -> float:
    """Of pictures that are answered as they should be; one that is refused is not."""
    return float(np.mean([label is not None and _label(runtime, picture) == label for picture, label in pictures]))


def _label(runtime: EdgeRuntime, image: NDArray[np.uint8]) -> str | None:
    try:
        return runtime.predict(Sample(video=Frames(image[None]))).label
    except DataError:
        return None


if __name__ == "__main__":
    main()
