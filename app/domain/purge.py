"""How a version is taken out of a private proxy that keeps what it has: what modsync can only ask a person to do."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.modules import ModulePath, Version

# kind -> the step there. {files} are the three files in GOPROXY layout, {plain} and {keys} the directory and the objects as
# Athens names them, which takes the `!` out of a path before it stores it (pkg/paths DecodePath).
# Athens: pkg/storage/fs and minio (module/version/...), pkg/config PackageVersionedName for s3, gcp and azureblob; a stored
# version is never fetched again, and there is no API to delete one.
_STEPS: Mapping[str, str] = {
    "athens": "Athens never fetches a stored version again: delete it from Athens' storage (disk and MinIO: all of"
    " {plain}/; S3, GCS, Azure: the objects {keys})",
    "artifactory": "delete {files} from the remote repository's cache in Artifactory (DELETE <repo>-cache/<path>)",
    "goproxy": "delete {files} from goproxy's cache",
    "gitlab": "GitLab's own proxy reads the tag each time: look for a cache between GitLab and modsync",
    "static": "delete {files} below the static proxy's directory and replay the run from stage pipeline: modsync writes"
    " them anew",
}
_ANY = "delete {files} from the proxy's storage"
_AFTER = (
    "; delete it from caches in front of the proxy (nginx), then replay the run from stage verify. Whoever has the old"
    " one needs: go clean -modcache, and go.sum without its two lines"
)


def purge_steps(kind: str, module: ModulePath, version: Version) -> str:
    """One sentence: what to delete where, for a proxy of this kind, and what comes after it."""
    files = f"{module.escaped}/@v/{version.escaped}.{{info,mod,zip}}"
    keys = f"{module}/@v/{version}.{{info,mod,zip}}"
    return _STEPS.get(kind, _ANY).format(files=files, plain=f"{module}/{version}", keys=keys) + _AFTER
