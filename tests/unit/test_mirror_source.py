"""A repository's clone URL in one form: spellings of one are the same, two repositories never are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import CATALOG, SyncError
from app.domain.mirror_source import mirror_of_another, source_url
from app.domain.urls import CloneUrl

HERE = "https://git.corp.example/team/repo"
SAME = {
    HERE: HERE,
    f"{HERE}.git": HERE,
    f"{HERE}/": HERE,
    f"{HERE}.git/": HERE,
    f"{HERE}.git.git": HERE,
    "HTTPS://GIT.Corp.Example:443/team/repo.git": HERE,
    "https://git.corp.example/%74eam/rep%6F.git": HERE,
    "https://git.corp.example/team/a%c3%a9": "https://git.corp.example/team/a%C3%A9",
    "https://git.corp.example/team/%2drepo": "https://git.corp.example/team/%2Drepo",
    "https://git.corp.example/~me/repo": "https://git.corp.example/~me/repo",
    "https://git.corp.example/team/.git": "https://git.corp.example/team/.git",
    "https://git.corp.example:8443/team/repo.git": "https://git.corp.example:8443/team/repo",
    "https://[2001:DB8::0:1]/team/repo": "https://[2001:db8::1]/team/repo",
    "ssh://git@git.corp.example:22/team/repo.git": "ssh://git@git.corp.example/team/repo",
    "http://127.0.0.1:8080/team/repo.git": "http://127.0.0.1:8080/team/repo",
    "file:///srv/git/repo.git": "file:///srv/git/repo",
    "https://registry.corp.example/api/go/go-local/go.corp.example/!team/repo": (
        "https://registry.corp.example/api/go/go-local/go.corp.example/!team/repo"
    ),
}
# Each is another repository than all others.
OTHERS = [
    HERE,
    "http://git.corp.example/team/repo",
    "ssh://git@git.corp.example/team/repo",
    "ssh://alice@git.corp.example/team/repo",
    "ssh://git.corp.example/team/repo",
    "https://git.corp.example:8443/team/repo",
    "https://git2.corp.example/team/repo",
    "https://git.corp.example/team/Repo",
    "https://git.corp.example/team/repo2",
    "https://git.corp.example/team/repo.gitx",
    "https://git.corp.example/team",
    "https://git.corp.example/team/repo/x",
    "https://git.corp.example/other/repo",
    "https://git.corp.example/team/.git",
    "file:///team/repo",
]

# Few of each, so that two URLs are often nearly the same.
SEGMENTS = st.sampled_from(["a", "A", "~a", "a.git", "a.git.git", ".git", "git", "a+b", "@,=!-_"])
URLS = st.builds(
    CloneUrl,
    scheme=st.sampled_from(["https", "ssh"]),
    host=st.sampled_from(["git.example", "git2.example"]),
    port=st.sampled_from([None, 8443]),
    path=st.lists(SEGMENTS, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts)),
)


@pytest.mark.parametrize(("text", "wanted"), SAME.items())
def test_spellings_of_one_repository(text: str, wanted: str) -> None:
    assert source_url(text) == wanted


def test_other_repositories() -> None:
    assert len({source_url(each) for each in OTHERS}) == len(OTHERS)


@given(URLS)
def test_one_form_is_its_own_form_and_a_clone_url(url: CloneUrl) -> None:
    once = source_url(str(url))
    assert source_url(once) == once
    assert str(CloneUrl.parse(once, sandbox=True)) == once


@given(URLS, st.data())
def test_a_spelling_changes_nothing(url: CloneUrl, data: st.DataObject) -> None:
    ending = data.draw(st.sampled_from(["", "/", ".git", ".git/"])) if not url.path.endswith("/.git") else ""
    scheme, _, rest = str(url).partition("://")
    host, _, path = rest.partition("/")
    escaped = "".join(f"%{ord(each):02x}" if each in "aAgit_~" and data.draw(st.booleans()) else each for each in path)
    assert source_url(f"{scheme.upper()}://{host.upper()}/{escaped}{ending}") == source_url(str(url))


@given(URLS, URLS)
def test_two_repositories_are_never_one(first: CloneUrl, second: CloneUrl) -> None:
    """They differ in more than an ending: only that is left out."""

    def bare(url: CloneUrl) -> CloneUrl:
        path = url.path
        while path.endswith(".git") and not path.endswith("/.git"):
            path = path.removesuffix(".git")
        return CloneUrl(url.scheme, url.host, url.port, path, url.user)

    one, other = (CloneUrl.parse(str(bare(each)), sandbox=True) for each in (first, second))
    assert (source_url(str(first)) == source_url(str(second))) == (one == other)


@pytest.mark.parametrize(
    "text", ["https://alice:hunter2@git.corp.example/x", "https://token@git.corp.example/x", "", "git@h:x"]
)
def test_a_password_never_gets_there(text: str) -> None:
    with pytest.raises(SyncError, match="clone_url_refused") as caught:
        source_url(text)
    assert "hunter2" not in str(caught.value)


def test_the_error_names_all_that_is_needed_and_ends_the_run_as_rejected() -> None:
    error = mirror_of_another("go.corp.example/a/b@v1.0.0", "go-mirrors/a/b", HERE, "https://elsewhere.example/a/b")
    for named in ("go.corp.example/a/b@v1.0.0", "go-mirrors/a/b", HERE, "https://elsewhere.example/a/b"):
        assert named in error.message
    assert (error.code, error.kind.rejects, error.retryable) == ("mirror_of_another", True, False)
    assert "move-source" in CATALOG["mirror_of_another"].advice
