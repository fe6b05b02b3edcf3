"""Face encoders: the expression network of this project, EfficientNet-Lite0 from its packages, or any ViT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor, nn
from transformers import AutoImageProcessor

from fedaffect.edge.bundle import Source
from fedaffect.edge.encoders.vision import VisionSettings
from fedaffect.edge.errors import BundleError
from fedaffect.server.models.bundling.centerface import free_centerface
from fedaffect.server.models.bundling.draft import Draft
from fedaffect.server.models.bundling.export import to_onnx
from fedaffect.server.models.bundling.expression import (
    SETTINGS,
    before_first_convolution,
    committed_int8,
    export_student,
    expression_source,
    is_trained,
)
from fedaffect.server.models.bundling.hub import load, load_model, source_of
from fedaffect.server.models.bundling.packages import CENTERFACE, EFFICIENTNET_CODE, EFFICIENTNET_WEIGHTS
from fedaffect.server.models.bundling.precision import Feed, fold, quantise_dynamic, quantise_static
from fedaffect.server.models.bundling.recipe import BROUGHT
from fedaffect.server.models.faces.network import BothViews, ExpressionNet
from fedaffect.server.models.faces.weights import own_faces
from fedaffect.server.models.reading import AS_IT_COMES, Reading

# Names that --vision takes beside folders and hub ids.
EXPRESSION: Final = "expression"
LITE0: Final = "efficientnet-lite0"
KINDS: Final = ("vit", "deit", "dinov2", "beit")
BOUND: Final = 0.95
LITE0_SIZE: Final = 112
LITE0_GRID: Final = 3
LITE0_GRID_BLOCK: Final = 10
LITE0_MEAN_BLOCK: Final = 14
LITE0_WIDTH: Final = 112 * LITE0_GRID**2 + 192
# What TensorFlow's EfficientNet-Lite was trained with, in 0..255.
LITE0_MEAN: Final = (127.0, 127.0, 127.0)
LITE0_STD: Final = (128.0, 128.0, 128.0)
_CALIBRATION: Final = 48
_PROBES: Final = 12


class LiteFeatures(nn.Module):
    """EfficientNet-Lite's middle, kept in a grid, beside the mean of its last but one stage.

    A face fills the picture, so where something is says what it is: a mouth is below, brows are above. Averaged over
    the whole picture, as for telling cats from cars, that is lost. On FER+ (6,000 training faces, 8 classes, two-layer
    network on top) the head's mean gives an accuracy of 0.65, block 10 in a grid of 3 x 3 gives 0.73, with block 14's
    mean beside it 0.74. Blocks above and the head are dropped.

    Parameters
    ----------
    network : EfficientNet
        Of the package efficientnet-lite-pytorch.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        self.lower = nn.Sequential(*network._blocks[: LITE0_GRID_BLOCK + 1])
        self.upper = nn.Sequential(*network._blocks[LITE0_GRID_BLOCK + 1 : LITE0_MEAN_BLOCK + 1])
        self.register_buffer("pool", _grid(LITE0_SIZE // 16, LITE0_GRID))

    def forward(self, pixels: Tensor) -> Tensor:
        """Features, (B, 3, S, S) to (B, 112 * 9 + 192)."""
        middle = self.lower(self.stem(pixels))  # (B, 112, S / 16, S / 16)
        top = self.upper(middle)  # (B, 192, S / 32, S / 32)
        grid = self.pool @ middle @ self.pool.T  # (B, 112, 3, 3)
        return torch.cat([grid.flatten(1), top.mean(dim=(2, 3))], dim=1)


def _grid(side: int, cells: int) -> Tensor:
    """Rows that average ``side`` places into ``cells``, overlapping where they do not divide: (cells, side)."""
    rows = torch.zeros(cells, side)
    for cell in range(cells):
        start, stop = cell * side // cells, -(-(cell + 1) * side // cells)
        rows[cell, start:stop] = 1 / (stop - start)
    return rows


class ClassToken(nn.Module):
    """A vision transformer's first token, which stands for the whole picture."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        """Features, (B, 3, S, S) to (B, W)."""
        states: Tensor = self.model(pixel_values=pixels).last_hidden_state
        return states[:, 0]


def draft_vision(name: str | None, folder: Path, reading: Reading = AS_IT_COMES) -> Draft:
    """Export a face encoder into a folder.

    Parameters
    ----------
    name : str, optional
        ``expression``, ``efficientnet-lite0``, a local folder or a hub id; if not given, the expression network, or
        EfficientNet-Lite0 where an installation lacks that.
    folder : Path
        Where to write.
    reading : Reading
        What was learned behind it, if anything was, and so which features it must give.

    Raises
    ------
    BundleError
        If the model cannot be had or exported.
    """
    if name is None:
        name = EXPRESSION if is_trained() else LITE0
    face = folder / "video.face.onnx"
    free_centerface(CENTERFACE.file("centerface.onnx"), face)
    made = {EXPRESSION: _draft_expression, LITE0: _draft_lite0}.get(name, partial(_draft_brought, name))(
        folder / "video.onnx", face
    )
    return replace(made, settings=reading.of_pictures(cast(VisionSettings, made.settings)))


def _draft_expression(network: Path, face: Path) -> Draft:
    width = export_student(network)
    fold(network)
    return _draft(network, face, SETTINGS, width, expression_source(), committed_int8, _feeds(SETTINGS, _PROBES))


def _draft_lite0(network: Path, face: Path) -> Draft:
    settings = VisionSettings(LITE0_SIZE, LITE0_MEAN, LITE0_STD)
    feeds = _feeds(settings, _CALIBRATION + _PROBES)
    to_onnx(LiteFeatures(_lite0()), "pixels", torch.from_numpy(feeds[0]["pixels"]), {0: "pictures"}, network)
    fold(network)
    quantise = partial(quantise_static, calibration=feeds[_PROBES:])
    return _draft(network, face, settings, LITE0_WIDTH, EFFICIENTNET_WEIGHTS.source(), quantise, feeds[:_PROBES])


def _draft_brought(name: str, network: Path, face: Path) -> Draft:
    if (ours := own_faces(name)) is not None:
        return _draft_ours(name, ours, network, face)
    model = load_model(name, KINDS, "--vision")
    settings = vit_settings(name, model.config)
    feeds = _feeds(settings, _PROBES)
    to_onnx(ClassToken(model), "pixels", torch.from_numpy(feeds[0]["pixels"]), {0: "pictures"}, network)
    source = source_of(name, model.config)
    return _draft(network, face, settings, int(model.config.hidden_size), source, quantise_dynamic, feeds)


def _draft_ours(name: str, ours: ExpressionNet, network: Path, face: Path) -> Draft:
    """The larger of our own networks, as somebody trained it."""
    feeds = _feeds(SETTINGS, _CALIBRATION + _PROBES)
    module = BothViews(ours)
    to_onnx(module, "pixels", torch.from_numpy(feeds[0]["pixels"]), {0: "pictures"}, network)
    fold(network)
    quantise = partial(quantise_static, calibration=feeds[_PROBES:], spare=before_first_convolution(network))
    source = Source(Path(name).expanduser().resolve().name, "", BROUGHT)
    return _draft(network, face, SETTINGS, module.width, source, quantise, feeds[:_PROBES])


def _draft(
    network: Path,
    face: Path,
    settings: VisionSettings,
    width: int,
    source: Source,
    quantise: Callable[[Path, Path], None],
    probes: list[Feed],
) -> Draft:
    return Draft(
        modality="video",
        network=network,
        settings=settings,
        width=width,
        tokens_per_second=settings.frames_per_second,
        source=source,
        quantise=quantise,
        probes=tuple(probes),
        probe=f"1 picture of {settings.size} x {settings.size}",
        bound=BOUND,
        assets={"face": face},
    )


def _lite0() -> Any:
    EFFICIENTNET_CODE.file("model.py")
    weights = EFFICIENTNET_WEIGHTS.file("models/efficientnet-lite0-57934424.pth")
    network = import_module(EFFICIENTNET_CODE.module).EfficientNet.from_name("efficientnet-lite0")
    try:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (RuntimeError, OSError, ValueError) as error:
        raise BundleError(f"{weights} does not hold EfficientNet-Lite0 ({error}); install its package again") from error
    return network


def vit_settings(name: str, config: Any) -> VisionSettings:
    """Size from the model, mean and deviation from its image processor, 0.5 where it has none.

    A model that learned aligned faces says so: ``"align_faces": true`` in its config.json.
    """
    try:
        processor = load(name, AutoImageProcessor)
        mean, std = (tuple(255 * float(x) for x in values) for values in (processor.image_mean, processor.image_std))
    except (BundleError, AttributeError, TypeError):
        mean = std = (127.5, 127.5, 127.5)
    align = getattr(config, "align_faces", False) is True
    return VisionSettings(int(config.image_size), (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), align=align)


def _feeds(settings: VisionSettings, count: int) -> list[Feed]:
    rng = np.random.default_rng(11)
    feeds: list[Feed] = []
    for _ in range(count):
        pixels = (_picture(rng, settings.size).astype(np.float32) - settings.mean) / settings.std
        feeds.append({"pixels": pixels.transpose(2, 0, 1)[None].astype(np.float32)})
    return feeds


def _picture(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A drawn face over a blurred random ground, in colour or grey: enough variety to find activation ranges."""
    ground = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(ground).resize((size, size), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)

    def at(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
        return (x - w) * size, (y - h) * size, (x + w) * size, (y + h) * size

    skin = tuple(int(x) for x in rng.integers(60, 240, 3))
    dark = tuple(int(x) for x in rng.integers(0, 80, 3))
    x, y, w = rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.6), rng.uniform(0.25, 0.45)
    draw.ellipse(at(x, y, w, 1.25 * w), fill=skin)
    for side in (-1, 1):
        draw.ellipse(at(x + side * 0.4 * w, y - 0.3 * w, 0.14 * w, rng.uniform(0.04, 0.14) * w), fill=dark)
        draw.line(
            at(x + side * 0.4 * w, y - 0.6 * w, 0.2 * w, rng.uniform(0, 0.1) * w), fill=dark, width=max(1, size // 50)
        )
    draw.arc(
        at(x, y + 0.5 * w, 0.4 * w, rng.uniform(0.05, 0.3) * w),
        *((0, 180) if rng.random() < 0.5 else (180, 360)),
        fill=dark,
        width=max(2, size // 40),
    )
    if rng.random() < 0.5:
        picture = picture.convert("L").convert("RGB")
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, size / 80)))
    noisy = np.asarray(picture, np.float32) + rng.normal(0, rng.uniform(0, 12), (size, size, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)
