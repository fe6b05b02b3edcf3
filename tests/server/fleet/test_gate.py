"""The gate and the real SuperLink behind it, without any speed patch: what gets through, and what the log says."""

from __future__ import annotations

import asyncio
import re
import stat
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, RegisterNodeResponse, UnregisterNodeRequest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, ActivateNodeResponse, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.protobuf.client import ProtobufRequestContext
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from prometheus_client.parser import text_string_to_metric_families

from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.errors import ConfigError, RunError
from fedaffect.server.demo.machines import wait_until
from fedaffect.server.fleet.bringing_up import only_one
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.fleet.setup.private_socket import heard_at, private_socket, tell_at
from fedaffect.server.fleet.superlink.forwarding import Forwarder
from fedaffect.server.fleet.superlink.gate import REASONS, gate_of
from fedaffect.server.fleet.superlink.gate_metrics import GateMetrics
from fedaffect.server.fleet.superlink.long_polls import SuperLinkPolls
from fedaffect.server.fleet.superlink.node_access import NodeAccess
from fedaffect.server.fleet.superlink.program import arguments_of
from fedaffect.server.flower_compat import superlink_messages
from fedaffect.server.flower_compat.control import load_public_key
from fedaffect.server.flower_compat.superlink import superlink_app
from fedaffect.server.registry import Registry, RegistryUnavailable, devices, tokens

ACTIVATE, PULL = "/v1/fleet/activate-node", "/v1/fleet/pull-messages"
LIST, REGISTER, UNREGISTER = "/v1/control/list-nodes", "/v1/control/register-node", "/v1/control/unregister-node"
OPERATOR, DEVICE = "127.0.0.1", "127.0.0.2"
Headers: TypeAlias = dict[str, str] | Sequence[tuple[str, str]]

# Flower's own migrations, when its database is made.
pytestmark = pytest.mark.filterwarnings("ignore:No path_separator found in configuration:DeprecationWarning")


class FleetAtGate:
    """A fleet's registry and its gate; the clock of the gate's memory stands still."""

    def __init__(self, path: Path) -> None:
        self.folder = FleetFolder.create(path / "fleet", FleetSettings(largest_update_mb=0.1))
        self.registry = Registry.open(self.folder.settings.registry)
        self.now_s = 0.0
        self.away = False
        self.refused: list[tuple[str, str, str]] = []
        self.nodes = NodeAccess(self._open, clock=lambda: self.now_s)
        self.app = gate_of(self.folder, SuperLinkPolls(), self.nodes, lambda *what: self.refused.append(what))
        self.loop = asyncio.Runner()

    def _open(self) -> Registry:
        if self.away:
            raise RegistryUnavailable("the database is away")
        return self.registry

    def enrolled(self, name: str) -> DeviceKey:
        """A device that the registry knows, and Flower does not yet."""
        key = DeviceKey.make(self.folder.path / f"{name}.key")
        able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
        token = tokens.make_token(self.registry, valid=timedelta(hours=1))
        devices.enroll(self.registry, token, name=name, public_key=key.public, capabilities=able, consent=True)
        return key

    def ask(self, path: str, content: bytes = b"", *, address: str = DEVICE, headers: Headers = ()) -> httpx.Response:
        """One request by the gate."""

        async def post() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="https://fleet") as client:
                kind = {"content-type": PROTOBUF_MEDIA_TYPE, "accept": PROTOBUF_MEDIA_TYPE}
                return await client.post(
                    path,
                    content=content,
                    headers=[*kind.items(), *(headers.items() if isinstance(headers, dict) else headers)],
                )

        return self.loop.run(post())

    def activate(self, key: DeviceKey) -> httpx.Response:
        """The first request of Flower's SuperNode, signed as it signs."""
        request = ActivateNodeRequest(public_key=load_public_key(key.public), heartbeat_interval=30)
        return self.ask(ACTIVATE, request.SerializeToString(), headers=self.signed(key))

    def signed(self, key: DeviceKey) -> dict[str, str]:
        """What Flower's SuperNode adds to a request."""
        private = key._key
        context = ProtobufRequestContext("", ActivateNodeRequest(), httpx.Request("POST", "https://fleet"))
        NodeAuthHttpInterceptor(private, private.public_key()).intercept(context, lambda _: httpx.Response(200))
        return {name: value for name, value in context.request.headers.items() if name.startswith("flwr-")}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetAtGate]:
    with pytest.MonkeyPatch.context() as patch:
        # A Flower that has moved all that speed depends on.
        patch.setattr(superlink_messages, "module_or_none", lambda _: None)
        fleet = FleetAtGate(tmp_path_factory.mktemp("gate"))
    assert isinstance(fleet.app._app, Forwarder)
    app = superlink_app([*arguments_of(fleet.folder), "--isolation", "process"])
    config = uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with private_socket(fleet.folder.superlink_socket) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while thread.is_alive() and not server.started:
            thread.join(0.01)
        yield fleet
        server.should_exit = True
        thread.join()
    fleet.loop.close()
    fleet.registry.close()


