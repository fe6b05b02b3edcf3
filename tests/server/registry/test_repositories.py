from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import InvalidRequest, NotFound
from fedaffect.server.registry import Registry, api_keys, audit, bundles, deployments, feedback, models
from fedaffect.server.registry.feedback import Feedback
from fedaffect.server.registry.key_hash import hash_secret, matches


def _model(registry: Registry, version: str, sha256: str = "0" * 64, profile: str = "cloud") -> models.Model:
    return models.add(
        registry,
        version=version,
        profile=profile,
        path=Path("models") / version,
        label_set="shared7",
        sha256=sha256,
        metrics={"uar": 0.75},
        lineage={"run": "runs/one"},
    )


def test_a_key_is_kept_without_its_secret(registry: Registry) -> None:
    expires = datetime.now(timezone(timedelta(hours=5))) + timedelta(days=3)
    key, token = api_keys.create(registry, "kiosk", ["feedback", "predict"], expires=expires, requests_per_minute=7)
    prefix, key_id, secret = token.split("_")
    assert (prefix, key_id) == ("fa", key.id)
    assert key.scopes == ("predict", "feedback")
    found = api_keys.find(registry, key.id)
    assert found == key
    assert found.expires == expires
    assert matches(secret, found.secret_hash)
    assert not matches(secret[::-1], found.secret_hash)
    with registry.reading() as session:
        assert secret not in str(session.execute(text("SELECT * FROM api_keys")).all())
    assert secret not in repr(found)
    assert found.secret_hash not in repr(found)


def test_equal_secrets_do_not_look_equal() -> None:
    assert hash_secret("same") != hash_secret("same")


def test_a_revoked_key_keeps_its_time(registry: Registry) -> None:
    key, _ = api_keys.create(registry, "kiosk", ["predict"])
    first = api_keys.revoke(registry, key.id)
    assert first.revoked is not None
    assert api_keys.revoke(registry, key.id) == first
    with pytest.raises(NotFound, match="no key has the id"):
        api_keys.revoke(registry, "nobody")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"scopes": []}, "scopes among"),
        ({"scopes": ["everything"]}, "everything"),
        ({"requests_per_minute": 0}, "at least 1"),
        ({"expires": datetime(2020, 1, 1, tzinfo=UTC)}, "would never work"),
        ({"name": " "}, "wants a name"),
    ],
)
def test_keys_of_no_use_are_not_made(tmp_path: Path, arguments: dict[str, object], says: str) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'r.db'}") as registry, pytest.raises(ConfigError, match=says):
        api_keys.create(registry, **({"name": "kiosk", "scopes": ["predict"]} | arguments))  # type: ignore[arg-type]


def test_a_version_means_one_content(registry: Registry) -> None:
    first = _model(registry, "v1")
    assert first.path.is_absolute()
    assert _model(registry, "v1") == first
    with pytest.raises(ConfigError, match="other content"):
        _model(registry, "v1", sha256="1" * 64)
    assert models.every(registry) == [first]
    with pytest.raises(NotFound, match="v7"):
        models.get(registry, "v7")


def test_the_bundle_offered_last_is_the_newest(registry: Registry) -> None:
    for version in ("a", "b"):
        bundles.add(registry, version=version, path=Path(f"{version}.tar"), sha256=version * 64, size_bytes=3 << 30)
    with pytest.raises(NotFound, match="bundles offer"):
        bundles.get_offered(registry)
    bundles.offer(registry, "b")
    bundles.offer(registry, "a")
    assert bundles.get_offered(registry).version == "a"
    assert bundles.get_offered(registry, "b").size_bytes == 3 << 30
    bundles.offer(registry, "a", offered=False)
    assert bundles.get_offered(registry).version == "b"
    with pytest.raises(NotFound):
        bundles.get_offered(registry, "a")
    with pytest.raises(NotFound):
        bundles.offer(registry, "c")
    with pytest.raises(ConfigError, match="other content"):
        bundles.add(registry, version="a", path=Path("a.tar"), sha256="f" * 64, size_bytes=1)


def test_rollback_goes_back_one_split_at_a_time(registry: Registry) -> None:
    for version in ("v1", "v2", "v3"):
        _model(registry, version)
    assert deployments.current(registry) is None
    with pytest.raises(NotFound, match="no earlier split"):
        deployments.rollback(registry)
    splits = [{"v1": 1.0}, {"v1": 0.9, "v2": 0.1}, {"v2": 1.0}]
    for split in splits:
        deployments.share(registry, split)
    assert deployments.rollback(registry).shares == splits[1]
    assert deployments.rollback(registry).shares == splits[0]
    with pytest.raises(NotFound, match="no earlier split"):
        deployments.rollback(registry)
    # What was rolled back from is not come back to: before v3 stood v1, not v2.
    deployments.share(registry, {"v3": 1.0})
    assert deployments.rollback(registry).shares == splits[0]
    assert deployments.current(registry) == deployments.history(registry)[0]
    assert len(deployments.history(registry)) == 7


@pytest.mark.parametrize(
    "shares", [{}, {"v1": 0.5}, {"v1": 1.5, "v2": -0.5}, {"v1": float("nan")}, {"v1": 0.9, "v2": 0.2}]
)
def test_shares_that_do_not_add_up_are_refused(registry: Registry, shares: dict[str, float]) -> None:
    _model(registry, "v1")
    _model(registry, "v2")
    with pytest.raises(ConfigError):
        deployments.share(registry, shares)
    assert deployments.current(registry) is None


