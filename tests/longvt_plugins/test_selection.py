"""Which rollouts and questions are worth training on."""

import dataclasses

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import Rollout
from longvt_plugins.selection import DurationBand, select_rft, select_rl

ROW = {
    "id": "q1",
    "videos": {"video_1.mp4": "videos/1.mp4"},
    "kind": "open",
    "question": "Which colour?",
    "answer": "red",
    "video_segment": [10.0, 20.0],
    "options": None,
    "source": "test",
}


def conversation(start=10, end=20, answer="red", thought="When?"):
    arguments = {"video_path": "video_1.mp4", "start_time": start, "end_time": end}
    call = {"id": "c1", "type": "function", "function": {"name": "crop_video", "arguments": arguments}}
    return [
        {"role": "user", "content": "Which?"},
        {"role": "assistant", "content": f"<think>{thought}</think>", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "name": "crop_video", "content": "1 frame"},
        {"role": "assistant", "content": f"<think>Seen.</think><answer>{answer}</answer>"},
    ]


def rollout(messages=None, *, index=0, score=1.0, row=ROW):
    return Rollout.from_messages(
        row,
        conversation() if messages is None else messages,
        run="demo",
        step=12,
        index=index,
        rewards={"answer_reward": score, "time_iou_reward": None},
        stop_reason="answered",
    )


def question(name, scores, row=ROW):
    return [rollout(index=index, score=score, row={**row, "id": name}) for index, score in enumerate(scores)]


def test_rft_keeps_what_is_right_for_the_right_reason():
    without_window = {**ROW, "id": "q2", "video_segment": None}
    rollouts = [
        rollout(index=0),
        rollout(index=1, score=0.0),
        rollout(index=2, score=0.5),
        rollout(index=3, score=None),
        rollout(conversation(17, 27), index=4),  # IoU 3/17
        rollout(conversation()[-1:], index=5),
        rollout(conversation()[-1:], index=6, row=without_window),
    ]
    kept, dropped = select_rft(rollouts)
    assert kept == [rollouts[0], rollouts[6]]
    assert dropped == {
        "answer not right": 2,
        "no answer_reward": 1,
        "IoU of the last window below 0.3": 1,
        "no window was looked at": 1,
    }


def test_rft_takes_an_overlap_of_exactly_the_limit():
    kept, _ = select_rft([rollout(conversation(10, 13))])  # IoU 0.3
    assert len(kept) == 1
    assert select_rft(kept, min_iou=0.31) == ([], {"IoU of the last window below 0.31": 1})


def test_rft_judges_the_last_window():
    twice = conversation()[:3] + conversation(50, 60)[1:]
    _, dropped = select_rft([rollout(twice)])
    assert dropped == {"IoU of the last window below 0.3": 1}


def test_rft_drops_what_says_the_same():
    other_id = conversation()
    other_id[1] = {**other_id[1], "tool_calls": [{**other_id[1]["tool_calls"][0], "id": "c9"}]}
    other_id[2] = {**other_id[2], "tool_call_id": "c9"}
    kept, dropped = select_rft(
        [rollout(), rollout(other_id, index=1), rollout(row={**ROW, "id": "q2"})], per_question=9
    )
    assert (len(kept), dropped) == (2, {"same text as another of this question": 1})


def test_rft_caps_each_question_and_picks_alike_in_any_order():
    rollouts = [rollout(conversation(thought=f"When? {index}"), index=index) for index in range(8)]
    kept, dropped = select_rft(rollouts, per_question=3)
    assert (len(kept), dropped) == (3, {"question already has 3": 5})
    assert [found.id for found in kept] == sorted(found.id for found in kept), "the order given is kept"
    backwards, _ = select_rft(rollouts[::-1], per_question=3)
    assert {found.id for found in backwards} == {found.id for found in kept}
    picks = {select_rft(rollouts, seed=seed)[0][0].id for seed in range(20)}
    assert len(picks) > 1


def test_rft_reads_the_reward_it_is_told():
    scored = dataclasses.replace(rollout(), rewards={"judge": 0.8})
    assert select_rft([scored], answer_reward="judge", min_answer=0.7) == ([scored], {})


def test_rl_keeps_the_questions_that_are_sometimes_right():
    rollouts = [
        *question("easy", [1.0, 1.0, 1.0]),
        *question("hard", [0.0, 0.0, 0.0]),
        *question("good", [0.0, 1.0, 0.0]),
        *question("half", [0.5, 0.5, 0.5]),
    ]
    kept, dropped = select_rl(rollouts)
    assert [row["id"] for row in kept] == ["good", "half"]
    assert dropped == {"all right": 1, "all wrong": 1}


def test_rl_does_not_take_a_judge_that_failed_for_a_wrong_answer():
    rollouts = [*question("one verdict", [1.0, None, None]), *question("two", [1.0, None, 0.0])]
    kept, dropped = select_rl(rollouts, min_rollouts=2)
    assert [row["id"] for row in kept] == ["two"]
    assert dropped == {"fewer than 2 scored rollouts": 1}


def test_rl_takes_so_many_questions_of_each_length_of_video():
    rollouts = [found for number in range(6) for found in question(f"q{number}", [0.0, 1.0])]
    seconds = dict(zip([f"q{number}" for number in range(6)], [10, 20, 30, 100, 200, 5000], strict=True))
    bands = [DurationBand(0, 60, most=2), DurationBand.parse("60:300")]

    def pick(seed):
        return select_rl(rollouts, bands=bands, duration=lambda row: seconds[row["id"]], seed=seed)

    kept, dropped = pick(0)
    names = [row["id"] for row in kept]
    assert names[2:] == ["q3", "q4"] and names == sorted(names)
    assert dropped == {"video of a length in no band": 1, "band of 0 to 60 s already has 2": 1}
    assert pick(0) == (kept, dropped)
    assert len({tuple(row["id"] for row in pick(seed)[0]) for seed in range(20)}) == 3


def test_bands_need_durations_and_sense():
    with pytest.raises(ConfigError, match="need the durations"):
        select_rl([], bands=[DurationBand(0, 1)])
    for text in ("1", "a:b", "1:2:3:4", "5:1", "0:10:0"):
        with pytest.raises(ConfigError, match="band of durations"):
            DurationBand.parse(text)
    assert DurationBand.parse("900:inf:5") == DurationBand(900, float("inf"), 5)
