"""Go modules with a history, for the platform: the demo's ledger, and plain ones in any number."""

from dataclasses import dataclass, field

from tests.sandbox.repositories import Repositories

HOST = "go.corp.example"
_GO = "go 1.21"


@dataclass(frozen=True)
class Release:
    """One module path at one version, and where the platform keeps it."""

    repository: str
    module_path: str
    version: str
    tag: str
    commit: str
    subdir: str = ""

    @property
    def query(self) -> str:
        """What `go` calls it: `path@version`."""
        return f"{self.module_path}@{self.version}"


@dataclass
class Module:
    """A module in a repository: commits and tags come one after the other through `release`."""

    repositories: Repositories
    repository: str
    path: str
    subdir: str = ""
    branch: str = "main"
    tag_prefix: str = ""
    releases: dict[str, Release] = field(default_factory=dict)

    def release(self, version: str, files: dict[str, str], *, requires: str = "", annotated: bool = False) -> Release:
        """Commit go.mod and `files` (names below the module's directory), tag the commit; the release by version."""
        placed = {"go.mod": go_mod(self.path, requires)} | files
        base = f"{self.subdir}/" if self.subdir else ""
        named = {f"{base}{name}": content for name, content in placed.items()}
        commit = self.repositories.commit(self.repository, named, f"{self.path} {version}", branch=self.branch)
        tag = self.tag_prefix + version
        self.repositories.tag(self.repository, tag, commit, annotated=annotated)
        self.releases[version] = Release(self.repository, self.path, version, tag, commit, self.subdir)
        return self.releases[version]


@dataclass(frozen=True)
class Ledger:
    """The demo's repository: the root module's v1 line, its `/v2`, and the nested `sdk`, which imports the root."""

    root: Module
    v2: Module
    sdk: Module

    @property
    def trio(self) -> tuple[Release, Release, Release]:
        """The three releases that `PROGRAM` needs: v1.2.0, sdk/v0.3.0 and v2.0.0."""
        return self.root.releases["v1.2.0"], self.sdk.releases["v0.3.0"], self.v2.releases["v2.0.0"]


def go_mod(path: str, requires: str = "") -> str:
    """A go.mod; `requires` is `path version` of the one module required, if any."""
    requirement = f"\nrequire {requires}\n" if requires else ""
    return f"module {path}\n\n{_GO}\n{requirement}"


def make_plain(
    repositories: Repositories, repository: str, *versions: str, path: str = "", annotated: bool = False
) -> Module:
    """A new repository with one module at its root, and one commit for each version."""
    module = Module(repositories, repository, path or f"{HOST}/{repository}")
    repositories.make_repository(repository)
    for version in versions or ("v1.0.0",):
        name = repository.rpartition("/")[2].replace("-", "")
        source = f'// Package {name} says which version it is.\npackage {name}\n\nconst Version = "{version}"\n'
        module.release(version, {f"{name}.go": source, "LICENSE": "Free to use.\n"}, annotated=annotated)
    return module


def make_ledger(repositories: Repositories, repository: str = "payments/ledger", *, major: str = "branch") -> Ledger:
    """The ledger with all its releases: v1.0.0 and sdk/v0.3.0 have lightweight tags, the others annotated ones.

    `major` says where `/v2` lives: "branch" (branch `v2`, go.mod at the root) or "directory" (`v2/`).
    """
    repositories.make_repository(repository)
    path = f"{HOST}/{repository}"
    root = Module(repositories, repository, path)
    sdk = Module(repositories, repository, f"{path}/sdk", subdir="sdk", tag_prefix="sdk/")
    _release_v1(root)
    sdk.release("v0.3.0", {"sdk.go": _SDK.replace("PATH", path)}, requires=f"{path} v1.2.0")
    v2 = _major_module(repositories, repository, path, major)
    v2.release("v2.0.0", {"ledger.go": _V2}, annotated=True)
    return Ledger(root, v2, sdk)


def _release_v1(root: Module) -> None:
    root.release("v1.0.0", {"ledger.go": _V1_0, "LICENSE": "Free to use.\n"})
    root.repositories.commit(root.repository, {"README.md": "# Ledger\n\nDouble-entry books.\n"}, "Say what this is")
    root.release("v1.1.0", {"ledger.go": _V1_1}, annotated=True)
    root.release("v1.2.0", {"ledger.go": _V1_2}, annotated=True)


def _major_module(repositories: Repositories, repository: str, path: str, major: str) -> Module:
    if major == "directory":
        return Module(repositories, repository, f"{path}/v2", subdir="v2")
    repositories.branch(repository, "v2", "main")
    return Module(repositories, repository, f"{path}/v2", branch="v2")


_V1_0 = """// Package ledger keeps double-entry books.
package ledger

// Entry moves an amount in cents from one account to another.
type Entry struct {
	From, To string
	Cents    int64
}
"""

_V1_1 = (
    _V1_0
    + """
// Balance of an account in cents.
func Balance(account string, entries []Entry) (cents int64) {
	for _, e := range entries {
		if e.To == account {
			cents += e.Cents
		}
		if e.From == account {
			cents -= e.Cents
		}
	}
	return cents
}
"""
)

_V1_2 = (
    _V1_1
    + """
// Version of the ledger.
const Version = "v1.2.0"
"""
)

_V2 = """// Package ledger keeps double-entry books, in any currency.
package ledger

// Amount of money in the currency's smallest unit.
type Amount struct {
	Currency string
	Units    int64
}

// Version of the ledger.
const Version = "v2.0.0"
"""

_SDK = """// Package sdk talks to a ledger.
package sdk

import "PATH"

// Deposit makes the entry for cash paid in.
func Deposit(account string, cents int64) ledger.Entry {
	return ledger.Entry{From: "cash", To: account, Cents: cents}
}

// Version of the SDK.
const Version = "v0.3.0"
"""

PROGRAM = {
    "go.mod": f"""module {HOST}/shop

{_GO}

require (
	{HOST}/payments/ledger v1.2.0
	{HOST}/payments/ledger/sdk v0.3.0
	{HOST}/payments/ledger/v2 v2.0.0
)
""",
    "main.go": f"""package main

import (
	"{HOST}/payments/ledger"
	"{HOST}/payments/ledger/sdk"
	v2 "{HOST}/payments/ledger/v2"
)

func main() {{
	entries := []ledger.Entry{{sdk.Deposit("alice", 250)}}
	println(ledger.Version, sdk.Version, v2.Version, ledger.Balance("alice", entries))
}}
""",
}
"""A Go program (file name to text) that needs the ledger's trio; it prints their versions and 250 to stderr."""
