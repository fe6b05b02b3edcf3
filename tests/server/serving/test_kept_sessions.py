"""Sessions that people chose to keep: each key's own, for as long as is said, and deleted without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from tests.support.small_engine import SmallEngine

from fedaffect.server.registry import Registry, api_keys, kept_sessions
from fedaffect.server.registry.access import Access
from fedaffect.server.registry.session_tables import KeptSessionRow
from fedaffect.server.serving.app import background
from fedaffect.server.serving.films.keeping import summary_of

LABELS = ["joy", "neutral"]


def timeline(count: int = 2000, seed: int = 7919) -> dict[str, Any]:
    """A timeline whose windows differ from each other, so that their bytes are found again."""
    windows = [
        {
            "start_s": at / 2,
            "end_s": at / 2 + 3,
            "lanes": {
                "fused": {
                    "label": LABELS[at // 100 % 2],
                    "confidence": 0.5 + (at * seed % 4999) / 1e4,
                    "probabilities": [at * 104729 % 9973 / 1e4, 0.0001],
                }
            },
        }
        for at in range(count)
    ]
    changes = [{"at_s": 51.5, "before": "joy", "after": "neutral", "confidence": 0.6}]
    return {
        "labels": LABELS,
        "lanes": ["fused"],
        "model_version": "small-1",
        "windows": windows,
        "words": [{"start_s": 1.0, "end_s": 1.5, "text": "hello"}],
        "changes": changes,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def registry(folder: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{folder / 'server.db'}") as opened:
        yield opened


@pytest.fixture(scope="module")
def url(registry: Registry) -> Iterator[str]:
    with background(SmallEngine(), registry=registry, access=Access(registry)) as server:
        yield server.rest_url


@pytest.fixture(scope="module")
def people(registry: Registry, url: str) -> Iterator[list[httpx.Client]]:
    """Two, each with a key."""
    keys = [api_keys.create(registry, name, ["predict"])[1] for name in ("one", "other")]
    clients = [httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) for key in keys]
    yield clients
    for client in clients:
        client.close()


def kept(client: httpx.Client, name: str = "A film", notes: str = "", seed: int = 7919) -> str:
    body = {"kind": "film", "name": name, "notes": notes, "timeline": timeline(seed=seed)}
    reply = client.post("/v1/sessions", json=body)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


def test_what_was_kept_comes_back(people: list[httpx.Client]) -> None:
    mine = people[0]
    session_id = kept(mine, "First", "as it was")
    listed = mine.get("/v1/sessions").json()
    (session,) = [each for each in listed["sessions"] if each["id"] == session_id]
    assert (listed["keep_days"], session["name"], session["notes"]) == (30.0, "First", "as it was")
    assert session["summary"]["shares"] == {"joy": 0.5, "neutral": 0.5}
    assert session["summary"]["answered_by"] == {"cloud": 1.0}
    assert (session["summary"]["changes"], session["summary"]["duration_s"]) == (1, 1002.5)
    until = datetime.fromisoformat(session["until"]) - datetime.fromisoformat(session["created"])
    assert until == timedelta(days=30)
    whole = mine.get(f"/v1/sessions/{session_id}").json()
    assert whole["timeline"]["windows"][7]["lanes"] == timeline()["windows"][7]["lanes"]
    assert mine.patch(f"/v1/sessions/{session_id}", json={"notes": "as it is"}).status_code == 200
    assert mine.get(f"/v1/sessions/{session_id}").json()["session"]["notes"] == "as it is"


def test_nobody_else_sees_changes_or_deletes_it(people: list[httpx.Client], url: str) -> None:
    mine, others = people
    session_id = kept(mine)
    assert session_id not in others.get("/v1/sessions").text
    assert others.get(f"/v1/sessions/{session_id}").status_code == 404
    assert others.patch(f"/v1/sessions/{session_id}", json={"notes": "x"}).status_code == 404
    assert others.delete(f"/v1/sessions/{session_id}").status_code == 404
    assert httpx.get(f"{url}/v1/sessions/{session_id}").status_code == 401
    assert mine.get(f"/v1/sessions/{session_id}").json()["session"]["notes"] == ""
    film_id = mine.post("/v1/films", json={"size_bytes": 10}).json()["id"]
    for call in (others.get, others.delete):
        assert call(f"/v1/films/{film_id}").status_code == 404
    assert others.get(f"/v1/films/{film_id}/timeline").status_code == 404
    assert others.get(f"/v1/films/{film_id}/subtitles.vtt").status_code == 404
    taken = others.patch(f"/v1/films/{film_id}", content=b"0123456789", headers={"Upload-Offset": "0"})
    assert taken.status_code == 404
    assert mine.get(f"/v1/films/{film_id}").json()["received_bytes"] == 0


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("server.db*")))


def test_nothing_of_what_was_deleted_lies_in_the_database(
    people: list[httpx.Client], registry: Registry, folder: Path
) -> None:
    mine = people[0]
    session_id = kept(mine, "unmistakable-name", "notes-before-they-changed", seed=6007)
    mine.patch(f"/v1/sessions/{session_id}", json={"notes": "unmistakable-notes"})
    assert b"notes-before-they-changed" not in on_disk(folder)
    with registry.reading() as reading:
        packed = reading.scalars(select(KeptSessionRow.timeline).where(KeptSessionRow.id == session_id)).one()
    assert len(packed) > 8000, "it takes several pages of the file"
    pieces = [packed[at : at + 24] for at in range(0, len(packed) - 24, 512)]
    before = on_disk(folder)
    assert b"unmistakable-name" in before
    assert b"unmistakable-notes" in before
    assert sum(piece in before for piece in pieces) > len(pieces) / 2
    assert mine.delete(f"/v1/sessions/{session_id}").json() == {"status": "deleted"}
    after = on_disk(folder)
    assert b"unmistakable" not in after
    assert session_id.encode() not in after
    assert not any(piece in after for piece in pieces)
    assert mine.get(f"/v1/sessions/{session_id}").status_code == 404


def test_what_is_over_is_neither_shown_nor_kept(people: list[httpx.Client], registry: Registry) -> None:
    mine = people[0]
    old, new = kept(mine), kept(mine)
    with registry.writing() as writing:
        long_ago = datetime.now(UTC) - timedelta(days=31)
        writing.execute(update(KeptSessionRow).where(KeptSessionRow.id == old).values(created=long_ago))
    assert old not in mine.get("/v1/sessions").text
    assert mine.get(f"/v1/sessions/{old}").status_code == 404
    assert kept_sessions.prune(registry, timedelta(days=30)) == 1
    with registry.reading() as reading:
        left = set(reading.scalars(select(KeptSessionRow.id)))
    assert new in left
    assert old not in left


def test_a_server_deletes_what_is_over_when_it_starts(registry: Registry, people: list[httpx.Client]) -> None:
    session_id = kept(people[1])
    with background(SmallEngine(), registry=registry, keep_days=0) as server:
        refused = httpx.post(
            f"{server.rest_url}/v1/sessions", json={"kind": "film", "name": "x", "timeline": timeline(2)}
        )
        assert refused.status_code == 403
        assert "--keep-sessions" in refused.json()["error"]["message"]
        for _ in range(100):
            with registry.reading() as reading:
                if session_id not in set(reading.scalars(select(KeptSessionRow.id))):
                    return
    raise AssertionError("it is still there")


def test_a_server_without_a_registry_says_so() -> None:
    with background(SmallEngine()) as server:
        reply = httpx.get(f"{server.rest_url}/v1/sessions")
    assert reply.status_code == 503
    assert "keeps no registry" in reply.json()["error"]["message"]


def test_an_operator_erases_all_of_a_key(registry: Registry) -> None:
    for caller in ("gone", "gone", "stays"):
        kept_sessions.keep(
            registry, kept_sessions.KeptSession(caller=caller, kind="live", name="x", summary=summary_of(timeline(2)))
        )
    assert kept_sessions.erase_of(registry, "gone") == 2
    since = datetime.now(UTC) - timedelta(days=1)
    assert kept_sessions.every(registry, "gone", since) == []
    assert len(kept_sessions.every(registry, "stays", since)) == 1
