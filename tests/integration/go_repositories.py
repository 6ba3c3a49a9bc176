"""Git repositories made to order (git fast-import) and what a real `go mod download` makes of them, many at a time."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.go_oracle import go_binary, go_environment

COMMIT_TIME = 1_600_000_000
"""Seconds; 2020-09-13 12:26:40 UTC. Each further commit is a second later."""
SITE = "example.com/r"

FILE, EXECUTABLE, SYMLINK, GITLINK = "100644", "100755", "120000", "160000"


@dataclass(frozen=True)
class Blob:
    """A file's content (a symlink's target, a gitlink's 40 digits) and git mode."""

    content: bytes
    mode: str = FILE


@dataclass(frozen=True)
class Commit:
    """A commit on main with all its files by name (any bytes), and the tags on it: name -> `light`, `annotated` or `nested`."""

    files: Mapping[bytes, Blob]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What go says: `error`, or both hashes."""

    error: str
    h1: str
    h1_go_mod: str
    zip: str


def make_repository(directory: Path, commits: Sequence[Commit], *, object_format: str = "sha1") -> list[str]:
    """A bare repository with these commits on main; returns their hashes."""
    subprocess.run(
        ["git", "init", "-q", "--bare", f"--object-format={object_format}", "-b", "main", str(directory)], check=True
    )
    stream = b"".join(_commit(number, commit) for number, commit in enumerate(commits, 1))
    marks = directory / "marks"
    command = ["git", "--git-dir", str(directory), "fast-import", "--quiet", f"--export-marks={marks}"]
    subprocess.run(command, input=stream, check=True, capture_output=True)
    found = dict(line.split() for line in marks.read_text().splitlines())
    return [found[f":{number}"] for number in range(1, len(commits) + 1)]


def download(base: Path, cache: Path, releases: Sequence[str], *, site: str = SITE) -> dict[str, Answer]:
    """Ask go for `example.com/r/NAME.git...@VERSION`, where NAME is a repository in `base`; by release as asked for.

    Another `site` (`github.com/x`) stands for `base` in the same way.
    """
    base.mkdir(exist_ok=True)
    done = subprocess.run(
        [go_binary(), "mod", "download", "-json", *releases],
        cwd=base,
        env=_environment(base, cache, site),
        capture_output=True,
        text=True,
        check=False,
    )
    answers = {}
    for value in _json_values(done.stdout):
        asked = f"{value['Path']}@{value.get('Query', value['Version'])}"
        answers[asked] = Answer(
            value.get("Error", ""), value.get("Sum", ""), value.get("GoModSum", ""), value.get("Zip", "")
        )
    assert set(answers) == set(releases), (done.stderr, done.stdout)
    return answers


def _environment(base: Path, cache: Path, site: str) -> dict[str, str]:
    """A go that fetches SITE/NAME from `base`/NAME, and nothing else from anywhere."""
    settings = {
        "GOPROXY": "direct", "GOSUMDB": "off", "GOVCS": "*:git", "GOFLAGS": "-modcacherw", "GOMODCACHE": str(cache),
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{base}/.insteadOf", "GIT_CONFIG_VALUE_0": f"https://{site}/",
        "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ALLOW_PROTOCOL": "file:https",
    }  # fmt: skip
    return go_environment(**settings)


def _commit(number: int, commit: Commit) -> bytes:
    when = f"A B <a@example.com> {COMMIT_TIME + number} +0000\n".encode()
    head = b"commit refs/heads/main\nmark :%d\nauthor %scommitter %sdata 1\nx\ndeleteall\n" % (number, when, when)
    files = b"".join(_file(name, blob) for name, blob in commit.files.items())
    tags = b"".join(_tag(name, kind, number, when) for name, kind in commit.tags.items())
    return head + files + b"\n" + tags


def _file(name: bytes, blob: Blob) -> bytes:
    quoted = b'"' + b"".join(b"\\%03o" % byte for byte in name) + b'"'
    if blob.mode == GITLINK:
        return b"M 160000 %s %s\n" % (blob.content, quoted)
    return b"M %s inline %s\ndata %d\n%s\n" % (blob.mode.encode(), quoted, len(blob.content), blob.content)


def _tag(name: str, kind: str, number: int, when: bytes) -> bytes:
    if kind == "light":
        return f"reset refs/tags/{name}\nfrom :{number}\n\n".encode()
    mark = 100_000 + abs(hash((name, number))) % 100_000
    tagged = b"tag %s\nmark :%d\nfrom :%d\ntagger %sdata 1\nt\n" % (name.encode(), mark, number, when)
    if kind == "annotated":
        return tagged
    return tagged.replace(name.encode(), b"inner/" + name.encode(), 1) + b"tag %s\nfrom :%d\ntagger %sdata 1\nt\n" % (
        name.encode(),
        mark,
        when,
    )


def _json_values(text: str) -> list[dict[str, str]]:
    values, place = [], 0
    while place < len(text.rstrip()):
        value, place = json.JSONDecoder().raw_decode(text, place)
        values.append(value)
        place += len(text[place:]) - len(text[place:].lstrip())
    return values
