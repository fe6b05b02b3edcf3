"""Wrong labels in the training data, at a rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError

_STREAM = 0x6E6F6973  # keeps these draws apart from others of the same seed


def flip_labels(
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    classes: int,
    rate: float,
    seed: int,
    matrix: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Give each training row a wrong class with probability ``rate``.

    Noise belongs to the row, not to its holder: with one seed, two partitions have the same wrong labels.

    Parameters
    ----------
    labels : int64 array, shape (N,)
        True classes.
    rows : int64 array
        Training rows; no other changes.
    classes : int
        C.
    rate : float
        Probability in [0, 1].
    seed : int
        Of the run.
    matrix : float array, shape (C, C), optional
        Where a wrong label goes: row i holds the weight of each class for examples of class i, its own place on the
        diagonal not counting. Without it, all other classes are alike.

    Returns
    -------
    int64 array, shape (N,)
    """
    if rate == 0:
        return labels.copy()
    wrong = transitions(classes, matrix)  # (C, C)
    last = classes - 1 - (wrong[:, ::-1] > 0).argmax(axis=1)
    upto = np.cumsum(wrong, axis=1)
    # Rounding may leave a row's sum below 1, where a draw would find no class.
    upto[np.arange(classes) >= last[:, None]] = 1.0
    draws = np.random.default_rng([_STREAM, seed]).random((2, len(labels)))[:, rows]  # (2, n)
    flipped = draws[0] < rate
    chosen, place = rows[flipped], draws[1][flipped]
    noisy = labels.copy()
    # The first class whose cumulative weight exceeds the draw: u in [0, 1) never lands on a class of weight 0.
    noisy[chosen] = (place[:, None] < upto[labels[chosen]]).argmax(axis=1)
    return noisy


def transitions(classes: int, matrix: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Probability of each wrong class given the true one, shape (C, C); the diagonal is 0 and rows sum to 1.

    Raises
    ------
    ConfigError
        If the matrix is of another size, has a negative or no number, or leaves a class nowhere to go.
    """
    if matrix is None:
        matrix = np.ones((classes, classes))
    if matrix.shape != (classes, classes):
        raise ConfigError(
            f"the label-noise matrix has shape {matrix.shape}; {classes} classes need {classes} rows of {classes}"
        )
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise ConfigError("the label-noise matrix holds a negative or no number; use weights of 0 or more")
    wrong = np.where(np.eye(classes, dtype=bool), 0.0, matrix)
    sums = wrong.sum(axis=1, keepdims=True)
    if (sums == 0).any():
        raise ConfigError(
            f"row {int(np.argmin(sums)) + 1} of the label-noise matrix has weight on its own class only; "
            "give another class some"
        )
    divided: NDArray[np.float64] = wrong / sums
    return divided


def read_matrix(path: Path) -> NDArray[np.float64]:
    """A transition matrix from a file of comma-separated numbers, a row a line.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    try:
        return np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} is not a table of comma-separated numbers ({error}); check --label-noise-matrix"
        ) from error
