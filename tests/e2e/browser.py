"""A real headless Chromium (Debian's) and one person in front of it, who notices what no page may do."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = (320, 768, 1280)


def missing() -> str | None:
    """Why these tests cannot run here; None when they can."""
    return None if Path(CHROMIUM).exists() else "Chromium is not installed (apt install chromium)"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, closed at the end; what is expected on a page may take as long as on a busy machine."""
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """A fresh profile at `url`. `complaints`: console errors, CSP violations, broken scripts, requests to other hosts."""

    def __init__(
        self, browser: Browser, url: str, *, width: int = 1280, scheme: Literal["light", "dark"] = "light",
        zone: str = "Asia/Kolkata", script: bool = True,
    ) -> None:  # fmt: skip
        self.url = url
        self._context = browser.new_context(
            base_url=url, viewport={"width": width, "height": 900}, color_scheme=scheme, timezone_id=zone,
            locale="en-GB", java_script_enabled=script,
        )  # fmt: skip
        self._context.set_default_timeout(20_000)
        self.page: Page = self._context.new_page()
        self.complaints: list[str] = []
        self.answers: list[tuple[str, int]] = []
        self.page.add_init_script(_TELL)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self._context.on("request", self._request)
        self.page.on("response", self._response)

    def login(self, token: str) -> None:
        """Through the form that is on the page now."""
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Log in").click()

    def open(self, path: str, token: str = "") -> Page:
        """Go there, over the login when it is asked for."""
        self.page.goto(path)
        if token and urlsplit(self.page.url).path == "/login":
            self.login(token)
            self.page.wait_for_url(lambda url: urlsplit(url).path != "/login")
        return self.page

    def overflow(self) -> list[str]:
        """The elements that stick out at the right, "" when none does; what scrolls by itself may be wider inside."""
        found: list[str] = self.page.evaluate(_OVERFLOW)
        return found

    def _console(self, message: ConsoleMessage) -> None:
        refused = "Failed to load resource" in message.text  # an answer of 4xx is no mistake of the page
        if message.type in ("error", "warning") and not refused:
            self.complaints.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "data:")):
            self.complaints.append(f"asked another host: {request.url}")

    def _response(self, response: Response) -> None:
        self.answers.append((urlsplit(response.url).path, response.status))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._context.close()


# Also what Chromium would not write to the console by itself.
_TELL = """addEventListener("securitypolicyviolation",
  (event) => console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}`), true)"""

_OVERFLOW = """() => {
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= wide) { return []; }
  return Array.from(document.querySelectorAll("main *, header *, footer *"))
    .filter((each) => each.getBoundingClientRect().right > wide + 1)
    .map((each) => each.tagName + "." + each.className + ": " + (each.textContent || "").trim().slice(0, 60));
}"""


def axe_findings(page: Page) -> list[str]:
    """What axe finds on the page by the rules of WCAG 2.2 A and AA and its own best practices, one line each."""
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    # Not a script element: the page's policy would rightly refuse it.
    page.evaluate(Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [_line(each) for each in found["violations"]]


def _line(violation: dict[str, Any]) -> str:
    nodes = "; ".join(f"{node['target']} {node['html'][:150]}" for node in violation["nodes"][:3])
    return f"{violation['id']}: {violation['help']}: {nodes}"
