"""Encoders that learn too, of ``fedaffect train``."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import field_validator

from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.edge.sample import MODALITIES
from fedaffect.server.federation.settings.fields import Names, Section, Text, setting

FINE_TUNED: Final = "fine-tuned"
# The model that one encoder has behind it where no fusion is needed.
OWN_HEAD: Final = "own"
_FROZEN: Final = ("half", "all")
_NETWORK = "A folder of transformers, a hub id with its commit, or 'package': "


class FineTuning(Section):
    """Fine-tuning: encoders that learn too, of fedaffect train."""

    text: Text = setting(f"{_NETWORK}MiniLM.", default="package", metavar="DIR|ID@COMMIT|package")
    speech: Text = setting(f"{_NETWORK}Whisper base.", default="package", metavar="DIR|ID@COMMIT|package")
    vision: Text = setting(
        f"{_NETWORK}this project's larger face network.",
        default="package",
        metavar="DIR|ID@COMMIT|package",
    )
    freeze: Names = setting(
        "MODALITY:half (all below the upper half of its layers) or MODALITY:all; '' for nothing.",
        default=("audio:half",),
        metavar="LIST",
    )
    encoder_lr: float = setting(
        "Highest learning rate of encoders; --lr is the head's.",
        default=2e-5,
        metavar="X",
        usual="0.00002",
        gt=0,
        allow_inf_nan=False,
    )
    warmup: float = setting(
        "Share of all steps in which the rates rise; then they fall to 0 in a straight line.",
        default=0.1,
        metavar="P",
        unit="rate",
        ge=0,
        lt=1,
    )
    head_dropout: float = setting(
        "Dropout before the head of --model own.", default=0.1, metavar="P", unit="rate", ge=0, lt=1
    )
    micro_batch_size: int = setting(
        "Samples that go through the networks at once; gradients of a batch add up.",
        default=16,
        metavar="B",
        ge=1,
    )
    max_seconds: float = setting(
        "Sound read of a clip.", default=10.0, metavar="X", unit="s", ge=1, le=30, allow_inf_nan=False
    )
    max_frames: int = setting("Pictures read of a clip, at equal distances.", default=8, metavar="N", ge=1, le=150)
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "Of matrix products; auto is bf16 on a GPU.", default="auto", metavar="auto|fp32|bf16"
    )
    device: str = setting("Where networks compute; auto takes a GPU if there is one.", default="auto", metavar="DEVICE")
    workers: int = setting("Processes that share each batch, by Ray Train.", default=1, metavar="N", ge=1, le=4096)

    @field_validator("freeze")
    @classmethod
    def _parts_are_known(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        for part in parts:
            modality, _, how = part.partition(":")
            if modality not in MODALITIES:
                raise unknown_name("modality of --freeze", modality, MODALITIES)
            if how not in _FROZEN:
                raise ConfigError(f"--freeze {part} does not say how much; write {modality}:half or {modality}:all")
        return parts

    @property
    def sources(self) -> dict[str, str]:
        """Where each modality's network comes from."""
        return {"text": self.text, "audio": self.speech, "video": self.vision}

    @property
    def frozen(self) -> dict[str, str]:
        """How much of each modality's network is frozen, of those that are."""
        return dict(part.split(":") for part in self.freeze)
