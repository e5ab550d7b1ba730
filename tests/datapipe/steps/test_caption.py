"""Captions: pieces end with their segment, failures are failures, and what is said reaches the model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from datapipe import Failed, Kept, Segment
from datapipe.calling import call_step
from datapipe.steps.caption import CaptionSegment
from longvt_plugins.errors import ChatUnavailableError, ConfigError
from longvt_plugins.testing_server import asked_text, assistant, failure, slow

from .conftest import says


def segment_of(video, start, end):
    return Segment.of(video, start=start, end=end)


def seconds_in(request):
    """The labels before the frames of a request."""
    content = request["messages"][-1]["content"]
    return [float(block["text"][:-1]) for block in content if block["type"] == "text" and block["text"].endswith("s")]


def test_the_last_piece_ends_with_its_segment_and_loses_nothing(video, toolbox_at):
    server, toolbox = toolbox_at(lambda request: says(caption="It counts."))
    outcomes = list(CaptionSegment()([segment_of(video, 3.0, 27.6)], toolbox))
    spans = [(one.record.start, one.record.end) for one in outcomes]
    assert spans == [(3, pytest.approx(11.2)), (pytest.approx(11.2), pytest.approx(19.4)), (pytest.approx(19.4), 27.6)]
    shown = sorted(seconds_in(request) for request in server.requests)
    assert shown[0] == [3, 4, 5, 6, 7, 8, 9, 10]
    assert shown[-1] == [19.2, 20.2, 21.2, 22.2, 23.2, 24.2, 25.2, 26.2], "the frames on screen at 19.4, 20.4, ..."
    assert {one.record.segment for one in outcomes} == {segment_of(video, 3.0, 27.6).id}
    assert len({one.record.id for one in outcomes}) == 3


def test_frames_come_as_often_as_the_step_is_told(video, toolbox_at):
    server, toolbox = toolbox_at(lambda request: says(caption="It counts."))
    assert len(list(CaptionSegment(fps=4.0)([segment_of(video, 0, 2)], toolbox))) == 1
    assert seconds_in(server.requests[0]) == pytest.approx([0, 0.2, 0.5, 0.8, 1, 1.2, 1.5, 1.8])


def test_an_error_of_the_server_is_a_failure_and_never_a_caption(video, toolbox_at):
    """LongVT's client returned the text "Error: ..." as the caption."""

    def script(request):
        return failure(400, "too many images") if "13 s to" in asked_text(request) else says(caption="x")

    _, toolbox = toolbox_at(script)
    outcomes = list(CaptionSegment()([segment_of(video, 3, 23)], toolbox))
    assert [type(outcome) for outcome in outcomes] == [Kept, Failed]
    assert outcomes[1].error.startswith("ChatRequestError: ")
    assert (outcomes[1].record.start, outcomes[1].record.end) == (13, 23), "it says which piece it was about"


def test_a_server_that_is_down_stops_everything_and_fails_no_record(video, toolbox_at):
    server, toolbox = toolbox_at(lambda request: says(caption="x"))
    server.stop()
    with pytest.raises(ChatUnavailableError):
        list(CaptionSegment()([segment_of(video, 0, 5)], toolbox))


def test_a_caption_that_says_nothing_is_asked_for_again(video, toolbox_at):
    replies = iter([says(caption="  "), assistant("I see numbers."), says(caption="It counts.")])
    server, toolbox = toolbox_at(lambda request: next(replies))
    (outcome,) = CaptionSegment()([segment_of(video, 0, 5)], toolbox)
    assert outcome.record.text == "It counts."
    assert len(server.requests) == 3
    assert "must not be empty" in asked_text(server.requests[1])


def test_the_limit_of_requests_holds_for_all_records_together(video, toolbox_at):
    """LongVT made a new semaphore for each call, which limited nothing."""
    server, toolbox = toolbox_at(lambda request: slow(says(caption="x"), 0.03), concurrency=2)
    list(CaptionSegment(piece_seconds=1.0)([segment_of(video, n, n + 5.0) for n in range(0, 20, 5)], toolbox))
    assert len(server.requests) == 20
    assert server.largest_crowd <= 2


def test_what_is_said_meanwhile_reaches_the_model_and_stays_with_the_caption(video, toolbox_at, tmp_path):
    subtitles = tmp_path / "talk.srt"
    subtitles.write_text(
        "1\n00:00:02,000 --> 00:00:04,000\nWelcome back.\n\n2\n00:00:30,000 --> 00:00:32,000\nGood bye.\n"
    )
    server, toolbox = toolbox_at(lambda request: says(caption="Somebody speaks."))
    beside = {"probe_video": {video.id: (replace(video, subtitles_path=str(subtitles)),)}}
    outcomes = list(call_step(CaptionSegment(), [segment_of(video, 0, 20)], toolbox, beside=beside))
    assert [one.record.subtitles for one in outcomes] == ["Welcome back.", ""]
    asked = sorted(asked_text(request) for request in server.requests)
    assert "Welcome back." in asked[0] + asked[1]
    assert not any("Good bye." in text for text in asked)
    assert sum("subtitles, quoted" in text for text in asked) == 1


def test_a_video_that_cannot_be_read_is_a_failure(video, toolbox_at, tmp_path):
    _, toolbox = toolbox_at(lambda request: says(caption="x"))
    gone = replace(segment_of(video, 0, 5), path=str(tmp_path / "gone.mp4"))
    (outcome,) = CaptionSegment()([gone], toolbox)
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("VideoNotFoundError: ")


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="piece_seconds must be positive"):
        CaptionSegment(piece_seconds=0)
    with pytest.raises(ConfigError, match="fps must be a positive number"):
        CaptionSegment(fps=0)


def test_the_schema_of_the_reply_goes_along(video, toolbox_at):
    server, toolbox = toolbox_at(lambda request: says(caption="x"))
    list(CaptionSegment()([segment_of(video, 0, 5)], toolbox))
    asked = server.requests[0]["response_format"]["json_schema"]
    assert asked["strict"] is True
    assert json.loads(json.dumps(asked["schema"]))["required"] == ["caption"]
