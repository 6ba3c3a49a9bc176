"""docs/doctor.md has a section for each code, and no others; the links the doctor prints lead somewhere."""

import re
from pathlib import Path

from app.doctor.causes import CAUSES
from app.doctor.findings import found

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^### (\S+)\n\nSeen: (.+)\n\nWhy it hurts: (.+)\n\nMend it:\n\n((?:    .+\n)+)", re.MULTILINE)


def test_every_code_has_its_section() -> None:
    sections = {match[1]: match for match in SECTION.finditer((ROOT / "docs/doctor.md").read_text())}
    assert sections.keys() == CAUSES.keys()
    assert {code: match[3] for code, match in sections.items()} == CAUSES


def test_links_name_files_and_headings_that_exist() -> None:
    finding = found("slow", "seen")
    assert (ROOT / finding.docs.partition("#")[0]).is_file()
    headings = {
        f"#{line[3:].lower()}".replace(" ", "-")
        for line in (ROOT / "docs/nginx.md").read_text().splitlines()
        if line[:3] == "## "
    }
    sources = [*(ROOT / "app/doctor").glob("*.py"), ROOT / "docs/doctor.md", ROOT / "deploy/nginx/goproxy/access.conf"]
    linked = {match for path in sources for match in re.findall(r"nginx\.md(#[\w-]+)", path.read_text())}
    assert linked
    assert linked <= headings
