"""Rewards as tables: transcripts in, numbers out, for every branch of the formulas."""

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longvt_plugins.errors import ConfigError
from trl_ext.rewards import (
    REWARDS,
    anchored_format_reward,
    answer_recall_reward,
    answer_reward,
    format_reward,
    get_length_guard_reward,
    get_span_guard_reward,
    get_time_reward,
    get_tool_use_reward,
    length_guard_reward,
    span_guard_reward,
    time_giou_reward,
    time_iou_best_reward,
    time_iou_reward,
    time_iou_union_reward,
    time_recall_reward,
    time_wasserstein_reward,
    tool_use_reward,
)
from trl_ext.rewards.presets import PRESETS

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
COLUMNS = [answer_reward, format_reward, anchored_format_reward, time_iou_reward, time_recall_reward, tool_use_reward]


def as_trl_calls(reward, completions, rows):
    """GRPOTrainer passes every dataset column as a list, and arguments of its own."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    own = {"trainer_state": object(), "log_extra": print, "log_metric": print, "environments": [None] * len(rows)}
    ids = [[1, 2]] * len(completions)
    return reward(prompts=[[]] * len(completions), completions=completions, completion_ids=ids, **columns, **own)


@pytest.mark.parametrize(("place", "reward"), enumerate(COLUMNS, start=1))
@pytest.mark.parametrize("case", TABLE)
def test_a_rollout_gets_its_rewards(case, place, reward):
    assert as_trl_calls(reward, [TABLE[case][0]], [ROW]) == [pytest.approx(TABLE[case][place])]


# windows, then IoU, recall, generalised IoU and Wasserstein of the last, IoU of the best and of the union, span guard
WINDOWS = {
    "none": ([], 0, 0, 0, 0, 0, 0, 0),
    "the right one": ([(10, 20)], 1, 1, 1, 1, 1, 1, 0),
    "half of it": ([(15, 20)], 0.5, 0.5, 0.75, math.exp(-0.25), 0.5, 0.5, 0),
    "touching it": ([(20, 30)], 0, 0, 0.5, math.exp(-1), 0, 0, 0),
    "a miss": ([(30, 40)], 0, 0, (1 - 1 / 3) / 2, math.exp(-2), 0, 0, 0),
    "a miss further off": ([(90, 100)], 0, 0, (1 - 70 / 90) / 2, math.exp(-8), 0, 0, 0),
    "three times as long": ([(10, 40)], 1 / 3, 1, 2 / 3, math.exp(-1), 1 / 3, 1 / 3, 0),
    "the whole video": ([(0, 100)], 0.1, 1, 0.55, math.exp(-65 / 18), 0.1, 0.1, 3 / 10 - 1),
    "right, then a miss": ([(10, 20), (30, 40)], 0, 0, 1 / 3, math.exp(-2), 1, 0.5, 0),
    "a miss, then right": ([(30, 40), (10, 20)], 1, 1, 1, 1, 1, 0.5, 0),
    "two halves": ([(10, 15), (15, 20)], 0.5, 0.5, 0.75, math.exp(-0.25), 0.5, 1, 0),
    "an instant": ([(15, 15)], 0, 0, 0.5, math.exp(-0.25), 0, 0, 0),
    "absurdly long": ([(0, 1e308)], 0, 1, 0.5, 0, 0, 0, -1),
}  # fmt: skip
TIME_REWARDS = [
    time_iou_reward,
    time_recall_reward,
    time_giou_reward,
    time_wasserstein_reward,
    time_iou_best_reward,
    time_iou_union_reward,
    span_guard_reward,
]


@pytest.mark.parametrize(("place", "reward"), enumerate(TIME_REWARDS, start=1))
@pytest.mark.parametrize("case", WINDOWS)
def test_windows_get_their_rewards(case, place, reward):
    windows, *expected = WINDOWS[case]
    looked = [message for window in windows for message in (asks(*window), FRAMES)]
    assert as_trl_calls(reward, [[*looked, answers("red")]], [ROW]) == [pytest.approx(expected[place - 1], abs=1e-12)]


def test_time_rewards_of_ones_own_choose_measure_and_windows():
    misses = [asks(30, 40), FRAMES, asks(80, 90), FRAMES, answers("red")]
    best, last = get_time_reward("giou", windows="best"), get_time_reward("giou")
    assert [reward.__name__ for reward in (best, last)] == ["time_giou_best_reward", "time_giou_reward"]
    assert as_trl_calls(best, [misses], [ROW]) == [pytest.approx((1 - 1 / 3) / 2)]
    assert as_trl_calls(last, [misses], [ROW]) == as_trl_calls(time_giou_reward, [misses], [ROW])
    for measure, windows in (("overlap", "last"), ("iou", "first")):
        with pytest.raises(ConfigError, match="a time reward is one of"):
            get_time_reward(measure, windows=windows)


@pytest.mark.parametrize(
    ("thought", "score"), [("", 0), ("t" * 7_997, 0), ("t" * 11_997, -0.5), ("t" * 15_997, -1), ("t" * 99_999, -1)]
)
def test_long_thoughts_cost_and_what_tools_say_does_not(thought, score):
    reply = {**FRAMES, "content": "f" * 50_000}
    completion = [INSIDE, reply, answers("red", thought=f"<think>{thought}</think>")]
    without = {**INSIDE, "content": ""}
    assert as_trl_calls(length_guard_reward, [[without, *completion[1:]]], [ROW]) == [score]


def test_guards_take_bounds_of_ones_own():
    completion = [asks(10, 40), FRAMES, answers("red", thought="<think>" + "t" * 57 + "</think>")]
    assert as_trl_calls(get_length_guard_reward(0, 130), [completion], [ROW]) == [-0.5]
    assert as_trl_calls(get_span_guard_reward(1.5), [completion], [ROW]) == [-0.5]
    assert as_trl_calls(get_tool_use_reward(0), [[INSIDE, FRAMES, answers("blue")]], [ROW]) == [1]
    for make, bounds in (
        (get_length_guard_reward, (5, 5)),
        (get_span_guard_reward, (0.5,)),
        (get_tool_use_reward, (2,)),
    ):
        with pytest.raises(ConfigError, match="not "):
            make(*bounds)


# Sums of the presets, for rollouts that tell them apart.
SUMS = {
    "the whole video, right": ([asks(0, 100), FRAMES, answers("red")], [2.1, 3, 3, 2, 1, 2.45]),
    "right without looking": ([answers("red")], [2, 2, 2, 2, 1, 2.35]),
    "looked well, wrong": ([INSIDE, FRAMES, answers("blue")], [2, 2, 1, 1, 0.2, 2.35]),
    "perfect": ([INSIDE, FRAMES, answers("red")], [3, 3, 3, 2, 1, 3.35]),
    "right, thought not closed": ([answers("red", thought="<think>I")], [1, 1, 1, 1, 0.8, 0.85]),
    "guesses": ([answers("red, " * 201)], [0, 0, 0, 0, 0, 0]),
    "nothing": ([], [0, 0, 0, 0, 0, 0]),
}


@pytest.mark.parametrize("case", SUMS)
def test_a_preset_is_the_sum_that_was_published(case):
    completion, expected = SUMS[case]
    sums = []
    for preset in PRESETS.values():
        scores = [as_trl_calls(reward, [completion], [ROW])[0] for reward in preset.reward_funcs]
        sums.append(sum(weight * score for weight, score in zip(preset.reward_weights, scores, strict=True)))
    assert list(PRESETS) == ["longvt", "longvt_recall", "longvt_tool", "longvt_no_time", "longvt_weighted", "para_grpo"]
    assert sums == pytest.approx(expected)


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


@pytest.mark.parametrize(
    ("given", "iou", "recall"),
    [("[10, 20]", 1, 1), ("[0, 100]", 0.1, 1), ("[15, 25]", 1 / 3, 0.5), ("[30, 40]", 0, 0), ("10 to 20", 1, 1),
     ("[20, 10]", 0, 0), ("[NaN, 3]", 0, 0), ("[10, 20], [0, 5]", 0, 0)],
)  # fmt: skip
def test_a_grounding_row_scores_the_interval_by_iou_or_recall(given, iou, recall):
    row = {**ROW, "kind": "grounding", "answer": "[10, 20]"}
    assert as_trl_calls(answer_reward, [[answers(given)]], [row]) == [pytest.approx(iou)]
    assert as_trl_calls(answer_recall_reward, [[answers(given)]], [row]) == [pytest.approx(recall)]


def test_recall_changes_nothing_on_other_rows():
    assert as_trl_calls(answer_recall_reward, [[answers("red")], [answers("blue")]], [ROW, ROW]) == [1, 0]


def test_a_grounding_row_without_an_interval_is_a_fault_of_the_data():
    row = {**ROW, "kind": "grounding", "answer": "at noon"}
    for reward in (answer_reward, answer_recall_reward):
        with pytest.raises(ConfigError, match=r"must be an interval \[start, end\], not 'at noon'"):
            as_trl_calls(reward, [[answers("[1, 2]")]], [row])


@pytest.mark.parametrize("segment", [[20, 10], [1], "10-20", [None, 3], [math.nan, 3]])
def test_a_window_that_is_none_is_a_fault_of_the_data(segment):
    with pytest.raises(ConfigError, match=r"video_segment must be \[start, end\]"):
        time_iou_reward([[INSIDE, FRAMES, answers("red")]], video_segment=[segment])


def test_valid_json_that_is_no_python_is_read():
    """Arguments that were once read with ``ast.literal_eval`` fail on true and null."""
    call = '{"name": "crop_video", "arguments": {"start_time": 10, "end_time": 20, "fast": true, "zoom": null}}'
    written = says(f"<think>When?</think><tool_call>{call}</tool_call>")
    assert as_trl_calls(time_iou_reward, [[written, FRAMES, answers("red")]], [ROW]) == [1]


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


bounds = {
    **dict.fromkeys(REWARDS, (0, 1)),
    "anchored_format_reward": (-0.15, 1.35),
    "length_guard_reward": (-1, 0),
    "span_guard_reward": (-1, 0),
}


@pytest.mark.parametrize("reward", REWARDS.values(), ids=REWARDS)
@calmly
@given(
    content=st.none()
    | st.text()
    | st.lists(st.dictionaries(st.sampled_from(["type", "text"]), st.integers()), max_size=2),
    calls=st.none() | st.text() | st.lists(st.none() | st.text() | st.dictionaries(st.text(), st.text()), max_size=2),
    role=st.sampled_from(["assistant", "tool", "user", None, 3]),
)
def test_no_message_makes_a_reward_raise(reward, content, calls, role):
    completion = [{"role": role, "content": content, "tool_calls": calls}, None, FRAMES]
    (score,) = as_trl_calls(reward, [completion], [ROW])
    assert isinstance(score, float)
    low, high = bounds[reward.__name__]
    assert low <= score <= high
    assert as_trl_calls(reward, [completion], [ROW]) == [score]


@st.composite
def rollouts(draw):
    """Turns as models write them, whole or not, and what tools reply."""
    starts = st.sampled_from([0, 5, 10, 30])
    turns = []
    for _ in range(draw(st.integers(0, 3))):
        start = draw(starts)
        turns += [asks(start, start + draw(st.integers(-1, 40))), draw(st.sampled_from([FRAMES, ERROR]))]
    thought = draw(st.sampled_from(["<think>I see it.</think>", "<think>I see", "", "I see it."]))
    return [*turns, answers(draw(st.sampled_from(["red", "blue", "", "r" * 1000])), thought)][: draw(st.integers(0, 9))]


@calmly
@given(st.lists(rollouts(), min_size=1, max_size=6), st.randoms())
def test_a_completion_scores_the_same_wherever_it_stands_in_a_batch(completions, chance):
    order = list(range(len(completions)))
    chance.shuffle(order)
    for reward in REWARDS.values():
        scores = as_trl_calls(reward, completions, [ROW] * len(completions))
        shuffled = as_trl_calls(reward, [completions[place] for place in order], [ROW] * len(completions))
        assert shuffled == [scores[place] for place in order]
        low, high = bounds[reward.__name__]
        assert all(low <= score <= high for score in scores)
