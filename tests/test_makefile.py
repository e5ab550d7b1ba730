"""The Makefile on a fresh checkout: one installation for all targets, and a clear word where Python is too old."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def make(tmp_path):
    """Runs make in a folder with nothing but the files that it reads."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)

    def make(*args):
        return subprocess.run(["make", *args], cwd=tmp_path, capture_output=True, text=True, check=False)

    return make


def old_python(folder):
    script = folder / "python3.10"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("python", ["", "python3.99", "OLD"])
def test_a_python_that_is_missing_or_too_old_is_told_and_nothing_is_made(make, tmp_path, python):
    python = str(old_python(tmp_path)) if python == "OLD" else python
    done = make("test", f"PYTHON={python}")
    assert done.returncode != 0
    assert f"longvt-plugins needs Python 3.11 or newer; {python or 'no python3 here'} is not." in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("order", [("demo", "test"), ("test", "demo"), ("lint", "types", "floors", "test")])
def test_whatever_comes_first_installs_and_the_others_find_it(make, order):
    planned = make("--dry-run", *order).stdout
    assert planned.count("pip install --quiet --editable") == 1
    first = {"demo": "bin/longvt demo", "test": "bin/pytest", "lint": "bin/ruff"}[order[0]]
    assert planned.index("pip install") < planned.index(first)


def test_nothing_is_installed_again_until_pyproject_changes(make, tmp_path):
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".installed").touch()
    assert "pip install" not in make("--dry-run", "test", "demo").stdout
    later = (tmp_path / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(tmp_path / "pyproject.toml", (later, later))
    assert "pip install" in make("--dry-run", "test").stdout


def test_help_names_every_target(make):
    told = make().stdout
    (targets,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:")]
    assert [target for target in targets.split()[2:] if f"make {target}" not in told] == []
