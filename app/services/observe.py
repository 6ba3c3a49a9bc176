"""What is at the source, in the mirror and at the proxies now: a few small requests, at a configured pace."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, RuleBroken, Version
from app.domain.refs import TagAt
from app.domain.retractions import retracted
from app.domain.served import listed_fault, newest
from app.services.pace import Paced
from app.services.ports import Checkpoint, Git, GoProxy
from app.services.reconcile_values import Repository
from app.services.registry import Registries

Tags = dict[str, TagAt]


class Observer:
    """`mirror_url` makes the push URL of a mirror that was never seen; `checkpoint` breaks off when we have to end."""

    def __init__(
        self, git: Git, registries: Registries, proxies: Mapping[str, GoProxy], pace: Paced,
        mirror_url: Callable[[str], str], checkpoint: Checkpoint = lambda: None,
    ) -> None:  # fmt: skip
        self._registries = registries
        self._git, self._proxies, self._pace = git, proxies, pace
        self._mirror_url, self._checkpoint = mirror_url, checkpoint

    def tags(self, repository: Repository) -> tuple[Tags, Tags]:
        """The tags (short names) at the source and in the mirror; a mirror that does not exist has none.

        Of a registry the object is the version as it names it, and the commit is "".
        """
        url = repository.clone_url
        source = self._listed(url) if self._registries.knows(url) else self._tags(url, mirror=False)
        try:
            mirror = self._tags(repository.mirror_url or self._mirror_url(repository.mirror), mirror=True)
        except SyncError as error:
            if error.code != "project_missing":
                raise
            mirror = {}
        return source, mirror

    def served(self, modules: Iterable[tuple[ModulePath, str]]) -> dict[ModulePath, frozenset[Version]]:
        """The versions that the proxies list, by module; a module whose proxy is not configured is left out."""
        found: dict[ModulePath, frozenset[Version]] = {}
        for module, name in modules:
            proxy = self._proxies.get(name)
            if proxy is not None:
                self._ready()
                found[module] = frozenset(_versions(proxy.list(module) or ()))
        return found

    def left_out(
        self, module: ModulePath, name: str, versions: Iterable[Version], listed: Collection[Version],
        brought: Iterable[Version],
    ) -> set[Version]:  # fmt: skip
        """Which of these unlisted ones the proxy serves and need not list, as stage verify has it (retracted ones).

        `brought`: all that the mirror has. Asked for are the go.mod of the newest that is listed, and of the newest of all,
        then each version that may be left out by them. One that gets no answer counts as not served.
        """
        proxy, texts = self._proxies[name], [each.text for each in listed]
        lasts = {newest(texts), newest([*texts, *(each.text for each in brought)])}
        mods = [self._mod(proxy, module, last) for last in sorted(filter(None, lasts))]
        # Of those that are listed only the +incompatible majors have a say in those that are not: one of each, not all.
        majors = list({each.major: each.text for each in listed if each.is_incompatible}.values())
        asked = set(versions)
        may_be = {each for each in asked if not listed_fault(each, b"", majors, None)}
        for mod in mods:
            self._checkpoint()
            may_be |= retracted(mod, asked - may_be)
        return {each for each in may_be if self._serves(proxy, module, each)}

    def serves(self, module: ModulePath, name: str, version: Version) -> bool:
        """Whether the proxy of this name serves it; one that gives no answer does not."""
        return self._serves(self._proxies[name], module, version)

    def _mod(self, proxy: GoProxy, module: ModulePath, version: Version) -> bytes:
        self._ready()
        try:
            return proxy.mod(module, version)
        except SyncError:
            return b""

    def _serves(self, proxy: GoProxy, module: ModulePath, version: Version) -> bool:
        self._ready()
        try:
            return proxy.info(module, version).version == version.text
        except SyncError:
            return False

    def registry_module(self, repository: Repository) -> ModulePath | None:
        """The one module of a registry's address; None for a git repository."""
        url = repository.clone_url
        return self._registries.module(url) if self._registries.knows(url) else None

    def _listed(self, url: str) -> Tags:
        """By the tags that their versions have in the mirror; their commits are not known before they are made."""
        self._ready()
        versions = _versions(self._registries.versions(url))
        return {version.tag_part: TagAt(version.text, "") for version in versions if not version.is_pseudo}

    def _tags(self, url: str, *, mirror: bool) -> Tags:
        self._ready()
        side = "mirror" if mirror else "source"
        found = self._git.remote_refs(url, ["refs/tags/*"], self._checkpoint, side=side)  # type: ignore[arg-type]
        return {ref.removeprefix("refs/tags/"): at for ref, at in found.items()}

    def _ready(self) -> None:
        self._checkpoint()
        self._pace.wait()


def _versions(listed: Iterable[str]) -> Iterator[Version]:
    """What a list names, without lines that are no version: whoever asks for those is refused."""
    for text in listed:
        with suppress(RuleBroken):
            yield Version.parse(text)
