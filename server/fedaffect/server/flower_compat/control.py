"""Flower's Control API as the aggregator uses it: nodes registered and removed, runs started, listed, stopped.

It is the API that ``flwr supernode`` and ``flwr run`` speak, called in process since each of those takes seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.cli.build import build_fab_from_disk
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from fedaffect.edge.errors import ConfigError, RunError
from fedaffect.server.flower_compat.errors import SuperLinkAway

# What the gate answers while the SuperLink is away.
_AWAY: Final = frozenset((502, 503, 504))


class SuperLink:
    """The SuperLink of a fleet.

    Parameters
    ----------
    address : str
        ``host:port``.
    authority : Path
        PEM that vouches for it.
    """

    def __init__(self, address: str, authority: Path) -> None:
        self._address = address
        self._authority = authority

    def register(self, public_key: str, name: str) -> int:
        """Admit the SuperNode of a key; as ``flwr supernode register`` does.

        Parameters
        ----------
        public_key : str
            In OpenSSH's form, of a NIST curve.
        name : str

        Returns
        -------
        int
            Flower's id of the node. Of a key that is registered already, the id it has.
        """
        key = load_public_key(public_key)
        with self._client() as client:
            for node in client.ListNodes(ListNodesRequest()).nodes_info:
                if node.public_key == key and node.status != "unregistered":
                    return int(node.node_id)
            return int(client.RegisterNode(RegisterNodeRequest(public_key=key, name=name)).node_id)

    def unregister(self, node_id: int) -> None:
        """Let a node in no more; nothing happens if it is gone already."""
        with self._client() as client:
            known = {n.node_id for n in client.ListNodes(ListNodesRequest()).nodes_info if n.status != "unregistered"}
            if node_id in known:
                client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))

    def nodes(self) -> dict[int, str]:
        """State by node id: ``registered``, ``online`` or ``offline``."""
        with self._client() as client:
            return {n.node_id: n.status for n in client.ListNodes(ListNodesRequest()).nodes_info}

    def start(self, app: Path) -> int:
        """Submit a Flower run of the app in a folder, as ``flwr run`` does.

        Returns
        -------
        int
            Flower's id of the run.
        """
        content = build_fab_from_disk(app)
        fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
        with self._client() as client:
            reply = client.StartRun(StartRunRequest(fab=fab_to_proto(fab)))
        if not reply.HasField("run_id"):
            raise RunError(f"the SuperLink did not start the run: {reply.note or 'it does not say why'}")
        return int(reply.run_id)

    def state(self, flower_run_id: int) -> tuple[str, str]:
        """Of a Flower run: ``pending``, ``running``, ``finished:completed``, ``finished:failed`` …, and details."""
        with self._client() as client:
            runs = client.ListRuns(ListRunsRequest(run_id=flower_run_id)).run_dict
        if flower_run_id not in runs:
            return "unknown", "the SuperLink has no such run"
        status = runs[flower_run_id].status
        return ":".join(filter(None, (status.status, status.sub_status))), status.details

    def stop(self, flower_run_id: int) -> None:
        """End a Flower run."""
        with self._client() as client:
            client.StopRun(StopRunRequest(run_id=flower_run_id))

    @contextmanager
    def _client(self) -> Iterator[ControlHttpClient]:
        client = ControlHttpClient.from_server_address(
            server_address=self._address,
            insecure=False,
            root_certificates=self._authority.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )
        try:
            yield client
        except httpx.HTTPStatusError as error:
            if error.response.status_code in _AWAY:
                raise self._away("its gate has no answer from it") from error
            said = FlowerError.from_json(error.response.text)
            why = said.message if said is not None else f"status {error.response.status_code}"
            raise RunError(f"the SuperLink at {self._address} refused: {why}") from error
        except httpx.HTTPError as error:
            raise self._away(str(error)) from error
        finally:
            client.close()

    def _away(self, why: str) -> SuperLinkAway:
        return SuperLinkAway(f"the SuperLink at {self._address} does not answer ({why}); start it: fedaffect fleet up")


def load_public_key(openssh: str) -> bytes:
    """A device's public key as Flower keeps it.

    Raises
    ------
    ConfigError
        If it is no OpenSSH public key of curve P-256, P-384 or P-521.
    """
    try:
        key = serialization.load_ssh_public_key(openssh.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError("this is no public key in OpenSSH's form; enroll with fedaffect device enroll") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigError("a device's key must be of an elliptic curve (P-384); enroll with fedaffect device enroll")
    return public_key_to_bytes(key)