def register(fleet: FleetAtGate, key: DeviceKey, name: str) -> int:
    """Have Flower know a node, as the aggregator does; its number."""
    request = RegisterNodeRequest(public_key=load_public_key(key.public), name=name)
    reply = fleet.ask(REGISTER, request.SerializeToString(), address=OPERATOR)
    assert reply.status_code == 200, reply.text
    return int(RegisterNodeResponse.FromString(reply.content).node_id)


def test_the_superlink_is_reached_by_its_users_own_processes_only(fleet: FleetAtGate) -> None:
    path = fleet.folder.superlink_socket
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_enrolled_node_gets_through_and_a_revoked_one_does_not(fleet: FleetAtGate) -> None:
    key = fleet.enrolled("phone")
    number = register(fleet, key, "phone")
    assert ActivateNodeResponse.FromString(fleet.activate(key).content).node_id == number
    pull = PullMessagesRequest(node=Node(node_id=number)).SerializeToString()
    assert fleet.ask(PULL, pull, headers=fleet.signed(key)).status_code == 200
    devices.revoke(fleet.registry, "phone", reason="sold")
    # Flower still knows the node: it is the gate that refuses, a second later at most.
    fleet.now_s += 1.0
    fleet.refused.clear()
    reply = fleet.ask(PULL, pull, headers=fleet.signed(key))
    assert (reply.status_code, reply.text) == (401, "unknown or revoked key")
    assert fleet.activate(key).status_code == 412
    assert [(path, why) for _, path, why in fleet.refused] == [
        (PULL, "unknown or revoked key"),
        (ACTIVATE, "unknown or revoked key"),
    ]


def test_a_node_that_flower_refuses_is_told_of(fleet: FleetAtGate) -> None:
    key = fleet.enrolled("tablet")
    number = register(fleet, key, "tablet")
    forget = UnregisterNodeRequest(node_id=number).SerializeToString()
    assert fleet.ask(UNREGISTER, forget, address=OPERATOR).status_code == 200
    fleet.refused.clear()
    assert fleet.activate(key).status_code == 412
    assert fleet.refused == [(DEVICE, ACTIVATE, "status 412: refused by the SuperLink")]


@pytest.mark.parametrize("address", [DEVICE, OPERATOR])
def test_without_a_signature_that_holds_nobody_gets_to_the_fleet_api(
    fleet: FleetAtGate, tmp_path: Path, address: str
) -> None:
    stranger, honest = DeviceKey.make(tmp_path / "stranger.key"), fleet.enrolled(f"watch-{address}")
    unsigned, signed = {"flwr-public-key": "none"}, fleet.signed(honest)
    borrowed = {**signed, "flwr-public-key": fleet.signed(stranger)["flwr-public-key"]}
    early = {**signed, "flwr-timestamp": "2020-01-01T00:00:00+00:00"}
    for headers in ({}, unsigned, borrowed, early, fleet.signed(stranger)):
        assert fleet.ask(PULL, headers=headers, address=address).status_code == 401
        assert fleet.ask(ACTIVATE, headers=headers, address=address).status_code == 412


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/control/start-run", REGISTER, LIST, "/v1/runtime/acquire-task", "/docs", "/openapi.json", "/"),
        *("/v1/fleet/../control/list-nodes", "/v1/fleet/%2e%2e/control/list-nodes", "/v1/fleet//list-nodes"),
        *("/v1/fleet", "/V1/FLEET/pull-messages", "/health/", "/v1/fleet/pull-messages%0a"),
    ],
)
def test_only_operators_reach_anything_but_the_fleet_api(
    fleet: FleetAtGate, path: str, request: pytest.FixtureRequest
) -> None:
    key = fleet.enrolled(f"device {request.node.callspec.indices['path']}")
    assert fleet.ask(path, headers=fleet.signed(key)).status_code == 403


