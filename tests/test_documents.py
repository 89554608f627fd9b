"""What the pages say of commands, files and settings is so; what they must not say they do not."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, as it reads its files
    import kafka  # type: ignore[import-untyped] # noqa: F401

from sluicegate.cli import app
from sluicegate.domain.refusal import Refusal
from sluicegate.liaison.dead_letters import Unreadable
from sluicegate.settings import known_keys

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for where in ("*.md", "docs/**/*.md", "tests/**/*.md")
    for page in ROOT.glob(where)
)
COMMAND_PAGES = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"),
    *("docs/operations.md", "docs/detection.md", "docs/counter.md", "docs/desk.md"),
)
GROUPS = ("topics", "config", "accounts", "directives", "cases", "patterns", "dead-letter", "state")
MADE_LATER = ("docs/benchmarks/",)
"""Written by `make bench`; a checkout may not have it yet."""
HOSTS = {"keepachangelog.com", "semver.org"}
"""Addresses that a page may name; where packages come from is the reader's own configuration."""
ABSOLUTE = {
    *("/metrics", "/healthz", "/readyz", "/counter"),
    *("/desk", "/desk/figures", "/desk/wall"),
}
"""The path of a URL; files are named from the root of the repository."""


def _text(page: str) -> str:
    return ROOT.joinpath(page).read_text("utf-8")


def _code(text: str) -> Iterator[str]:
    """Lines of code blocks, continuations joined, and code within sentences."""
    joined = text.replace("\\\n", " ")
    for block in re.findall(r"^```\w*\n(.*?)^```", joined, re.DOTALL | re.MULTILINE):
        yield from (line.strip() for line in block.splitlines())
    yield from (line.strip() for line in re.findall(r"^    .*", joined, re.MULTILINE))
    yield from (" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", joined))


def _commands(page: str) -> Iterator[list[str]]:
    """Each use of the command line on a page, as words."""
    for line in _code(_text(page)):
        if match := re.match(r"(?:docker compose exec \w+ )?(?:\.venv/bin/)?sluicegate (.*)", line):
            yield re.split(r"\s+", match[1].partition("#")[0].strip())


def _names(words: list[str]) -> list[str]:
    """The command in words: one name, or two for a command of a group."""
    named = [word for word in words if re.fullmatch("[a-z]+(-[a-z]+)*", word)]
    if named[:2] in (["counter", "keys"], ["desk", "audit"], ["desk", "people"]):
        return named[:3]
    return named[: 2 if named and named[0] in GROUPS else 1]


def _help(*names: str) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*names, "--help"])
    assert result.exit_code == 0, f"{names}: {result.output}"
    return result.output


def _sentences_beside_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def _anchors(text: str) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _sentences_beside_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", COMMAND_PAGES)
def test_every_command_and_option_on_a_page_exists(page: str) -> None:
    uses = list(_commands(page))
    assert uses or page in ("ARCHITECTURE.md", "CONTRIBUTING.md")
    for words in uses:
        names = _names(words)
        known = _help(*names) + _help()
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"{option.partition('=')[0]}\b", known), f"{names} {option}"


def test_the_readme_tells_of_every_command() -> None:
    listed = set(re.findall(r"^│ ([a-z][a-z-]*) ", _help(), re.MULTILINE))
    assert {"up", "demo", "score"} <= listed
    told = {_names(words)[0] for words in _commands("README.md") if _names(words)}
    assert listed - told == set()


@pytest.mark.parametrize("page", COMMAND_PAGES)
def test_every_target_of_make_on_a_page_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", _text("Makefile"), re.MULTILINE))
    asked = {match[1] for line in _code(_text(page)) if (match := re.match(r"make (\w+)", line))}
    assert asked - targets == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_to_something_in_the_repository(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", _sentences_beside_code(_text(page)))
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent.joinpath(name).resolve() if name else ROOT / page
        assert target.is_relative_to(ROOT.resolve()), link
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target.read_text("utf-8")), link


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`((?:\.ci|config|docs|src|tests|tools)/[^`\s*<]*)`", _text(page))
    missing = [name for name in named if not (ROOT / name).exists() and name not in MADE_LATER]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_an_absolute_path(page: str) -> None:
    found = set(re.findall(r"(?:^|(?<=[\s`'\"(=]))/[A-Za-z_][\w./-]*", _text(page), re.MULTILINE))
    assert {each for each in found - ABSOLUTE if not each.startswith("/v1/")} == set()


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_a_host_that_it_need_not(page: str) -> None:
    found = set(re.findall(r"\b(?:[a-z0-9-]+\.)+(?:com|org|net|io|dev|cn)\b", _text(page)))
    assert found - HOSTS == set()


@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_left_unfinished(page: str) -> None:
    assert re.findall(r"\b(?:TODO|TBD|FIXME|XXX)\b|(?i:lorem ipsum)", _text(page)) == []


def test_decisions_are_numbered_without_a_gap() -> None:
    files = sorted(path.name for path in ROOT.glob("docs/decisions/*.md"))
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))


def test_the_page_of_operations_explains_every_reason_of_a_dead_letter() -> None:
    page = _text("docs/operations.md")
    reasons = [reason.value for reason in (*Refusal, *Unreadable)]
    assert [reason for reason in reasons if f"| `{reason}` |" not in page] == []


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "docs/counter.md"])
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    sections = "|".join({key.partition(".")[0] for key in known_keys()})
    named = set(re.findall(rf"`((?:{sections})\.[a-z_]+)`", _text(page)))
    assert named - set(known_keys()) == set()
