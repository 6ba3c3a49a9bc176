"""pre-receive and post-receive of every repository: GitLab's rules, in GitLab's words.

Stands alone (`python -I -S hook.py NAME`). SANDBOX_RULES names a JSON file that the stand-in wrote for this push:
{"level": int, "project": str, "empty": bool, "protect_default": bool, "default_branch": str | null, "lfs": bool,
 "members_url": str, "notes": [str], "branches": [{"name", "push", "merge", "force"}], "tags": [{"name", "create"}],
 "file_bytes": int, "repository_bytes": int, "used_bytes": int}.
post-receive writes `<that file>.result`: {"updates": [[old, new, ref]], "options": [str]}.
One refused ref refuses the whole push: the first refusal ends pre-receive with status 1.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

Rules = dict[str, Any]
NOBODY = "0" * 40
DEVELOPER, MAINTAINER = 30, 40
HEADS, TAGS = "refs/heads/", "refs/tags/"
POINTER = b"version https://git-lfs.github.com/spec/v1\n"
MISSING_LFS = 'LFS objects are missing. Ensure LFS is properly set up or try a manual "git lfs push --all".'


class RefusedError(Exception):
    """The text that the pusher reads."""


def main(name: str) -> int:
    rules: Rules = json.loads(Path(os.environ["SANDBOX_RULES"]).read_text(encoding="utf-8"))
    updates = [line.rstrip("\n").split(" ", 2) for line in sys.stdin]
    if name == "post-receive":
        return received(rules, updates)
    try:
        for update in updates:
            check(rules, *update)
        check_content(rules, [new for _, new, _ in updates if new != NOBODY])
    except RefusedError as refusal:
        print(f"GitLab: {refusal}", file=sys.stderr)
        return 1
    return 0


def received(rules: Rules, updates: list[list[str]]) -> int:
    count = int(os.environ.get("GIT_PUSH_OPTION_COUNT", "0"))
    options = [os.environ[f"GIT_PUSH_OPTION_{number}"] for number in range(count)]
    report = json.dumps({"updates": updates, "options": options})
    Path(os.environ["SANDBOX_RULES"] + ".result").write_text(report, encoding="utf-8")
    for note in rules["notes"]:
        print(note)
    return 0


def check(rules: Rules, old: str, new: str, ref: str) -> None:
    if ref.startswith(HEADS):
        check_branch(rules, old, new, ref[len(HEADS) :])
    elif ref.startswith(TAGS):
        check_tag(rules, old, new, ref[len(TAGS) :])
    elif rules["level"] < DEVELOPER:
        raise RefusedError("You are not allowed to push code to this project.")


def check_branch(rules: Rules, old: str, new: str, branch: str) -> None:
    found = [rule for rule in rules["branches"] if matches(rule["name"], branch)]
    if new == NOBODY and branch == rules["default_branch"]:
        raise RefusedError("The default branch of a project cannot be deleted.")
    if not found and not (rules["empty"] and rules["protect_default"]):
        if rules["level"] < DEVELOPER:
            raise RefusedError("You are not allowed to push code to this project.")
        return
    if is_forced(old, new) and not any(rule["force"] for rule in found):
        raise RefusedError("You are not allowed to force push code to a protected branch on this project.")
    check_protected_branch(rules, old, new, found)


def check_protected_branch(rules: Rules, old: str, new: str, found: list[Rules]) -> None:
    if new == NOBODY:
        if rules["level"] < MAINTAINER:
            raise RefusedError(
                "You are not allowed to delete protected branches from this project. "
                "Only a project maintainer or owner can delete a protected branch."
            )
        raise RefusedError("You can only delete protected branches using the web interface.")
    needed = [rule["push"] for rule in found] or [MAINTAINER]
    if any(level and rules["level"] >= level for level in needed):
        return
    if rules["empty"]:
        raise RefusedError(no_default_branch(rules))
    if old == NOBODY:
        raise RefusedError("You are not allowed to create protected branches on this project.")
    raise RefusedError("You are not allowed to push code to protected branches on this project.")


def no_default_branch(rules: Rules) -> str:
    return (
        f"A default branch (e.g. main) does not yet exist for {rules['project']}\n"
        f"Ask a project Owner or Maintainer to create a default branch:\n\n  {rules['members_url']}\n\n"
    )


def check_tag(rules: Rules, old: str, new: str, tag: str) -> None:
    found = [rule for rule in rules["tags"] if matches(rule["name"], tag)]
    if old != NOBODY and rules["level"] < DEVELOPER:
        raise RefusedError("You are not allowed to change existing tags on this project.")
    if not found:
        return
    if old != NOBODY and new != NOBODY:
        raise RefusedError("Protected tags cannot be updated.")
    if new == NOBODY:
        raise RefusedError("You can only delete protected tags using the web interface.")
    if not any(rule["create"] and rules["level"] >= rule["create"] for rule in found):
        raise RefusedError("You are not allowed to create this tag as it is protected.")


def check_content(rules: Rules, tips: list[str]) -> None:
    """Sizes, and LFS pointers, of the blobs that this push brings."""
    if rules["repository_bytes"] and rules["used_bytes"] > rules["repository_bytes"]:
        over, limit = rules["used_bytes"] - rules["repository_bytes"], rules["repository_bytes"]
        raise RefusedError(
            "Your push has been rejected, because this repository has exceeded its size limit "
            f"of {limit} Bytes by {over} Bytes. Please contact your GitLab administrator for more information."
        )
    if not tips or not (rules["lfs"] or rules["file_bytes"]):
        return
    for blob, size, path in new_blobs(tips):
        if rules["file_bytes"] and size > rules["file_bytes"]:
            limit = rules["file_bytes"] / 1024 / 1024
            raise RefusedError(f'File "{path}" is larger than the allowed size of {limit:g} MiB. Use Git LFS instead.')
        if rules["lfs"] and size < 200 and git("cat-file", "blob", blob).startswith(POINTER):
            raise RefusedError(MISSING_LFS)


def new_blobs(tips: list[str]) -> Iterator[tuple[str, int, str]]:
    listed = git("rev-list", "--objects", "--in-commit-order", *tips, "--not", "--all")
    form = "--batch-check=%(objectname) %(objecttype) %(objectsize) %(rest)"
    for line in git("cat-file", form, stdin=listed).decode("utf-8", "replace").splitlines():
        name, kind, size, path = [*line.split(" ", 3), ""][:4]
        if kind == "blob":
            yield name, int(size), path


def is_forced(old: str, new: str) -> bool:
    if NOBODY in (old, new):
        return False
    return subprocess.run(["git", "merge-base", "--is-ancestor", old, new], check=False).returncode != 0


def matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


def git(*arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["git", *arguments], input=stdin, stdout=subprocess.PIPE, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
