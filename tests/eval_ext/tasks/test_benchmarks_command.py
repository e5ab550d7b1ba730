"""The benchmarks as a user runs them: the real ``lmms-eval`` command, a real server, no flag that names our tasks.

One command in the normal run asks a tenth of the matrix; the slow tests ask all of it, in one process and in two.
"""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("lmms_eval")

from eval_ext.tasks.catalogue import catalogue, entries
from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.testing_server import ScriptedChatServer, asked_text, assistant

ANSWERS = {
    "colour is the lamp": "red",
    "How many people": "3",
    "Which fruit": "C",
    "What is the cost": "$700",
    "Which entry": "(B)",
    "Comprehension: ": "J",
    "Perception: ": "The answer is A",
    "What year": "(D) 1633",
    "What follows": "A",
    "putting a book": "The event happens in the 8 - 12 seconds.",
    "opens a door": "[2, 3]",
}
"""What the server answers to which question; one of VideoMME, one of LVBench and one of LongVideoBench is wrong."""


def script(request):
    """Looks once where it has a tool, then answers."""
    text = asked_text(request)
    answer = next(answer for part, answer in ANSWERS.items() if part in text)
    system = request["messages"][0]["content"]
    if "tools" not in request:
        return assistant(f"<think>Hm.</think><answer>{answer}</answer>" if "<answer>" in str(system) else answer)
    if not any(message["role"] == "tool" for message in request["messages"]):
        window = {"video_path": "video_1.mp4", "start_time": 8, "end_time": 12}
        return assistant("<think>There.</think>", [("c1", "crop_video", window)])
    return assistant(f"<think>I see.</think><answer>{answer}</answer>")


def results_of(folder, output):
    paths = list(folder.rglob("*_results.json"))
    assert len(paths) == 1, output
    return json.loads(paths[0].read_text())


