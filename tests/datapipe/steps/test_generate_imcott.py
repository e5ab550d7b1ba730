"""Traces: the teacher really looks, sees real frames, and is told neither the answer nor the window."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from PIL import Image

from datapipe import Failed, Kept
from datapipe.steps.generate_imcott import GenerateIMCoTT, rounds_of
from longvt_plugins import ToolContext, hookimpl
from longvt_plugins.errors import ConfigError
from longvt_plugins.testing import read_stamp
from longvt_plugins.testing_server import asked_text, assistant
from longvt_plugins.transcript import parse_transcript
from longvt_plugins.types import text_of
from longvt_plugins.video import FrameSampling

from .conftest import FPS, pair_of, says

SMALL = {
    "overview": FrameSampling(fps=1.0, max_frames=4, max_pixels=96 * 96),
    "crop": FrameSampling(fps=1.0, max_frames=8, max_pixels=96 * 96),
}
PLAN = {"thought": "The number should be seen around the eleventh second.", "start": 10.0, "end": 14.0}
ANSWER = "<think>I see it.</think><answer>forty-one</answer>"


def teacher(answer=ANSWER, plan=PLAN, calls=()):
    """Plans, makes these calls one after the other, and answers."""
    left = list(calls)

    def script(request):
        if "plan one closer look" in asked_text(request):
            return says(**plan)
        if left:
            start, end = left.pop(0)
            arguments = {"video_path": "video_1.mp4", "start_time": start, "end_time": end}
            return assistant("<think>Once more.</think>", [("call_x", "crop_video", arguments)])
        return assistant(answer)

    return script


def stamps_sent(request):
    """The numbers of the frames that a request shows."""
    found = []
    for message in request["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else []:
            if block["type"] == "image_url":
                data = base64.b64decode(block["image_url"]["url"].partition(",")[2])
                found.append(read_stamp(Image.open(io.BytesIO(data))))
    return found


def trace_of(toolbox, pair, **settings):
    (outcome,) = GenerateIMCoTT(**SMALL, **settings)([pair], toolbox)
    assert isinstance(outcome, Kept), outcome
    return outcome.record


def test_the_teacher_looks_where_it_planned_and_sees_the_frames_of_that_window(video, toolbox_at):
    """LongVT never called a model, and wrote the reference window into the trace."""
    server, toolbox = toolbox_at(teacher())
    trace = trace_of(toolbox, pair_of(video, start=20.0, end=24.0))
    assert trace.windows == ((10.0, 14.0),)
    assert len(server.requests) == 2
    assert stamps_sent(server.requests[0]) == [0, 10 * FPS, 20 * FPS, 30 * FPS]
    assert stamps_sent(server.requests[1])[4:] == [10 * FPS, 11 * FPS, 12 * FPS, 13 * FPS]
    transcript = parse_transcript(list(trace.messages))
    assert transcript.format_ok
    assert list(transcript.thoughts) == [PLAN["thought"], "I see it."]
    assert transcript.answer == trace.answer == "forty-one"
    assert (trace.model, trace.frames) == ("scripted", 8)


def test_neither_answer_nor_window_is_shown_to_the_teacher(video, toolbox_at):
    server, toolbox = toolbox_at(teacher(answer="<think>Hm.</think><answer>seven</answer>"))
    trace_of(toolbox, pair_of(video, start=21.25, end=23.75, answer="xylophone"))
    for request in server.requests:
        sent = json.dumps([text for text in asked_text(request).splitlines()])
        assert "xylophone" not in sent
        assert "21.2" not in sent
        assert "23.8" not in sent


def test_what_disagrees_with_the_reference_is_kept_with_its_verdict_and_not_repaired(video, toolbox_at):
    _, toolbox = toolbox_at(teacher(answer="<think>Hm.</think><answer>seven</answer>"))
    trace = trace_of(toolbox, pair_of(video, start=30.0, end=34.0))
    assert (trace.answer, trace.score, trace.iou) == ("seven", 0.0, 0.0)
    verdict = trace.verdicts[-1]
    assert not verdict.accepted
    assert verdict.reason == "answer disagrees with the reference; last window disagrees with the reference"
    assert "forty-one" not in json.dumps(trace.messages)


def test_what_agrees_says_so(video, toolbox_at):
    _, toolbox = toolbox_at(teacher())
    verdict = trace_of(toolbox, pair_of(video)).verdicts[-1]
    assert (verdict.accepted, verdict.reason) == (True, "agrees with the reference")
    assert verdict.scores == {"answer": 1.0, "iou": 1.0, "format": 1.0}


def test_only_an_option_that_says_so_tells_the_teacher_and_the_trace_says_it_too(video, toolbox_at):
    server, toolbox = toolbox_at(teacher())
    trace = trace_of(toolbox, pair_of(video), tell_teacher_the_reference=True)
    assert 'The right answer is "forty-one", shown from 10 s to 14 s' in asked_text(server.requests[0])
    assert trace.verdicts[-1].reason == "the teacher was told the reference"
    assert "The right answer" not in json.dumps(trace.messages)


def test_the_stored_conversation_opens_as_every_students_does(video, toolbox_at):
    from longvt_plugins.conversation import system_message

    server, toolbox = toolbox_at(teacher())
    trace = trace_of(toolbox, pair_of(video))
    assert trace.messages[0] == system_message("tool")
    assert text_of(trace.messages[1]).endswith("video_1.mp4 lasts 40 s. Which number is shown?")
    assert "show how you found the answer" in server.requests[1]["messages"][0]["content"]


def test_a_short_video_is_looked_at_once_and_a_long_one_twice(video, toolbox_at):
    _server, toolbox = toolbox_at(teacher(calls=[(12, 16), (14, 18)]))
    assert trace_of(toolbox, pair_of(video)).windows == ((10, 14),), "a second call is refused"
    _, toolbox = toolbox_at(teacher(calls=[(12, 16)]))
    assert trace_of(toolbox, replace(pair_of(video), duration=1300.0)).windows == ((10, 14), (12, 16))
    _, toolbox = toolbox_at(teacher(calls=[(12, 16), (14, 18)]))
    assert len(trace_of(toolbox, pair_of(video), rounds=3).windows) == 3


def test_the_number_of_rounds_is_the_same_in_every_process(video):
    """LongVT drew it by Python's salted hash."""
    pairs = [pair_of(replace(video, id=f"v{n}", duration=60.0 * 17.5)) for n in range(40)]
    drawn = [rounds_of(pair) for pair in pairs]
    assert 8 < drawn.count(2) < 32
    code = (
        "import sys, json; from datapipe import QAPair; from datapipe.steps.generate_imcott import rounds_of;"
        "print([rounds_of(QAPair(**each)) for each in json.load(sys.stdin)])"
    )
    given = [{"id": one.id, "video": one.video, "path": one.path, "duration": one.duration, "start": 1.0, "end": 2.0,
              "question": one.question, "answer": one.answer} for one in pairs]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == drawn