def test_media_and_features_are_split_each_for_itself(registry: Registry) -> None:
    _model(registry, "full")
    _model(registry, "small", profile="edge-features")
    deployments.share(registry, {"full": 1.0, "small": 1.0})
    with pytest.raises(ConfigError, match="versions for features"):
        deployments.share(registry, {"full": 1.0, "small": 0.5})


def test_a_share_for_a_version_that_is_not_there(registry: Registry) -> None:
    with pytest.raises(NotFound, match="models add"):
        deployments.share(registry, {"v9": 1.0})


def told(registry: Registry, since: datetime = datetime(2020, 1, 1, tzinfo=UTC), most: int = 1000) -> list[Feedback]:
    return list(feedback.newest(registry, since=since, most=most))


def test_feedback_is_taken_once_and_features_only_with_consent(registry: Registry) -> None:
    yes = Feedback(idempotency_key="1", request_id="r", label="joy", consent=True, features=b"\x00\x01")
    no = Feedback(idempotency_key="2", request_id="r", label="fear", consent=False, features=b"\x00\x02")
    assert [feedback.take(registry, item) for item in (yes, no, yes, no)] == [True, True, False, False]
    # What was said last of the request took the consent back.
    assert [(item.idempotency_key, item.consent) for item in told(registry)] == [("2", False)]
    with registry.reading() as session:
        assert session.execute(text("SELECT features FROM feedback WHERE idempotency_key = '2'")).scalar() is None


@pytest.mark.parametrize(("consents", "features"), [((True, True), b"x"), ((True, False), None), ((False, True), None)])
def test_a_correction_has_the_features_that_came_before_it(
    registry: Registry, consents: tuple[bool, bool], features: bytes | None
) -> None:
    answers = (("fear", b"x"), ("joy", None))
    for number, ((label, sent), consent) in enumerate(zip(answers, consents, strict=True)):
        said = Feedback(idempotency_key=f"{number}", request_id="r", label=label, consent=consent, features=sent)
        feedback.take(registry, said)
    assert [(item.label, item.features) for item in told(registry)] == [("joy", features)]


def test_feedback_that_no_column_holds_is_refused() -> None:
    for fields in ({"idempotency_key": ""}, {"label": "x" * 201}, {"request_id": "a\x00b"}):
        with pytest.raises(InvalidRequest):
            Feedback(**({"idempotency_key": "1", "request_id": "r", "label": "joy", "consent": True} | fields))  # type: ignore[arg-type]


def test_of_deliveries_at_the_same_moment_one_is_first(registry: Registry) -> None:
    threads = 8
    together = threading.Barrier(threads)

    def deliver(_: int) -> list[bool]:
        taken = []
        for number in range(5):
            together.wait()
            item = Feedback(idempotency_key=f"same {number}", request_id="r", label="joy", consent=True)
            taken.append(feedback.take(registry, item))
        return taken

    with ThreadPoolExecutor(threads) as pool:
        rounds = list(zip(*pool.map(deliver, range(threads)), strict=True))
    assert [sum(taken) for taken in rounds] == [1] * 5
    with registry.reading() as session:
        assert session.execute(text("SELECT count(*) FROM feedback")).scalar() == 5


def test_feedback_of_a_request_or_a_caller_is_erased(registry: Registry) -> None:
    for number, caller in enumerate(("a", "a", "b", "b", "c")):
        said = Feedback(idempotency_key=f"{number}", request_id=f"r{number}", label="joy", consent=True, caller=caller)
        feedback.take(registry, said)
    assert feedback.erase(registry, caller="a") == 2
    assert feedback.erase(registry, request_ids=["r2", "unknown"]) == 1
    assert {item.request_id for item in told(registry)} == {"r3", "r4"}
    assert feedback.erase(registry, caller="a") == 0
    assert [entry.subject for entry in audit.entries(registry, action="feedback.erased")] == [
        "caller a",
        "2 requests",
        "caller a",
    ]
    with pytest.raises(ConfigError, match="nothing is named"):
        feedback.erase(registry)
    assert [item.request_id for item in told(registry, since=datetime.now(UTC) + timedelta(hours=1))] == []
    assert len(told(registry, most=1)) == 1


def test_writers_of_two_servers_lose_nothing(registry: Registry, url: str) -> None:
    with Registry.open(url) as other, ThreadPoolExecutor(8) as pool:
        numbers = range(40)
        servers = [registry, other]
        list(pool.map(lambda n: _model(servers[n % 2], f"v{n}"), numbers))
        list(pool.map(lambda n: deployments.share(servers[n % 2], {f"v{n}": 1.0}), numbers))
    assert {model.version for model in models.every(registry)} == {f"v{n}" for n in numbers}
    history = deployments.history(registry, 100)
    assert sorted(split.id for split in history) == list(range(1, 41))
    assert {version for split in history for version in split.shares} == {f"v{n}" for n in numbers}


def test_a_writer_that_fails_leaves_nothing(registry: Registry) -> None:
    _model(registry, "v1")
    with pytest.raises(NotFound):
        deployments.share(registry, {"v1": 0.5, "gone": 0.5})
    with pytest.raises(RuntimeError):
        _delete_and_fail(registry)
    assert [model.version for model in models.every(registry)] == ["v1"]


def _delete_and_fail(registry: Registry) -> None:
    with registry.writing() as session:
        session.execute(text("DELETE FROM models"))
        raise RuntimeError
