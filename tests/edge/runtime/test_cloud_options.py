"""How the commands reach the cloud: over TLS, by the environment's address, and not where nothing may leave."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.edge.runtime.test_cascade import Counting
from tests.support.certificates import Authority

from fedaffect.edge.cli.edge import edge
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.runtime.probes import drawn_face
from fedaffect.server.registry import Registry
from fedaffect.server.serving.app import ServerTls, background


@pytest.fixture(scope="module")
def unsure(make_bundle) -> Path:
    """A bundle that is sure of nothing, so that the cloud is asked."""
    return make_bundle(21, thresholds={"text": 1.0, "video": 1.0})


@pytest.fixture
def way(tmp_path: Path) -> Iterator[tuple[Counting, str, tuple[str, ...]]]:
    """An engine behind mutual TLS, its address, and what a device that it knows gives."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("device")
    tls = ("--authority", str(authority.path), "--certificate", str(certificate), "--key", str(key))
    engine = Counting()
    server_tls = ServerTls(*authority.issue("server"), authority.path)
    with (
        Registry.open(f"sqlite:///{tmp_path}/registry.sqlite3") as registry,
        background(engine, tls=server_tls, registry=registry) as server,
    ):
        yield engine, f"grpcs://{server.grpc_target}", tls


def run(*arguments: str) -> str:
    done = CliRunner().invoke(edge, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_a_prediction_over_mutual_tls(unsure: Path, way) -> None:
    engine, address, tls = way
    words = ("predict", "--bundle", str(unsure), "--allow-unsigned", "--text", "sad", "--json")
    words += ("--cloud", address, "--privacy", "raw", "--deadline-ms", "60000")
    answer = loads(run(*words, *tls))
    assert (answer["source"], answer["model_version"]) == ("cloud", "counting-1"), answer
    stranger = loads(run(*words, *tls[:2]))
    assert (stranger["source"], stranger["offload_reason"]) == ("edge", "cloud-failed")
    assert len(engine.asked) == 1


@pytest.mark.slow
def test_a_film_watched_over_mutual_tls(unsure: Path, way, made, tmp_path: Path) -> None:
    engine, address, tls = way
    made.write_film(tmp_path / "film.mp4", [drawn_face()] * 20)
    lines = run(
        *("watch", "--bundle", str(unsure), "--allow-unsigned", "--video", str(tmp_path / "film.mp4"), "--json"),
        *("--window-s", "30", "--hop-s", "30", "--cloud", address, "--privacy", "raw", *tls),
    )
    assert [loads(line)["source"] for line in lines.splitlines()] == ["cloud"]
    assert len(engine.asked) == 1


@pytest.mark.slow
def test_feedback_over_mutual_tls(unsure: Path, way) -> None:
    _, address, tls = way
    said = run("predict", "--bundle", str(unsure), "--allow-unsigned", "--text", "sad", "--keep").splitlines()
    request_id = said[-1].removeprefix("request ")
    words = ("feedback", request_id, "joy", "--privacy", "features", "--cloud", address)
    refused = run(*words, *tls[:2])
    assert "waiting for the cloud: feedback (" in refused
    assert len(loads(run("queue", "list", "--json"))["entries"]) == 1
    assert "1 delivered" in run("queue", "send", "--cloud", address, *tls)
    assert "labelled anger, may not be learned from; 1 delivered, 0 refused" in run(
        "feedback", request_id, "anger", "--privacy", "features", "--cloud", address, *tls
    )
    assert loads(run("queue", "list", "--json"))["entries"] == []


@pytest.mark.slow
def test_the_environment_names_the_cloud(unsure: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Counting()
    words = ("predict", "--bundle", str(unsure), "--allow-unsigned", "--text", "sad", "--json")
    with background(engine) as server:
        monkeypatch.setenv("FEDAFFECT_CLOUD", server.rest_url)
        # What the environment says is no wish of the moment: where nothing may leave, it is left alone.
        assert loads(run(*words))["source"] == "edge"
        assert engine.asked == []
        assert loads(run(*words, "--privacy", "raw", "--deadline-ms", "60000"))["source"] == "cloud"
    with pytest.raises(ConfigError, match="--privacy features or --privacy raw"):
        CliRunner().invoke(edge, [*words, "--defer"], catch_exceptions=False)


@pytest.mark.parametrize("command", [("predict", "--text", "sad"), ("feedback", "r1", "joy"), ("watch",)])
def test_what_cannot_be_reached_is_said(command: tuple[str, ...], tmp_path: Path) -> None:
    pem = tmp_path / "none.pem"
    for arguments, says in (
        (("--authority", str(pem)), "does not exist"),
        (("--certificate", str(pem)), "both a certificate and its private key"),
        (("--cloud", "grpc://127.0.0.1:9"), "--privacy never"),
    ):
        with pytest.raises(ConfigError, match=says):
            CliRunner().invoke(edge, [*command, *arguments], catch_exceptions=False)
    pem.write_text("nothing")
    with pytest.raises(ConfigError, match="add --cloud ADDRESS"):
        CliRunner().invoke(edge, [*command, "--authority", str(pem)], catch_exceptions=False)
