"""How much recognition privacy costs: UAR over epsilon, for a small head over a trunk from other corpora."""
