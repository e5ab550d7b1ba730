"""How right one is without watching."""

import pytest

from longvt_plugins.synthetic.chance import best_interval, chance
from longvt_plugins.types import TimeSpan


def row(answer, kind="open", options=None):
    return {
        "id": "a",
        "videos": {"video_1.mp4": "a.mp4"},
        "kind": kind,
        "question": "?",
        "answer": answer,
        "video_segment": None,
        "options": options,
        "source": "",
    }


def test_of_open_questions_it_is_the_share_of_the_most_frequent_answer():
    assert chance([row("red"), row("red"), row("blue"), row("green")]) == 0.5


def test_of_choices_it_is_one_in_as_many_as_there_are():
    assert chance([row("a", "choice", ["a", "b"]), row("a", "choice", ["a", "b", "c", "d"])]) == 0.375


def test_of_intervals_it_is_the_mean_overlap_of_the_one_that_fits_best():
    rows = [row("[0, 10]", "grounding"), row("[0, 5]", "grounding"), row("[100, 110]", "grounding")]
    assert best_interval(rows) == TimeSpan(0, 10)
    assert chance(rows) == pytest.approx(0.5)
