"""ARCHITECTURE.md is the map: what it names is there, and what is there it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sluicegate"
MAP = ROOT.joinpath("ARCHITECTURE.md").read_text("utf-8")
FOLDERS = sorted(set(re.findall(r"`((?:[\w.-]+/)+)`", MAP)))
MODULES = sorted(set(re.findall(r"`([\w/]+\.(?:py|toml|md))`", MAP)))


def _is_named(folder: Path) -> bool:
    return f"`{folder.relative_to(ROOT).as_posix()}/`" in MAP


def _left_out() -> set[str]:
    """What git leaves out belongs to no map."""
    lines = ROOT.joinpath(".gitignore").read_text("utf-8").splitlines()
    return {line.strip("/") for line in lines}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_that_the_map_names_exists(folder: str) -> None:
    assert (ROOT / folder).is_dir() or (PACKAGE / folder).is_dir()


@pytest.mark.parametrize("module", MODULES)
def test_a_file_that_the_map_names_exists(module: str) -> None:
    assert (ROOT / module).is_file() or (PACKAGE / module).is_file()


def test_every_package_is_on_the_map() -> None:
    packages = [marker.parent for marker in PACKAGE.glob("*/__init__.py")]
    assert packages
    assert [each.name for each in packages if not _is_named(each)] == []


def test_every_folder_at_the_top_is_on_the_map() -> None:
    seen = [each for each in ROOT.iterdir() if each.is_dir() and each.name not in _left_out()]
    ours = [each for each in seen if not each.name.startswith(".") or each.name == ".ci"]
    assert ours
    assert [each.name for each in ours if not _is_named(each)] == []
