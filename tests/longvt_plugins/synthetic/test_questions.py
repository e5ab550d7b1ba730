"""What is asked, and that the answers are right and balanced."""

from collections import Counter

import numpy as np
import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.exact import read_interval
from longvt_plugins.synthetic.make import plan_split
from longvt_plugins.synthetic.questions import (
    FAMILIES,
    ask,
    check_families,
    draw_flashes,
    find_question,
    question_texts,
)
from longvt_plugins.synthetic.world import COLOURS, LONG, TINY, Event, Flash
from longvt_plugins.types import TimeSpan


def event(*colours):
    flashes = tuple(Flash(colour, TimeSpan(12 + 5 * n, 14 + 5 * n)) for n, colour in enumerate(colours))
    return Event("square", TimeSpan(10.5, 30), flashes)


@pytest.mark.parametrize(
    ("family", "colours", "answer"),
    [
        ("what", ["red"], "red"),
        ("how_many", ["red", "red", "blue"], "3"),
        ("how_many", ["red"], "1"),
        ("order", ["red", "blue"], "red, blue"),
        ("after", ["red", "green", "blue"], "green"),
        ("after", ["red", "red", "blue"], "red"),
        ("before", ["red", "green", "blue"], "green"),
        ("when", ["red"], "[10.5, 30]"),
    ],
)
def test_the_answer_follows_from_the_event(family, colours, answer):
    question = ask(family, event(*colours), np.random.default_rng(0))
    assert question.answer == answer
    assert "square" in question.text


def test_order_offers_both_orders_of_two_pairs_and_each_is_right_equally_often():
    places = Counter()
    for seed in range(400):
        question = ask("order", event("red", "blue"), np.random.default_rng(seed))
        assert len(set(question.options)) == 4
        pairs = Counter(frozenset(option.split(", ")) for option in question.options)
        assert sorted(pairs.values()) == [2, 2]
        places[question.options.index(question.answer)] += 1
    assert min(places.values()) > 70


@pytest.mark.parametrize("family", ["what", "after", "before"])
def test_every_colour_is_the_answer_equally_often(family):
    rows = [row for item in plan_split(TINY, "train", 80, 1, (family,)) for row in item.rows]
    assert set(Counter(row["answer"] for row in rows).values()) == {10}
    assert {row["answer"] for row in rows} == set(COLOURS)


@pytest.mark.parametrize("preset", [TINY, LONG], ids=["tiny", "long"])
def test_every_count_is_the_answer_equally_often(preset):
    rows = [row for item in plan_split(preset, "train", 30, 1, ("how_many",)) for row in item.rows]
    counts = Counter(row["answer"] for row in rows)
    assert set(counts) == {"1", "2", "3"}
    assert max(counts.values()) == min(counts.values())


def test_in_long_videos_too_the_two_colours_of_an_order_differ():
    for item in plan_split(LONG, "train", 12, 1, ("order",)):
        for row in item.rows:
            assert len(set(row["options"])) == 4
            assert len(set(row["answer"].split(", "))) == 2


def test_intervals_are_written_as_the_judge_reads_them():
    for item in plan_split(TINY, "train", 20, 1, ("when",)):
        (row,) = item.rows
        span = read_interval(row["answer"])
        assert [span.start, span.end] == pytest.approx(row["video_segment"], abs=0.06)


def test_every_question_is_recognised_in_a_longer_text():
    for family, text in zip(FAMILIES, question_texts("disc"), strict=True):
        assert find_question(f"video_1.mp4 lasts 64 s. {text} Choose one of: a; b.") == (family, "disc")
    assert find_question("Which colour is the square?") is None


def test_a_family_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ConfigError, match=r"no question family 'whne'; there are: what, how_many"):
        check_families(("what", "whne"))


def test_as_many_flashes_are_drawn_as_fit_into_an_event():
    rng = np.random.default_rng(0)
    for family in FAMILIES:
        assert all(1 <= len(draw_flashes(family, number, rng)) <= 3 for number in range(50))
