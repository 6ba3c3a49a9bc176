"""Takes secrets and people out of text before it leaves: errors, logs, pages, stored messages.

Two nets: shapes in which secrets usually travel (URLs, headers, query parameters, well-known token forms), and the
secret values that the caller knows, also percent-encoded or inside base64 (an HTTP Basic header). Of people: e-mail
addresses, and the name that stands before one (`Jane Doe <jane@corp.example>`), as git and GitLab like to say them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection
from urllib.parse import quote

MASK = "***"

# What a secret's name ends with: GITLAB_TOKEN, db-password, AWS_SECRET_ACCESS_KEY.
_WORDS = (
    r"(?:private|access|job|deploy|personal|refresh|id|runner|ci_job|registry|oauth|auth|api|session)?[_-]?token"
    r"|(?:client|webhook|shared)?[_-]?secret(?:[_-]?(?:access[_-]?)?key)?"
    r"|passwd|(?:pg)?password|passphrase|(?:api|access|private)[_-]?key"
)
_NAMES = rf"{_WORDS}|signature|sig|(?<=[_-])pass"
_BEGIN = r"(?<![A-Za-z0-9])"  # `_` is a letter to \b, and most names have one there
_SCHEME = r"(?:(?:Basic|Bearer|Token)[ \t]{1,40})?"
_VALUE = _SCHEME + r"(?:\"(?:[^\"\\\r\n]|\\.)*\"?|'(?:[^'\\\r\n]|\\.)*'?|[^\s&;,'\"<>]+)"
_WIDE = r"\s{1,40}"
_GAP = r"[ \t]{0,40}"  # bounded, as all that may stand between two words: a hostile text is looked through in one go
# "the token: is not set" hides nothing, and is to be read, as "corp.example/auth/token: unrecognized import path".
_PROSE = (
    r"(?!(?:an?|and|are|be|cannot|could|does|expired|for|had|has|holds|in|invalid|is|matches|may|missing|module|must|names|no"
    r"|none|not|null|or|reading|required|that|the|to|unrecognized|unset|unknown|was|were|with)[.,;:)]{0,3}(?!\S))"
)
_HEADERS = (
    r"(?:Proxy-)?Authorization|PRIVATE-TOKEN|JOB-TOKEN|DEPLOY-TOKEN|X-Gitlab-Token|X-Hub-Signature(?:-256)?"
    r"|X-Auth-Token|X-JFrog-Art-Api|Set-Cookie|Cookie"
)
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # https://user:pass@host, https://token@host; a bare ssh user (git@) is no secret
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/?#:@'\"<>]*:[^\s/?#'\"<>]*@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)\b(https?://)[^\s/?#@'\"<>]+@"), rf"\1{MASK}@"),
    (re.compile(rf"(?i)([?&;](?:{_NAMES})=)[^\s&;#'\"<>]+"), rf"\1{MASK}"),
    (re.compile(rf"(?im)\b({_HEADERS})([\"']?\s*[:=]\s*)[^\r\n]+"), rf"\1\2{MASK}"),
    (re.compile(rf"(?i){_BEGIN}((?:{_NAMES})[\"']{_GAP}:{_GAP})([\"'])(?:(?!\2)[^\\\r\n]|\\.)*\2?"), rf"\1\2{MASK}\2"),
    (re.compile(rf"(?i){_BEGIN}((?:{_NAMES}){_GAP}[:?+]?={{1,3}}>?{_GAP}){_VALUE}"), rf"\1{MASK}"),
    (re.compile(rf"(?i){_BEGIN}((?:{_WORDS}){_GAP}:(?![=/]){_GAP}){_PROSE}{_VALUE}"), rf"\1{MASK}"),
    # a command's option, and .netrc
    (
        re.compile(rf"(?i)(--(?:[a-z0-9]{{1,40}}[_-]){{0,5}}(?:{_WORDS})[ \t]{{1,40}})(?!-){_PROSE}{_VALUE}"),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            rf"(?i)\b((?:machine{_WIDE}\S{{1,255}}|default)(?:{_WIDE}(?:login|account){_WIDE}\S{{1,255}}){{0,2}}{_WIDE}"
            rf"password{_WIDE})\S+"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"(?i)\b(Basic|Bearer)(\s+)[A-Za-z0-9+/=._~-]{8,}"), rf"\1\2{MASK}"),
    (re.compile(r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|oas)-[A-Za-z0-9_.-]{8,}"), MASK),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{16,}"), MASK),
)
# `git@host` is nobody; `module@v1.2.3-rc.one` and what stands in a path or URL are no addresses. No word is longer than
# 64 characters, so that a long text without an address is looked through in one go.
_ADDRESS = (
    r"(?<![\w.+/@%-])(?!git@)[\w.+-]{1,64}(?:@|%40)(?!v\d+\.\d)[^\W_](?:[\w-]{0,62}\.){1,8}[^\W\d_]{2,24}(?![\w-])"
)
_PEOPLE = (
    re.compile(rf"(?:\"[^\"\r\n<>]{{1,80}}\"[ \t]*|(?:(?<![\w.'’-])[\w.'’-]{{1,40}},?[ \t]+){{0,4}})<{_ADDRESS}>"),
    re.compile(_ADDRESS),
)
_CORE_LENGTH = 4  # shorter pieces of base64 would match by chance


def redact(text: str, secrets: Collection[str] = ()) -> str:
    """`text` without secrets and people: each of `secrets` in its plain, quoted and base64 forms, then known shapes.

    Idempotent; text without any comes back unchanged. Empty secrets are ignored.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = _without(text, secret)
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    return _without_people(text) if "@" in text or "%40" in text else text


def _without_people(text: str) -> str:
    for pattern in _PEOPLE:
        text = pattern.sub(MASK, text)
    return text


def _without(text: str, secret: str) -> str:
    for form in {secret, quote(secret, safe=""), quote(secret)}:
        text = text.replace(form, MASK)
    for core in _base64_cores(secret.encode()):
        text = re.sub(rf"[A-Za-z0-9+/_-]*{re.escape(core)}[A-Za-z0-9+/_=-]*", MASK, text)
    return text


def _base64_cores(secret: bytes) -> set[str]:
    """What base64 of any text around `secret` must contain, one piece for each of the three alignments.

    The first and last characters mix in bits of the neighbours (a user name of unknown length) and are left out.
    """
    cores = set()
    for shift in range(3):
        body = secret[-shift % 3 :]  # starts at a multiple of three bytes
        whole = body[: len(body) // 3 * 3]
        cores |= {base64.b64encode(whole).decode(), base64.urlsafe_b64encode(whole).decode()}
    return {core for core in cores if len(core) >= _CORE_LENGTH}
