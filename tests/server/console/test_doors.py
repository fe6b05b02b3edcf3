"""Who may look, who may act, and what keeps others out."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.console_pages import PASSWORD, ConsolePage, refusal
from tests.support.small_engine import SmallEngine

from fedaffect.server.console.doors import COOKIE
from fedaffect.server.console.login_limit import LoginLimit
from fedaffect.server.console.mounting import console_beside
from fedaffect.server.console.origin import WRITES
from fedaffect.server.errors import Overloaded
from fedaffect.server.registry import Registry, api_keys, audit, logins, users
from fedaffect.server.registry.access import Access
from fedaffect.server.registry.logins import Lifetime
from fedaffect.server.registry.password_hash import is_outdated, nobodys_hash
from fedaffect.server.registry.transactions import database_now
from fedaffect.server.registry.user_tables import LoginRow
from fedaffect.server.serving.app import CloudServer, ServerTls, background

LOOKS = ("/fleet", "/audit", "/audit/check", "/research")
ACTS = {
    "/devices/approve": {"devices": ["nobody"]},
    "/devices/refuse": {"device": "nobody"},
    "/rollouts/promote": {"version": "none"},
    "/rollouts/back": {},
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path_factory.mktemp('doors') / 'server.db'}") as opened:
        users.add(opened, "ada", "operator", PASSWORD)
        users.add(opened, "vera", "viewer", PASSWORD)
        yield opened


@pytest.fixture(scope="module")
def server(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudServer]:
    with background(SmallEngine(), registry=registry, mounting=console_beside(tmp_path_factory.mktemp("runs"))) as up:
        yield up


@pytest.fixture
def page(server: CloudServer) -> Iterator[ConsolePage]:
    with ConsolePage(server.rest_url) as opened:
        yield opened


def test_nobody_looks_without_an_account_once_there_is_one(page: ConsolePage) -> None:
    assert page.get("/me").json() | {"first_account": ""} == {
        "user": None,
        "expired": False,
        "may_look": False,
        "may_act": False,
        "accounts": True,
        "first_account": "",
    }
    for path in (*LOOKS, "/fleet/events", "/research/events", "/fleet/runs/x", "/logins"):
        assert refusal(page.get(path)) == (401, "LoginNeeded"), path
    for path, body in ACTS.items():
        assert refusal(page.post(path, body)) == (401, "LoginNeeded"), path


def test_a_viewer_looks_and_an_operator_acts(page: ConsolePage) -> None:
    assert page.log_in("Vera").json()["role"] == "viewer"
    for path in LOOKS:
        assert page.get(path).status_code == 200, path
        assert page.get(path).headers["cache-control"] == "no-store"
    for path, body in ACTS.items():
        assert refusal(page.post(path, body)) == (403, "Forbidden"), path
    assert page.log_in("ada").json()["role"] == "operator"
    # Allowed, and refused for what is asked.
    assert [page.post(path, body).status_code for path, body in ACTS.items()] == [422, 422, 404, 409]


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(page: ConsolePage) -> None:
    set_cookie = page.log_in("vera").headers["set-cookie"]
    name, *attributes = [part.strip() for part in set_cookie.split(";")]
    assert name.startswith(f"{COOKIE}=")
    assert {"httponly", "samesite=strict", "path=/v1/console"} <= {each.lower() for each in attributes}
    assert "Secure" not in attributes
    assert page.post("/logout").status_code == 200
    assert page.cookie is None


def test_over_tls_the_cookie_is_secure(tmp_path: Path, registry: Registry) -> None:
    authority = Authority(tmp_path)
    tls = ServerTls(*authority.issue("server"))
    known = ssl.create_default_context(cafile=str(authority.path))
    with (
        background(SmallEngine(), registry=registry, tls=tls, mounting=console_beside(tmp_path / "runs")) as server,
        ConsolePage(server.rest_url, known) as page,
    ):
        assert "; Secure" in page.log_in("vera").headers["set-cookie"]
        assert page.get("/fleet").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {WRITES: "1", "Origin": "https://evil.example"},
        {WRITES: "1", "Origin": "http://127.0.0.1:1"},
        {WRITES: "1", "Origin": "null"},
        {WRITES: "1", "Sec-Fetch-Site": "same-site"},
        {WRITES: "1", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_page_does_nothing_in_the_name_of_who_is_logged_in(
    page: ConsolePage, registry: Registry, headers: dict[str, str]
) -> None:
    page.log_in("ada")
    before = audit.head(registry)
    for path, body in {**ACTS, "/logout": {}, "/login": {"name": "ada", "password": PASSWORD}}.items():
        assert refusal(page.post(path, body, headers or {"X-Other": "1"})) == (403, "Forbidden"), path
    if headers:
        assert page.http.get("/v1/console/fleet", headers=headers).status_code == 403
    assert audit.head(registry) == before
    assert page.get("/me").json()["user"]["name"] == "ada"


def test_a_form_of_another_page_is_no_body(page: ConsolePage) -> None:
    page.log_in("ada")
    sent = page.http.post("/v1/console/rollouts/back", data={"reason": "x"}, headers={WRITES: "1"})
    assert sent.status_code == 415


def test_who_was_logged_in_is_told_that_it_ran_out(page: ConsolePage, registry: Registry) -> None:
    page.log_in("vera")
    login = (page.cookie or "").partition(".")[0]
    with registry.writing() as session:
        session.get_one(LoginRow, login).expires = database_now(session)
    assert refusal(page.get("/fleet")) == (401, "LoginExpired")
    assert page.get("/me").json()["expired"] is True
    assert page.log_in("vera").status_code == 200
    assert page.get("/me").json()["expired"] is False


def test_logins_are_listed_and_ended_from_elsewhere(server: CloudServer, page: ConsolePage, registry: Registry) -> None:
    logins.end_all(registry, users.get(registry, "vera"), actor="operator")
    with ConsolePage(server.rest_url) as other:
        other.log_in("vera")
        page.log_in("vera")
        found = page.get("/logins").json()["logins"]
        assert sorted(each["this"] for each in found) == [False, True]
        theirs = next(each["id"] for each in found if not each["this"])
        assert other.get("/fleet").status_code == 200
        assert page.post(f"/logins/{theirs}/end").status_code == 200
        assert refusal(other.get("/fleet")) == (401, "LoginExpired")
        # Another account's is none of theirs.
        other.log_in("ada")
        adas = other.get("/logins").json()["logins"][0]["id"]
        assert page.post(f"/logins/{adas}/end").status_code == 404
        assert other.get("/fleet").status_code == 200


def test_a_stream_ends_with_the_login(page: ConsolePage, registry: Registry) -> None:
    page.log_in("vera")
    with page.events("/fleet/events") as events:
        assert next(events).kind == "open"
        logins.end_all(registry, users.get(registry, "vera"), actor="operator")
        assert [event.kind for event in events][-1] == "ended"


def test_a_wrong_password_and_no_account_are_told_alike(page: ConsolePage, registry: Registry) -> None:
    wrong, nobody = page.log_in("vera", "not her quiet words"), page.log_in("nobody", "not her quiet words")
    assert refusal(wrong) == refusal(nobody) == (401, "LoginRefused")
    assert wrong.json() == nobody.json()
    assert page.cookie is None
    (refused,) = [e for e in audit.entries(registry, action="user.refused") if "vera" in e.details][-1:]
    assert "not her" not in refused.details
    # What is hashed for nobody costs what it costs for somebody.
    assert not is_outdated(nobodys_hash())


def test_guesses_are_limited_also_for_accounts_that_are_not_there(page: ConsolePage) -> None:
    statuses = [page.log_in("eve", f"guess number {n} of many").status_code for n in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    limited = page.log_in("eve", "one more guess")
    assert int(limited.headers["retry-after"]) >= 1
    # Another account from the same address still may.
    assert page.log_in("vera").status_code == 200


def test_waits_grow_and_end_with_the_right_password() -> None:
    now = [0.0]
    limit = LoginLimit(clock=lambda: now[0])

    def guess(name: str, address: str, right: bool = False) -> float:
        try:
            with limit.guess(name, address) as was_right:
                if right:
                    was_right()
        except Overloaded as error:
            return error.retry_after_s
        return 0.0

    assert [guess("ada", "192.0.2.1") for _ in range(5)] == [0.0] * 5
    waits = []
    for _ in range(12):
        wait_s = guess("ada", "192.0.2.1")
        waits.append(wait_s)
        now[0] += wait_s
        assert guess("ada", "192.0.2.1") == 0.0
    assert waits == sorted(waits)
    assert waits[-1] == 900.0
    # Its owner, elsewhere, comes in; and so does she here, once she has waited.
    assert guess("ada", "198.51.100.7", right=True) == 0.0
    now[0] += 900.0
    assert guess("ada", "192.0.2.1", right=True) == 0.0
    # Then she may mistype again.
    assert guess("ada", "192.0.2.1") == 0.0
    # One address that tries many accounts waits too, and a whole /64 is one address.
    found = [guess(f"name{n}", f"2001:db8::{n + 1:x}") for n in range(25)]
    assert found[:20] == [0.0] * 20
    assert all(found[20:])


def test_guesses_at_once_are_no_way_around() -> None:
    limit = LoginLimit(clock=lambda: 0.0)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(limit.guess("ada", "192.0.2.1"))
        with pytest.raises(Overloaded):
            stack.enter_context(limit.guess("ada", "192.0.2.1"))


def test_without_accounts_this_machine_looks_and_nobody_acts(tmp_path: Path) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry:
        beside = console_beside(tmp_path / "runs")
        with (
            background(SmallEngine(), registry=registry, mounting=beside) as server,
            ConsolePage(server.rest_url) as page,
        ):
            me = page.get("/me").json()
            assert (me["may_look"], me["may_act"], me["accounts"]) == (True, False, False)
            assert me["first_account"].startswith("fedaffect server users add")
            assert [page.get(path).status_code for path in LOOKS] == [200] * len(LOOKS)
            for path, body in ACTS.items():
                assert refusal(page.post(path, body)) == (401, "LoginNeeded"), path
            users.add(registry, "ada", "operator", PASSWORD)
            assert refusal(page.get("/fleet")) == (401, "LoginNeeded")


def test_where_keys_are_asked_for_an_account_is_too_and_a_key_is_none(tmp_path: Path) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry:
        _, key = api_keys.create(registry, "all", ["admin"])
        with (
            background(
                SmallEngine(), registry=registry, access=Access(registry), mounting=console_beside(tmp_path / "runs")
            ) as server,
            ConsolePage(server.rest_url) as page,
        ):
            page.http.headers["Authorization"] = f"Bearer {key}"
            assert page.http.get("/v1/models").status_code == 200
            assert refusal(page.get("/fleet")) == (401, "LoginNeeded")
            del page.http.headers["Authorization"]
            users.add(registry, "ada", "operator", PASSWORD)
            assert page.log_in("ada").status_code == 200
            assert page.get("/fleet").status_code == 200
            # Nor does an account open what keys open.
            assert page.http.get("/v1/models").status_code == 401


def test_an_idle_login_runs_out_by_itself(tmp_path: Path) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry:
        users.add(registry, "ada", "operator", PASSWORD)
        beside = console_beside(tmp_path / "runs", lifetime=Lifetime(idle=timedelta(0)))
        with (
            background(SmallEngine(), registry=registry, mounting=beside) as server,
            ConsolePage(server.rest_url) as page,
        ):
            assert page.log_in("ada").status_code == 200
            assert refusal(page.get("/fleet")) == (401, "LoginExpired")
