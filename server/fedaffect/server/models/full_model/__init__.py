"""The full model: encoders as large as the cloud can afford, and the fusion behind them."""

from fedaffect.server.models.full_model.card import ModelCard
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.encoder import CloudEncoder
from fedaffect.server.models.full_model.model import FullModel
from fedaffect.server.models.full_model.profiles import PROFILES, Profile

__all__ = ["PROFILES", "CloudEncoder", "Compute", "FullModel", "ModelCard", "Profile"]
