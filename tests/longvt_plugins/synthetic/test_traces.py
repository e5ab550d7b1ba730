"""Traces to imitate: what is kept, what is dropped and why, and what never leaks into them."""

from collections import Counter

import pytest
from PIL import Image

from longvt_plugins import temporal
from longvt_plugins.errors import ConfigError
from longvt_plugins.synthetic.sight import read_frame
from longvt_plugins.synthetic.traces import make_traces
from longvt_plugins.synthetic.world import COLOURS, TINY
from longvt_plugins.transcript import parse_transcript
from longvt_plugins.types import TimeSpan, text_of

TINY_FRAMES = {"overview": TINY.overview, "crop": TINY.crop}


def make(rows, plugins, **settings):
    counts = Counter()
    return list(make_traces(rows, plugins, counts=counts, **TINY_FRAMES, **settings)), counts


def images(message):
    content = message["content"]
    return [block["image"] for block in content if block["type"] == "image"] if isinstance(content, list) else []


def test_traces_are_conversations_with_real_frames_and_right_answers(world, plugins):
    traces, counts = make(world.rows[:12], plugins)
    assert counts["kept"] == len(traces) >= 11
    for trace in traces:
        roles = [message["role"] for message in trace.messages]
        assert roles[:2] == ["system", "user"]
        assert roles[-1] == "assistant"
        assert len(images(trace.messages[1])) == 16
        for message in trace.messages:
            assert all(isinstance(image, Image.Image) for image in images(message))
            assert bool(images(message)) == (message["role"] in ("user", "tool"))
        assert parse_transcript(trace.messages).format_ok


def test_the_crop_of_a_kept_trace_shows_the_flash(world, plugins):
    traces, _ = make(world.family("what"), plugins, sloppiness=1.0, traces_per_row=2, seed=1)
    assert len(traces) > 20
    for trace in traces:
        shown = {read_frame(image) for message in trace.messages[2:] for image in images(message)}
        assert shown & set(COLOURS) == {trace.answer}


def test_sloppy_traces_have_worse_windows_than_clean_ones(world, plugins):
    def mean_iou(**settings):
        traces, _ = make(world.family("what"), plugins, **settings)
        return sum(temporal.iou(TimeSpan(*t.windows[0]), TimeSpan(*t.reference)) for t in traces) / len(traces)

    assert mean_iou() > 0.8
    assert mean_iou(sloppiness=1.0) < mean_iou() - 0.15


def test_traces_of_one_row_slip_differently_and_another_seed_otherwise_again(world, plugins):
    def windows(seed):
        traces, _ = make(world.family("what")[:4], plugins, sloppiness=1.0, traces_per_row=4, seed=seed)
        assert len({trace.id for trace in traces}) == len(traces)
        return [trace.windows for trace in traces]

    first = windows(0)
    assert first == windows(0)
    assert first != windows(1)
    assert len({str(each) for each in first}) > 8


def test_a_wrong_answer_is_dropped(world, plugins):
    row = world.family("what")[0]
    false = {**row, "answer": "blue" if row["answer"] != "blue" else "red"}
    traces, counts = make([false, row], plugins)
    assert [trace.row_id for trace in traces] == [row["id"]]
    assert counts == {"kept": 1, "wrong answer": 1}


def test_a_guess_is_dropped_even_where_it_is_right(world, plugins):
    rows = [{**world.family("what")[0], "answer": colour} for colour in COLOURS]
    traces, counts = make(rows, plugins, form="reasoning")
    assert traces == []
    assert counts == {"wrong answer": 7, "guessed": 1}


def test_a_right_guess_is_kept_where_that_is_asked_for_and_still_counted_as_one(world, plugins):
    rows = [{**world.family("what")[0], "answer": colour} for colour in COLOURS]
    traces, counts = make(rows, plugins, form="reasoning", keep_guesses=True)
    assert [trace.answer for trace in traces] == [trace.row["answer"] for trace in traces]
    assert len(traces) == 1
    assert counts == {"wrong answer": 7, "guessed": 1}


def test_a_teacher_of_one_call_gives_the_traces_that_needed_no_second_look(world, plugins):
    rows = world.family("what")
    patient, _ = make(rows, plugins)
    hasty, counts = make(rows, plugins, max_calls=1)
    assert {len(trace.windows) for trace in patient} > {1}
    assert [(trace.row_id, trace.windows) for trace in hasty] == [
        (trace.row_id, trace.windows) for trace in patient if len(trace.windows) == 1
    ]
    assert counts["kept"] == len(hasty)
    assert sum(counts.values()) == len(rows)


def test_a_teacher_without_calls_guesses_what_only_a_closer_look_shows(world, plugins):
    rows = world.family("what")
    traces, counts = make(rows, plugins, max_calls=0, keep_guesses=True)
    assert {len(trace.windows) for trace in traces} <= {0}
    assert counts["kept"] == 0
    assert len(traces) == counts["guessed"]
    assert sum(counts.values()) == len(rows)


def test_a_video_that_cannot_be_read_is_a_reason_and_does_not_end_the_run(world, plugins):
    rows = [{**world.rows[0], "videos": {"video_1.mp4": "/nowhere.mp4"}}, world.rows[0]]
    traces, counts = make(rows, plugins)
    assert len(traces) == 1
    (reason,) = set(counts) - {"kept"}
    assert "/nowhere.mp4" in reason


def test_the_reference_never_enters_a_trace(world, plugins):
    rows = world.rows[:6]
    spoilt = [{**row, "video_segment": [1.5, 2.5]} for row in rows]
    plain, marked = ([trace.messages for trace in make(each, plugins)[0]] for each in (rows, spoilt))
    assert [[text_of(m) for m in messages] for messages in plain] == [
        [text_of(m) for m in messages] for messages in marked
    ]
    assert not any("1.5" in str(message.get("tool_calls")) for messages in marked for message in messages)


def test_without_thoughts_the_answer_is_all_there_is(world, plugins):
    traces, counts = make(world.rows[:6], plugins, form="non_think")
    assert counts == {"kept": 6}
    for trace, row in zip(traces, world.rows, strict=False):
        assert [message["role"] for message in trace.messages] == ["system", "user", "assistant"]
        assert trace.messages[-1]["content"] == f"<answer>{row['answer']}</answer>"
        assert trace.messages[0]["content"].endswith("Give only a short answer.")


def test_reasoning_traces_are_those_that_the_overview_can_answer(world, plugins):
    traces, _ = make(world.rows[:12], plugins, form="reasoning")
    assert {trace.row["kind"] for trace in traces} == {"grounding"}


def test_traces_come_one_by_one(world, plugins):
    def rows():
        yield world.rows[0]
        raise AssertionError("the second row was asked for too early")

    traces = make_traces(rows(), plugins, **TINY_FRAMES)
    assert next(traces).row_id == world.rows[0]["id"]
    traces.close()


@pytest.mark.parametrize("settings", [{"traces_per_row": 0}, {"sloppiness": 2.0}, {"max_calls": -1}, {"form": "haiku"}])
def test_faulty_settings_are_told_before_the_first_trace(plugins, settings):
    with pytest.raises(ConfigError):
        make_traces([], plugins, **settings)
