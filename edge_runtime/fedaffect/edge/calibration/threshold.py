"""Choosing the threshold for a target: accuracy kept, or share offloaded at most."""

from __future__ import annotations

from dataclasses import dataclass

from fedaffect.edge.calibration.curve import Curve
from fedaffect.edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Choice:
    """A threshold and what it gave on the requests it was chosen on.

    Parameters
    ----------
    threshold : float
        Confidence below which the cloud is asked, in [0, 1].
    share : float
        Of requests offloaded.
    accuracy : float
        Of edge and cloud together.
    random_accuracy : float
        Of offloading the same share by chance.
    recovered : float
        Share of the gap between edge and cloud that it makes up; not-a-number where there is none.
    met : bool
        Whether the target was reached.
    """

    threshold: float
    share: float
    accuracy: float
    random_accuracy: float
    recovered: float
    met: bool


def choose_threshold(curve: Curve, *, max_offloaded: float | None = None, keep: float | None = None) -> Choice:
    """The threshold for a target.

    With ``keep``, the fewest requests that make up that share of what the cloud gains over the edge. With
    ``max_offloaded``, as many requests as that, but none beyond the most accurate point of the whole curve: what the
    cloud gains is taken to fall with confidence, so that dips before that point are chance, and ending at the best
    point within the bound would end too early on rows that chose nothing. With both, the first within the bound of the
    second; where that cannot be had, the second, and ``met`` is False. Where the cloud is not better than the edge,
    ``keep`` offloads nothing.

    Parameters
    ----------
    curve : Curve
        Drawn on the development split.
    max_offloaded, keep : float, optional
        Shares in [0, 1]; one of them at least.

    Raises
    ------
    ConfigError
        If neither is given or one is out of range.
    """
    if max_offloaded is None and keep is None:
        raise ConfigError("a threshold is chosen for a target; give the share offloaded at most, or the gain to keep")
    for name, value in (("offloaded at most", max_offloaded), ("of the gain to keep", keep)):
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"the share {name} lies in [0, 1], not at {value}")
    last = curve.within(1.0 if max_offloaded is None else max_offloaded)
    if keep is not None:
        place = curve.first_to_recover(keep)
        place = 0 if place is None else place
        if place <= last:
            return choice_at(curve, place, met=True)
    # argmax gives the first of equals, which offloads least.
    return choice_at(curve, min(last, int(curve.accuracies.argmax())), met=keep is None)


def choice_at(curve: Curve, place: int, *, met: bool = True, threshold: float | None = None) -> Choice:
    """One point of a curve as a choice.

    Parameters
    ----------
    curve : Curve
        The curve.
    place : int
        Which of its points.
    met : bool
        Whether it reaches what was asked for.
    threshold : float, optional
        Where one was chosen elsewhere that parts these requests alike; the curve's own if not given.
    """
    share, accuracy = float(curve.shares[place]), float(curve.accuracies[place])
    threshold = min(float(curve.thresholds[place]), 1.0) if threshold is None else threshold
    return Choice(threshold, share, accuracy, curve.random(share), curve.recovered(accuracy), met)
