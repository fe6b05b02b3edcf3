"""What the console's JSON looks like; OpenAPI, and the page's client, are made from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from fedaffect.server.fleet.api.messages import MOST_DEVICES
from fedaffect.server.serving.gateway.limits import Limits

# Of the console's bodies.
LIMITS: Final = replace(Limits(), body_bytes=2**20)
States: TypeAlias = dict[str, int]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LoginBody(_Strict):
    """Name and password of an account."""

    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=1_000)


class DevicesBody(_Strict):
    """Devices by id or name."""

    devices: list[str] = Field(min_length=1, max_length=MOST_DEVICES)


class RefusalBody(_Strict):
    """A device that is to stay out."""

    device: str = Field(min_length=1, max_length=200)
    reason: str = Field("", max_length=300)


class PromotionBody(_Strict):
    """A bundle for a share of the devices; a larger share includes a smaller one."""

    version: str = Field(min_length=1, max_length=200)
    percent: float = Field(100.0, gt=0, le=100)
    tolerance: float = Field(0.02, ge=0, lt=1)
    min_examples: int = Field(20, ge=1, lt=2**31)


class RollBackBody(_Strict):
    """Why the bundle is taken back."""

    reason: str = Field("", max_length=300)


class ComparisonBody(_Strict):
    """Runs or sweeps by name; further ones are held against the first."""

    runs: list[str] = Field(min_length=1, max_length=12)


# As handlers read them themselves, the description of the API is told of them.
BODIES: Final = (LoginBody, DevicesBody, RefusalBody, PromotionBody, RollBackBody, ComparisonBody)


class AccountReply(BaseModel):
    """Who is logged in."""

    name: str
    role: Literal["viewer", "operator"]
    expires: datetime


class MeReply(BaseModel):
    """Who asks, and what they may see."""

    user: AccountReply | None
    expired: bool = Field(description="Somebody was logged in here and is no more.")
    may_look: bool
    may_act: bool
    accounts: bool = Field(description="Whether anybody has an account.")
    first_account: str = Field(description="The command that makes one.")


class LoginReply(BaseModel):
    """A login that counts now."""

    id: str
    address: str
    created: datetime
    seen: datetime
    expires: datetime
    this: bool


class LoginsReply(BaseModel):
    """Where an account is logged in."""

    logins: list[LoginReply]


class DoneReply(BaseModel):
    """What came of it."""

    done: str


class DeviceReply(BaseModel):
    """A device, by what the operator calls it; never what it holds."""

    id: str
    name: str
    status: Literal["waiting", "enrolled", "revoked"]
    online: bool | None = Field(description="None where the fleet's service does not say.")
    group: str
    labels: list[str]
    consent: bool
    modalities: list[str]
    memory_mb: int
    cores: int
    enrolled: datetime
    last_seen: datetime | None
    epsilon: float | None = Field(description="Spent over its lifetime, as it said.")


class RunReply(BaseModel):
    """A run of the fleet."""

    id: str
    state: Literal["open", "finished", "failed", "cancelled"]
    reason: str
    rounds: int = Field(description="That were asked for.")
    committed: int
    attempts: int
    newest: States = Field(description="Devices of the newest round, by what they did.")
    reasons: States = Field(description="Why devices of the newest round refused or failed.")
    seconds: float | None


class RolloutReply(BaseModel):
    """A bundle on its way to devices."""

    version: str
    state: Literal["staged", "complete", "rolled-back"]
    percent: float
    reports: int
    better: int
    worse: int
    change: float | None
    noise: float
    reason: str


class BundleReply(BaseModel):
    """A bundle, with what it was made of."""

    version: str
    before: str = Field(description="The bundle that its run began with; empty where it is not known.")
    run: str
    round: int | None
    epsilon: float | None
    guard: dict[str, list[float]] = Field(description="UAR of people nobody learned from, before and after.")
    data_statement: str
    created: datetime
    offered: datetime | None
    megabytes: float


class FleetReply(BaseModel):
    """The fleet as it stands."""

    registry: str
    service: Literal["answers", "does not answer", "not asked"]
    problems: dict[str, str]
    devices: list[DeviceReply]
    runs: list[RunReply]
    rollouts: list[RolloutReply]
    bundles: list[BundleReply]


class RoundReply(BaseModel):
    """One attempt at a round."""

    round: int
    attempt: int
    state: Literal["open", "committed", "abandoned"]
    reason: str
    started: datetime
    finished: datetime | None
    seconds: float | None
    train_loss: float | None
    dev: dict[str, float] | None
    devices: States = Field(description="By what they did: asked, answered, refused, failed.")
    late: int = Field(description="Devices that were asked and did not answer before it was over.")
    reasons: States
    bytes_up: int
    bytes_down: int
    epsilon: float | None = Field(description="The most that any device had spent after it, over its lifetime.")


class PlanReply(BaseModel):
    """What was asked for."""

    learns: str
    strategy: str
    privacy: str
    epsilon: float | None = Field(description="That a device may spend in the run.")
    secure_sums: bool
    group: str


class FleetRunReply(BaseModel):
    """A run with its rounds."""

    run: RunReply
    started: datetime
    finished: datetime | None
    plan: PlanReply
    guard: dict[str, list[float]]
    guard_allows: float | None = Field(description="Points of UAR that it may lose on each.")
    bundle: str = Field(description="That was made of it; empty where none was.")
    rounds: list[RoundReply]


class ParticipantReply(BaseModel):
    """One device in one attempt: what it did, never what it learned from."""

    device: str
    name: str
    group: str
    labels: list[str]
    state: Literal["asked", "answered", "refused", "failed"]
    reason: str
    seconds: float | None
    straggler: bool
    bytes_up: int
    bytes_down: int


class ParticipantsReply(BaseModel):
    """Who took part."""

    participants: list[ParticipantReply]


class EntryReply(BaseModel):
    """One entry of the audit log."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    hash: str


