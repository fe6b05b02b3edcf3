"""A database that is away for a moment: a real lock, and a real connection cut in the middle."""

from __future__ import annotations

import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url

from server.registry import Registry, RegistryUnavailable, api_keys
from server.serving.errors import ServingError


class Cable:
    """Forwards TCP to a server until it is pulled; can be plugged in again on the same port."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._plugged = True
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def pull(self) -> None:
        self._plugged = False
        while self._open:
            self._shut(self._open.pop())

    def plug(self) -> None:
        self._plugged = True

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
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
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
