"""A 400 MB module in under 100 MB of memory, and a 600 MB one refused; measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.adapters.git_history import open_history
from app.domain.modules import ModulePath, RuleBroken, Version
from app.services.checksum import module_sums
from app.services.locate import locate

MIB = 1 << 20
LIMIT_MIB = 100
_MEASURE = """
import re, sys
from app.cli_checksum import commands
try:
    {command.name: command for command in commands}[sys.argv[1]].main(sys.argv[2:], standalone_mode=False)
finally:
    # not ru_maxrss, which begins with the peak of the process that forked
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def repository(directory: Path, files: int, size: int) -> str:
    """A bare repository with `files` equal files of `size` bytes (one blob for git), never whole in this process."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(directory)], check=True)
    command = [
        "git",
        "--git-dir",
        str(directory),
        "-c",
        "core.compression=0",
        "-c",
        "pack.compression=0",
        "fast-import",
        "--quiet",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"commit refs/heads/main\ncommitter A <a@example.com> 1600000000 +0000\ndata 1\nx\n")
        process.stdin.write(b"M 100644 inline go.mod\ndata 13\nmodule a.b/c\n\n")
        for number in range(files):
            process.stdin.write(b"M 100644 inline f%d\ndata %d\n" % (number, size))
            for _ in range(size // MIB):
                process.stdin.write(b"x" * MIB)
            process.stdin.write(b"\n")
        process.stdin.write(b"\nreset refs/tags/v1.0.0\nfrom refs/heads/main\n\n")
    assert process.returncode == 0
    return str(directory)


@pytest.mark.slow
def test_400_mb_module(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", files=4, size=100 * MIB)
    target = tmp_path / "m.zip"
    lines = {}
    for name, args in (
        ("module-zip", ["--repo", repo, "-o", str(target)]),
        ("checksum", ["--repo", repo]),
        ("checksum", ["--zip", str(target)]),
    ):
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, name, "a.b/c@v1.0.0", *args], capture_output=True, text=True, check=True
        )
        assert int(done.stderr) / 1024 < LIMIT_MIB, (name, args)
        lines[args[0]] = done.stdout
    assert lines["--repo"] == lines["--zip"]


@pytest.mark.slow
def test_600_mb_module_is_refused(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", files=6, size=100 * MIB)
    module, version = ModulePath.parse("a.b/c"), Version.parse("v1.0.0")
    with open_history(repo) as history:
        place = locate(history, module, version)
        with pytest.raises(RuleBroken) as caught:
            module_sums(history, place.commit, module, version, place.subdir)
    assert caught.value.rule == "zip_too_large"
