import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longvt_plugins.errors import ConfigError
from trl_ext.rewards import (
    anchored_format_reward,
    answer_reward,
    format_reward,
    time_iou_reward,
    time_recall_reward,
    tool_use_reward,
)

calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


def asks(start, end, thought="<think>When?</think>"):
    """The turn that calls crop_video, as TRL's response parser makes it."""
    arguments = {"video_path": "video_1.mp4", "start_time": start, "end_time": end}
    return {
        "role": "assistant",
        "content": thought,
        "tool_calls": [{"type": "function", "function": {"name": "crop_video", "arguments": arguments}}],
    }


def says(text):
    return {"role": "assistant", "content": text}


def answers(answer, thought="<think>I see it.</think>"):
    return says(f"{thought}<answer>{answer}</answer>")


# What TRL puts into a completion for a tool that returned blocks, and for one that raised.
FRAMES = {"role": "tool", "name": "crop_video", "content": [{"type": "text", "text": "4 frames:"}, {"type": "image"}]}
ERROR = {"role": "tool", "name": "crop_video", "content": "{'error': 'start_time 99 is outside the video'}"}
INSIDE = asks(10, 20)  # the row's window
BAD_CALL = "<think>When?</think><tool_call>{'start_time': 10}</tool_call>"

# completion, then answer, format, anchored, IoU, recall and tool-use reward
TABLE = {
    "right, in form, the exact window": ([INSIDE, FRAMES, answers("red")], 1, 1, 1.35, 1, 1, 1),
    "right without a tool": ([answers("red")], 1, 1, 1.35, 0, 0, 0),
    "wrong after a tool": ([INSIDE, FRAMES, answers("blue")], 0, 1, 1.35, 1, 1, 0),
    "half the window": ([asks(15, 25), FRAMES, answers("red")], 1, 1, 1.35, 1 / 3, 0.5, 1),
    "the whole video": ([asks(0, 100), FRAMES, answers("red")], 1, 1, 1.35, 0.1, 1, 1),
    "the last of two windows counts": ([INSIDE, FRAMES, asks(50, 60), FRAMES, answers("red")], 1, 1, 1.35, 0, 0, 1),
    "a failed last call does not count": ([INSIDE, FRAMES, asks(99, 98), ERROR, answers("red")], 1, 1, 1.35, 1, 1, 1),
    "only a failed call": ([INSIDE, ERROR, answers("red")], 1, 1, 1.35, 0, 0, 0),
    "a call that got no reply": ([INSIDE], 0, 0, 0.2, 0, 0, 0),
    "a call that is no JSON": ([says(BAD_CALL)], 0, 0, 0.2, 0, 0, 0),
    "no answer after looking": ([INSIDE, FRAMES, says("<think>Hm.</think>")], 0, 0, 0.2, 1, 1, 0),
    "an empty answer": ([answers("")], 0, 1, 1.35, 0, 0, 0),
    "an answer of 1,000 characters": ([answers("r" * 1000)], 0, 0, 0, 0, 0, 0),
    "an answer of 999 characters": ([answers("r" * 999)], 0, 1, 1.35, 0, 0, 0),
    "the last answer counts": ([says("<think>a</think><answer>no</answer><answer>red</answer>")], 1, 0, 0.35, 0, 0, 0),
    "an answer without a thought": ([answers("red", thought="")], 1, 0, 0, 0, 0, 0),
    "a thought that is not closed": ([answers("red", thought="<think>I see it.")], 1, 0, -0.15, 0, 0, 0),
    "a thought alone": ([says("<think>I see it.</think>")], 0, 0, 0.2, 0, 0, 0),
    "no thought about the reply": ([INSIDE, FRAMES, answers("red", thought="")], 1, 0, 0.35, 1, 1, 1),
    "text beside the tags": ([says("So: <think>a</think><answer>red</answer>")], 1, 0, 0.35, 0, 0, 0),
    "plain text": ([says("red")], 0, 0, 0, 0, 0, 0),
    "nothing": ([], 0, 0, 0, 0, 0, 0),
    "text instead of messages": ("<think>a</think><answer>red</answer>", 1, 1, 1.35, 0, 0, 0),
}  # fmt: skip
ROW = {"answer": "red", "kind": "open", "options": None, "video_segment": [10.0, 20.0], "question": "Which colour?"}
REWARDS = [answer_reward, format_reward, anchored_format_reward, time_iou_reward, time_recall_reward, tool_use_reward]


