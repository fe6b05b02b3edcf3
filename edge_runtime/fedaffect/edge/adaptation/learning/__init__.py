"""What helps this person: bandits that learn from rewards on the device, and what a policy would have earned."""

from fedaffect.edge.adaptation.learning.learner import Learner

__all__ = ["Learner"]
