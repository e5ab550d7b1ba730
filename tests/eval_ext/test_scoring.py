"""Scores of single questions, and the numbers made of them."""

import json
import random

import pytest

from eval_ext.tasks.metrics import METRICS, ci_high, ci_low, mean, metric_list, total
from eval_ext.tasks.scoring import score_sample
from longvt_plugins.errors import UnknownNameError

DOC = {
    "id": "q", "videos": '{"video_1.mp4": "v.mp4"}', "kind": "open", "question": "Which colour?", "answer": "red",
    "video_segment": [8.0, 12.0], "options": None, "source": "test/a",
}  # fmt: skip


def outcome(**facts):
    given = {
        "longvt_outcome": 1, "answer": "red", "format_ok": True, "windows": [], "calls": 0, "refused_calls": 0,
        "frames": 4, "tokens": 9, "seconds": 1.0, "stop_reason": "answered",
    }  # fmt: skip
    return json.dumps(given | facts)


def score(text, form="tool", doc=DOC):
    return score_sample(doc, [text], form=form, judge="exact")


def test_a_right_answer_in_the_right_form_after_a_look_at_the_right_place():
    scores = score(outcome(windows=[[0.0, 1.0], [8.0, 10.0]], calls=2))
    assert (scores["accuracy"], scores["format"], scores["iou"], scores["calls"]) == (1.0, 1.0, 0.5, 2)
    assert (scores["scored"], scores["failed"], scores["accuracy/test/a"]) == (1, 0, 1.0)


def test_a_failed_request_is_counted_and_has_no_score():
    scores = score("")
    assert (scores["failed"], scores["scored"]) == (1, 0)
    assert all(value is None for name, value in scores.items() if name not in ("failed", "scored", "no_verdict"))


def test_no_answer_is_wrong_and_not_failed():
    scores = score(outcome(answer=None, stop_reason="max_turns"))
    assert (scores["accuracy"], scores["failed"], scores["cut_off"]) == (0.0, 0, 1.0)


def test_black_is_not_blue():
    assert score(outcome(answer="Blue"), doc=DOC | {"answer": "Black"})["accuracy"] == 0.0


def test_who_never_looked_has_no_overlap_and_who_could_not_has_none_to_have():
    assert score(outcome())["iou"] == 0.0
    assert score(outcome(), doc=DOC | {"video_segment": None})["iou"] is None


def test_metrics_that_say_nothing_about_a_form_are_left_out():
    assert {"iou", "calls", "format"} <= set(score(outcome()))
    assert {"iou", "calls", "format"}.isdisjoint(score(outcome(), "non_think"))
    assert "format" in score(outcome(), "reasoning")


def test_an_unknown_judge_is_refused_with_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'exact'"):
        score_sample(DOC, [outcome()], form="tool", judge="exakt")


def test_missing_values_are_left_out_of_every_mean():
    assert mean([1.0, None, 0.0, None]) == 0.5
    assert total([1, None, 1]) == 2
    assert [function([None]) for function in (mean, ci_low, ci_high)] == [None, None, None]
    assert ci_low([1.0, None]) == 1.0


def test_the_interval_holds_the_mean_narrows_and_repeats():
    rng = random.Random(0)
    few = [float(rng.random() < 0.6) for _ in range(40)]
    many = few * 10
    assert ci_low(few) < mean(few) < ci_high(few)
    assert ci_high(many) - ci_low(many) < (ci_high(few) - ci_low(few)) / 2
    assert ci_low(few) == ci_low(few)
    # The normal approximation is close at this size: 1.96 standard errors.
    p = mean(many)
    assert ci_high(many) - p == pytest.approx(1.96 * (p * (1 - p) / len(many)) ** 0.5, rel=0.15)


def test_every_source_has_an_accuracy_where_there_are_several():
    names = [metric["metric"] for metric in metric_list("tool", ["b", "a", "b"])]
    assert names == [*METRICS, "accuracy/a", "accuracy/b"]
    assert [metric["metric"] for metric in metric_list("tool", ["a", "a"])] == list(METRICS)
