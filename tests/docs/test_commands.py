"""Commands that the documents name exist, with the flags that are shown; the guide runs from end to end."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from longvt_plugins import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("guide.md", "ask.md", "from_longvt.md", "add_tool.md", "add_judge.md", "add_step.md", "tools.md", "mcp.md")
HOSTS = ("grpo", "sft", "doctor", "eval")
"""Their flags are those of TRL and lmms-eval."""
NESTED = ("judge", "rollouts", "rewards", "data", "video")
"""Their first word says what to do; that of `synth` may."""


def commands(page):
    """Every command of ours on a page: of its fences, and of code within lines."""
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`((?:longvt|datapipe) [a-z][^`]*)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return [line for line in lines if line.startswith(("longvt ", "datapipe "))]


def help_of(program, words, capsys):
    run = {"longvt": cli.main, "datapipe": __import__("datapipe.cli").cli.main}[program]
    with pytest.raises(SystemExit):
        run([*words, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_flags_exist(page, capsys):
    found = commands(page)
    assert found
    for line in found:
        program, name, *rest = shlex.split(line, comments=True)
        if program == "longvt":
            assert name in cli.COMMANDS, line
        if name in HOSTS or name == "tool":
            continue
        flags = {word.partition("=")[0] for word in rest if word.startswith("--")}
        has_words = name in NESTED or (name == "synth" and rest and not rest[0].startswith("-"))
        nested = [name, rest[0]] if has_words and rest else [name]
        told = help_of(program, nested, capsys)
        assert not {flag for flag in flags if flag not in told}, line


def test_every_command_of_longvt_that_people_come_with_has_a_line():
    """The commands of the published repository, as `docs/from_longvt.md` promises them."""
    text = (ROOT / "docs" / "from_longvt.md").read_text()
    scripts = (
        *(
            "huggingface-cli download",
            "lmms_engine.launch.cli",
            "run_longvt_7b_sft.sh",
            "run_longvt_7b_rft.sh",
            "launch.sh",
            "longvt_7b_rl_train.sh",
        ),
        *("vllm serve", "sglang.launch_server", "run_eval.sh", "run_single_inference.sh", "single_inference.py"),
        *("detect_segment.py", "clip_caption.py", "merge_event.py", "merge_caption.py", "run_qa_generate.sh"),
        *("run_text_summary.sh", "run_qa_filter_text.sh", "run_qa_filter_vl.sh", "run_imcott_generate.sh"),
    )
    assert [script for script in scripts if script not in text] == []
    for recipe in re.findall(r"`[^`]*(recipes/[\w/]+\.\w+)", text):
        assert (ROOT / recipe).exists(), recipe


@pytest.mark.slow
def test_the_guide_runs(tmp_path):
    text = (ROOT / "docs" / "guide.md").read_text()
    script = "\n".join(re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "answer  " in done.stdout
    for made in ("trace.html", "runs/rl/model.safetensors", "runs/page/index.html"):
        assert (tmp_path / made).is_file(), made
    assert list((tmp_path / "runs" / "eval").rglob("*_results.json"))
