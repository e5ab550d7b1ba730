"""Summaries: all events are told, a merge that fails is a failure, no half is thrown away."""

from __future__ import annotations

import re

import pytest

from datapipe import Failed, Kept
from datapipe.steps.summarize import Summarize, group_size
from longvt_plugins.testing_server import asked_text, assistant

from .conftest import events_of, says


def joined(request):
    """A server that tells everything that it is shown."""
    return says(summary=" ".join(re.findall(r"Event number \d+\.", asked_text(request))))


@pytest.mark.parametrize(("events", "size"), [(1, 1), (7, 7), (8, 4), (16, 4), (17, 8), (100, 8)])
def test_groups_have_the_size_of_the_paper(events, size):
    assert group_size(events) == size


@pytest.mark.parametrize("count", [1, 5, 9, 20])
def test_a_summary_tells_of_every_event_with_its_place(video, toolbox_at, count):
    _, toolbox = toolbox_at(joined)
    events = events_of(video, count)
    (outcome,) = Summarize()(events, toolbox)
    summary = outcome.record
    assert [int(n) for n in re.findall(r"number (\d+)", summary.text)] == list(range(count))
    assert [event for part in summary.parts for event in part.events] == [event.id for event in events]
    assert summary.parts[0].start == 0
    assert summary.parts[-1].end == 2.0 * count
    assert all(one.end == other.start for one, other in zip(summary.parts, summary.parts[1:], strict=False))


def test_a_merge_that_fails_is_a_failure_and_not_half_a_summary(video, toolbox_at):
    """LongVT discarded both halves and counted the video as done."""

    def script(request):
        return joined(request) if "number 0" not in asked_text(request) else assistant("No.")

    _, toolbox = toolbox_at(script)
    (outcome,) = Summarize()(events_of(video, 9), toolbox)
    assert isinstance(outcome, Failed)
    assert "was a SummaryReply" in outcome.error


def test_lines_that_look_like_a_format_are_text(video, toolbox_at):
    """LongVT's parser of lines dropped plausible ones."""
    told = '1. "A man" (0-2 s): waits;\n- then {leaves}'
    _, toolbox = toolbox_at(lambda request: says(summary=told))
    (outcome,) = Summarize()(events_of(video, 2), toolbox)
    assert isinstance(outcome, Kept)
    assert outcome.record.text == told
