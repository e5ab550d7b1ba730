"""Scores of single questions, and the numbers made of them."""

import json
import random

import pytest

from eval_ext.outcome import read_outcome
from eval_ext.tasks.metrics import JUDGED, METRICS, ci_high, ci_low, dollars, mean, metric_list, names, p95, total
from eval_ext.tasks.scoring import rollout_rewards, score_sample
from longvt_plugins.judges import Judgement
from longvt_plugins.rows import parse_row

DOC = {
    "id": "q", "videos": '{"video_1.mp4": "v.mp4"}', "kind": "open", "question": "Which colour?", "answer": "red",
    "video_segment": [8.0, 12.0], "options": None, "source": "test/a",
}  # fmt: skip


NOT_SCORES = ("failed", "scored", "no_verdict")


def outcome(**facts):
    given = {
        "longvt_outcome": 2, "answer": "red", "format_ok": True, "windows": [], "calls": 0, "refused_calls": 0,
        "frames": 4, "tokens": 9, "seconds": 1.0, "stop_reason": "answered",
        "turns": 2, "truncated_turns": 0, "prompt_tokens": 90, "cached_turns": 0, "retries": 0, "model_seconds": 0.5,
        "cost": 0.0,
    }  # fmt: skip
    return json.dumps(given | facts)


def score(text, form="tool", doc=DOC, judgement=None):
    return score_sample(doc, [text], form=form, judgement=judgement)


def test_a_right_answer_in_the_right_form_after_a_look_at_the_right_place():
    scores = score(outcome(windows=[[0.0, 1.0], [8.0, 10.0]], calls=2))
    assert (scores["accuracy"], scores["format"], scores["iou"], scores["calls"]) == (1.0, 1.0, 0.5, 2)
    assert (scores["scored"], scores["failed"], scores["accuracy/test/a"]) == (1, 0, 1.0)


def test_a_failed_request_is_counted_and_has_no_score():
    scores = score("")
    assert (scores["failed"], scores["scored"]) == (1, 0)
    assert all(value is None for name, value in scores.items() if name not in NOT_SCORES)


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


def test_a_judge_stands_beside_the_strict_score():
    scores = score(outcome(answer="crimson"), judgement=Judgement(1.0, "correct", "same", fingerprint="llm/1"))
    assert (scores["accuracy"], scores["judged_accuracy"], scores["judged_accuracy/test/a"]) == (0.0, 1.0, 1.0)
    assert (scores["no_verdict"], scores["judge"]) == (0, "llm/1")


def test_a_judge_without_a_verdict_leaves_the_strict_score():
    scores = score(outcome(), judgement=Judgement(None, "none", "it is down", fingerprint="llm/1"))
    assert (scores["accuracy"], scores["judged_accuracy"], scores["no_verdict"]) == (1.0, None, 1)


def test_evidence_is_that_of_the_last_window_and_of_all_together():
    scores = score(outcome(windows=[[8.0, 10.0], [0.0, 2.0]], calls=2))
    assert (scores["iou"], scores["hit"]) == (0.0, 0.0)
    assert (scores["iou_union"], scores["hit_union"], scores["used_tools"]) == (2 / 6, 1.0, 1.0)


def test_saved_rollouts_carry_the_scores_for_which_nobody_is_asked():
    doc = parse_row(DOC)
    assert rollout_rewards(doc, read_outcome(outcome(windows=[[8.0, 12.0]]), "tool"), "tool") == {
        "accuracy": 1.0, "format": 1.0, "iou": 1.0, "iou_union": 1.0, "hit": 1.0, "hit_union": 1.0,
    }  # fmt: skip
    assert rollout_rewards(doc, read_outcome(outcome(), "non_think"), "non_think") == {"accuracy": 1.0}
    assert rollout_rewards(doc, None, "tool") == {}


def test_numbers_of_all_questions():
    assert p95([1.0, None, *[0.0] * 98, 3.0]) == 0.0
    assert names(["b", None, "a", "b"]) == "a; b"
    assert (names([None]), p95([]), dollars([0.5, None])) == (None, None, 0.5)


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
    listed = [metric["metric"] for metric in metric_list("tool", ["b", "a", "b"])]
    assert listed == [*METRICS, "accuracy/a", "accuracy/b"]
    assert [metric["metric"] for metric in metric_list("tool", ["a", "a"])] == list(METRICS)
    judged = [metric["metric"] for metric in metric_list("tool", ["a"], judged=True)]
    assert judged == [*METRICS, *JUDGED]
