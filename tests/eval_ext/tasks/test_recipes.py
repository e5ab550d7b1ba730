"""The scripts of ``recipes/eval``: what they start is what their README says, with names and keys that exist."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from eval_ext.arguments import ServerArguments, parse_arguments
from eval_ext.tasks.catalogue import entries
from longvt_plugins.testing_server import ScriptedChatServer, assistant

RECIPES = Path(__file__).parents[3] / "recipes" / "eval"

PROGRAM = """#!{python}
import json, os, sys
print(json.dumps([sys.argv[1:], os.environ.get("LONGVT_JUDGE")]))
"""


@pytest.fixture
def started(tmp_path):
    """Runs a script with programs that only say what they were started with."""

    def started(script, *args, **variables):
        for name in ("longvt", "vllm"):
            (tmp_path / name).write_text(PROGRAM.format(python=sys.executable))
            (tmp_path / name).chmod(0o755)
        path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {key: value for key, value in os.environ.items() if key != "LONGVT_JUDGE"}
        done = subprocess.run(
            ["bash", str(RECIPES / script), *args],
            env={**env, "PATH": path, **variables}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    return started


def option(arguments, name):
    return arguments[arguments.index(name) + 1]


def config_of(arguments):
    given = dict(part.split("=", 1) for part in option(arguments, "--model_args").split(","))
    return parse_arguments(ServerArguments, given, "longvt", {}).agent_config()


@pytest.mark.parametrize("form", ["non_think", "reasoning", "tool"])
@pytest.mark.parametrize("script", ["published.sh", "ours.sh"])
def test_every_task_that_a_script_asks_for_exists_and_has_its_form(script, form, started):
    arguments, judge = started(script, form)
    assert {entries()[task].form for task in option(arguments, "--tasks").split(",")} == {form}
    assert ("--gen_kwargs" in arguments) is (form != "non_think")
    assert "rubric: binary" in judge


def test_the_published_protocol_is_the_one_in_the_readme(started):
    config = config_of(started("published.sh", "tool")[0])
    shown = config.overview
    assert (shown.fps, shown.max_frames, shown.max_pixels, shown.labels, shown.mode) == (1, 768, 50176, "none", "qwen")
    assert (config.crop.max_frames, config.max_calls, config.turns) == (128, 5, 5)
    assert config_of(started("published.sh", "tool", FRAMES="512")[0]).overview.max_frames == 512


def test_ours_labels_frames_and_leaves_a_turn_to_answer(started):
    config = config_of(started("ours.sh", "tool")[0])
    assert (config.overview.labels, config.overview.max_frames, config.overview.mode) == ("seconds", 512, "grid")
    assert (config.max_calls, config.turns) == (5, 7)


def test_ours_may_have_the_tokens_of_the_training_recipe(started):
    recipe = yaml.safe_load((RECIPES.parent / "rl.yaml").read_text())
    given = option(started("ours.sh", "tool", PROCESSOR="runs/rl")[0], "--model_args").split(",")
    keys = ("turn_tokens", "max_completion_length", "calls_per_turn", "max_calls")
    assert {*(f"{key}={recipe[key]}" for key in keys), "processor=runs/rl"} <= set(given)


def test_options_of_lmms_eval_may_follow_and_the_judge_be_left_out(started):
    arguments, judge = started("ours.sh", "tool", "lvbench_tool", "--limit", "8", LONGVT_JUDGE="")
    assert (option(arguments, "--tasks"), option(arguments, "--limit"), judge) == ("lvbench_tool", "8", "")


def test_the_server_gets_our_template_unless_the_model_has_its_own(started):
    arguments, _ = started("serve.sh", "runs/rft", "2")
    assert Path(option(arguments, "--chat-template")).is_file()
    assert option(arguments, "--data-parallel-size") == "2"
    arguments, _ = started("serve.sh", "Qwen/Qwen3-VL-8B-Instruct", TEMPLATE="")
    assert "--chat-template" not in arguments


def test_every_name_in_the_readme_exists():
    named = set(re.findall(r"`(\w+)`", (RECIPES / "README.md").read_text()))
    built_in = {"longvt", "longvt_reasoning", "longvt_non_think", "video_mmmu", "lvbench", "videomme_w_subtitle"}
    benchmarks = {entry.benchmark for entry in entries().values()}
    others = {"accuracy", "judged_accuracy", "BASE_URL", "MODEL", "OUT", "PROCESSOR"}
    assert named - benchmarks - built_in - set(entries()) == others


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("script", ["published.sh", "ours.sh"])
def test_a_script_runs_to_its_end(script, copies, tmp_path):
    with ScriptedChatServer(lambda request: assistant("<think>Hm.</think><answer>D</answer>")) as server:
        done = subprocess.run(
            ["bash", str(RECIPES / script), "tool", "lvbench_tool"],
            env={
                **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LONGVT_JUDGE": "",
                "LONGVT_DATA": str(copies), "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1",
                "BASE_URL": server.base_url, "MODEL": "scripted", "OUT": str(tmp_path / "out"),
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "out").rglob("*_results.json")
    assert json.loads(path.read_text())["results"]["lvbench_tool"]["accuracy,none"] == 0.5