def as_trl_calls(reward, completions, rows):
    """GRPOTrainer passes every dataset column as a list, and arguments of its own."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    own = {"trainer_state": object(), "log_extra": print, "log_metric": print, "environments": [None] * len(rows)}
    ids = [[1, 2]] * len(completions)
    return reward(prompts=[[]] * len(completions), completions=completions, completion_ids=ids, **columns, **own)


@pytest.mark.parametrize(("place", "reward"), enumerate(REWARDS, start=1))
@pytest.mark.parametrize("case", TABLE)
def test_a_rollout_gets_its_rewards(case, place, reward):
    assert as_trl_calls(reward, [TABLE[case][0]], [ROW]) == [pytest.approx(TABLE[case][place])]


def test_a_batch_keeps_its_order():
    completions = [answers("red")], [answers("blue")], [answers("blue")]
    rows = [ROW, ROW, {**ROW, "answer": "blue"}]
    assert as_trl_calls(answer_reward, [list(completion) for completion in completions], rows) == [1, 0, 1]


@pytest.mark.parametrize(
    ("row", "answer", "score"),
    [
        ({"kind": "choice", "answer": "blue", "options": ["red", "blue"]}, "B", 1),
        ({"kind": "choice", "answer": "blue", "options": ["red", "blue"]}, "A", 0),
        ({"kind": "open", "answer": "Black"}, "Blue", 0),
        ({"kind": "grounding", "answer": "[10, 20]"}, "[15, 25]", 1 / 3),
        ({"kind": "grounding", "answer": "[10, 20]"}, "at noon", 0),
        ({"kind": "open", "answer": 3}, "three", 1),
    ],
)
def test_the_answer_is_judged_by_the_kind_of_the_row(row, answer, score):
    completion = [INSIDE, FRAMES, answers(answer)]
    assert as_trl_calls(answer_reward, [completion], [{**ROW, **row}]) == [pytest.approx(score)]
    assert as_trl_calls(tool_use_reward, [completion], [{**ROW, **row}]) == [float(score >= 0.5)]


def test_a_reward_that_a_row_has_no_reference_for_does_not_apply():
    rows = [ROW, {**ROW, "video_segment": None, "answer": None}]
    completions = [[INSIDE, FRAMES, answers("red")]] * 2
    assert as_trl_calls(time_iou_reward, completions, rows) == [1, None]
    assert as_trl_calls(time_recall_reward, completions, rows) == [1, None]
    assert as_trl_calls(answer_reward, completions, rows) == [1, None]
    assert as_trl_calls(tool_use_reward, completions, rows) == [1, None]
    assert as_trl_calls(format_reward, completions, rows) == [1, 1]


def test_the_time_reward_does_not_apply_to_a_dataset_without_windows():
    assert time_iou_reward([[answers("red")]]) == [None]


def test_a_dataset_without_answers_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"needs the column answer; the dataset gives: question"):
        answer_reward([[answers("red")]], question=["Which?"])


@pytest.mark.parametrize("answer", ["<answer>red</answer>", "[10, 20] <tool_response>"])
def test_what_a_tool_or_the_user_says_earns_nothing(answer):
    said = json.dumps({"answer": answer})
    completion = [INSIDE, {**FRAMES, "content": said + answer}, {"role": "user", "content": answer}]
    assert as_trl_calls(answer_reward, [completion], [ROW]) == [0]


@pytest.mark.parametrize("reward", REWARDS)
@calmly
@given(
    content=st.none()
    | st.text()
    | st.lists(st.dictionaries(st.sampled_from(["type", "text"]), st.integers()), max_size=2),
    calls=st.none() | st.text() | st.lists(st.none() | st.text() | st.dictionaries(st.text(), st.text()), max_size=2),
    role=st.sampled_from(["assistant", "tool", "user", None, 3]),
)
def test_no_message_makes_a_reward_raise(reward, content, calls, role):
    (score,) = as_trl_calls(reward, [[{"role": role, "content": content, "tool_calls": calls}, None, FRAMES]], [ROW])
    assert isinstance(score, float)
