"""Repositories for the differential test: everything that decides what a module zip holds, and much that nearly does."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from tests.integration.go_repositories import EXECUTABLE, GITLINK, SITE, SYMLINK, Blob, Commit


@dataclass(frozen=True)
class Repo:
    """One commit and the release asked for: directory of the module, `/v2` or empty, version.

    `{path}` in contents stands for the module's path.
    """

    files: Mapping[bytes, Blob]
    subdir: str = ""
    suffix: str = ""
    version: str = "v1.2.3"
    tag: str = "light"

    def module(self, name: str) -> str:
        return f"{SITE}/{name}.git{'/' if self.subdir else ''}{self.subdir}{self.suffix}"

    def commit(self, name: str) -> Commit:
        path = self.module(name).encode()
        files = {file: Blob(blob.content.replace(b"{path}", path), blob.mode) for file, blob in self.files.items()}
        tag = f"{self.subdir}{'/' if self.subdir else ''}{self.version.removesuffix('+incompatible')}"
        return Commit(files, {tag: self.tag})


def _words(text: str) -> list[str]:
    return text.split()


CONTENTS = st.sampled_from(
    [
        b"",
        b"package x\n",
        b"a\r\nb\r\n",
        b"a\nb\r\nc",
        b"$Id$\n",
        b"$Id: old $ $Format:%H %d$\n",
        b"\x00\x01\r\n",
        "é\n".encode(),
        b"\xff\xfe\n",
        b"lone\rcr",
    ]
)
GO_LINES = st.sampled_from(
    [
        "",
        "go 1.9\n",
        "go 1.23\n",
        "go 1.23.9\n",
        "go 1.24\n",
        "go 1.24rc1\n",
        "go 1.24.1rc1\n",
        "go 1.25.0\n",
        "go 1.24x\n",
        "go 1.24foo1\n",
        "go v1.24.x\n",
    ]
)
MODULE_LINES = st.sampled_from(
    ["module {path}\n"] * 12
    + [
        'module "{path}"\n',
        "module `{path}`\n",
        "// c\nmodule {path} // c\n",
        "module {path}\r\n",
        "\ufeffmodule {path}\n",
        "module (\n\t{path}\n)\n",
        "module\t{path}",
    ]
    + [
        "",
        "module {path}x\n",
        "module example.com/other/v2\n",
        "module gopkg.in/x.v2\n",
        "module {path} {path}\n",
        "module {path}\nmodule {path}\n",
        "module x/v1\n",
        "module (\n",
    ]
)
EXTRAS = st.sampled_from(
    [
        "",
        "",
        "",
        "retract [v1.0.0, v1.1.0] // oops\n",
        "require (\n\texample.com/a v1.0.0\n)\n",
        "require example.com/a v2.0.0\n",
        "retract (\n",
        "replace x => ../x\n",
        "/* */\n",
        "ignore ./x\n",
        "\xff",
    ]
)
GO_MODS = st.tuples(MODULE_LINES, GO_LINES, EXTRAS).map(
    lambda parts: "".join(parts).encode("latin-1" if parts[2] == "\xff" and "\ufeff" not in parts[0] else "utf-8")
)
ATTRIBUTES = st.lists(
    st.sampled_from(
        [
            "* text=auto",
            "* text",
            "*.go eol=crlf",
            "*.txt eol=crlf",
            "*.txt -text",
            "* ident",
            "*.go ident",
            "*.go export-ignore",
            "vendor export-ignore",
            "* export-subst",
            "*.txt export-subst",
            "LICENSE eol=crlf",
            "go.mod eol=crlf",
            "*.txt working-tree-encoding=UTF-16",
            "*.go filter=lfs diff=lfs",
            "* -text",
            "*.bin binary",
            "sub/** eol=crlf",
            "[attr]win text eol=crlf",
            "*.go win",
            "*.go crlf",
            "*.go text eol=lf",
        ]
    ),
    max_size=4,
).map(lambda lines: "\n".join(lines).encode())
COMMON = _words(
    """
    a.go b.txt dir/a.go dir/b.txt LICENSE LICENSE.txt sub/LICENSE sub/a.go a/b/LICENSE a/b/a.go a/b.txt v2/a.go
    sub/v2/a.go README.md .gitignore .hidden/x testdata/a.txt dir/LICENSE
    """
)
VENDOR = _words(
    """
    vendor/modules.txt vendor/x.go vendor/x/y.go vendor/x/y/z.go pkg/vendor/x.go pkg/vendor/x/y.go p/vendor/x.go
    longer/vendor/modules.txt a/vendor/vendor/x.go vendor/vendor/x.go pkgs/vendor/q/r/s.go sub/vendor/modules.txt
    sub/vendor/x/y.go sub/p/vendor/x.go longer/p/vendor/x.go Vendor/x/y.go
    """
)
NESTED = _words(
    """
    nested/go.mod nested/GO.MOD nested/Go.mod nested/a.go nested/deep/b.go nested/go.mod/x.go sub/go.mod GO.MOD
    sub/GO.MOD v2/go.mod sub/v2/go.mod a/go.mod vendor/x/go.mod
    """
)
ODD = [
    ".hg_archival.txt",
    "sub/.hg_archival.txt",
    "A.go",
    "DIR/a.go",
    "dir/A.go",
    "license",
    "é.go",
    "e\u0301.go",
    "É.go",
    "K.go",
    "k.go",
    "\u212a.go",
    "ſ.go",
    "s.go",
    "ß.go",
    "ẞ.go",
    "ss.go",
    "ı.go",
    "İ.go",
    "世界.go",
    "a b.go",
    " x",
    "a:b.go",
    "con",
    "aux.go",
    "dir/NUL.txt",
    "com0.go",
    "a*b.go",
    "trail.",
    "x~1.go",
    "a\\b.go",
    "q'x.go",
    'q"x.go',
    "a\nb.go",
    "~.go",
    "-x.go",
    "@.go",
    "a`b.go",
    "½.go",
    "\u200b.go",
    "😀.go",
    "vendor/a:b/c.go",
    "nested/a:b.go",
    "x;y",
    "x,y",
    "..x",
    ".x.",
    "x..y",
    "...",
    "Ⅷ.go",
    "ⅷ.go",
    "ᏸ.go",
    "Ᏸ.go",
    "𞤀.go",
    "\U0001e922.go",
]
INVALID = [b"\xff.go", b"dir/\xc3(", b"vendor/\xff/x.go", b"nested/\xff.go", b"\xed\xa0\x80.go", b"\xc0\xaf"]
NAMES = st.one_of(
    st.sampled_from(COMMON),
    st.sampled_from(COMMON),
    st.sampled_from(COMMON),
    st.sampled_from(VENDOR),
    st.sampled_from(VENDOR),
    st.sampled_from(NESTED),
    st.sampled_from(ODD),
).map(str.encode)
RARE_NAMES = st.one_of(
    NAMES,
    NAMES,
    NAMES,
    NAMES,
    st.sampled_from(INVALID),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=2).map(
        lambda text: (text + ".go").encode()
    ),
)
BLOBS = st.one_of(
    st.builds(Blob, CONTENTS),
    st.builds(Blob, CONTENTS),
    st.builds(Blob, CONTENTS, st.just(EXECUTABLE)),
    st.sampled_from(
        [Blob(b"a.go", SYMLINK), Blob(b"/etc/passwd", SYMLINK), Blob(b"1" * 40, GITLINK), Blob(b"x" * 5000)]
    ),
)


TWINS = st.sampled_from(
    _words(
        """
    dir/a.go|dir/A.go dir/a.go|DIR/b.go k.go|\u212a.go s.go|ſ.go é.go|É.go é.go|e\u0301.go ß.go|ẞ.go ß.go|ss.go i.go|İ.go
    i.go|ı.go Ⅷ.go|ⅷ.go ᏸ.go|Ᏸ.go Ꭰ.go|ꭰ.go 𞤀.go|𞤢.go µ.go|μ.go ǅ.go|ǆ.go ς.go|σ.go ΐ.go|ΐ.go ﬅ.go|ﬆ.go
    vendor/x/a.go|vendor/x/A.go a|A/b LICENSE|license go.mod|Go.Mod ᲀ.go|в.go Ω.go|ω.go θ.go|ϴ.go ꙋ.go|ᲈ.go
    Ƛ.go|ƛ.go Ɤ.go|ɤ.go sub/x/K|sub/x/\u212a
    """
    )
).map(lambda pair: pair.split("|"))


def add(files: dict[bytes, Blob], name: bytes, blob: Blob) -> None:
    """Unless it would be a file and a directory at once, or a name that git itself forbids."""
    parents = {name[:place] for place in range(len(name)) if name[place : place + 1] == b"/"}
    below = any(other.startswith(name + b"/") for other in files)
    if not below and not parents & files.keys() and name not in (b"..go", b"."):
        files.setdefault(name, blob)


@st.composite
def repositories(draw: st.DrawFn) -> Repo:
    subdir = draw(st.sampled_from(["", "", "", "sub", "a/b"]))
    suffix = draw(st.sampled_from(["", "", "", "/v2"]))
    here = "/".join(part for part in (subdir, suffix[1:] if draw(st.booleans()) else "") if part)
    files: dict[bytes, Blob] = {}
    if draw(st.integers(0, 9)):
        add(files, f"{here}/go.mod".lstrip("/").encode(), Blob(draw(GO_MODS)))
    for directory in draw(st.sets(st.sampled_from(["", "dir/", "sub/", "vendor/"]), max_size=2)):
        add(files, f"{directory}.gitattributes".encode(), Blob(draw(ATTRIBUTES)))
    for name in draw(st.lists(RARE_NAMES, max_size=6)):
        blob = Blob(draw(GO_MODS)) if name.lower().endswith(b"go.mod") and draw(st.booleans()) else draw(BLOBS)
        add(files, name, blob)
    for name in draw(st.one_of(st.just(()), st.just(()), TWINS)):
        add(files, name.encode(), draw(BLOBS))
    return Repo(
        files, subdir, suffix, draw(versions(suffix)), draw(st.sampled_from(["light", "light", "annotated", "nested"]))
    )


def versions(suffix: str) -> st.SearchStrategy[str]:
    if suffix:
        return st.sampled_from(["v2.0.0", "v2.0.0", "v2.1.0-rc.1", "v2.0.0+incompatible"])
    return st.sampled_from(
        [
            "v1.2.3",
            "v1.2.3",
            "v1.2.3",
            "v0.1.0-RC1",
            "v2.0.0+incompatible",
            "v1.0.0+incompatible",
            "v3.0.0-pre+incompatible",
        ]
    )


MIB = 1 << 20
LINES = st.tuples(
    st.sampled_from([b"line\n", b"line\r\n", b"a\r\nb\n", b"\0\n", b"$Id$ \r\n"]),
    st.integers(MIB - 9, 3 * MIB),
).map(lambda drawn: (drawn[0] * (drawn[1] // len(drawn[0]) + 1))[: drawn[1]])
"""Contents of 1 to 3 MiB whose line ends lie over the edges of what is read at once."""


@st.composite
def large(draw: st.DrawFn) -> Repo:
    """A repository with one or two such files (the LICENSE may be one) among small ones."""
    repo = draw(repositories())
    files = dict(repo.files)
    for name in draw(
        st.lists(st.sampled_from(["big.txt", "dir/big.go", "LICENSE", "sub/big.bin"]), min_size=1, max_size=2)
    ):
        add(files, name.encode(), Blob(draw(LINES)))
    return replace(repo, files=files)


LARGE = large()
