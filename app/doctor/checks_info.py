"""What go refuses of a proxy's answer about a version: `.info`, `@latest`."""

from __future__ import annotations

from app.doctor.findings import Finding, found
from app.doctor.observed import Answer, Request
from app.doctor.settings import shown
from app.domain.goinfo import InfoRefused, parse_rev_info
from app.domain.modules import RuleBroken, Version

_JSON_BEGINS = b'{["-0123456789'
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def info_fault(body: bytes, wanted: Version | None) -> str:
    """What is wrong with a `.info` of the version `wanted`, or with a `@latest`; empty when nothing is."""
    try:
        info = parse_rev_info(body)
        if wanted is not None and info.version != wanted.text:
            return f"Version is {info.version!r}, not {wanted}"
        Version.parse(info.version)
    except (RuleBroken, InfoRefused) as error:
        return str(error)
    return ""


def fault_of(request: Request, answer: Answer) -> str:
    """The same for an answer 200 to a request, whatever it asked for."""
    version = request.asked.partition("@")[2]
    if request.purpose not in ("info", "latest"):
        return ""
    return info_fault(answer.body, Version.parse(version) if version and request.purpose == "info" else None)


def check_info(request: Request, answer: Answer) -> Finding | None:
    """A text that does not even begin like JSON comes from something that is no Go proxy."""
    fault, url = fault_of(request, answer), shown(request.url)
    if not fault:
        return None
    start = answer.body.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
    if start and start not in _JSON_BEGINS:
        return found("html-answer", f"{url} is no JSON", f"curl -sSIL {url}")
    ask = f"curl -sSi {url}   # its operators must mend it; their check is:"
    return found("info-invalid", f"{url}: {fault}", ask, _operators(request))


def _operators(request: Request) -> str:
    return f"modsync doctor proxy {shown(request.entry.url if request.entry else request.url)} --module {request.asked}"
