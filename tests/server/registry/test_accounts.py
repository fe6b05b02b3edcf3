from __future__ import annotations

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner

from fedaffect.edge.cli.main import fedaffect
from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import NotFound
from fedaffect.server.registry import Registry, audit, logins, users
from fedaffect.server.registry.logins import Lifetime
from fedaffect.server.registry.password_hash import hash_password, is_outdated, password_matches
from fedaffect.server.registry.transactions import database_now
from fedaffect.server.registry.user_tables import LoginRow

PASSWORD = "several quiet words"
DAY = Lifetime(idle=timedelta(hours=2), whole=timedelta(hours=12))


def test_an_account_is_found_by_its_name_in_any_case_and_keeps_no_password(registry: Registry) -> None:
    made = users.add(registry, " Ada ", "operator", PASSWORD)
    assert (made.name, made.role) == ("ada", "operator")
    assert users.find(registry, "ADA") == made
    assert PASSWORD not in made.password_hash
    assert password_matches(PASSWORD, made.password_hash)
    assert not password_matches(PASSWORD + " ", made.password_hash)
    assert "scrypt" not in repr(made)
    with pytest.raises(ConfigError, match="already"):
        users.add(registry, "ada", "viewer", PASSWORD)


def test_the_same_password_twice_is_kept_differently() -> None:
    assert hash_password(PASSWORD) != hash_password(PASSWORD)


@pytest.mark.parametrize(
    ("name", "role", "password", "says"),
    [
        ("", "viewer", PASSWORD, "no name"),
        ("two words", "viewer", PASSWORD, "no name"),
        ("a" * 65, "viewer", PASSWORD, "no name"),
        ("ada", "admin", PASSWORD, "no role"),
        ("ada", "viewer", "short", "12 to 200"),
        ("ada", "viewer", "x" * 201, "12 to 200"),
        ("ada", "viewer", "abababababab", "easily guessed"),
        ("adalovelace", "viewer", "adalovelace123", "easily guessed"),
    ],
)
def test_what_is_no_account_is_refused(registry: Registry, name: str, role: str, password: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        users.add(registry, name, role, password)
    assert users.every(registry) == []


def test_a_login_counts_until_it_is_ended_or_its_account_changes(registry: Registry) -> None:
    user = users.add(registry, "ada", "viewer", PASSWORD)
    login, token = logins.begin(registry, user, "192.0.2.1", DAY)
    assert logins.find(registry, token, DAY) == login
    for wrong in ("", ".", f"{login.id}.", f"{login.id}.{'0' * 64}", token[:-1], token.replace(".", "")):
        assert logins.find(registry, wrong, DAY) is None
    users.set_role(registry, "ada", "operator")
    found = logins.find(registry, token, DAY)
    assert found is not None
    assert found.user.role == "operator"
    logins.end(registry, login, actor="user:ada")
    assert logins.find(registry, token, DAY) is None

    _, again = logins.begin(registry, user, "", DAY)
    users.set_password(registry, "ada", "other quiet words")
    assert logins.find(registry, again, DAY) is None
    _, last = logins.begin(registry, user, "", DAY)
    users.remove(registry, "ada")
    assert logins.find(registry, last, DAY) is None
    assert users.find(registry, "ada") is None


def test_a_login_that_is_idle_or_old_counts_no_more(registry: Registry) -> None:
    user = users.add(registry, "ada", "viewer", PASSWORD)
    login, token = logins.begin(registry, user, "", DAY)
    _change(registry, login.id, seen=-timedelta(hours=1), created=-timedelta(hours=11, minutes=30))
    # Used again: it counts for two hours more, and for twelve in all.
    assert logins.find(registry, token, DAY) is not None
    (found,) = logins.of_user(registry, user)
    assert found.expires - found.created == timedelta(hours=12)
    _change(registry, login.id, expires=timedelta(0))
    assert logins.find(registry, token, DAY) is None
    assert not logins.counts(registry, login.id)
    assert logins.of_user(registry, user) == []


def _change(registry: Registry, login_id: str, **moments: timedelta) -> None:
    with registry.writing() as session:
        row = session.get_one(LoginRow, login_id)
        for name, since_now in moments.items():
            setattr(row, name, database_now(session) + since_now)


def test_the_log_tells_who_did_what_and_no_secret(registry: Registry) -> None:
    user = users.add(registry, "ada", "viewer", PASSWORD)
    login, token = logins.begin(registry, user, "192.0.2.1", DAY)
    users.set_role(registry, "ada", "operator")
    users.set_password(registry, "ada", "other quiet words")
    logins.end(registry, login, actor="user:ada")
    users.remove(registry, "ada")
    said = list(audit.entries(registry, action="user."))
    assert [entry.action for entry in said] == [
        "user.added",
        "user.logged-in",
        "user.role",
        "user.password",
        "user.removed",
    ]
    whole = json.dumps([entry.details for entry in said])
    assert "quiet" not in whole
    assert "scrypt" not in whole
    assert token.partition(".")[2] not in whole
    audit.verify(registry)


def test_a_hash_of_other_costs_is_made_anew_when_the_password_was_right(registry: Registry) -> None:
    user = users.add(registry, "ada", "viewer", PASSWORD)
    users.renew_hash(registry, user, PASSWORD)
    assert users.find(registry, "ada") == user
    cheap = "scrypt$1024$8$1" + user.password_hash[len("scrypt$32768$8$3") :]
    assert is_outdated(cheap)


def test_commands(registry: Registry) -> None:
    url = registry.url.render_as_string(hide_password=False)

    def said(*arguments: str, given: str = "") -> tuple[int, str]:
        done = CliRunner().invoke(fedaffect, ["server", "users", *arguments, "--registry", url], input=given)
        return done.exit_code, done.output + (str(done.exception) if done.exception else "")

    assert said("list")[1].startswith("no accounts yet")
    assert said("add", "ada", "--role", "operator", "--password-stdin", given=f"{PASSWORD}\n")[0] == 0
    code, made = said("add", "bob", "--generate")
    assert code == 0
    bob = users.get(registry, "bob")
    assert bob.role == "viewer"
    assert password_matches(made.splitlines()[0], bob.password_hash)
    _, token = logins.begin(registry, bob, "", DAY)
    assert "1 browser" in said("log-out", "bob")[1]
    assert logins.find(registry, token, DAY) is None
    assert said("role", "bob", "operator") == (0, "bob is operator\n")
    assert said("password", "bob", "--password-stdin", given="other quiet words\n")[0] == 0
    assert password_matches("other quiet words", users.get(registry, "bob").password_hash)
    listed = said("list")[1]
    assert "ada" in listed
    assert "bob" in listed
    assert said("remove", "bob")[0] == 0
    assert "no account 'bob'" in said("remove", "bob")[1]
    assert "there is no terminal" in said("add", "eve")[1]
    with pytest.raises(NotFound):
        users.get(registry, "bob")