class AuditReply(BaseModel):
    """Entries of the audit log, newest first."""

    entries: list[EntryReply]
    head: str
    logs: list[str] = Field(description="Which logs there are: the fleet's, and the server's own where it is another.")


class ChainReply(BaseModel):
    """Whether the log is what was written."""

    unchanged: bool
    problem: str
    entries: int
    archived: int
    head: str
    checked: datetime


class RecordedRunReply(BaseModel):
    """A run folder of a simulation."""

    name: str
    damaged: str
    dataset: str
    labels: str
    modalities: list[str]
    how: str
    differences: list[str]
    clients: int | None
    rounds: int
    planned: int
    seed: int | None
    finished: bool
    best_round: int | None
    test: dict[str, float] | None


class RecordedRunsReply(BaseModel):
    """All run folders, and the sweeps that some of them are of."""

    folder: str
    problem: str
    runs: list[RecordedRunReply]
    sweeps: list[str]


class RecordedRoundReply(BaseModel):
    """A round as ``metrics.jsonl`` has it."""

    round: int
    clients: int
    failures: int
    refusals: int
    train_loss: float | None
    dev: dict[str, float] | None
    epsilon: float | None
    bytes_up: int
    bytes_down: int
    seconds: float


class RecordedRunDetailReply(BaseModel):
    """One run folder: settings, rounds, figures of each label."""

    run: RecordedRunReply
    settings: dict[str, Any]
    rounds: list[RecordedRoundReply]
    per_class: dict[str, dict[str, float]]
    test_std: dict[str, float]
    guard: dict[str, list[float]]


class ComparisonReply(BaseModel):
    """One run against the first, as ``fedaffect runs compare`` says it."""

    title: str
    headings: list[str]
    rows: list[list[str]]
    verdict: str


class ComparisonsReply(BaseModel):
    """Every further run against the first."""

    comparisons: list[ComparisonReply]
