"""Asking for the checksum database, where go would: for what it got, that no setting and no go.sum lets in unasked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from app.doctor.checks_missing import is_nowhere
from app.doctor.checks_sumdb import database, goes_on, is_readable, passes
from app.doctor.observed import Request
from app.doctor.probe_http import Client
from app.doctor.settings import Entry, GoSettings, matches_any


def is_needed(settings: GoSettings, names: Iterable[str], requests: Sequence[Request]) -> bool:
    """Whether go comes to ask about one of these (`path` or `path@version`): it is public, and to be had somewhere."""
    public = (name for name in names if not matches_any(settings.no_sumdb, name.partition("@")[0]))
    return any(not is_nowhere(settings.entries, name, requests) for name in public)


def ask_database(settings: GoSettings, client: Client, broken: set[Entry]) -> Iterator[Request]:
    """Ask as go does: each proxy whether it passes the database on, then the first that does, else the database."""
    name, base = database(settings)
    if not name or not is_readable(settings) or base.startswith("file:"):
        return
    for entry in settings.entries if base == f"https://{name}" else ():  # a URL in GOSUMDB bypasses the proxies
        if not entry.is_url:
            break
        if entry.fault or (entry in broken and not entry.any_error):
            return  # go would not get past it either, and what is wrong with it is known
        if entry in broken or entry.scheme == "file":
            continue
        request = client.ask("sumdb-supported", f"{entry.url}/sumdb/{name}/supported", entry)
        yield request
        if passes(request):
            yield client.ask("sumdb-latest", f"{entry.url}/sumdb/{name}/latest", entry)
            return
        if not goes_on(request):
            return
    yield client.ask("sumdb-latest", f"{base}/latest")
