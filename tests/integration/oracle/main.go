// A judge for tests: answers questions about golang.org/x/mod, one JSON object per line in, one per line out.
// Strings travel as base64 so that any bytes can be asked about. Built by tests/integration/go_oracle.py.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
)

type question struct {
	Op   string
	Args [][]byte
}

type answer struct {
	Err    string
	Values [][]byte
}

func reply(err error, values ...string) answer {
	a := answer{Values: [][]byte{}}
	if err != nil {
		a.Err = err.Error()
	}
	for _, v := range values {
		a.Values = append(a.Values, []byte(v))
	}
	return a
}

func path(p string) answer {
	if err := module.CheckPath(p); err != nil {
		return reply(err)
	}
	prefix, major, _ := module.SplitPathVersion(p)
	escaped, err := module.EscapePath(p)
	return reply(err, prefix, major, escaped)
}

func version(v string) answer {
	escaped, err := module.EscapeVersion(v)
	values := []string{semver.Canonical(v), semver.Major(v), semver.Prerelease(v), semver.Build(v), module.CanonicalVersion(v)}
	return reply(err, append(values, fmt.Sprint(semver.IsValid(v)), fmt.Sprint(module.IsPseudoVersion(v)), escaped)...)
}

func pseudo(v string) answer {
	base, err := module.PseudoVersionBase(v)
	if err != nil {
		return reply(err)
	}
	t, err := module.PseudoVersionTime(v)
	if err != nil {
		return reply(err)
	}
	rev, err := module.PseudoVersionRev(v)
	return reply(err, base, t.UTC().Format(time.RFC3339), rev)
}

func buildPseudo(major, older, stamp, rev string) answer {
	t, err := time.Parse(time.RFC3339, stamp)
	return reply(err, module.PseudoVersion(major, older, t, rev))
}

func pathMajor(v, p string) answer {
	_, major, _ := module.SplitPathVersion(p)
	return reply(module.CheckPathMajor(v, major))
}

func goMod(data string) answer {
	f, err := modfile.ParseLax("go.mod", []byte(data), nil)
	declared, goLine := "", ""
	if err == nil && f.Module != nil {
		declared = f.Module.Mod.Path
	}
	if err == nil && f.Go != nil {
		goLine = f.Go.Version
	}
	return reply(err, modfile.ModulePath([]byte(data)), declared, goLine)
}

func zipFile(p, v, file string) answer {
	if _, err := modzip.CheckZip(module.Version{Path: p, Version: v}, file); err != nil {
		return reply(err)
	}
	h, err := dirhash.HashZip(file, dirhash.Hash1)
	return reply(err, h)
}

func fold(r rune) rune {
	for {
		r0 := r
		r = unicode.SimpleFold(r0)
		if r <= r0 {
			break
		}
	}
	return unicode.To(unicode.LowerCase, r)*b(r < 128) + r*b(r >= 128)
}

func b(ok bool) rune {
	if ok {
		return 1
	}
	return 0
}

func runes() answer {
	var out strings.Builder
	for r := rune(0); r <= unicode.MaxRune; r++ {
		fmt.Fprintf(&out, "%d %d %d %d\n", b(unicode.IsLetter(r)), b(unicode.IsPrint(r)), b(unicode.IsSpace(r)), fold(r))
	}
	return reply(nil, out.String())
}

func judge(q question) answer {
	a := make([]string, len(q.Args)+4)
	for i, arg := range q.Args {
		a[i] = string(arg)
	}
	switch q.Op {
	case "path":
		return path(a[0])
	case "unescape":
		p, err := module.UnescapePath(a[0])
		return reply(err, p)
	case "file":
		return reply(module.CheckFilePath(a[0]))
	case "version":
		return version(a[0])
	case "compare":
		return reply(nil, fmt.Sprint(semver.Compare(a[0], a[1])))
	case "pseudo":
		return pseudo(a[0])
	case "build-pseudo":
		return buildPseudo(a[0], a[1], a[2], a[3])
	case "path-major":
		return pathMajor(a[0], a[1])
	case "go-mod":
		return goMod(a[0])
	case "auto-quote":
		return reply(nil, modfile.AutoQuote(a[0]))
	case "equal-fold":
		return reply(nil, fmt.Sprint(strings.EqualFold(a[0], a[1])))
	case "zip":
		return zipFile(a[0], a[1], a[2])
	case "runes":
		return runes()
	}
	return reply(fmt.Errorf("unknown question %q", q.Op))
}

func main() {
	in := bufio.NewReader(os.Stdin)
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(os.Stdout)
	for {
		var q question
		if err := decoder.Decode(&q); err != nil {
			return
		}
		if err := encoder.Encode(judge(q)); err != nil {
			panic(err)
		}
	}
}
