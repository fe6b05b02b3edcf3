"""From answers to adaptations: an average, a threshold to begin and a lower one to end, and a time to stay."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from threading import Lock
from time import monotonic
from typing import TypeAlias

from fedaffect.edge.adaptation.adaptation import Adaptation
from fedaffect.edge.adaptation.policy import PLAIN, Policy, words
from fedaffect.edge.errors import ConfigError, FedAffectError
from fedaffect.edge.prediction import Prediction

# Of a state that begins and of all states' shares: the response to take, and its decision's id.
Choose: TypeAlias = Callable[[str, Mapping[str, float]], tuple[str, str]]


class Adapter:
    """Follows one person's answers and says how an app should adapt. Safe to call from several threads.

    A state begins when its emotions' averaged share of probability is high enough, so never on an unsure answer; it
    stays for the policy's dwell time and ends below a lower share, so that nothing flickers.

    Parameters
    ----------
    policy : Policy, optional
        The project's own if not given.
    language : str
        Of cues and manners.
    choose : callable, optional
        Takes the response where a state begins, such as `fedaffect.edge.adaptation.learning.Learner`; else the
        policy's response is taken.

    Raises
    ------
    ConfigError
        If there are no words in that language, or none for a tone or cue of the policy.
    """

    def __init__(self, policy: Policy | None = None, language: str = "en", choose: Choose | None = None) -> None:
        self.policy = policy or Policy.read()
        self._words = words(language)
        self._choose = choose
        for name, response in self.policy.responses.items():
            missing = [cue for cue in response.cues if cue not in self._words.cues]
            missing += [] if response.tone in self._words.tones else [response.tone]
            if missing:
                raise ConfigError(f"response {name!r}: no words in {language!r} for {', '.join(missing)}")
        self._lock = Lock()
        self._shares = dict.fromkeys(self.policy.states, 0.0)
        self._time_s = -math.inf
        self._since_s = -math.inf
        self._state = PLAIN
        self._response, self._decision, self._note = PLAIN, "", ""

    def __call__(self, prediction: Prediction, time_s: float | None = None) -> Adaptation:
        """How to adapt after this answer.

        Parameters
        ----------
        prediction : Prediction
        time_s : float, optional
            When it was given, on any clock that never goes back; this machine's if not given.
        """
        return self.follow(prediction.probabilities, prediction.ratings, time_s)

    def follow(
        self,
        probabilities: Mapping[str, float],
        ratings: Mapping[str, float] | None = None,
        time_s: float | None = None,
    ) -> Adaptation:
        """How to adapt after an answer of which these are known; parameters as `Prediction` has them."""
        with self._lock:
            self._average(probabilities, ratings or {}, monotonic() if time_s is None else time_s)
            state = self._next()
            if state != self._state:
                self._state, self._since_s = state, self._time_s
                self._response, self._decision, self._note = self._chosen(state)
            return self._adaptation()

    def _average(self, probabilities: Mapping[str, float], ratings: Mapping[str, float], time_s: float) -> None:
        time_s = max(time_s, self._time_s)
        new = shares_of(self.policy, probabilities, ratings)
        average_s = self.policy.when.average_s
        keep = math.exp(-(time_s - self._time_s) / average_s) if average_s else 0.0
        self._shares = {name: keep * old + (1 - keep) * new[name] for name, old in self._shares.items()}
        self._time_s = time_s

    def _next(self) -> str:
        when = self.policy.when
        top = max(self._shares, key=lambda name: self._shares[name], default=PLAIN)
        if self._time_s - self._since_s < when.dwell_s:
            return self._state
        sure = top != PLAIN and self._shares[top] >= when.begin
        current = self._shares.get(self._state, 0.0)
        if sure and (self._state == PLAIN or self._shares[top] >= current + when.lead):
            return top
        return self._state if self._state != PLAIN and current >= when.end else PLAIN

    def _chosen(self, state: str) -> tuple[str, str, str]:
        """The response to a state that begins, its decision, and what went wrong."""
        if state == PLAIN:
            return PLAIN, "", ""
        usual = self.policy.states[state].response
        if self._choose is None:
            return usual, "", ""
        try:
            return *self._choose(state, self._shares), ""
        # A full disk costs what would have been learned, never an answer.
        except FedAffectError as error:
            return usual, "", f"what helps is not learned: {error}"

    def _adaptation(self) -> Adaptation:
        response = self.policy.responses[self._response]
        return Adaptation(
            state=self._state,
            response=self._response,
            theme=response.theme,
            tone=response.tone,
            pace=response.pace,
            speed=self.policy.paces[response.pace],
            manner=self._words.tones[response.tone],
            cues=tuple(self._words.cues[cue] for cue in response.cues),
            share=round(self._shares.get(self._state, 0.0), 4),
            policy=self.policy.version,
            decision=self._decision,
            note=self._note,
        )


def shares_of(
    policy: Policy, probabilities: Mapping[str, float], ratings: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Each state's share of an answer's probability, 0 to 1; what no state claims is in none of them."""
    shares = {
        name: math.fsum(probabilities.get(emotion, 0.0) for emotion in state.emotions)
        for name, state in policy.states.items()
    }
    left = max(0.0, math.fsum(probabilities.values()) - math.fsum(shares.values()))
    arousal, valence = (ratings or {}).get("arousal"), (ratings or {}).get("valence")
    for name, state in policy.states.items():
        if state.stress is None or arousal is None or valence is None:
            continue
        if arousal >= state.stress["arousal"] and valence <= state.stress["valence"]:
            shares[name] += left
            break
    return shares
