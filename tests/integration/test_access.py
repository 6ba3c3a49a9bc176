"""Tokens, links, sessions and the audit log on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, Executable, delete, text, update
from sqlalchemy.exc import DBAPIError

from app.adapters.access_store import SqlAuditStore, SqlCredentialStore
from app.adapters.system import random_bits, random_secret
from app.adapters.tables import audit, credentials
from app.domain.access import Kind, Role
from app.domain.audit import verify
from app.domain.errors import SyncError
from app.services.access import Access
from app.services.intake import id_maker
from tests.integration.unguarded import unguard


class Clock:
    """Stands still until told."""

    time = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def chance(self) -> float:
        return 0.5


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(engine: Engine, clock: Clock) -> Access:
    return Access(SqlCredentialStore(engine), clock, id_maker(clock, random_bits), random_secret)


def test_a_token_opens_what_its_role_may_until_it_ends(access: Access, clock: Clock, engine: Engine) -> None:
    secret, made = access.create_token("grafana", Role.VIEWER, 30, "cli:me")
    who = access.identify(secret, Kind.TOKEN)
    assert who is not None
    assert (who.actor, who.role) == ("token:grafana", Role.VIEWER)
    assert access.tokens()[0].last_used_at == clock.now()
    assert access.identify(secret, Kind.SESSION) is None
    assert access.identify(secret[:-1] + "x", Kind.TOKEN) is None
    with engine.connect() as connection:
        assert secret not in str(connection.execute(credentials.select()).all())
    clock.time += timedelta(days=30)
    assert access.identify(secret, Kind.TOKEN) is None
    assert made.expires_at == clock.time


def test_a_revoked_token_ends_with_its_sessions(access: Access) -> None:
    secret, _ = access.create_token("on-call", Role.OPERATOR, 30, "cli:me")
    who = access.identify(secret, Kind.TOKEN)
    assert who is not None
    session = access.open_session(who)
    assert access.identify(session, Kind.SESSION) is not None

    access.revoke_token("on-call", "cli:me", "left the team")

    assert access.identify(secret, Kind.TOKEN) is None
    assert access.identify(session, Kind.SESSION) is None
    with pytest.raises(SyncError, match="not_found"):
        access.revoke_token("on-call", "cli:me", "")


def test_a_token_that_is_revoked_as_somebody_logs_in_opens_nothing(access: Access) -> None:
    """Between the look at the token and the session: it would have outlived the revocation by hours."""
    secret, _ = access.create_token("on-call", Role.OPERATOR, 30, "cli:me")
    who = access.identify(secret, Kind.TOKEN)
    assert who is not None
    access.revoke_token("on-call", "cli:me", "left the team")
    with pytest.raises(SyncError, match="unauthorized: this token was revoked"):
        access.open_session(who)


def opened(access: Access, secret: str, *kinds: Kind) -> str:
    who = access.identify(secret, *kinds)
    assert who is not None
    return access.open_session(who)


@pytest.mark.parametrize(("days", "hours"), [(0.25, 6), (0.5, 12), (30, 12)])
def test_a_session_ends_with_its_token_at_the_latest(access: Access, clock: Clock, days: float, hours: int) -> None:
    session = opened(access, access.create_token("on-call", Role.OPERATOR, days, "cli:me")[0], Kind.TOKEN)
    clock.time += timedelta(hours=hours, microseconds=-1)
    assert access.identify(session, Kind.SESSION) is not None
    clock.time += timedelta(microseconds=1)
    assert access.identify(session, Kind.SESSION) is None


def test_a_token_that_nearly_ended_opens_a_session_for_the_rest(access: Access, clock: Clock) -> None:
    secret, _ = access.create_token("on-call", Role.OPERATOR, 30, "cli:me")
    clock.time += timedelta(days=30, minutes=-1)
    session = opened(access, secret, Kind.TOKEN)
    clock.time += timedelta(seconds=59)
    assert access.identify(session, Kind.SESSION) is not None
    clock.time += timedelta(seconds=1)
    assert access.identify(session, Kind.SESSION) is None


def test_a_session_outlives_the_link_that_it_was_begun_with(access: Access, clock: Clock) -> None:
    session = opened(access, access.create_link("alice", Role.OPERATOR, "cli:me"), Kind.LINK)
    clock.time += timedelta(hours=12, microseconds=-1)
    assert access.identify(session, Kind.SESSION) is not None
    clock.time += timedelta(microseconds=1)
    assert access.identify(session, Kind.SESSION) is None


def test_a_database_that_takes_no_writes_keeps_nobody_out(
    access: Access, clock: Clock, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    secret, made = access.create_token("on-call", Role.OPERATOR, 30, "cli:me")
    access.identify(secret, Kind.TOKEN)
    used, clock.time = clock.time, clock.time + timedelta(minutes=2)
    with engine.begin() as connection:
        connection.execute(update(credentials).where(credentials.c.id == made.id).values(name=made.name))
        who = [access.identify(secret, Kind.TOKEN) for _ in range(2)]
    assert [each and each.actor for each in who] == ["token:on-call"] * 2
    # A try may wait for the lock, so there was one.
    assert [each.message for each in caplog.records] == ["credential_use_not_noted"]
    assert access.tokens()[0].last_used_at == used
    clock.time += timedelta(minutes=2)
    access.identify(secret, Kind.TOKEN)
    assert access.tokens()[0].last_used_at == clock.time


def test_two_live_tokens_cannot_share_a_name(access: Access) -> None:
    access.create_token("ci", Role.VIEWER, 1, "cli:me")
    with pytest.raises(SyncError, match="name_taken"):
        access.create_token("ci", Role.ADMIN, 1, "cli:me")


def test_of_two_at_once_one_gets_the_name(access: Access) -> None:
    def create(_: int) -> str:
        try:
            return access.create_token("ci", Role.VIEWER, 1, "cli:me")[1].name
        except SyncError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(8))) == ["ci", *["name_taken"] * 7]
    assert [each.name for each in access.tokens()] == ["ci"]


def test_the_name_of_one_that_ended_is_free(access: Access) -> None:
    access.create_token("ci", Role.VIEWER, 1, "cli:me")
    access.revoke_token("ci", "cli:me", "")
    assert access.create_token("ci", Role.ADMIN, 1, "cli:me")[1].role is Role.ADMIN


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\nb", "admin"])
def test_a_name_that_the_audit_log_cannot_hold_or_tell_apart_is_refused(access: Access, name: str) -> None:
    for create in (
        lambda: access.create_token(name, Role.VIEWER, 1, "cli:me"), lambda: access.create_link(name, Role.VIEWER, "cli:me")
    ):  # fmt: skip
        with pytest.raises(SyncError, match="name") as refused:
            create()
        assert (refused.value.code, refused.value.field) == ("bad_request", "name")
    assert access.tokens() == []


def test_a_token_with_the_longest_name_can_be_used(access: Access) -> None:
    secret, _ = access.create_token("x" * 100, Role.ADMIN, 1, "cli:me")
    assert access.identify(opened(access, secret, Kind.TOKEN), Kind.SESSION) is not None


def test_a_link_opens_one_session_within_ten_minutes(access: Access, clock: Clock) -> None:
    link = access.create_link("alice", Role.OPERATOR, "cli:me")
    who = access.identify(link, Kind.TOKEN, Kind.LINK)
    assert who is not None
    session = access.open_session(who)
    with pytest.raises(SyncError, match="unauthorized"):
        access.open_session(who)
    assert access.identify(link, Kind.LINK) is None
    found = access.identify(session, Kind.SESSION)
    assert found is not None
    assert (found.actor, found.role) == ("session:alice", Role.OPERATOR)
    access.close_session(session)
    assert access.identify(session, Kind.SESSION) is None

    late = access.create_link("bob", Role.VIEWER, "cli:me")
    clock.time += timedelta(minutes=10)
    assert access.identify(late, Kind.LINK) is None


@pytest.mark.parametrize("change", [update(audit).values(actor="nobody"), delete(audit), text("DELETE FROM audit")])
def test_the_database_itself_refuses_to_change_or_remove_entries(
    access: Access, engine: Engine, change: Executable
) -> None:
    access.create_token("ci", Role.ADMIN, 1, "cli:me")
    with pytest.raises(DBAPIError, match="the audit log is append-only"), engine.begin() as connection:
        connection.execute(change)
    access.create_token("second", Role.ADMIN, 1, "cli:me")
    assert [each.actor for each in SqlAuditStore(engine).entries()] == ["cli:me", "cli:me"]


def test_a_change_and_its_entry_are_one_transaction(
    access: Access, engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the entry cannot be written, nothing is changed."""
    token, _ = access.create_token("ci", Role.ADMIN, 1, "cli:me")
    link = access.create_link("bob", Role.VIEWER, "cli:me")
    who, guest = access.identify(token, Kind.TOKEN), access.identify(link, Kind.LINK)
    assert who
    assert guest
    session = access.open_session(who)

    def full(*_: object, **__: object) -> None:
        raise SyncError("store_unavailable", "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("app.adapters.access_store.append", full)
        for change in (
            lambda: access.create_token("second", Role.VIEWER, 1, "cli:me"),
            lambda: access.revoke_token("ci", "cli:me", ""), lambda: access.create_link("eve", Role.VIEWER, "cli:me"),
            lambda: access.open_session(guest), lambda: access.open_session(who), lambda: access.close_session(session),
        ):  # fmt: skip
            with pytest.raises(SyncError, match="store_unavailable"):
                change()
    with engine.connect() as connection:
        kept = connection.execute(credentials.select()).all()
    assert len(kept) == 3
    assert [row.revoked_at for row in kept] == [None] * 3
    assert access.open_session(guest)  # the link is not spent


def test_all_of_it_is_in_the_audit_log_and_any_change_shows(access: Access, engine: Engine) -> None:
    secret, _ = access.create_token("ci", Role.ADMIN, 1, "cli:me")
    who = access.identify(secret, Kind.TOKEN)
    assert who is not None
    access.close_session(access.open_session(who))
    access.revoke_token("ci", "cli:me", "test")
    log = SqlAuditStore(engine)
    entries = list(log.entries())
    assert [each.action for each in entries] == ["token.create", "login", "logout", "token.revoke"]
    assert secret not in str(entries)
    assert verify(log.entries())[2] is None

    with engine.begin() as connection:
        unguard(connection)
        connection.execute(update(audit).where(audit.c.number == 2).values(actor="nobody"))
    fault = verify(log.entries())[2]
    assert fault is not None
    assert fault.number == 2


def test_entries_made_at_the_same_moment_form_one_chain(engine: Engine, clock: Clock) -> None:
    log = SqlAuditStore(engine)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log.append("cli:me", "test", f"thing:{number}", clock.now()), range(40)))
    assert verify(log.entries())[::2] == (40, None)
