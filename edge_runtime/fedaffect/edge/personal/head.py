"""A small personal part on top of what everybody's model says, learned from one person's own labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.calibration.temperature import softmax

# Probabilities below it are taken for it: a logarithm of almost nothing would outweigh everything else.
_LEAST: Final = 1e-3
# Chosen on RAVDESS's actors 19 and 20, six speakers of nEMO and MELD's development split (docs/results/personal.md).
MIXING_STRENGTH: Final = 8.0
BIAS_STRENGTH: Final = 4.0
_STEPS: Final = 50
_ENOUGH: Final = 1e-8


@dataclass(frozen=True, slots=True)
class PersonalHead:
    """Scores are ``log p + A log p + b``: nothing is changed where A and b are 0.

    A and b are the most probable ones under Gaussian priors around 0 (multinomial logistic regression, Bishop 2006,
    section 4.3.4, solved by Newton's method): a person who has said little is answered as everybody is.

    Parameters
    ----------
    mixing : float array, shape (C, C)
        A: which answers of the shared model this person's labels say to be read as which others.
    bias : float array, shape (C,)
        b: what this person says more often than the shared model thinks.
    """

    mixing: NDArray[np.float64]
    bias: NDArray[np.float64]

    @classmethod
    def fitted(
        cls,
        probabilities: NDArray[np.floating],
        labels: NDArray[np.integer],
        mixing_strength: float = MIXING_STRENGTH,
        bias_strength: float = BIAS_STRENGTH,
    ) -> PersonalHead:
        """Learn from labelled answers.

        Parameters
        ----------
        probabilities : float array, shape (N, C)
            What the shared model said.
        labels : int array, shape (N,)
            What it really was.
        mixing_strength, bias_strength : float
            Of the priors on A and b: 1 / variance.

        Returns
        -------
        PersonalHead
            One that changes nothing where N is 0.
        """
        scores = log_scores(probabilities)
        count, classes = scores.shape
        inputs = np.concatenate([scores, np.ones((count, 1))], axis=1)
        wanted = np.eye(classes)[labels]
        prior = np.tile(np.r_[np.full(classes, mixing_strength), bias_strength], classes)
        weights = np.zeros(len(prior))

        def at(candidate: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
            p = softmax(scores + inputs @ candidate.reshape(classes, -1).T)
            likelihood = np.log(np.maximum((p * wanted).sum(axis=1), np.finfo(float).tiny)).sum()
            return p, float(prior @ candidate**2 / 2 - likelihood)

        p, loss = at(weights)
        for _ in range(_STEPS):
            gradient = ((p - wanted).T @ inputs).ravel() + prior * weights
            curvature = np.einsum("nc,cd->ncd", p, np.eye(classes)) - np.einsum("nc,nd->ncd", p, p)
            hessian = np.einsum("ncd,ni,nj->cidj", curvature, inputs, inputs).reshape(len(prior), -1) + np.diag(prior)
            step = np.linalg.solve(hessian, gradient)
            # Far from the minimum a whole step of Newton's may overshoot it.
            while (tried := at(weights - step))[1] > loss and np.abs(step).max() > _ENOUGH:
                step = step / 2
            weights, (p, loss) = weights - step, tried
            if np.abs(step).max() < _ENOUGH:
                break
        by_class = weights.reshape(classes, -1)
        return cls(by_class[:, :-1], by_class[:, -1])

    def __call__(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities for this person.

        Parameters
        ----------
        probabilities : float array, shape (..., C)
            What the shared model says.

        Returns
        -------
        float array, shape (..., C)
        """
        scores = log_scores(probabilities)
        return softmax(scores + scores @ self.mixing.T + self.bias)


def log_scores(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logarithms with mean 0 over classes, shape as given."""
    scores = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _LEAST))
    centred: NDArray[np.float64] = scores - scores.mean(axis=-1, keepdims=True)
    return centred
