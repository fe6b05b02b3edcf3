"""Differential privacy in the centre, and what a run promises, to whom, and at which cost."""
