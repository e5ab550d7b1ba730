"""Overlap and distance of time spans: values, bounds, and what cannot be gamed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longvt_plugins.temporal import generalised_iou, intersection, iou, merged, recall, seconds, wasserstein
from longvt_plugins.types import TimeSpan

times = st.floats(0, 1e5, allow_nan=False).map(lambda time: round(time, 3))
spans = st.tuples(times, times).map(lambda pair: TimeSpan(min(pair), max(pair)))
sets = st.lists(spans, min_size=1, max_size=6)
wild = st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2).map(lambda pair: TimeSpan(*sorted(pair)))

TABLE = [
    # predicted, reference, shared seconds, IoU, recall, generalised IoU, Wasserstein distance
    ((10, 20), (10, 20), 10, 1, 1, 1, 0),
    ((10, 20), (15, 25), 5, 1 / 3, 0.5, 1 / 3, 5),
    ((0, 100), (15, 25), 10, 0.1, 1, 0.1, 32.5),
    ((16, 18), (15, 25), 2, 0.2, 0.2, 0.2, 3.125),
    ((0, 10), (10, 20), 0, 0, 0, 0, 10),
    ((0, 10), (15, 25), 0, 0, 0, -0.2, 15),
    ((0, 10), (90, 100), 0, 0, 0, -0.8, 90),
    ((15, 15), (15, 25), 0, 0, 0, 0, 5),
    ((15, 25), (20, 20), 0, 0, 0, 0, 2.5),
    ((15, 15), (15, 15), 0, 0, 0, 0, 0),
    ((15, 15), (18, 18), 0, 0, 0, 0, 3),
]
NAMES = ("predicted", "reference", "shared", "iou_value", "recall_value", "giou_value", "distance")


@pytest.mark.parametrize(NAMES, TABLE)
def test_overlap_is_what_a_person_would_count(
    predicted, reference, shared, iou_value, recall_value, giou_value, distance
):
    a, b = TimeSpan(*predicted), TimeSpan(*reference)
    assert intersection(a, b) == pytest.approx(shared)
    assert iou(a, b) == pytest.approx(iou_value)
    assert recall(a, b) == pytest.approx(recall_value)
    assert generalised_iou(a, b) == pytest.approx(giou_value)
    assert wasserstein(a, b) == pytest.approx(distance)


SETS = [
    # spans, merged
    ([(10, 14), (12, 20)], [(10, 20)]),
    ([(10, 14), (14, 20)], [(10, 20)]),
    ([(30, 40), (10, 14)], [(10, 14), (30, 40)]),
    ([(10, 40), (12, 14)], [(10, 40)]),
    ([(5, 5), (10, 14)], [(10, 14)]),
    ([(5, 5)], []),
    ([], []),
]


@pytest.mark.parametrize(("given", "expected"), SETS)
def test_a_set_is_the_time_that_its_spans_cover(given, expected):
    assert merged([TimeSpan(*span) for span in given]) == [TimeSpan(*span) for span in expected]


def test_a_set_scores_as_its_union():
    reference = TimeSpan(10, 20)
    halves = [TimeSpan(15, 20), TimeSpan(10, 15)]
    assert [iou(halves, reference), recall(halves, reference), generalised_iou(halves, reference)] == [1, 1, 1]
    assert wasserstein(halves, reference) == 0
    astray = [TimeSpan(10, 20), TimeSpan(40, 50)]
    assert (seconds(astray), intersection(astray, reference)) == (20, 10)
    assert (iou(astray, reference), recall(astray, reference)) == (0.5, 1)
    assert generalised_iou(astray, reference) == pytest.approx(0.5 - 20 / 40)
    assert wasserstein(astray, reference) == pytest.approx(15)  # half of the time, moved by 30 seconds


def test_a_set_of_nothing_overlaps_nothing_and_is_nowhere():
    reference = TimeSpan(10, 20)
    assert (iou([], reference), recall([], reference), generalised_iou([], reference)) == (0, 0, 0)
    with pytest.raises(ValueError, match="without any span"):
        wasserstein([], reference)


@given(sets, sets)
def test_scores_stay_within_their_bounds_and_iou_never_exceeds_recall(predicted, reference):
    assert 0 <= iou(predicted, reference) <= recall(predicted, reference) + 1e-9 <= 1 + 2e-9
    assert -1 <= generalised_iou(predicted, reference) <= iou(predicted, reference) + 1e-9
    assert 0 <= wasserstein(predicted, reference) <= 1e5


@given(sets, sets, sets)
def test_the_distance_is_one(a, b, c):
    assert wasserstein(a, b) == pytest.approx(wasserstein(b, a), abs=1e-3)
    assert wasserstein(a, c) <= wasserstein(a, b) + wasserstein(b, c) + 1e-3
    assert wasserstein(a, a) == pytest.approx(0, abs=1e-3)


@given(st.lists(wild, min_size=1, max_size=3), wild)
def test_no_span_however_wild_gives_anything_but_a_number(predicted, reference):
    assert 0 <= iou(predicted, reference) <= 1
    assert 0 <= recall(predicted, reference) <= 1
    assert -1 <= generalised_iou(predicted, reference) <= 1
    assert wasserstein(predicted, reference) >= 0


@given(spans, spans)
def test_iou_does_not_care_which_span_is_the_reference(a, b):
    assert iou(a, b) == iou(b, a)
    assert generalised_iou(a, b) == generalised_iou(b, a)


@given(sets, spans, st.randoms())
def test_the_order_of_a_set_does_not_matter(given, reference, chance):
    shuffled = list(given)
    chance.shuffle(shuffled)
    for measure in (iou, recall, generalised_iou, wasserstein):
        assert measure(shuffled, reference) == measure(given, reference)


def test_what_misses_still_shows_the_way():
    reference = TimeSpan(100, 110)
    nearer = [TimeSpan(start, start + 10) for start in (0, 40, 80)]
    assert {iou(span, reference) for span in nearer} == {0.0}
    assert generalised_iou(nearer[0], reference) < generalised_iou(nearer[1], reference) < 0
    assert [wasserstein(span, reference) for span in nearer] == pytest.approx([100, 60, 20])


def test_inflating_a_span_games_recall_but_nothing_else():
    reference = TimeSpan(100, 110)
    honest, inflated = TimeSpan(102, 112), TimeSpan(0, 3600)
    assert recall(inflated, reference) > recall(honest, reference)
    assert iou(inflated, reference) < iou(honest, reference)
    assert generalised_iou(inflated, reference) < generalised_iou(honest, reference)
    assert wasserstein(inflated, reference) > wasserstein(honest, reference)


@pytest.mark.parametrize("bounds", [(5, 4), (math.nan, 4), (0, math.inf), (-math.inf, 0)])
def test_a_span_that_is_none_cannot_be_made(bounds):
    with pytest.raises(ValueError, match=r"^a time span (cannot end|needs finite seconds)"):
        TimeSpan(*bounds)


def test_a_span_holds_its_start_but_not_its_end():
    span = TimeSpan(10, 12)
    assert [time in span for time in (9.99, 10, 11.5, 12)] == [False, True, True, False]
    assert "10" not in span
    assert span.seconds == 2
