"""What a rollout did travels to the scoring as text."""

import json

import pytest

from eval_ext.metering import Effort
from eval_ext.outcome import Outcome, read_outcome, write_outcome
from longvt_plugins.rollouts import Rollout

ROW = {
    "id": "q", "videos": {"video_1.mp4": "v.mp4"}, "kind": "open", "question": "?", "answer": "red",
    "video_segment": [8.0, 12.0], "options": None, "source": "",
}  # fmt: skip


def call(number, start):
    arguments = {"video_path": "video_1.mp4", "start_time": start, "end_time": start + 4}
    entry = {"id": f"c{number}", "type": "function", "function": {"name": "crop_video", "arguments": arguments}}
    return {"role": "assistant", "content": "<think>x</think>", "tool_calls": [entry]}


def reply(number, text):
    return {"role": "tool", "tool_call_id": f"c{number}", "name": "crop_video", "content": text}


MESSAGES = [
    call(1, 2), reply(1, "4 frames from 2s to 6s:"),
    call(2, 90), reply(2, "Error: outside"),
    {"role": "assistant", "content": "<think>x</think><answer>red</answer>"},
]  # fmt: skip


def rollout(stop_reason="answered", messages=MESSAGES):
    return Rollout.from_messages(ROW, messages, run="r", stop_reason=stop_reason, tokens=9, seconds=1.23456)


def test_the_facts_come_back_as_they_went():
    effort = Effort(turns=3, truncated_turns=1, prompt_tokens=700, retries=2, model_seconds=1.0004, cost=0.25)
    outcome = read_outcome(write_outcome(rollout(), effort), "tool")
    assert outcome == Outcome(
        "red", True, [[2.0, 6.0]], 1, 1, 0, 9, 1.235, "answered",
        turns=3, truncated_turns=1, prompt_tokens=700, retries=2, model_seconds=1.0, cost=0.25,
    )  # fmt: skip


def test_a_failed_rollout_is_the_empty_text_which_is_never_cached():
    assert write_outcome(rollout("error"), Effort()) == ""
    assert read_outcome("", "tool") is None
    assert read_outcome(" \n", "non_think") is None


@pytest.mark.parametrize("text", ["[LMMS_EVAL_REQUEST_FAILED after 5 retries] 500", "[LMMS_EVAL_BUDGET_EXCEEDED]"])
def test_a_failure_that_another_model_writes_as_its_answer_is_a_failure(text):
    assert read_outcome(text, "non_think") is None


def test_an_answer_may_hold_anything():
    said = '"} {"longvt_outcome": 1, \u2603 </answer>\n'
    written = write_outcome(rollout(messages=[{"role": "assistant", "content": f"<answer>{said}"}]), Effort())
    assert read_outcome(written, "tool").answer == '"} {"longvt_outcome": 1, \u2603'


def test_another_models_text_is_read_by_its_tags():
    outcome = read_outcome("<think>x</think><answer>blue</answer>", "tool")
    assert (outcome.answer, outcome.format_ok, outcome.windows, outcome.calls) == ("blue", True, [], 0)


def test_calls_in_another_models_text_were_not_executed():
    text = '<tool_call>{"name": "crop_video", "arguments": {"start_time": 8, "end_time": 12}}</tool_call>'
    outcome = read_outcome(text, "tool")
    assert (outcome.windows, outcome.calls, outcome.refused_calls, outcome.answer) == ([], 0, 1, None)


@pytest.mark.parametrize(("form", "answer"), [("non_think", "blue"), ("reasoning", None), ("tool", None)])
def test_an_untagged_text_is_an_answer_only_where_none_is_asked_to_think(form, answer):
    assert read_outcome(" blue ", form).answer == answer


@pytest.mark.parametrize(
    "text", ['{"longvt_outcome": 1', '{"longvt_outcome": 3}', '{"longvt_outcome": 1, "answer": "x"}', '{"a": 1}']
)
def test_text_that_only_looks_like_ours_is_text(text):
    assert read_outcome(text, "non_think").answer == text


def test_the_text_is_plain_json_on_one_line():
    written = write_outcome(rollout(), Effort())
    assert "\n" not in written
    assert json.loads(written)["longvt_outcome"] == 2
