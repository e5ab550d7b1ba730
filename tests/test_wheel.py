"""The wheel holds what the code reads at run time, and nothing else."""

import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("longvt_plugins", "trl_ext", "eval_ext", "datapipe")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def files_below(folder):
    found = (path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file())
    return {name for name in found if "__pycache__" not in name}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_the_wheel(wheel, package):
    packed = {name for name in wheel.namelist() if name.startswith(f"{package}/") and "/recipes/" not in name}
    assert packed == files_below(package)
    assert f"{package}/py.typed" in packed


def test_the_recipes_are_in_the_wheel(wheel):
    packed = {name for name in wheel.namelist() if name.startswith("longvt_plugins/recipes/")}
    assert packed == {f"longvt_plugins/{name}" for name in files_below("recipes")}
    assert "longvt_plugins/recipes/tiny/sft.yaml" in packed


def test_the_data_that_is_read_at_run_time_is_named_here(wheel):
    """A type of file that vanished from both the checkout and the wheel would not be missed above."""
    names = set(wheel.namelist())
    assert {
        "eval_ext/tasks/longvt_synthetic/longvt_synthetic.yaml",
        "longvt_plugins/chat_templates/qwen2_5_vl.jinja",
        "longvt_plugins/judges/calibration.jsonl",
        "longvt_plugins/judges/rubrics/graded.yaml",
        "longvt_plugins/prompts/system_tool.jinja",
        "longvt_plugins/synthetic/checkpoints/base/model.safetensors",
    } <= names


def test_nothing_else_is_in_the_wheel(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    (info,) = tops - set(PACKAGES)
    assert info.endswith(".dist-info")


def test_the_extras_and_the_commands_are_declared(wheel):
    (info,) = {name.partition("/")[0] for name in wheel.namelist()} - set(PACKAGES)
    metadata = message_from_bytes(wheel.read(f"{info}/METADATA"))
    extras = {
        "train",
        "eval",
        "curate",
        "datatrove",
        "readers",
        "tools",
        "mcp",
        "ui",
        "docs",
        "vllm",
        "liger",
        "ray",
        "all",
        "dev",
    }
    assert set(metadata.get_all("Provides-Extra")) == extras
    assert metadata["Requires-Python"] == ">=3.11"
    entries = wheel.read(f"{info}/entry_points.txt").decode()
    for entry in ("longvt = longvt_plugins.cli:main", "datapipe = datapipe.cli:main", "[lmms_eval.models]", "[longvt]"):
        assert entry in entries
