"""The documents point at what exists, draw the floors as they are kept, and their short examples are true."""

import doctest
import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

EXAMPLES = [
    *("longvt_plugins.budget", "longvt_plugins.plugins", "longvt_plugins.prompts", "longvt_plugins.registry"),
    *("longvt_plugins.temporal", "longvt_plugins.types", "longvt_plugins.video.sampling", "datapipe.records.outcome"),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_files_exist(document):
    text = document.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (document.parent / link).exists()] == []
    packages = "longvt_plugins|trl_ext|eval_ext|datapipe|docs|recipes|tests"
    named = re.findall(rf"`((?:{packages})/[\w/.]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_floors_are_drawn_as_they_are_kept():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    hosts, core = ([re.sub(r"[()]", "", layer) for layer in contract["layers"]] for contract in contracts)
    kept = [core[0], hosts[0], *core[1:]]
    (drawn,) = re.findall(r"```\n(cli.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    assert [re.findall(r"\w+", line) for line in drawn.splitlines()] == [re.findall(r"\w+", line) for line in kept]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_at_the_top_of_a_module_is_true(name):
    failed, attempted = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert attempted > 0
    assert failed == 0
