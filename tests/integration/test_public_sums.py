"""Public modules' go.sum lines, as others recorded them, where their repositories are at hand.

`make public-sums`, where MODSYNC_PUBLIC_REPOSITORIES names a directory with clones (bare or not) by these names; nothing is
fetched here.
"""

import os
from pathlib import Path

import pytest

from app.adapters.git_history import open_history
from app.domain.modules import ModulePath, Version
from app.services.checksum import module_sums
from app.services.locate import locate

PLACE = os.environ.get("MODSYNC_PUBLIC_REPOSITORIES", "")
RECORDED = {
    "rsc-quote": """
        rsc.io/quote v1.5.2 h1:w5fcysjrx7yqtD/aO+QwRjYZOKnaM9Uh2b40tElTs3Y=
        rsc.io/quote v1.5.2/go.mod h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=
        rsc.io/quote v1.5.3-0.20180710144737-5d9f230bcfba h1:YPbK3ry9YRfDxnLRK3p/sSWjMthEyxN44AV/SQpLfYo=
        rsc.io/quote v1.5.3-0.20180710144737-5d9f230bcfba/go.mod h1:7YuuA+XbqchTpjYHB4zQUyH3QJ6NfNQwBeWLrZ9BH2k=
        rsc.io/quote/v3 v3.0.0 h1:OEIXClZHFMyx5FdatYfxxpNEvxTqHlu5PNdla+vSYGg=
        rsc.io/quote/v3 v3.0.0/go.mod h1:yEA65RcK8LyAZtP9Kv3t0HmxON59tX3rD+tICJqUlj0=
        rsc.io/quote/v3 v3.1.0 h1:9JKUTTIUgS6kzR9mK1YuGKv6Nl+DijDNIc0ghT58FaY=
        rsc.io/quote/v3 v3.1.0/go.mod h1:yEA65RcK8LyAZtP9Kv3t0HmxON59tX3rD+tICJqUlj0=
    """,
}
LINES = [(name, line.strip()) for name, text in RECORDED.items() for line in text.strip().splitlines()]


@pytest.mark.public
@pytest.mark.parametrize(("name", "line"), LINES, ids=[line.rpartition(" ")[0] for _, line in LINES])
def test_what_others_recorded(name: str, line: str) -> None:
    path, text, _ = line.split()
    module, version = ModulePath.parse(path), Version.parse(text.removesuffix("/go.mod"))
    with open_history(str(Path(PLACE) / name)) as history:
        place = locate(history, module, version)
        assert line in module_sums(history, place.commit, module, version, place.subdir).go_sum
