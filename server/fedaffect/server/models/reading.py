"""How the features of a modality are read off its network: which layers, which windows, how much of a clip.

What learned behind a network has to be served behind the same features, so a model card states this for every modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from fedaffect.edge.encoders.speech import SpeechSettings
from fedaffect.edge.encoders.vision import VisionSettings
from fedaffect.edge.errors import BundleError

# Tokens a second: one of each clip, of which half a minute is heard at most.
ONE_A_CLIP: Final = 1 / 60
MEAN: Final = "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one modality's features are read; what is left out suits a network that never learned with a fusion.

    Parameters
    ----------
    layers : tuple of int
        Hidden layers whose states stand side by side, counted from 1; 0 is what enters the first.
    pooling : {"", "mean"}
        Of a voice: ``mean`` gives window means as they are, on devices too, which else add deviations and standardise.
    tokens_per_second : float, optional
        Of a voice; see :data:`ONE_A_CLIP`.
    max_seconds : float, optional
        Of a voice: what is heard of a clip, from its beginning.
    max_frames : int, optional
        Of a film: pictures looked at, at equal distances.
    """

    layers: tuple[int, ...] = ()
    pooling: str = ""
    tokens_per_second: float | None = None
    max_seconds: float | None = None
    max_frames: int | None = None

    def __post_init__(self) -> None:
        numbers = [value for value in (self.tokens_per_second, self.max_seconds, self.max_frames) if value is not None]
        if self.pooling not in ("", MEAN) or any(not value > 0 for value in numbers) or min(self.layers, default=0) < 0:
            raise BundleError(f"{self} is no way to read features: give layers from 0, pooling mean, values above 0")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Reading:
        """From what :meth:`written` gives."""
        return cls(**{**values, "layers": tuple(values.get("layers", ()))})

    def written(self) -> dict[str, Any]:
        """All that is given, as JSON."""
        return {name: value for name, value in asdict(self).items() if value not in ((), "", None)}

    def of_sound(self, settings: SpeechSettings) -> SpeechSettings:
        """A voice's settings with what is given here."""
        return replace(
            settings,
            statistics=self.pooling or settings.statistics,
            tokens_per_second=self.tokens_per_second or settings.tokens_per_second,
            max_seconds=min(self.max_seconds or settings.max_seconds, settings.max_seconds),
        )

    def of_pictures(self, settings: VisionSettings) -> VisionSettings:
        """A face's settings with what is given here."""
        return replace(settings, most_frames=self.max_frames or settings.most_frames)


AS_IT_COMES: Final = Reading()
