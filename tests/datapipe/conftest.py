"""A small pipeline, its input, its chat server, and its steps as an installed plugin for runs in other processes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datapipe.recipe import Recipe, read_recipe
from datapipe.workdir import open_stores
from longvt_plugins.testing import plugin_manager
from longvt_plugins.testing_server import Reply, ScriptedChatServer, asked_text, assistant

from . import pipeline_steps

RECIPE = ["drop_thirds", "ask_double", "sum_video"]


def reply_to(request: dict[str, Any]) -> Reply:
    """What an honest server says: the product or the sum that is asked for."""
    text = asked_text(request).splitlines()[0]
    numbers = [int(number) for number in re.findall(r"\d+", text.partition("(")[0])]
    answer = numbers[0] * numbers[1] if "times" in text else sum(numbers)
    return assistant(json.dumps({"number": answer}), usage=(100, 10))


def write_numbers(path: Path, count: int, videos: int = 10) -> Path:
    """Numbers from 1, spread over videos."""
    lines = (
        json.dumps({"id": f"n{number:04}", "video": f"v{number % videos}", "number": number})
        for number in range(1, count + 1)
    )
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture(scope="session")
def numbers_steps() -> Any:
    """The steps, for runs in this process."""
    return plugin_manager(pipeline_steps).steps


@pytest.fixture
def recipe_for(tmp_path: Path) -> Callable[..., Recipe]:
    """Makes a recipe over numbers that are asked about at a server."""

    def make(base_url: str, count: int = 30, steps: list[Any] | None = None, **settings: Any) -> Recipe:
        source = tmp_path / "numbers.jsonl"
        if not source.exists():
            write_numbers(source, count)
        model = {"base_url": base_url, "model": "calculator", "prices": {"input": 10.0, "output": 100.0}}
        model |= {"backoff": 0.05} | settings.pop("model", {})
        given = {"input": str(source), "models": {"default": model}, "steps": steps or RECIPE, **settings}
        return read_recipe(given, {})

    return make


@pytest.fixture(scope="session")
def steps_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH in which the steps are an installed plugin."""
    site = tmp_path_factory.mktemp("site")
    shutil.copy(pipeline_steps.__file__, site / "pipeline_steps.py")
    info = site / "pipeline_steps-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pipeline-steps\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[longvt]\nnumbers = pipeline_steps\n")
    return site


@pytest.fixture
def server() -> Any:
    """An honest server."""
    with ScriptedChatServer(reply_to) as running:
        yield running


def write_recipe(path: Path, base_url: str, source: Path, **settings: Any) -> Path:
    """A recipe as a file, for runs in other processes."""
    model = {"base_url": base_url, "model": "calculator", "prices": {"input": 10.0, "output": 100.0}, "backoff": 0.05}
    given = {"input": str(source), "models": {"default": model}, "steps": RECIPE, **settings}
    path.write_text(json.dumps(given))  # JSON is YAML
    return path


def start_run(recipe: Path, work: Path, site: Path, *flags: str) -> subprocess.Popen[str]:
    """``datapipe run`` as a process of its own."""
    import os

    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [sys.executable, "-m", "datapipe.cli", "run", str(recipe), "--work-dir", str(work), *flags]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def contents(work: Path) -> dict[str, list[Any]]:
    """All that a run has made, without how long it took."""
    found: dict[str, list[Any]] = {}
    for store in open_stores(work):
        for step in store.steps():
            records = [{**record, "provenance": None} for record in store.kept(step)]
            found.setdefault(step, []).extend(
                [*records, *store.rejected(step, "dropped"), *store.rejected(step, "failed")]
            )
    return {step: sorted(entries, key=json.dumps) for step, entries in found.items()}