def test_the_same_turns_make_the_same_record_in_every_run(video, toolbox_at):
    made = []
    for drawn in ("call_7f3a", "call_91bc"):
        call = assistant(
            "<think>Again.</think>",
            [(drawn, "crop_video", {"video_path": "video_1.mp4", "start_time": 11, "end_time": 15})],
        )
        replies = iter([says(**PLAN), call, assistant(ANSWER)])
        _, toolbox = toolbox_at(lambda request, replies=replies: next(replies))
        made.append(trace_of(toolbox, pair_of(video), rounds=2))
    assert made[0] == made[1]
    assert [one["tool_call_id"] for one in made[0].messages if one["role"] == "tool"] == ["call_1", "call_2"]


def test_a_teacher_of_another_maker_writes_its_thought_without_tags(video, toolbox_at):
    _, toolbox = toolbox_at(teacher(answer="The frames show it clearly. <answer>forty-one</answer>"))
    trace = trace_of(toolbox, pair_of(video))
    assert trace.messages[-1]["content"] == "<think>The frames show it clearly.</think><answer>forty-one</answer>"
    assert trace.verdicts[-1].accepted


def test_a_trace_without_an_answer_is_kept_and_told(video, toolbox_at):
    _, toolbox = toolbox_at(teacher(answer="I cannot tell."))
    trace = trace_of(toolbox, pair_of(video))
    assert (trace.answer, trace.stop_reason) == (None, "no_answer")
    assert trace.verdicts[-1].reason == "no answer; not in the form that is trained"


def test_a_window_outside_of_the_video_is_answered_by_the_tool_itself(video, toolbox_at):
    _, toolbox = toolbox_at(teacher(plan=PLAN | {"start": 90.0, "end": 95.0}))
    trace = trace_of(toolbox, pair_of(video))
    assert trace.windows == ()
    assert text_of(trace.messages[3]).startswith("Error: ")


def test_without_a_plan_the_first_look_is_a_turn_like_the_others(video, toolbox_at):
    server, toolbox = toolbox_at(teacher(calls=[(11, 15)]))
    trace = trace_of(toolbox, pair_of(video), plan=False)
    assert trace.windows == ((11, 15),)
    assert len(server.requests) == 2


class Counter:
    """A plugin with a tool of its own."""

    @hookimpl
    def register_tools(self, register):
        def count_scenes(ctx: ToolContext, video_path: str) -> list:
            """Count the scenes of a video.

            Args:
                video_path: Name of the video, as given in the question.
            """
            return [ctx.text(f"{ctx.open(video_path).duration:g} scenes")]

        register(count_scenes)


def test_any_registered_tool_is_really_called(video, toolbox_at):
    call = assistant("<think>How many?</think>", [("call_x", "count_scenes", {"video_path": "video_1.mp4"})])
    replies = iter([says(**PLAN), call, assistant(ANSWER)])
    server, toolbox = toolbox_at(lambda request: next(replies), plugins=(Counter(),))
    trace = trace_of(toolbox, pair_of(video), tools=("crop_video", "count_scenes"), rounds=2)
    assert [tool["function"]["name"] for tool in server.requests[1]["tools"]] == ["crop_video", "count_scenes"]
    assert [text_of(one) for one in trace.messages if one["role"] == "tool"][-1] == "40 scenes"


def test_several_samples_are_asked_for_with_seeds_of_their_own(video, toolbox_at):
    server, toolbox = toolbox_at(teacher())
    outcomes = list(GenerateIMCoTT(**SMALL, samples=3, temperature=0.7)([pair_of(video)], toolbox))
    assert [outcome.record.sample for outcome in outcomes] == [0, 1, 2]
    assert len({outcome.record.id for outcome in outcomes}) == 3
    assert len({request["seed"] for request in server.requests}) == 3


def test_a_video_that_cannot_be_read_is_a_failure(video, toolbox_at, tmp_path):
    _, toolbox = toolbox_at(teacher())
    (outcome,) = GenerateIMCoTT(**SMALL)([replace(pair_of(video), path=str(tmp_path / "gone.mp4"))], toolbox)
    assert isinstance(outcome, Failed)
    assert "gone.mp4" in outcome.error


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="crop_video, which is not among the tools"):
        GenerateIMCoTT(tools=("zoom_region",))
    with pytest.raises(ConfigError, match="samples must be at least 1"):
        GenerateIMCoTT(samples=0)