def test_operators_reach_the_control_api(fleet: FleetAtGate) -> None:
    reply = fleet.ask(LIST, ListNodesRequest().SerializeToString(), address=OPERATOR)
    assert reply.status_code == 200


def test_a_body_above_what_an_update_weighs_is_refused(fleet: FleetAtGate) -> None:
    reply = fleet.ask("/v1/fleet/push-object", b"0" * 100_001)
    assert (reply.status_code, reply.text) == (413, "oversized: 100001 bytes")
    reply = fleet.ask(PULL, headers={"transfer-encoding": "chunked"})
    assert (reply.status_code, reply.text) == (413, "no length announced")


def test_unauthenticated_callers_send_no_body(fleet: FleetAtGate) -> None:
    assert fleet.ask("/health").text != "not an operator's address"
    assert fleet.ask("/health", b"0").text == "oversized: 1 bytes"


def test_a_header_that_comes_twice_is_refused(fleet: FleetAtGate, tmp_path: Path) -> None:
    """The gate would look at one key, and the SuperLink at the other."""
    honest, revoked = fleet.signed(fleet.enrolled("honest")), fleet.signed(DeviceKey.make(tmp_path / "revoked.key"))
    doubled = [*revoked.items(), *honest.items()]
    assert fleet.ask(PULL, headers=doubled).text == "a header comes twice"
    assert fleet.ask(PULL, headers={**honest, "upgrade": "h2c"}).text == "an upgrade is asked for"


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(ec.generate_private_key(ec.SECP256K1()).public_key(), id="a curve that OpenSSH does not have"),
        pytest.param(ed25519.Ed25519PrivateKey.generate().public_key(), id="no key of a curve"),
        pytest.param(
            b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2WZAyEA" + 43 * b"A" + b"=\n-----END PUBLIC KEY-----\n", id="odd"
        ),
    ],
)
def test_keys_of_other_kinds_are_no_nodes(fleet: FleetAtGate, key: Any) -> None:
    pem = key if isinstance(key, bytes) else key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    headers = {**fleet.signed(fleet.enrolled(f"of {hash(pem)}")), "flwr-public-key": b64encode(pem).decode()}
    assert fleet.ask(PULL, headers=headers).status_code == 401


