"""What the registry refuses, each with what to do about it."""

from __future__ import annotations

from fedaffect.edge.errors import FedAffectError


class RegistryError(FedAffectError):
    """Root of what the fleet's part of the registry refuses."""


class UnknownRun(RegistryError):
    """No run, or no such round of it, is registered under that id."""


class RunConflict(RegistryError):
    """A run or a round is not in the state that the caller takes it to be in."""


class DeviceRefused(RegistryError):
    """A device may not take part: unknown, revoked, without consent, or with a key that is not valid now."""


class EnrolmentRefused(RegistryError):
    """An enrolment token is wrong, used or expired, or the device's name or key is taken."""


class KeyRefused(RegistryError):
    """A key or certificate is taken, revoked, or its validity leaves a gap."""


class LeaseHeld(RegistryError):
    """Another aggregator drives the run now."""


class LeaseLost(RegistryError):
    """The run changed hands: whatever this aggregator still wanted to write is void."""


class UpdateRefused(RegistryError):
    """A device's update is not counted; a subclass says which rule it broke."""


class DuplicateUpdate(UpdateRefused):
    """The device's update for this attempt was taken before."""


class WrongRound(UpdateRefused):
    """The update is for a round or an attempt that is not open."""


class WrongModel(UpdateRefused):
    """The update started from other arrays than the round's."""


class NotAsked(UpdateRefused):
    """The device was not asked in this attempt."""


class LedgerConflict(RegistryError):
    """A privacy charge contradicts what is recorded: spent privacy cannot shrink."""


class RolloutConflict(RegistryError):
    """A rollout is not in the state that the caller takes it to be in."""


class AuditBroken(RegistryError):
    """The audit log was tampered with, or is not the one that is expected."""


class BackupError(RegistryError):
    """A backup cannot be made, is damaged, or does not fit where it should go."""
