"""Checks across tables: each bad combination is named by its key; the good one beside it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_config import GOOD, changed, here, load, problems

__all__ = ["here"]

SANDBOX = "\n[sandbox]\nenabled = true\n"
CLONE = 'clone = "https://git.corp.example/{team}/{repo}.git"'
MIRROR = 'mirror = "go-mirrors/{team}/{repo}"'
MODULES = 'modules = "go.corp.example/{team}/{repo}"'
ALLOW = 'allow = ["https://git.corp.example/**"]'
RULE = "rules[go.corp.example/{team}/{repo}]"


def more(*lines: str) -> str:
    return GOOD + "\n".join(lines) + "\n"


def rule(modules: str, mirror: str, *lines: str) -> str:
    clone = 'clone = "https://git.corp.example/x/y.git"'
    return more("[[rules]]", f'modules = "{modules}"', f'mirror = "{mirror}"', clone, *lines)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (more("[[proxies]]", 'url = "https://p.example"'), "proxies[default]", "2 times"),
        (changed(MIRROR, MIRROR + '\nsource = "platfrom"'), f"{RULE}.source", "Name one of [[sources]]: platform"),
        (changed(MIRROR, MIRROR + '\nproxy = "p"'), f"{RULE}.proxy", "Name one of [[proxies]]: default"),
        (changed(MODULES, 'modules = "go.corp.example/{a}{b}"'), "rules[go.corp.example/{a}{b}].modules", "told apart"),
        (changed(MIRROR, 'mirror = "m/{team}/{repo}/{x}"'), f"{RULE}.mirror", "uses {x}"),
        (changed(MIRROR, 'mirror = "m/{repo}"'), f"{RULE}.mirror", "leaves out {team}"),
        (changed(MIRROR, 'mirror = "m/{team}-{repo}"'), f"{RULE}.mirror", "two placeholders"),
        (changed(MIRROR, 'mirror = "m--m/{team}/{repo}"'), f"{RULE}.mirror", "does not take"),
        (changed(CLONE, 'clone = "https://git.corp.example/{x}.git"'), f"{RULE}.clone", "uses {x}"),
        (changed(CLONE, 'clone = "https://{team}.corp.example/{repo}"'), f"{RULE}.clone", "placeholder in its host"),
        (changed(CLONE, 'clone = "git@git.corp.example:{team}/{repo}"'), f"{RULE}.clone", "short form of ssh"),
        (changed(CLONE, 'clone = "https://other.example/{team}/{repo}"'), f"{RULE}.clone", "https://other.example/**"),
        (changed(CLONE, "").replace(ALLOW, ""), f"{RULE}.clone", "allows no clone URL"),
        (changed(ALLOW, 'allow = ["git.corp.example"]'), "sources[platform].allow", "is not a URL"),
        (changed(ALLOW, 'allow = ["http://git.corp.example/**"]'), "sources[platform].allow", "http"),
        (changed(ALLOW, 'allow = ["https://127.0.0.1/**"]'), "sources[platform].allow", "inside address"),
        (changed("https://gitlab.", "http://gitlab."), "gitlab.url", "unencrypted"),
        (changed("https://gitlab.corp.example/", "https://u@gitlab.corp.example"), "gitlab.url", "credentials"),
        (changed("[gitlab]", "[gitlab]\npoll_first_seconds = 31"), "gitlab.poll_first_seconds", "above"),
        (changed("[gitlab]", '[gitlab]\nbranch = "a..b"'), "gitlab.branch", "legal branch"),
        (more("[retry]", "first_seconds = 61"), "retry.first_seconds", "above"),
        (more("[web]", 'listen = "8080"'), "web.listen", "host:port"),
        (more("[web]", 'listen = "h:70000"'), "web.listen", "host:port"),
        (changed("[access]", '[access]\nmetrics_networks = ["10.0.0.1/8"]'), "access.metrics_networks", "host bits"),
        (changed('name = "platform"', 'name = "Plat form"'), "sources[Plat form].name", "is not a name"),
        (more("[git]", "timeout_seconds = inf"), "git.timeout_seconds", "should be"),
    ],
)
def test_bad_combinations(here: Path, text: str, key: str, words: str) -> None:
    found = problems(here, text)
    assert words in found[key]
    assert len(found) == 1, found


def test_two_placeholders_in_one_element_beside_another_rule(here: Path) -> None:
    text = changed(MIRROR, 'mirror = "m/{team}-{repo}"') + "\n".join(
        ("", "[[rules]]", 'modules = "x.corp.example/{repo}"', 'mirror = "m/{repo}"', CLONE.replace("{team}/", ""))
    )
    assert "two placeholders" in problems(here, text)[f"{RULE}.mirror"]


@pytest.mark.parametrize("url", ["sqlite:///var/m.db", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_of_each_process_own_is_none(here: Path, url: str) -> None:
    assert "no absolute path" in problems(here, more("[store]", f'url = "{url}"'))["store.url"]
    assert load(here, more("[store]", 'url = "sqlite:////var/lib/m.db"')).store.url == "sqlite:////var/lib/m.db"


VARIABLES = {"queue": "REDIS_URL", "store": "DATABASE_URL"}


@pytest.mark.parametrize(
    ("table", "url"),
    [
        ("queue", "redis://:topSECRET/cd@redis.corp:6379/0"), ("queue", "redis://:topSECRET#cd@redis.corp:6379/0"),
        ("queue", "rediss://:12?SECRET@redis.corp/0"), ("queue", "redis://h:99999/0"), ("queue", "redis://h/x"),
        ("store", "postgresql://m:abSECRET/cd@db.corp/modsync"), ("store", "postgresql://m:p@SECRET@db.corp/modsync"),
        ("store", "postgresql+psycopg://m:1/SECRET@db.corp/modsync"), ("store", "postgresql://h:port/x"),
    ],
)  # fmt: skip
def test_an_address_that_others_read_otherwise(here: Path, table: str, url: str) -> None:
    """A password with a slash in it, as openssl makes them: it must be written as %2F, and is not repeated."""
    found = problems(here, more("[git]", "timeout_seconds = 9"), **{VARIABLES[table]: url})
    assert set(found) == {f"{table}.url"}
    assert "cannot be read" in str(found) or "no database" in str(found)
    assert "SECRET" not in str(found)


@pytest.mark.parametrize(
    ("table", "url"),
    [
        ("queue", "redis://:a%2Fb%40c@redis.corp:6379/3"), ("queue", "rediss://redis.corp"), ("queue", "unix:///run/r.sock?db=1"),
        ("queue", "redis://u:p@h:6379/1?client_name=a@b"), ("store", "postgresql://user@server:pw@h:5432/db"),
        ("store", "postgresql://u:p@h/db?application_name=x@y"), ("queue", "redis://[fd00::1]:6379/0"), ("store", "postgresql://m:a%2Fb@db.corp:5433/modsync?sslmode=require"),
        ("store", "postgresql://postgres@/postgres?host=/run/pg"),
    ],
)  # fmt: skip
def test_an_address_that_all_read_alike(here: Path, table: str, url: str) -> None:
    settings = load(here, more("[git]", "timeout_seconds = 9"), **{VARIABLES[table]: url})
    assert url.partition("://")[2] in getattr(settings, table).url


@pytest.mark.parametrize("secret", ["whsec_abcd-efgh_ijklmnopqrstuv", "whsec_YWJjZGVmZ2g="])
def test_a_secret_that_the_scheme_can_make_no_key_of(here: Path, secret: str) -> None:
    text = changed('scheme = "article"', 'scheme = "standard-webhooks"')
    (key,) = (each for each in problems(here, text, HOOK=secret) if each.startswith("sources[platform]"))
    assert "secrets" in key


def test_http_is_for_loopback_and_the_sandbox(here: Path) -> None:
    assert load(here, changed("https://gitlab.corp.example/", "http://127.0.0.1:1/")).gitlab.url == "http://127.0.0.1:1"
    text = changed("https://gitlab.", "http://gitlab.").replace("https://git.", "http://git.")
    assert load(here, text + SANDBOX).warnings == ()
    (warning,) = load(here, more("[web]", 'base_url = "http://modsync.corp.example"')).warnings
    assert warning.key == "web.base_url"


def test_the_sandbox_takes_local_clone_urls(here: Path) -> None:
    local = 'allow = ["file:///srv/git/**", "http://127.0.0.1:3000/**"]'
    text = changed(ALLOW, local).replace(CLONE, 'clone = "file:///srv/git/{team}/{repo}"')
    assert load(here, text + SANDBOX).warnings == ()
    assert "sandbox" in problems(here, text)["sources[platform].allow"]
    assert "sandbox" in problems(here, text)[f"{RULE}.clone"]


def test_secret_ids_and_source_names_are_unique(here: Path) -> None:
    two = 'secrets = [{ id = "new", env = "HOOK" }, { id = "new", env = "ADMIN" }]'
    found = problems(here, changed('secrets = [{ id = "new", env = "HOOK" }]', two))
    assert list(found) == ["sources[platform].secrets[new]"]
    second = '[[sources]]\nname = "platform"\nscheme = "github"\nsecrets = [{ id = "1", env = "HOOK" }]'
    assert list(problems(here, more(second))) == ["sources[platform]"]


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('token_env = "GITLAB"\nusername = "u"\npassword_env = "HOOK"', "proxies[default].token_env"),
        ('username = "u"', "proxies[default].username"),
        ('password_env = "HOOK"', "proxies[default].username"),
    ],
)
def test_a_proxy_has_one_way_to_log_in(here: Path, lines: str, key: str) -> None:
    assert list(problems(here, changed("[[proxies]]", f"[[proxies]]\n{lines}"))) == [key]


def test_a_proxy_on_http_gets_no_credentials(here: Path) -> None:
    plain = changed("https://goproxy.", "http://goproxy.")
    assert load(here, plain).proxies[0].url.startswith("http://")
    found = problems(here, plain.replace("[[proxies]]", '[[proxies]]\ntoken_env = "GITLAB"'))
    assert list(found) == ["proxies[default].url"]


def test_a_broken_source_or_proxy_does_not_make_rules_wrong_too(here: Path) -> None:
    text = changed('scheme = "article"', 'scheme = "x"').replace(MIRROR, MIRROR + '\nsource = "platform"')
    assert list(problems(here, text)) == ["sources[platform].scheme"]
    assert list(problems(here, changed("https://goproxy.corp.example", "goproxy"))) == ["proxies[default].url"]


@pytest.mark.parametrize(
    ("modules", "mirror", "bad"),
    [
        ("go.corp.example/special/repo", "go-mirrors/special/repo", False),  # the same module either way
        ("other.example/{a}/{b}", "go-mirrors/{a}/{b}", True),
        ("other.example/{a}", "go-mirrors/one/{a}", True),
        ("other.example/{a}", "Go-Mirrors/one/{a}", True),  # GitLab does not look at letter case
        ("other.example/{a}/{b}", "others/{a}/{b}", False),
        ("other.example/{a}", "go-mirrors/{a}", True),  # a project where the other rule needs a group
        ("other.example/{a}", "others/{a}", False),
    ],
)
def test_rules_never_share_a_mirror(here: Path, modules: str, mirror: str, bad: bool) -> None:
    text = rule(modules, mirror)
    if bad:
        assert list(problems(here, text)) == [f"rules[{modules}].mirror"]
    else:
        assert len(load(here, text).rules) == 2


def test_a_mirror_without_a_placeholder_is_named_once(here: Path) -> None:
    text = rule("other.example/{a}/{b}", "go-mirrors/x/{a}")
    assert list(problems(here, text)) == ["rules[other.example/{a}/{b}].mirror"]


def test_a_rule_behind_an_equal_one_is_never_reached(here: Path) -> None:
    modules = "go.corp.example/{team}/{repo}"
    assert "never reached" in problems(here, rule(modules, "go-mirrors/{team}/{repo}"))[f"{RULE}.modules"]


def test_what_works_but_should_be_looked_at(here: Path) -> None:
    narrow = load(here, changed(ALLOW, 'allow = ["https://git.corp.example/infra/**"]'))
    assert [warning.key for warning in narrow.warnings] == [f"{RULE}.clone"]
    text = GOOD.partition("[[sources]]")[0]
    assert [warning.key for warning in load(here, text).warnings] == ["sources"]
    text = GOOD.partition("[[rules]]")[0]
    assert [warning.key for warning in load(here, text).warnings] == ["sources[platform]"]
    (here / "key").write_text("x")
    (here / "key").chmod(0o640)
    loose = load(here, more("[outgoing]", 'ssh_key_file = "key"'))
    assert [warning.key for warning in loose.warnings] == ["outgoing.ssh_key_file"]


@pytest.mark.parametrize(("name", "why"), [("x" * 300, "File name too long"), ("a\\u0000b", "no file can be named so")])
@pytest.mark.parametrize("key", ["outgoing.ssh_key_file", "setup.ca_file"])
def test_a_file_that_cannot_even_be_asked_for_is_a_problem_among_the_others(
    here: Path, key: str, name: str, why: str
) -> None:
    table, _, field = key.partition(".")
    found = problems(here, more("[retry]", "first_seconds = 61", f"[{table}]", f'{field} = "{name}"'))
    assert found.keys() == {key, "retry.first_seconds"}
    assert f"cannot be read: {why}" in found[key]


def test_cookies_follow_the_base_url(here: Path) -> None:
    assert not load(here, GOOD).web.cookies_are_secure
    assert load(here, more("[web]", 'base_url = "https://m.example"')).web.cookies_are_secure
    assert load(here, more("[web]", "secure_cookies = true")).web.cookies_are_secure


URL = 'url = "https://goproxy.corp.example"'
STATIC = "proxies[default]"


@pytest.mark.parametrize(
    ("proxy", "key"),
    [
        ('kind = "static"', f"{STATIC}.directory"),
        (f'{URL}\ndirectory = "/srv/goproxy"', f"{STATIC}.directory"),
        (f'{URL}\nkind = "athens"\ndirectory = "/srv/goproxy"', f"{STATIC}.directory"),
        ('kind = "athens"', f"{STATIC}.url"),
        ("", f"{STATIC}.url"),
    ],
)
def test_where_a_proxy_is_has_to_be_said_in_one_way(here: Path, proxy: str, key: str) -> None:
    assert list(problems(here, changed(URL, proxy))) == [key]


@pytest.mark.parametrize("url", ["", f"\n{URL}"])
def test_a_static_proxy_needs_no_address(here: Path, url: str) -> None:
    settings = load(here, changed(URL, f'kind = "static"\ndirectory = "goproxy"{url}'))
    assert settings.proxies[0].directory == "goproxy"


@pytest.mark.parametrize(
    ("clone", "words"),
    [
        ("", "is not one registry's address"),
        ('\nclone = "https://git.corp.example/{team}"', "is not one registry's address"),
        ('\nclone = "https://other.corp.example/go"', "is not on the source's allow-list"),
        ('\nclone = "http://git.corp.example/go"', "https"),
    ],
)
def test_a_registry_is_one_permitted_address(here: Path, clone: str, words: str) -> None:
    found = problems(here, changed(CLONE, f'content = "goproxy"{clone}'))
    assert list(found) == [f"{RULE}.clone"]
    assert words in found[f"{RULE}.clone"]


@pytest.mark.parametrize("url", ["https://git.corp.example", "https://git.corp.example/api/go/local"])
def test_a_good_registry(here: Path, url: str) -> None:
    settings = load(here, changed(CLONE, f'content = "goproxy"\nclone = "{url}"'))
    assert settings.routing[0].content == "goproxy"


def test_a_policy_on_signed_tags_needs_keys(here: Path) -> None:
    (here / "signers").write_text("")
    for policy in ("warn", "require"):
        text = changed(ALLOW, f'{ALLOW}\nsignatures = "{policy}"')
        assert list(problems(here, text)) == ["sources[platform].signatures"]
        assert load(here, text.replace(ALLOW, f'{ALLOW}\nssh_signers_file = "signers"')).sources[0].signatures == policy


def test_a_registry_has_no_signed_tags(here: Path) -> None:
    (here / "signers").write_text("")
    text = changed(CLONE, 'content = "goproxy"\nclone = "https://git.corp.example/go"')
    signed = text.replace(ALLOW, f'{ALLOW}\nsignatures = "require"\nssh_signers_file = "signers"')
    assert list(problems(here, signed)) == [f"{RULE}.content"]


def test_a_long_lease_is_warned_of(here: Path) -> None:
    assert load(here, more("[worker]", "lease_seconds = 8")).warnings == ()
    (warning,) = load(here, more("[worker]", "lease_seconds = 8.5")).warnings
    assert (warning.key, "ten seconds" in warning.what) == ("worker.lease_seconds", True)
