"""What the service's own ways (the mirror stage's finder, a cache's files) make of a release, without a server or a fetch."""

from pathlib import Path

from app.adapters.git_copy import Copy
from app.adapters.git_env import GitOptions
from app.adapters.git_process import Watch
from app.adapters.git_repository import Repository
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, RuleBroken, Version
from app.domain.modzip import hash_go_mod
from app.services.checksum import module_sums
from app.services.ports import SourceCopy
from app.services.stages.mirror import _prepare
from app.services.stages.mirror_values import Release

_NOT_ONE = frozenset({"not_a_module", "module_mismatch", "go_mod_missing"})


def as_the_service(repository: Path, module: ModulePath, version: Version, subdir: str) -> tuple[str, str] | SyncError:
    """Both h1 of a release whose bare repository is taken for a cache, or why it is refused; `subdir` as a rule says it."""
    options = GitOptions(repository.parent / "cache")
    copy = Copy(Repository(repository, options, lambda _: None, Watch(60, _agree, 1)), repository, "", fresh=False)
    try:
        release = Release("r", module, version, "", subdir)
        at = copy._peeled(f"refs/tags/{release.tag}")
        made = _prepare(copy, Release("r", module, version, at.commit or "", subdir), at, _proof)
        return made.h1, hash_go_mod(made.go_mod)
    except SyncError as error:
        if error.code not in _NOT_ONE:
            raise
        return error
    finally:
        copy.close()


def _proof(cache: SourceCopy, release: Release, directory: str) -> str:
    """As app.bootstrap_doors has it."""
    assert isinstance(cache, Copy)
    files = cache.files(Path(cache.path()).parent)
    try:
        return module_sums(files, release.commit, release.module, release.version, directory).h1_zip
    except RuleBroken as broken:
        raise SyncError("not_a_module", broken.message) from broken


def _agree() -> None:
    return None
