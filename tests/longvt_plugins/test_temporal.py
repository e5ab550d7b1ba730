"""Overlap of time spans: values, bounds, and what cannot be gamed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longvt_plugins.temporal import intersection, iou, recall
from longvt_plugins.types import TimeSpan

seconds = st.floats(0, 1e5, allow_nan=False)
spans = st.tuples(seconds, seconds).map(lambda pair: TimeSpan(min(pair), max(pair)))

TABLE = [
    # predicted, reference, shared seconds, IoU, recall
    ((10, 20), (10, 20), 10, 1, 1),
    ((10, 20), (15, 25), 5, 1 / 3, 0.5),
    ((0, 100), (15, 25), 10, 0.1, 1),
    ((16, 18), (15, 25), 2, 0.2, 0.2),
    ((0, 10), (10, 20), 0, 0, 0),
    ((0, 10), (15, 25), 0, 0, 0),
    ((15, 15), (15, 25), 0, 0, 0),
    ((15, 25), (20, 20), 0, 0, 0),
    ((15, 15), (15, 15), 0, 0, 0),
]


@pytest.mark.parametrize(("predicted", "reference", "shared", "iou_value", "recall_value"), TABLE)
def test_overlap_is_what_a_person_would_count(predicted, reference, shared, iou_value, recall_value):
    a, b = TimeSpan(*predicted), TimeSpan(*reference)
    assert intersection(a, b) == pytest.approx(shared)
    assert iou(a, b) == pytest.approx(iou_value)
    assert recall(a, b) == pytest.approx(recall_value)


@given(spans, spans)
def test_scores_stay_between_0_and_1_and_iou_never_exceeds_recall(predicted, reference):
    assert 0 <= iou(predicted, reference) <= recall(predicted, reference) + 1e-9 <= 1 + 2e-9


@given(spans, spans)
def test_iou_does_not_care_which_span_is_the_reference(a, b):
    assert iou(a, b) == iou(b, a)


def test_inflating_a_span_games_recall_but_not_iou():
    reference = TimeSpan(100, 110)
    honest, inflated = TimeSpan(102, 112), TimeSpan(0, 3600)
    assert recall(inflated, reference) > recall(honest, reference)
    assert iou(inflated, reference) < iou(honest, reference)


@pytest.mark.parametrize("bounds", [(5, 4), (math.nan, 4), (0, math.inf), (-math.inf, 0)])
def test_a_span_that_is_none_cannot_be_made(bounds):
    with pytest.raises(ValueError, match=r"^a time span (cannot end|needs finite seconds)"):
        TimeSpan(*bounds)


def test_a_span_holds_its_start_but_not_its_end():
    span = TimeSpan(10, 12)
    assert [time in span for time in (9.99, 10, 11.5, 12)] == [False, True, True, False]
    assert "10" not in span
    assert span.seconds == 2
