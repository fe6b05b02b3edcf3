"""What devices and the operator send to the service; every field is checked before anything is done."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from fedaffect.client.protocol.names import LONGEST_NAME, checked_name
from fedaffect.client.protocol.sizes import CHARGES_PER_CHECK_IN
from fedaffect.client.protocol.strict import StrictModel
from fedaffect.server.registry.groups import LONGEST
from fedaffect.server.registry.tokens import MOST_USES

# Tokens that one request makes, and devices that one names.
MOST_TOKENS = 1_000
MOST_DEVICES = 10_000

# What the registry's columns hold.
_Id = Annotated[str, Field(min_length=1, max_length=64)]
_Count = Annotated[int, Field(ge=1, lt=2**31)]
_Version = Annotated[str, Field(min_length=1, max_length=200)]
_Reason = Annotated[str, Field(max_length=500)]
_PublicKey = Annotated[str, Field(min_length=1, max_length=1_000)]
_DeviceName = Annotated[str, AfterValidator(lambda name: checked_name(name, "device"))]
_Named = Annotated[list[Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]], Field(max_length=MOST_DEVICES)]
_Label = Annotated[str, Field(max_length=LONGEST), AfterValidator(lambda name: checked_name(name, "label"))]


def _group(name: str) -> str:
    return checked_name(name, "group") if name else ""


_Group = Annotated[str, Field(max_length=LONGEST), AfterValidator(_group)]


class NoContent(StrictModel):
    """Nothing."""


class Enrolment(StrictModel):
    """A device asks to be let in.

    ``modalities`` are the streams that it records; ``consent`` says whether its user agrees to learning. A device that
    learns the partition of a cohort names it; it is its own from then on. A ``region`` stands
    for devices of its own, and comes in by a token for regions.
    """

    token: _PublicKey
    name: _DeviceName
    public_key: _PublicKey
    modalities: Annotated[list[Literal["text", "audio", "video"]], Field(min_length=1, max_length=3)]
    memory_mb: _Count
    cores: _Count
    consent: bool
    partition: Annotated[int, Field(ge=0, lt=2**30)] | None = None
    region: bool = False


class RegionReport(StrictModel):
    """A region reports how many devices are enrolled with it and online, and their highest number plus one."""

    devices: Annotated[int, Field(ge=0, lt=2**31)]
    online: Annotated[int, Field(ge=0, lt=2**31)]
    numbers: Annotated[int, Field(ge=0, lt=2**30)]


class SpentPrivacy(StrictModel):
    """What a device has spent of its privacy in a run, up to a round."""

    run: _Id
    round: Annotated[int, Field(ge=0, lt=2**31)]
    attempt: Annotated[int, Field(ge=0, lt=2**31)]
    epsilon: Annotated[float, Field(ge=0)]
    delta: Annotated[float, Field(ge=0, lt=1)]
    noise_multiplier: Annotated[float, Field(ge=0)]


def _of_one_delta(spent: list[SpentPrivacy]) -> list[SpentPrivacy]:
    if len({each.delta for each in spent}) > 1:
        raise ValueError("a device's ledger has one delta; send its lines")
    return spent


class CheckIn(StrictModel):
    """A device reports; without ``consent`` that stays as it is.

    ``privacy`` has lines of its ledger, in turns where there are many; a ledger has one δ.
    """

    consent: bool | None = None
    privacy: Annotated[
        list[SpentPrivacy],
        Field(max_length=CHARGES_PER_CHECK_IN, default_factory=list),
        AfterValidator(_of_one_delta),
    ]


class NewKey(StrictModel):
    """The key that is to replace a device's own, and a signature with it."""

    public_key: _PublicKey
    proof: _PublicKey


class KeptKey(StrictModel):
    """The only key of a device that is to be accepted from now on."""

    public_key: _PublicKey


class Revocation(StrictModel):
    """Why a device is kept out."""

    reason: _Reason = ""


class Cancellation(StrictModel):
    """Why a run is ended."""

    reason: _Reason = ""


class Evaluation(StrictModel):
    """A metric on a device's own examples, with the bundle that it had ``before`` and with the new one.

    ``noise`` is the standard deviation of what the device added to the difference.
    """

    version: _Version
    metric: Annotated[str, Field(min_length=1, max_length=50)]
    before: Annotated[float, Field(ge=0, le=1)]
    after: Annotated[float, Field(ge=0, le=1)]
    examples: _Count
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0


class TokenRequest(StrictModel):
    """Tokens, valid for some hours, each of which lets ``uses`` devices in.

    With ``approval`` these devices wait until the operator approves them; by tokens for a ``region`` come regions.
    """

    hours: Annotated[float, Field(gt=0, le=24 * 366)] = 24.0
    note: Annotated[str, Field(max_length=200)] = ""
    count: Annotated[int, Field(ge=1, le=MOST_TOKENS)] = 1
    uses: Annotated[int, Field(ge=1, le=MOST_USES)] = 1
    approval: bool = False
    group: _Group = ""
    region: bool = False


class EndedToken(StrictModel):
    """A token that is to let nobody else in, or its id."""

    token: _PublicKey


class Selection(StrictModel):
    """Devices by what is known of them; what is left out selects nobody out."""

    status: Literal["waiting", "enrolled", "revoked"] | None = None
    group: _Group | None = None
    label: _Label | None = None


class Approval(StrictModel):
    """Devices that may take part from now on, by id or name; ``waiting`` for all that wait, of a group or of any."""

    devices: Annotated[_Named, Field(default_factory=list)]
    waiting: bool = False
    group: _Group | None = None


class Grouping(StrictModel):
    """Devices, by id or name, and the group that they are put into; ``""`` for none."""

    devices: Annotated[_Named, Field(min_length=1)]
    group: _Group


class Labelling(StrictModel):
    """Devices, by id or name, and the labels that they get and lose."""

    devices: Annotated[_Named, Field(min_length=1)]
    add: Annotated[list[_Label], Field(max_length=20, default_factory=list)]
    remove: Annotated[list[_Label], Field(max_length=20, default_factory=list)]


class RolloutRequest(StrictModel):
    """Stage a bundle, or take the staged one ``back``."""

    version: Annotated[str, Field(max_length=200)] = ""
    percent: Annotated[float, Field(gt=0, le=100)] = 100.0
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.02
    min_examples: _Count = 20
    back: bool = False
    reason: _Reason = "the operator rolled it back"


class RunSubmission(StrictModel):
    """A run: its settings by name, as `fedaffect.server.fleet.runs.submission.checked_settings` takes them."""

    settings: Annotated[dict[str, Any], Field(default_factory=dict)]
    data_statement: Annotated[str, Field(max_length=4_000)] = ""
