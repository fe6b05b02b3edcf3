"""The full model: encoders as large as the cloud can afford, and the fusion behind them."""

from server.full_model.card import ModelCard
from server.full_model.compute import Compute
from server.full_model.encoder import CloudEncoder
from server.full_model.model import FullModel
from server.full_model.profiles import PROFILES, Profile

__all__ = ["PROFILES", "CloudEncoder", "Compute", "FullModel", "ModelCard", "Profile"]
