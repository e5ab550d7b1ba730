"""The trace of an evaluation: written as it goes, read by what reads rollouts, continued by the next run."""

import json

import pytest

from eval_ext.metering import Effort
from eval_ext.rollout_files import TraceFile
from longvt_plugins.cli import main
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import Rollout, read_rollouts


def done(number, *, answer="red", model="m", run="evaluation", stop_reason="answered"):
    row = {
        "id": f"q{number}", "videos": {"video_1.mp4": "v.mp4"}, "kind": "open", "question": "?", "answer": "red",
        "video_segment": None, "options": None, "source": "",
    }  # fmt: skip
    call = {"id": "c1", "type": "function", "function": {"name": "crop_video", "arguments": {}}}
    messages = [
        {"role": "assistant", "content": "<think>\ud83d</think>", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "name": "crop_video", "content": "Error: 'video_path' is missing"},
        {"role": "assistant", "content": f"<think>x</think><answer>{answer}</answer>"},
    ]
    return Rollout.from_messages(row, messages, run=run, model=model, stop_reason=stop_reason)


def right(rollout, effort):
    return {"accuracy": float(rollout.answer == "red")}


def write(folder, *rollouts, run="evaluation", model="m", order=("q0", "q1", "q2")):
    with TraceFile(folder, run=run, model=model, rank=0, order=order) as trace:
        for rollout in rollouts:
            trace.add(rollout, Effort(turns=2, prompt_tokens=70), right)


def test_a_line_has_the_rollout_its_scores_and_what_it_took(tmp_path):
    write(tmp_path, done(0))
    (line,) = (tmp_path / "rollouts-00000000.jsonl").read_text().splitlines()
    effort = json.loads(line)["effort"]
    assert effort.items() >= {"turns": 2, "prompt_tokens": 70, "calls": 0, "refused_calls": 1, "retries": 0}.items()
    (rollout,) = read_rollouts(tmp_path)
    assert (rollout.answer, rollout.rewards, rollout.messages[0]["content"]) == (
        "red",
        {"accuracy": 1.0},
        "<think>\ud83d</think>",
    )


def test_lines_end_in_the_order_of_the_questions_whatever_was_done_first(tmp_path):
    write(tmp_path, done(2), done(0), done(1))
    assert [rollout.row_id for rollout in read_rollouts(tmp_path)] == ["q0", "q1", "q2"]


def test_what_was_done_is_there_after_an_evaluation_that_broke_off(tmp_path):
    with TraceFile(tmp_path, run="evaluation", model="m", rank=0, order=["q0", "q1"]) as trace:
        trace.add(done(0), Effort(), right)
        trace._written[0].result()
        assert [rollout.row_id for rollout in read_rollouts(tmp_path)] == ["q0"]


def test_a_run_that_continues_keeps_what_is_there_and_replaces_what_was_asked_again(tmp_path):
    write(tmp_path, done(0), done(1, stop_reason="error"))
    with (tmp_path / "rollouts-00000000.jsonl").open("a") as file:
        file.write('{"id": "evaluation/0/q2/0", "ro')  # killed while it wrote
    write(tmp_path, done(1, answer="blue"), done(2), order=["q1", "q2"])
    assert [(rollout.row_id, rollout.answer) for rollout in read_rollouts(tmp_path)] == [
        ("q0", "red"),
        ("q1", "blue"),
        ("q2", "red"),
    ]


def test_rollouts_of_another_model_are_taken_out(tmp_path):
    write(tmp_path, done(0, model="old"), model="old")
    write(tmp_path, done(1))
    assert [rollout.row_id for rollout in read_rollouts(tmp_path)] == ["q1"]


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "rollouts-00000000.jsonl").write_text('{"mine": 1}\n')
    with pytest.raises(ConfigError, match="line 1 is no rollout"):
        TraceFile(tmp_path, run="evaluation", model="m", rank=0, order=[])
    assert (tmp_path / "rollouts-00000000.jsonl").read_text() == '{"mine": 1}\n'


def test_the_trace_is_shown_by_the_viewer(tmp_path, capsys):
    write(tmp_path / "traces", done(0))
    assert main(["rollouts", "view", str(tmp_path / "traces"), "--out", str(tmp_path / "page")]) == 0
    assert "1 rollouts" in capsys.readouterr().out
