"""What an app does about what a person shows: theme, tone, pace and cues, by a policy that people can read."""

from fedaffect.edge.adaptation.adaptation import Adaptation
from fedaffect.edge.adaptation.adapter import Adapter
from fedaffect.edge.adaptation.policy import Policy

__all__ = ["Adaptation", "Adapter", "Policy"]