def environment(copies, tmp_path):
    return {
        "LONGVT_DATA": str(copies), "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def options(server, tmp_path, tasks):
    return [
        "--model", "longvt", "--model_args",
        f"base_url={server.base_url},model=scripted,preset=tiny,rollouts={tmp_path / 'traces'}",
        "--tasks", ",".join(tasks), "--output_path", str(tmp_path / "out"), "--log_samples",
        "--use_cache", str(tmp_path / "cache"),
    ]  # fmt: skip


def test_one_command_answers_every_benchmark(copies, lmms_eval_command, tmp_path):
    controls = ["lvbench_tool_oracle_window", "lvbench_reasoning_no_visual", "videomme_tool_random_choice"]
    tasks = ["longvt_suite_tool", "lvbench_non_think", "videomme_w_subtitle_reward", *controls]
    with ScriptedChatServer(script) as server:
        output = lmms_eval_command(*options(server, tmp_path, tasks), env=environment(copies, tmp_path))
    found = results_of(tmp_path / "out", output)
    numbers = found["results"]
    accuracy = {name: values["accuracy,none"] for name, values in numbers.items() if "accuracy,none" in values}
    assert accuracy == {
        "videosiah_eval_tool": 1.0, "videomme_tool": 0.5, "videomme_w_subtitle_tool": 0.5, "lvbench_tool": 0.5,
        "longvideobench_tool": 0.5, "charades_sta_tool": 0.75, "video_mmmu_adaptation_tool": 1.0,
        "video_mmmu_comprehension_tool": 1.0, "video_mmmu_perception_tool": 0.0, "lvbench_non_think": 0.5,
        "videomme_w_subtitle_reward": 0.5, "lvbench_tool_oracle_window": 1.0, "lvbench_reasoning_no_visual": 0.5,
        "videomme_tool_random_choice": accuracy["videomme_tool_random_choice"],
    }, output  # fmt: skip
    grounding = numbers["charades_sta_tool"]
    names = ("miou", "r@0.3", "r@0.5", "r@0.7", "iou", "hit", "hit_union", "used_tools")
    assert [grounding[f"{name},none"] for name in names] == [0.75, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 1.0]
    assert numbers["videomme_tool"]["accuracy/Counting Problem,none"] == 1.0
    assert numbers["videomme_tool"]["accuracy/OCR Problems,none"] == 0.0
    assert (numbers["videomme_tool"]["chance,none"], numbers["videomme_tool"]["format,none"]) == (0.25, 1.0)
    assert numbers["lvbench_tool_oracle_window"]["iou,none"] == 1.0
    # Each of the nine in the form with tools, and those that are named besides.
    assert set(found["n-samples"]) == {*entries()["longvt_suite_tool"].members, *tasks[1:]}
    blind = [rollout.frames for rollout in read_rollouts(tmp_path / "traces/lvbench_reasoning_no_visual")]
    assert blind == [0, 0]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_task_is_answered_and_a_second_command_asks_nothing(copies, lmms_eval_command, tmp_path):
    tasks = [
        entry.name
        for entry in catalogue()
        if not entry.members and entry.benchmark != "longvt_synthetic" and entry.name != NO_WINDOWS
    ]
    asked = []
    with ScriptedChatServer(script) as server:
        for _ in range(2):
            output = lmms_eval_command(*options(server, tmp_path, tasks), env=environment(copies, tmp_path))
            asked.append(len(server.requests))
    assert asked[1] == asked[0] > len(tasks), output
    for path in tmp_path.rglob("*_results.json"):
        numbers = json.loads(path.read_text())["results"]
        assert set(tasks) <= set(numbers)
        assert all(numbers[task]["scored,none"] >= 1 and numbers[task]["failed,none"] == 0 for task in tasks)


NO_WINDOWS = "videosiah_eval_tool_oracle_window"
"""Cannot be asked of this copy, whose documents do not say where their evidence is."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "command",
    [
        ["-m", "lmms_eval"],
        ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m", "lmms_eval"],
    ],
    ids=["python -m lmms_eval", "accelerate launch, two processes"],
)
def test_other_ways_to_start_it_find_the_same_tasks(command, copies, tmp_path):
    with ScriptedChatServer(script) as server:
        done = subprocess.run(
            [sys.executable, *command, *options(server, tmp_path, ["longvt_suite_tool", "lvbench_reasoning"])],
            env={**os.environ, **environment(copies, tmp_path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    numbers = results_of(tmp_path / "out", done.stdout + done.stderr)["results"]
    assert numbers["lvbench_tool"]["accuracy,none"] == 0.5
    assert numbers["charades_sta_tool"]["miou,none"] == 0.75
    assert all(numbers[task]["failed,none"] == 0 for task in entries()["longvt_suite_tool"].members)
    # Each process writes a file of its own.
    assert len(list((tmp_path / "traces" / "lvbench_tool").glob("*.jsonl"))) == (2 if "--multi_gpu" in command else 1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_group_of_all_is_answered(copies, lmms_eval_command, tmp_path):
    with ScriptedChatServer(script) as server:
        output = lmms_eval_command(
            *options(server, tmp_path, ["longvt_suite"]), "--limit", "1", env=environment(copies, tmp_path)
        )
    numbers = results_of(tmp_path / "out", output)["results"]
    for group in entries()["longvt_suite"].members:
        assert all(numbers[task]["scored,none"] == 1 for task in entries()[group].members)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_variable_has_longvt_scored_by_us(copies, lmms_eval_command, tmp_path):
    with ScriptedChatServer(script) as server:
        output = lmms_eval_command(
            *options(server, tmp_path, ["longvt", "longvt_non_think"]),
            env={**environment(copies, tmp_path), "LONGVT_TASKS": "ours"},
        )
    numbers = results_of(tmp_path / "out", output)["results"]
    assert [numbers[task]["accuracy,none"] for task in ("longvt", "longvt_non_think")] == [1.0, 1.0]
    assert numbers["longvt"]["hit,none"] is None
    assert "not by ours" not in output


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_checkpoint_answers_without_a_server(copies, lmms_eval_command, tmp_path):
    tasks = [
        "lvbench_tool",
        "lvbench_tool_oracle_window",
        "charades_sta_non_think",
        "videosiah_eval_reasoning_no_visual",
    ]
    output = lmms_eval_command(
        "--model", "longvt_hf", "--model_args", f"pretrained=tiny,preset=tiny,rollouts={tmp_path / 'traces'}",
        "--tasks", ",".join(tasks), "--limit", "1", "--gen_kwargs", "max_new_tokens=16",
        "--output_path", tmp_path / "out",
        env=environment(copies, tmp_path),
    )  # fmt: skip
    numbers = results_of(tmp_path / "out", output)["results"]
    assert [(numbers[task]["scored,none"], numbers[task]["failed,none"]) for task in tasks] == [(1, 0)] * 4, output
    assert numbers["lvbench_tool_oracle_window"]["iou,none"] == 1.0
