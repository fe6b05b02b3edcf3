"""A database that is away for a moment: a real lock, and a real connection cut in the middle."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from tests.support.public_keys import public_key

from fedaffect.server.errors import ServingError
from fedaffect.server.registry import (
    Registry,
    RegistryFull,
    RegistryUnavailable,
    api_keys,
    audit,
    devices,
    leases,
    participations,
    privacy,
    rounds,
    runs,
    tokens,
)
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.participations import Outcome, Slot
from fedaffect.server.registry.retry import RegistryGone, note_outage, retry_while_away


class Cable:
    """Forwards TCP to a server until it is pulled; can be plugged in again on the same port."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._plugged = True
        self._last_words: bytes | None = None
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def pull(self) -> None:
        self._plugged = False
        while self._open:
            self._shut(self._open.pop())

    def plug(self) -> None:
        self._plugged = True

    def pull_after(self, words: bytes) -> None:
        """Let these words through to the server, and nothing that it answers."""
        self._last_words = words

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.pull()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._plugged:
                self._shut(near)
                continue
            far = socket.create_connection(self._target)
            self._open += [near, far]
            threading.Thread(target=self._copy, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, False), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if to_server and self._last_words is not None and self._last_words in data:
                    self._last_words = None
                    self._shut(source)
                    sink.sendall(data)
                    # The other direction fails to pass the answer on, and hangs up then: the server has done it.
                    return
                sink.sendall(data)
        self._shut(source)
        self._shut(sink)

    @staticmethod
    def _shut(end: socket.socket) -> None:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@pytest.fixture
def cable(postgresql_url: str) -> Iterator[Cable]:
    url = make_url(postgresql_url)
    made = Cable((str(url.host), int(url.port or 5432)))
    yield made
    made.close()


def test_a_cut_connection_is_an_error_with_a_remedy_and_heals(postgresql_url: str, cable: Cable) -> None:
    url = make_url(postgresql_url).set(host="127.0.0.1", port=cable.port).render_as_string(hide_password=False)
    with Registry.open(url, wait_s=2) as registry:
        key, _ = api_keys.create(registry, "kiosk", ["predict"])
        cable.pull()
        with pytest.raises(RegistryUnavailable, match=r"does not answer .*check that the database runs") as caught:
            api_keys.find(registry, key.id)
        assert isinstance(caught.value, ServingError)
        assert caught.value.http_status == 503
        with pytest.raises(RegistryUnavailable):
            api_keys.create(registry, "lost", ["predict"])
        cable.plug()
        assert api_keys.every(registry) == [key]
        # Cut while a transaction is open: the pooled connection looked well when it was taken.
        with pytest.raises(RegistryUnavailable):
            _write_while_it_is_cut(registry, cable)
        cable.plug()
        assert api_keys.find(registry, key.id) == key


def _write_while_it_is_cut(registry: Registry, cable: Cable) -> None:
    with registry.writing() as session:
        session.connection().exec_driver_sql("SELECT 1")
        cable.pull()
        session.connection().exec_driver_sql("SELECT 1")


