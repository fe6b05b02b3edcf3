"""Secure sums of signed keys: what a server that holds no key of the authority can pass off as a client."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from flwr.app import ConfigRecord, Message
from tests.support.fleet_runs import CLIENTS, DeviceGrid, Fleet, stage_of

from fedaffect.client.device.credentials import DeviceCredentials, own_certificate
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.protocol.certificate import CertificateError, read_certificate
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.client.secagg import protocol
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.memory import Memory
from fedaffect.client.secagg.packing import pack_varied, unpack_varied
from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.signed_keys import NotSignedError, SignedKeys, statement
from fedaffect.client.wire import MASKED, SECAGG
from fedaffect.server.fleet.errors import NobodyLearned
from fedaffect.server.fleet.setup.authority import Authority
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import devices, keys, participations

SESSION = Session("a run", 2, 1)
SETTINGS = {"secagg": True, "clients_per_round": CLIENTS, "rounds": 1}
AFleet = Callable[..., Fleet]


def insist(grid: DeviceGrid, *partitions: int) -> None:
    for partition in partitions:
        grid.devices[partition].change(only_secagg=True)


def advertised(grid: DeviceGrid, client: int, session: Session = SESSION) -> tuple[Memory, SignedKeys]:
    memory, answer = protocol.advertise(None, session, client, DeviceCredentials(grid.devices[client]))
    return memory, SignedKeys.from_bytes(answer)


def own_keys(session: Session = SESSION) -> bytes:
    """Of a server that would be a client."""
    return SignedKeys.from_bytes(protocol.advertise(None, session, 0)[1]).keys


def signed_by(private: DeviceKey, certificate: bytes, client: int) -> SignedKeys:
    made_up = own_keys()
    return SignedKeys(made_up, True, private.sign(statement(SESSION, client, made_up, True)), certificate)


class Middle:
    """A server in the middle: it has all that passes, its own TLS key, and no key of the authority."""

    def __init__(self, grid: DeviceGrid, fleet: FleetFolder, folder: Path) -> None:
        self.grid, self.fleet, self.folder = grid, fleet, folder

    def forged(self, what: str) -> tuple[int, SignedKeys]:
        """Of whom it says that these keys are."""
        honest, key = advertised(self.grid, 2)[1], DeviceKey.make(self.folder / "made-up.key")
        der = own_certificate(self.grid.devices[5])
        assert der is not None
        if what == "swapped keys":
            return 2, SignedKeys(own_keys(), honest.insists, honest.signature, honest.certificate)
        if what == "a device's certificate, signed by a key of its own":
            return 2, signed_by(key, honest.certificate, 2)
        if what == "a client that it invents, certified by itself":
            own = Authority.create(self.folder / "own-authority", "fleet")
            return 77, self._certified(own.certify("d77", 77, key.public), key, 77)
        if what == "a client that it invents, certified by its TLS certificate":
            certificate = _issued_by(self.fleet.server_pem, key)
            return 77, self._certified(certificate, key, 77)
        if what == "its TLS certificate":
            pem = serialization.load_pem_private_key(self.fleet.key_path.read_bytes(), None)
            assert isinstance(pem, ec.EllipticCurvePrivateKey)
            return 77, self._certified(self.fleet.certificate_path.read_bytes(), DeviceKey(pem), 77)
        if what == "a device that is its accomplice, under another number":
            accomplice = DeviceKey.read(self.grid.devices[5].key_path)
            return 77, signed_by(accomplice, der[1], 77)
        if what == "keys of another attempt":
            return 2, advertised(self.grid, 2, Session("a run", 2, 2))[1]
        if what == "keys of another run":
            return 2, advertised(self.grid, 2, Session("another run", 2, 1))[1]
        if what == "keys of another round":
            return 2, advertised(self.grid, 2, Session("a run", 3, 1))[1]
        assert what == "an expired certificate"
        expired = self.fleet.authority.certify("d2", 2, key.public, days=-1)
        return 2, self._certified(expired, key, 2)

    @staticmethod
    def _certified(pem: bytes, key: DeviceKey, client: int) -> SignedKeys:
        return signed_by(key, x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER), client)


def _issued_by(pem: Path, key: DeviceKey) -> bytes:
    """As the authority would issue it, by who holds no more than a server's key."""
    server = x509.load_pem_x509_certificate(pem.read_bytes())
    private = serialization.load_pem_private_key(pem.read_bytes(), None)
    public = serialization.load_ssh_public_key(key.public.encode())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    now = datetime.now(UTC)
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:fedaffect:device:d77:77")])
    return (
        x509.CertificateBuilder(issuer_name=server.issuer, subject_name=server.subject, public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=9))
        .add_extension(name, critical=False)
        .sign(private, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


FORGED = (
    "swapped keys",
    "a device's certificate, signed by a key of its own",
    "a client that it invents, certified by itself",
    "a client that it invents, certified by its TLS certificate",
    "its TLS certificate",
    "a device that is its accomplice, under another number",
    "keys of another attempt",
    "keys of another run",
    "keys of another round",
    "an expired certificate",
)


@pytest.mark.parametrize("what", FORGED)
@pytest.mark.parametrize("insists", [True, False], ids=["insisting", "any device"])
def test_a_device_sees_keys_that_no_certified_device_signed_for_this_attempt(
    what: str, insists: bool, device_grid: DeviceGrid, fleet_folder: FleetFolder, tmp_path: Path
) -> None:
    device_grid.devices[0].change(only_secagg=insists)
    memory, _ = advertised(device_grid, 0)
    credentials = DeviceCredentials(device_grid.devices[0])
    honest = {client: advertised(device_grid, client)[1].to_bytes() for client in range(1, CLIENTS)}
    client, forged = Middle(device_grid, fleet_folder, tmp_path).forged(what)
    request = pack_varied({**honest, client: forged.to_bytes()})
    with pytest.raises(SecAggError, match=f"keys of client {client} are not signed .* somebody may stand between"):
        protocol.share(memory, SESSION, 0, 2, request, credentials)
    # Asked honestly, it goes on.
    protocol.share(memory, SESSION, 0, 2, pack_varied(honest), credentials)


def test_without_a_signature_only_devices_that_insist_refuse(device_grid: DeviceGrid) -> None:
    memory, _ = advertised(device_grid, 0)
    request = pack_varied({1: advertised(device_grid, 1)[1].to_bytes(), 77: own_keys()})
    credentials = DeviceCredentials(device_grid.devices[0])
    protocol.share(memory, SESSION, 0, 2, request, credentials)
    insist(device_grid, 0)
    with pytest.raises(NotSignedError, match=r"client 77 has not signed its keys, .* --only-secagg"):
        protocol.share(memory, SESSION, 0, 2, request, credentials)


def test_a_device_signs_under_no_number_but_its_own(device_grid: DeviceGrid) -> None:
    with pytest.raises(SecAggError, match="asked as client 3, and the fleet's authority knows it as 2"):
        protocol.advertise(None, SESSION, 3, DeviceCredentials(device_grid.devices[2]))


def test_the_sum_of_signed_keys_is_that_of_unsigned_ones_bit_for_bit(a_fleet: AFleet, device_grid: DeviceGrid) -> None:
    signed = a_fleet(**SETTINGS, name="signed")
    insist(device_grid, *range(CLIENTS))
    signed.resume(device_grid)
    assert set(signed.who(1).values()) == {"answered"}
    for stage, partition, reply in device_grid.heard:
        if stage == "keys":
            keys_ = SignedKeys.from_bytes(reply.content[SECAGG]["payload"])
            authority = device_grid.devices[0].authority_path.read_bytes()
            assert (keys_.insists, read_certificate(keys_.certificate, [authority]).number) == (True, partition)
    for folder in device_grid.devices.values():
        folder.change(only_secagg=False)
        folder.certificate_path.unlink()
    unsigned = a_fleet(**SETTINGS, name="unsigned")
    unsigned.resume(device_grid)
    assert signed.arrays(1) == unsigned.arrays(1)


def test_of_a_server_that_puts_itself_between_devices_that_insist_nobody_masks_anything(
    a_fleet: AFleet, device_grid: DeviceGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    insist(device_grid, *range(CLIENTS))
    push = device_grid.push_messages

    def tampered(messages: Iterable[Message]) -> list[str]:
        messages = list(messages)
        for message in messages:
            record = message.content.config_records.get(SECAGG)
            if record is not None and stage_of(message) == "shares":
                # It would be every neighbour of each, by keys of its own that nobody signed.
                named = dict.fromkeys(unpack_varied(record["payload"]), own_keys())  # type: ignore[arg-type]
                message.content[SECAGG] = ConfigRecord({**record, "payload": pack_varied(named)})
        return push(messages)

    monkeypatch.setattr(device_grid, "push_messages", tampered)
    fleet = a_fleet(**SETTINGS)
    with pytest.raises(NobodyLearned, match="has not signed its keys"):
        fleet.resume(device_grid)
    assert {stage for stage, _, _ in device_grid.heard} == {"keys", "shares"}
    assert not any(MASKED in reply.content for _, _, reply in device_grid.heard if reply.has_content())
    assert set(fleet.who(1).values()) == {"refused"}


def test_keys_that_neighbours_would_refuse_cost_their_sender_its_place_and_nobody_else(
    a_fleet: AFleet, device_grid: DeviceGrid
) -> None:
    answers: dict[int, bytes] = {}

    def change(partition: int, message: Message, reply: Message) -> Message:
        if stage_of(message) == "keys":
            answers[partition] = reply.content[SECAGG]["payload"]
            if partition in (3, 4):
                # One says that another's keys are its own; the other's signature does not fit.
                said = answers[2] if partition == 3 else bytes([answers[4][0] ^ 1]) + answers[4][1:]
                reply.content[SECAGG] = ConfigRecord({"payload": said})
        return reply

    device_grid.change = change
    fleet = a_fleet(**SETTINGS)
    fleet.resume(device_grid)
    assert fleet.run_folder.metrics()[0]["clients"] == 4
    (attempt,) = {p.slot.attempt for p in participations.of_round(fleet.registry, fleet.id, 1)}
    assert attempt == 1
    who = {devices.get(fleet.registry, f"d{n}").id: n for n in range(CLIENTS)}
    reasons = {who[p.slot.device_id]: p.reason for p in participations.of_round(fleet.registry, fleet.id, 1)}
    assert "the certificate is that of client 2" in reasons[3]
    assert "are not signed by the device" in reasons[4]


def test_a_key_that_counts_no_more_signs_no_keys_of_a_sum(a_fleet: AFleet, device_grid: DeviceGrid) -> None:
    fleet = a_fleet(**SETTINGS)
    device = devices.get(fleet.registry, "d2")
    devices.rotate_key(fleet.registry, device.id, DeviceKey.make(device_grid.devices[2].next_key_path).public)
    (old,) = [key for key in keys.of(fleet.registry, "device", device.id) if key.public == device.public_key]
    keys.set_node(fleet.registry, keys.of(fleet.registry, "device", device.id)[0].id, 4242)
    keys.revoke(fleet.registry, old.id, reason="rotated")
    fleet.resume(device_grid)
    assert fleet.run_folder.metrics()[0]["clients"] == CLIENTS - 1


def test_the_unsigned_are_left_out_where_others_insist_and_are_no_fewer(
    a_fleet: AFleet, device_grid: DeviceGrid
) -> None:
    insist(device_grid, 0)
    for partition in (1, 2, 3):
        device_grid.devices[partition].certificate_path.unlink()
    fleet = a_fleet(**SETTINGS)
    fleet.resume(device_grid)
    assert fleet.who(1) == {"d0": "answered", "d1": "failed", "d2": "failed", "d3": "failed", "d4": "answered",
                            "d5": "answered"}  # fmt: skip
    assert "its keys are not signed, and 1 clients insist on it" in fleet.run_folder.metrics()[0]["first_failure"]
    # Where most have not signed, it is those who insist that are lost.
    device_grid.devices[4].certificate_path.unlink()
    other = a_fleet(**SETTINGS, name="most")
    other.resume(device_grid)
    assert (other.who(1)["d0"], other.run_folder.metrics()[0]["clients"]) == ("refused", 5)


def test_a_certificate_says_whose_key_it_is_and_only_this_authoritys_is_believed(
    fleet_folder: FleetFolder, tmp_path: Path
) -> None:
    authority = fleet_folder.authority
    key = DeviceKey.make(tmp_path / "one.key")
    der = x509.load_pem_x509_certificate(authority.certify("0123", 7, key.public)).public_bytes(Encoding.DER)
    believed = [authority.certificate_path.read_bytes()]
    read = read_certificate(der, believed)
    assert (read.device_id, read.number, key.is_half_of(read.key)) == ("0123", 7, True)
    assert timedelta(days=29) < read.expires - datetime.now(UTC) <= timedelta(days=30)
    other = Authority.create(tmp_path / "other", "fleet").certificate_path.read_bytes()
    for wrong, authorities in ((der, [other]), (der, []), (der[:-1], believed), (b"", believed)):
        with pytest.raises(CertificateError):
            read_certificate(wrong, authorities)
    server = x509.load_pem_x509_certificate(fleet_folder.certificate_path.read_bytes()).public_bytes(Encoding.DER)
    with pytest.raises(CertificateError, match="none of a device"):
        read_certificate(server, believed)
    # A device whose clock runs behind by a year believes it, one that is as far ahead does not.
    read_certificate(der, believed, datetime.now(UTC) - timedelta(days=365))
    with pytest.raises(CertificateError, match="expired"):
        read_certificate(der, believed, datetime.now(UTC) + timedelta(days=365))


def test_without_a_certificate_for_its_present_key_a_device_signs_nothing(device_grid: DeviceGrid) -> None:
    folder: DeviceFolder = device_grid.devices[1]
    folder.key_path.unlink()
    DeviceKey.make(folder.key_path)
    assert own_certificate(folder) is None
    assert not advertised(device_grid, 1)[1].signature
