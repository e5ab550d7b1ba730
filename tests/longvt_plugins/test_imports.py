"""Imports do no work: no heavy library, no network, no process, no file written, and the floors are kept."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HEAVY = [
    "torch",
    "torchvision",
    "transformers",
    "trl",
    "datasets",
    "accelerate",
    "lmms_eval",
    "av",
    "openai",
    "pyarrow",
    "scenedetect",
]
"""Taking seconds to import, or missing without an extra."""

PROBE = """
import json, sys

written = []

def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"):
        written.append(event)
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        written.append(f"open {args[0]}")

sys.addaudithook(watch)
sys.dont_write_bytecode = True
CODE
print(json.dumps({"modules": sorted(sys.modules), "written": written}))
"""


def after(code: str) -> dict[str, list[str]]:
    """What is loaded, and what was done, in a fresh process that ran this."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.replace("CODE", code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return result


def modules_of(package: str) -> list[str]:
    files = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files if file.name != "__main__.py"]
    return [name.removesuffix(".__init__") for name in names]


def test_importing_the_package_is_light():
    loaded = set(after("import longvt_plugins")["modules"])
    assert not loaded & {*HEAVY, "numpy", "PIL", "pydantic", "pluggy", "jinja2", "rich"}


@pytest.mark.parametrize("package", ["longvt_plugins", "datapipe"])
def test_no_module_loads_a_heavy_library_or_does_anything_when_imported(package):
    result = after("\n".join(f"import {name}" for name in modules_of(package)))
    assert [name for name in HEAVY if name in result["modules"]] == []
    assert result["written"] == []


def test_every_public_name_is_there():
    import longvt_plugins

    assert set(longvt_plugins.__all__) == {"__version__", *longvt_plugins._PUBLIC}
    for name in longvt_plugins.__all__:
        assert getattr(longvt_plugins, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'crop_vdeo'"):
        longvt_plugins.crop_vdeo  # noqa: B018


def test_loading_every_plugin_loads_no_decoder_no_client_and_no_torch():
    result = after("from longvt_plugins import create_plugin_manager; create_plugin_manager()")
    assert [name for name in HEAVY if name in result["modules"]] == []


@pytest.mark.parametrize("program", ["longvt_plugins.cli", "datapipe.cli"])
def test_help_needs_nothing_but_the_standard_library(program):
    code = f"""
import {program}
try:
    {program}.main(["--help"])
except SystemExit as end:
    assert end.code == 0
"""
    result = after(code)
    ours = ("longvt_plugins", "datapipe")
    standard = sys.stdlib_module_names | set(after("pass")["modules"])
    foreign = {name.partition(".")[0] for name in result["modules"]} - standard - set(ours)
    assert foreign == set()
    assert not [name for name in result["modules"] if name.startswith("longvt_plugins.commands.")]


def test_the_floors_are_kept():
    lint_imports = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [lint_imports, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout


def test_an_import_that_climbs_a_floor_is_found(tmp_path):
    """The contracts can fail: the lowest floor must not know the tools."""
    for package in ("longvt_plugins", "trl_ext", "eval_ext", "datapipe"):
        for file in (ROOT / package).rglob("*.py"):
            copy = tmp_path / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(file.read_text())
        (tmp_path / package).mkdir(exist_ok=True)
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    with (tmp_path / "longvt_plugins" / "errors.py").open("a") as file:
        file.write("\nfrom longvt_plugins.tools import Tool\n")
    with (tmp_path / "datapipe" / "records.py").open("a") as file:
        file.write("\nimport trl_ext\n")
    env = os.environ | {"NO_COLOR": "1", "PYTHONPATH": str(tmp_path)}
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 1, done.stdout
    assert "longvt_plugins.errors -> longvt_plugins.tools" in done.stdout
    assert "datapipe.records -> trl_ext" in done.stdout
