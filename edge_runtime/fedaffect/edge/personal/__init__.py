"""What one person's own clips and labels add to the model that everybody shares; it never leaves the device."""

from fedaffect.edge.personal.head import PersonalHead
from fedaffect.edge.personal.learned import Learned, learned_from
from fedaffect.edge.personal.part import Adjustment, PersonalPart, newer_than, start_anew

__all__ = ["Adjustment", "Learned", "PersonalHead", "PersonalPart", "learned_from", "newer_than", "start_anew"]
