"""Central differential privacy, and the privacy budget of a run."""