def test_nodes_that_were_admitted_get_over_an_outage_of_the_registry(
    fleet: FleetAtGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, unseen = fleet.enrolled("known"), fleet.enrolled("unseen")
    number = register(fleet, known, "known")
    pull = PullMessagesRequest(node=Node(node_id=number)).SerializeToString()
    assert fleet.ask(PULL, pull, headers=fleet.signed(known)).status_code == 200
    monkeypatch.setattr(fleet, "away", True)
    monkeypatch.setattr(fleet.nodes, "_registry", None)
    fleet.now_s += 1.0
    assert fleet.ask(PULL, pull, headers=fleet.signed(known)).status_code == 200
    assert fleet.activate(unseen).status_code == 503


def test_a_superlink_that_is_away_is_said_to_be(fleet: FleetAtGate, tmp_path: Path) -> None:
    away = gate_of(FleetFolder(tmp_path, fleet.folder.settings), SuperLinkPolls(), fleet.nodes, lambda *what: None)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(away, client=(OPERATOR, 1))
        async with httpx.AsyncClient(transport=transport, base_url="https://fleet") as client:
            return await client.post(LIST)

    assert fleet.loop.run(ask()).status_code == 503


def test_what_it_did_is_counted_and_told_at_a_private_socket_alone(fleet: FleetAtGate, tmp_path: Path) -> None:
    key = fleet.enrolled("counted")
    pull = PullMessagesRequest(node=Node(node_id=register(fleet, key, "counted"))).SerializeToString()
    path = tmp_path / ("long" * 40) / "gate.sock"
    assert heard_at(path) is None
    path.parent.mkdir()
    tell_at(path, fleet.app.metrics.text)
    wait_until(lambda: heard_at(path) is not None, "the socket", lambda: None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = _figures(path)
    sent = len(fleet.ask(PULL, pull, headers=fleet.signed(key)).content)
    fleet.ask("/v1/fleet/push-object", b"0" * 100_001)
    fleet.ask(PULL, headers={**fleet.signed(key), "content-length": "-1"})
    fleet.ask("/v1/control/metrics")
    fleet.ask("/metrics", address=OPERATOR)
    after = _figures(path)
    gained = {what: now - before.get(what, 0.0) for what, now in after.items() if now != before.get(what, 0.0)}
    of = "fedaffect_gate_requests_total"
    assert {what: n for what, n in gained.items() if what.startswith(of)} == {
        f"{of}{{api='fleet', status='200'}}": 1,
        f"{of}{{api='fleet', status='413'}}": 2,
        f"{of}{{api='control', status='403'}}": 1,
        f"{of}{{api='other', status='404'}}": 1,
    }
    assert gained["fedaffect_gate_refused_total{reason='oversized'}"] == 1
    assert gained["fedaffect_gate_refused_total{reason='no-length'}"] == 1
    assert gained["fedaffect_gate_refused_total{reason='no-operator'}"] == 1
    # Of what was let in alone.
    assert gained["fedaffect_gate_received_bytes_total{api='fleet'}"] == len(pull)
    assert gained["fedaffect_gate_sent_bytes_total{api='fleet'}"] >= sent
    assert gained["fedaffect_gate_request_seconds_count{api='fleet'}"] == 3
    assert {after[f"fedaffect_gate_requests_open{{api='{api}'}}"] for api in ("fleet", "runtime", "control")} == {0.0}
    assert "counted" not in heard_at(path).decode()  # type: ignore[union-attr]


def _figures(path: Path) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families((heard_at(path) or b"").decode()):
        for sample in family.samples:
            labels = ", ".join(f"{name}='{value}'" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_a_request_that_waits_does_not_count_as_slow() -> None:
    metrics = GateMetrics(REASONS, waits=[PULL.encode()])
    with metrics.request(PULL.encode()), metrics.request(b"/v1/fleet/push-object") as served:
        served.status = 200
        assert b'fedaffect_gate_requests_open{api="fleet"} 2.0' in metrics.text()
    text = metrics.text().decode()
    assert 'fedaffect_gate_request_seconds_count{api="fleet"} 1.0' in text
    assert 'fedaffect_gate_requests_total{api="fleet",status="gone"} 1.0' in text


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        ('operators = ["localhost"]', "'localhost' in operators is no address"),
        ('operators = ["10.0.0.0/8"]', "'10.0.0.0/8' in operators is no address"),
        ('listen = ""', "'' is no host"),
        ('hosts = ["\u00e9"]', "'\\xe9' is no host"),
        ('hosts = ["two words"]', "'two words' is no host"),
        (f"superlink-port = {5000 * '9'}", "fleet.toml is not TOML"),
        (f"superlink-port = 0x{5000 * 'f'}", "fleet.toml has a value that no setting takes"),
        (f"operators = {3000 * '['}{3000 * ']'}", "nests its values too deep"),
    ],
)
def test_settings_that_would_let_nobody_in_are_refused(toml: str, why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        FleetSettings.from_toml(toml)


def test_an_operators_address_may_be_written_in_any_way(fleet: FleetAtGate) -> None:
    settings = FleetSettings(operators=("0:0:0:0:0:0:0:1",))
    app = gate_of(FleetFolder(fleet.folder.path, settings), SuperLinkPolls(), fleet.nodes, lambda *what: None)
    assert "::1" in app._operators


def test_a_fleet_that_is_up_is_not_brought_up_again(fleet: FleetAtGate) -> None:
    with only_one(fleet.folder), pytest.raises(RunError, match="is up already; stop"), only_one(fleet.folder):
        pass
    with only_one(fleet.folder):
        pass
