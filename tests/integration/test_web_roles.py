"""What each role may do over HTTP, login links, and the command line for both."""

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.bootstrap import Container
from app.domain.access import Role
from tests.integration.web_world import BEARER

REPLAY = "/api/runs/r" + "0" * 19 + "/replay"
OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.mark.parametrize(
    ("role", "reads", "replays"), [(Role.VIEWER, 200, 403), (Role.OPERATOR, 200, 404), (Role.ADMIN, 200, 404)]
)
def test_a_role_is_a_bound(container: Container, client: FlaskClient, role: Role, reads: int, replays: int) -> None:
    secret, _ = container.access.create_token("someone", role, 1, "cli:test")
    bearer = {"Authorization": f"Bearer {secret}"}
    assert client.get("/api/runs", headers=bearer).status_code == reads
    answer = client.post(REPLAY, headers=bearer)
    assert answer.status_code == replays
    if replays == 403:
        assert answer.get_json()["error"]["code"] == "forbidden_role"


@pytest.mark.parametrize(
    ("path", "body", "answers"),
    [
        ("/api/mirrors/check", {"mirror": "no/such"}, (403, 404, 404)),
        ("/api/mirrors/mend", {"mirror": "no/such", "reason": "why"}, (403, 403, 404)),
        (
            "/api/mirrors/move-source",
            {"mirror": "no/such", "to": "https://git.corp.example/x", "reason": "why"},
            (403, 403, 404),
        ),
        ("/api/sources/nobody/test", {}, (403, 403, 404)),
    ],
)
def test_mirrors_and_sources_ask_for_their_role(
    container: Container, client: FlaskClient, path: str, body: dict[str, str], answers: tuple[int, ...]
) -> None:
    for role, status in zip(Role, answers, strict=True):
        secret, _ = container.access.create_token(f"a-{role}", role, 1, "cli:test")
        answer = client.post(path, json=body, headers={"Authorization": f"Bearer {secret}"})
        code = "forbidden_role" if status == 403 else "not_found"
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code), role


def test_a_viewers_session_reads_and_logs_out(container: Container, client: FlaskClient) -> None:
    link = container.access.create_link("vera", Role.VIEWER, "cli:test")
    page = client.get(f"/login?link={link}")
    assert link in page.text
    assert client.post("/login", data={"token": link}).status_code == 303
    assert client.get("/api/runs").status_code == 200
    assert client.post(REPLAY, headers=OWN).status_code == 403
    assert client.post("/logout", headers=OWN).status_code == 303
    assert client.get("/api/runs").status_code == 401


def test_a_link_is_spent_by_its_first_use(container: Container) -> None:
    link = container.access.create_link("vera", Role.VIEWER, "cli:test")
    first, second = (create_app(container).test_client() for _ in range(2))
    assert first.post("/login", data={"token": link}).status_code == 303
    assert second.post("/login", data={"token": link}).status_code == 401


def test_a_revoked_token_is_refused_at_once(container: Container, client: FlaskClient) -> None:
    secret, made = container.access.create_token("ci", Role.ADMIN, 1, "cli:test")
    bearer = {"Authorization": f"Bearer {secret}"}
    assert client.get("/api/runs", headers=bearer).status_code == 200
    container.access.revoke_token(made.id, "cli:test", "")
    assert client.get("/api/runs", headers=bearer).status_code == 401


def test_a_stolen_cookie_is_worth_nothing_after_the_logout(client: FlaskClient, container: Container) -> None:
    secret, _ = container.access.create_token("me", Role.ADMIN, 1, "cli:test")
    cookie = client.post("/login", data={"token": secret}).headers["Set-Cookie"].partition(";")[0]
    thief = create_app(container).test_client(use_cookies=False)
    assert thief.get("/api/runs", headers={"Cookie": cookie}).status_code == 200
    client.post("/logout", headers=OWN)
    assert thief.get("/api/runs", headers={"Cookie": cookie}).status_code == 401


def test_the_configurations_token_is_the_administrators(client: FlaskClient) -> None:
    assert client.post(REPLAY, headers=BEARER).status_code == 404
