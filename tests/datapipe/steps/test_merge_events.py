"""Events: every caption is kept, neighbours are compared at their boundary, any number of captions works."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from datapipe import Failed
from datapipe.steps.merge_events import MergeEvents
from longvt_plugins.errors import ConfigError
from longvt_plugins.testing_server import asked_text, assistant

from .conftest import captions_of, says


def numbers_in(text):
    return [int(found) for found in re.findall(r"Caption number (\d+)", text)]


def joining(pairs):
    """A server for which these neighbours are of one event; it merges texts by joining them."""

    def script(request):
        numbers = numbers_in(asked_text(request))
        if "same_event" in asked_text(request):
            return says(same_event=tuple(numbers) in pairs)
        return says(caption=" ".join(f"Caption number {number}." for number in numbers))

    return script


def compared(server):
    asked = [asked_text(request) for request in server.requests]
    return Counter(tuple(numbers_in(text)) for text in asked if "same_event" in text)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 20])
def test_all_captions_of_one_event_are_kept(video, toolbox_at, count):
    """LongVT kept the first caption of each side, 2 of 8, and crashed at three or more."""
    _, toolbox = toolbox_at(joining({(n, n + 1) for n in range(count)}))
    captions = captions_of(video, count, seconds=2.0)
    (outcome,) = MergeEvents()(captions, toolbox)
    assert numbers_in(outcome.record.text) == list(range(count))
    assert outcome.record.captions == tuple(caption.id for caption in captions)
    assert (outcome.record.start, outcome.record.end) == (0, 2.0 * count)


def test_exactly_the_neighbours_are_compared_each_once(video, toolbox_at):
    server, toolbox = toolbox_at(joining({(0, 1), (1, 2), (4, 5)}))
    outcomes = list(MergeEvents()(captions_of(video, 6), toolbox))
    assert compared(server) == Counter({(n, n + 1): 1 for n in range(5)})
    assert [numbers_in(one.record.text) for one in outcomes] == [[0, 1, 2], [3], [4, 5]]
    assert [(one.record.start, one.record.end) for one in outcomes] == [(0, 15), (15, 20), (20, 30)]


def test_the_order_in_which_captions_come_does_not_matter(video, toolbox_at):
    _, toolbox = toolbox_at(joining({(0, 1)}))
    outcomes = list(MergeEvents()(list(reversed(captions_of(video, 3))), toolbox))
    assert [numbers_in(one.record.text) for one in outcomes] == [[0, 1], [2]]


def test_an_event_does_not_grow_without_end(video, toolbox_at):
    _, toolbox = toolbox_at(joining({(n, n + 1) for n in range(8)}))
    outcomes = list(MergeEvents(max_seconds=20.0)(captions_of(video, 8), toolbox))
    assert max(one.record.span.seconds for one in outcomes) <= 20
    assert sorted(number for one in outcomes for number in numbers_in(one.record.text)) == list(range(8))


def test_a_merge_that_fails_is_a_failure_of_that_event_alone(video, toolbox_at):
    def script(request):
        text = asked_text(request)
        if "same_event" not in text and 0 in numbers_in(text):
            return assistant("I cannot do that.")
        return joining({(0, 1), (2, 3)})(request)

    _, toolbox = toolbox_at(script)
    outcomes = list(MergeEvents()(captions_of(video, 4), toolbox))
    assert isinstance(outcomes[0], Failed)
    assert (outcomes[0].record.start, outcomes[0].record.end) == (0, 10)
    assert numbers_in(outcomes[1].record.text) == [2, 3]


def test_a_comparison_that_fails_is_no_answer(video, toolbox_at):
    _, toolbox = toolbox_at(lambda request: assistant(json.dumps({"same_event": "perhaps"})))
    (outcome,) = MergeEvents()(captions_of(video, 2), toolbox)
    assert isinstance(outcome, Failed)
    assert "same_event: input should be a valid boolean" in outcome.error


def test_videos_are_not_mixed(video, toolbox_at):
    from dataclasses import replace

    other = replace(video, id="talk-of-another-folder")
    _, toolbox = toolbox_at(joining({(0, 1), (1, 0), (1, 1)}))
    outcomes = list(MergeEvents()([*captions_of(video, 2), *captions_of(other, 2)], toolbox))
    assert [(one.record.video, numbers_in(one.record.text)) for one in outcomes] == [
        (video.id, [0, 1]),
        (other.id, [0, 1]),
    ]


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="merge_at_once must be at least 2"):
        MergeEvents(merge_at_once=1)