def test_opening_what_does_not_answer(postgresql_url: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    url = make_url(postgresql_url).set(host="127.0.0.1", port=port, password="secret word")
    with pytest.raises(RegistryUnavailable) as caught:
        Registry.open(url.render_as_string(hide_password=False), wait_s=1)
    assert "secret word" not in str(caught.value)
    assert str(port) in str(caught.value)


def test_a_lock_that_another_program_keeps(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    with Registry.open(f"sqlite:///{path}", wait_s=0.2) as registry:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(RegistryUnavailable, match=r"locked.*no other program"):
                api_keys.create(registry, "kiosk", ["predict"])
            # Readers do not wait for a writer.
            assert api_keys.every(registry) == []
            other.execute("ROLLBACK")
        api_keys.create(registry, "kiosk", ["predict"])
        assert len(api_keys.every(registry)) == 1


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(RegistryUnavailable, match="check that it is a database"):
        Registry.open(f"sqlite:///{path}")


BASE, NEXT = "a" * 64, "b" * 64


@pytest.fixture
def through_cable(postgresql_url: str, cable: Cable) -> Iterator[Registry]:
    url = make_url(postgresql_url).set(host="127.0.0.1", port=cable.port).render_as_string(hide_password=False)
    with Registry.open(url, wait_s=2) as registry:
        yield registry


@pytest.fixture
def beside(postgresql_url: str) -> Iterator[Registry]:
    with Registry.open(postgresql_url) as registry:
        yield registry


def _leased(registry: Registry) -> Lease:
    runs.create(registry, run_id="run", config={})
    return leases.acquire(registry, "run", "me", seconds=600)


@pytest.mark.slow
def test_a_round_is_committed_once_over_a_database_that_is_away(through_cable: Registry, cable: Cable) -> None:
    registry = through_cable
    lease = _leased(registry)
    rounds.open_round(registry, lease, 1, selected=["one"], base_sha256=BASE)
    cable.pull()
    back = threading.Timer(0.6, cable.plug)
    back.start()
    done = retry_while_away(
        lambda: rounds.commit(registry, lease, 1, 1, arrays_sha256=NEXT, checkpoint="x"),
        recovered=lambda seconds: note_outage(registry, seconds, subject="registry", actor="me"),
    )
    back.join()
    assert rounds.of_run(registry, "run") == [done]
    assert [entry.action for entry in audit.entries(registry)][-2:] == ["round.committed", "registry.was-away"]
    cable.pull()
    with pytest.raises(RegistryGone, match=r"does not answer.*gave up after .* attempts"):
        retry_while_away(lambda: rounds.of_run(registry, "run"), give_up_s=0.3)


def _state(registry: Registry) -> list[str]:
    tables = ("rounds", "participations", "privacy_ledger", "runs", "devices", "keys", "audit_log")
    with registry.reading() as session:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        return [str(session.execute(text(f"SELECT * FROM {table} ORDER BY 1, 2")).all()) for table in tables]


def test_a_commit_whose_answer_was_lost_is_not_done_twice(
    through_cable: Registry, cable: Cable, beside: Registry
) -> None:
    registry = through_cable
    lease = _leased(registry)
    token = tokens.make_token(registry)
    outcome = Outcome(state="answered")
    paid = privacy.Charge(
        run_id="run",
        round=1,
        attempt=1,
        device_id="one",
        unit="example",
        epsilon=1.0,
        delta=1e-5,
        accountant="rdp",
        noise_multiplier=1.0,
    )
    for act in (
        lambda: rounds.open_round(registry, lease, 1, selected=["one"], base_sha256=BASE),
        lambda: participations.ask(registry, lease, 1, 1, ["one"]),
        lambda: participations.record_outcome(registry, lease, Slot("run", 1, 1, "one"), outcome),
        lambda: privacy.charge(registry, paid),
        lambda: rounds.begin_unmasking(registry, lease, 1, 1, devices=["one"]),
        lambda: rounds.commit(registry, lease, 1, 1, arrays_sha256=NEXT, checkpoint="x"),
        lambda: runs.finish(registry, lease),
        lambda: devices.enroll(
            registry,
            token,
            name="phone",
            public_key=public_key("A"),
            capabilities=devices.Capabilities(modalities=("text",), memory_mb=1, cores=1),
            consent=True,
        ),
    ):
        before = _state(beside)
        cable.pull_after(b"COMMIT")
        with pytest.raises(RegistryUnavailable):
            act()
        while (done := _state(beside)) == before:
            time.sleep(0.01)
        retry_while_away(act)
        assert _state(beside) == done
    assert [each.state for each in rounds.of_run(registry, "run")] == ["committed"]
    assert [each.state for each in participations.of_round(registry, "run", 1)] == ["answered"]
    assert len(privacy.charges(registry)) == len(devices.every(registry)) == 1
    actions = [entry.action for entry in audit.entries(registry)]
    assert len(actions) == len(set(actions)) == 8
    assert audit.verify(registry).entries == 8


def test_a_server_of_the_database_that_is_ended(postgresql_url: str) -> None:
    """What happens to open transactions when the database restarts."""
    with Registry.open(postgresql_url) as registry, Registry.open(postgresql_url) as other:
        with pytest.raises(RegistryUnavailable):
            _append_twice_and_end_it_between(registry, other)
        retry_while_away(lambda: audit.write(registry, "a.b", subject="kept", actor="me"))
        assert [entry.subject for entry in audit.entries(registry, action="a.b")] == ["kept"]


def _append_twice_and_end_it_between(registry: Registry, other: Registry) -> None:
    with registry.writing() as session:
        own = session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        audit.append(session, "a.b", subject="lost", actor="me")
        with other.reading() as killing:
            killing.connection().exec_driver_sql(f"SELECT pg_terminate_backend({own})")
        audit.append(session, "a.b", subject="lost", actor="me")


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry:
        lease = _leased(registry)
        rounds.open_round(registry, lease, 1, selected=["one"], base_sha256=BASE)
        head = audit.head(registry)
        with registry.reading() as session:
            pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar_one()
            session.connection().exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        large = {"note": "x" * 50_000}
        with pytest.raises(RegistryFull, match=r"no room left.*free some space"):
            rounds.commit(registry, lease, 1, 1, arrays_sha256=NEXT, checkpoint="x", metrics=large)
        assert [each.state for each in rounds.of_run(registry, "run")] == ["open"]
        assert audit.verify(registry).head == head
        with registry.reading() as session:
            session.connection().exec_driver_sql("PRAGMA max_page_count = 1000000")
        rounds.commit(registry, lease, 1, 1, arrays_sha256=NEXT, checkpoint="x", metrics=large)
        assert rounds.last_committed(registry, "run") is not None
