"""Questions: every event is shown, the rules are kept, and windows lie in what was shown."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from datapipe import Dropped, Kept, VideoFile
from datapipe.steps.generate_qa import GenerateQA
from datapipe.steps.probe_video import ProbeVideo
from datapipe.steps.rules import broken_rule
from longvt_plugins.testing import write_stamped_video
from longvt_plugins.testing_server import asked_text

from .conftest import events_of, says

QUESTION = {
    "question": "Which colour is the car?",
    "answer": "red",
    "start": 2.0,
    "end": 6.0,
    "question_type": "attribute",
}


def test_the_events_are_in_the_prompt_and_no_name_is_left_unfilled(video, toolbox_at):
    """LongVT sent the literal "{merged_caption}"."""
    server, toolbox = toolbox_at(lambda request: says(**QUESTION))
    (outcome,) = GenerateQA()(events_of(video, 15), toolbox)
    text = asked_text(server.requests[0])
    assert [int(found) for found in re.findall(r"Event number (\d+)", text)] == list(range(15))
    assert "{{" not in text
    assert "{merged" not in text
    assert "from 28 s to 30 s" in text
    pair = outcome.record
    assert (pair.question, pair.answer, pair.start, pair.end) == ("Which colour is the car?", "red", 2, 6)
    assert pair.events == tuple(event.id for event in events_of(video, 15)[1:3])


def test_fifteen_events_make_one_question(video, toolbox_at):
    starts = {0: 2.0, 15: 32.0}

    def script(request):
        first = int(re.search(r"Event number (\d+)", asked_text(request))[1])
        return says(**QUESTION | {"start": starts[first], "end": starts[first] + 2})

    _, toolbox = toolbox_at(script)
    outcomes = list(GenerateQA()(events_of(video, 18), toolbox))
    assert [one.record.start for one in outcomes] == [2.0, 32.0]


def test_subtitles_are_shown(video, toolbox_at):
    server, toolbox = toolbox_at(lambda request: says(**QUESTION))
    events = [replace(event, subtitles="Mind the gap.") for event in events_of(video, 3)]
    list(GenerateQA()(events, toolbox))
    assert asked_text(server.requests[0]).count("Mind the gap.") == 3


@pytest.mark.parametrize(("start", "end"), [(30.0, 34.0), (4.0, 4.0), (8.0, 4.0), (0.0, 12.0)])
def test_a_window_outside_of_what_was_shown_is_dropped(video, toolbox_at, start, end):
    _, toolbox = toolbox_at(lambda request: says(**QUESTION | {"start": start, "end": end}))
    (outcome,) = GenerateQA()(events_of(video, 5), toolbox)
    assert isinstance(outcome, Dropped)
    assert outcome.reason == "window outside of the events shown"
    assert outcome.record["question"] == "Which colour is the car?"


def test_a_window_that_is_off_by_rounding_ends_with_the_events(video, toolbox_at):
    _, toolbox = toolbox_at(lambda request: says(**QUESTION | {"start": 6.0, "end": 10.3}))
    (outcome,) = GenerateQA()(events_of(video, 5), toolbox)
    assert (outcome.record.start, outcome.record.end) == (6.0, 10.0)


def test_a_pair_that_breaks_a_rule_is_dropped_with_the_pair(video, toolbox_at):
    _, toolbox = toolbox_at(lambda request: says(**QUESTION | {"question": "What happens at 01:23?"}))
    (outcome,) = GenerateQA()(events_of(video, 5), toolbox)
    assert outcome.reason == "question with a time"
    assert outcome.record.question == "What happens at 01:23?"


def test_later_questions_know_the_earlier_ones_and_equal_ones_are_dropped(video, toolbox_at):
    server, toolbox = toolbox_at(lambda request: says(**QUESTION))
    outcomes = list(GenerateQA(questions=2)(events_of(video, 5), toolbox))
    assert [type(outcome) for outcome in outcomes] == [Kept, Dropped]
    assert outcomes[1].reason == "question asked before"
    assert "- Which colour is the car?" in asked_text(server.requests[1])


def test_two_files_of_one_name_are_two_videos(tmp_path, toolbox_at):
    """LongVT mixed the questions of videos with one file name in two folders."""
    files = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_stamped_video(tmp_path / folder / "talk.mp4", 6)
        files.append(VideoFile(str(tmp_path / folder / "talk.mp4"), f"{folder}/talk.mp4"))
    videos = [outcome.record for outcome in ProbeVideo()(files)]
    assert videos[0].id != videos[1].id
    _, toolbox = toolbox_at(lambda request: says(**QUESTION))
    outcomes = list(GenerateQA()([*events_of(videos[0], 3), *events_of(videos[1], 3)], toolbox))
    assert [one.record.video for one in outcomes] == [videos[0].id, videos[1].id]
    assert len({one.record.id for one in outcomes}) == 2


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("Which colour is the car?", "red", None),
        ("How many people wait for 5 minutes or longer?", "three", None),
        ("What does the second man carry?", "a box", None),
        ("What happens at 12 s?", "a car leaves", "question with a time"),
        ("What happens after 2 minutes?", "a car leaves", "question with a time"),
        ("What is seen in frame 12?", "a car", "question with a time"),
        ("What does caption 3 tell of?", "a car", "question with a time"),
        ("Who wins? And why?", "Anna", "not exactly one question"),
        ("Tell who wins.", "Anna", "not exactly one question"),
        (f"Which {'very ' * 50}large car?", "red", "question of more than 50 words"),
        ("Which colour is the car?", "red " * 26, "answer of more than 25 words"),
        ("Is the dark red car the first one?", "dark red car", "answer in the question"),
    ],
)
def test_rules_are_checked_without_a_model(question, answer, reason):
    assert broken_rule(question, answer) == reason
