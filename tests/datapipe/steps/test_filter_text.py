"""Questions filtered by text: every pair is asked about, a drop is a result, leaks are found, the best are kept."""

from __future__ import annotations

import pytest

from datapipe import Dropped, Failed, Kept, Summary
from datapipe.calling import call_step
from datapipe.steps.filter_text import FilterText
from longvt_plugins.testing_server import asked_text, assistant

from .conftest import pair_of, says

GOOD = {
    "ambiguous": False,
    "outside_knowledge": False,
    "subjective": False,
    "several_questions": False,
    "specificity": 0.8,
    "clarity": 0.8,
    "reason": "it asks for one thing",
}
BLIND = {"knows": False, "answer": ""}


def judging(verdict=GOOD, blind=BLIND):
    return lambda request: says(**(blind if "have not seen" in asked_text(request) else verdict))


def questions_of(video, *texts):
    return [pair_of(video, question=text, start=float(place)) for place, text in enumerate(texts)]


def test_every_pair_is_asked_about_and_carries_the_verdict(video, toolbox_at):
    """LongVT's file names never matched those of the step before: no call, no output, logged as complete."""
    server, toolbox = toolbox_at(judging())
    pairs = questions_of(video, "Who waits?", "What is eaten?", "Which colour has the door?")
    outcomes = list(FilterText()(pairs, toolbox))
    assert [type(outcome) for outcome in outcomes] == [Kept] * 3
    assert len(server.requests) == 6
    verdict = outcomes[0].record.verdicts[-1]
    assert (verdict.by, verdict.accepted, verdict.scores["blind"]) == ("filter_text", True, 0.0)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("ambiguous", "ambiguous over the video"),
        ("outside_knowledge", "needs knowledge from outside"),
        ("subjective", "asks for an opinion"),
        ("several_questions", "not exactly one question"),
    ],
)
def test_what_is_objected_to_is_dropped_with_its_reason(video, toolbox_at, field, reason):
    _, toolbox = toolbox_at(judging(GOOD | {field: True, "reason": "two doors"}))
    (outcome,) = FilterText()([pair_of(video)], toolbox)
    assert isinstance(outcome, Dropped)
    assert outcome.reason == reason
    assert outcome.record.verdicts[-1].reason == "two doors"


def test_a_question_that_is_answered_without_the_video_is_a_leak(video, toolbox_at):
    server, toolbox = toolbox_at(judging(blind={"knows": True, "answer": "Forty-one."}))
    (outcome,) = FilterText()([pair_of(video)], toolbox)
    assert outcome.reason == "answered without the video"
    assert outcome.record.verdicts[-1].scores["blind"] == 1.0
    blind = [asked_text(request) for request in server.requests if "have not seen" in asked_text(request)]
    assert "Which number is shown?" in blind[0]
    assert "forty-one" not in blind[0]


def test_a_wrong_guess_and_one_that_is_only_a_guess_are_no_leak(video, toolbox_at):
    for blind in ({"knows": True, "answer": "seven"}, {"knows": False, "answer": "forty-one"}):
        _, toolbox = toolbox_at(judging(blind=blind))
        (outcome,) = FilterText()([pair_of(video)], toolbox)
        assert isinstance(outcome, Kept), blind


def test_a_broken_rule_needs_no_request(video, toolbox_at):
    server, toolbox = toolbox_at(judging())
    (outcome,) = FilterText()([pair_of(video, question="What happens at 12 s?")], toolbox)
    assert outcome.reason == "question with a time"
    assert server.requests == []


def test_the_summary_of_the_video_is_looked_at(video, toolbox_at):
    server, toolbox = toolbox_at(judging())
    beside = {"summarize": {video.id: (Summary.of(video, text="Two doors are opened."),)}}
    list(call_step(FilterText(blind=False), [pair_of(video)], toolbox, beside=beside))
    assert "Two doors are opened." in asked_text(server.requests[0])
    assert len(server.requests) == 1


def test_the_most_specific_clear_and_different_ones_of_a_video_are_kept(video, toolbox_at):
    def script(request):
        text = asked_text(request)
        return says(**GOOD | {"specificity": 0.1 if "Who waits" in text else 0.9})

    _, toolbox = toolbox_at(script)
    pairs = questions_of(
        video, "Who waits?", "Which colour has the old door?", "Which colour has the new door?", "What is eaten?"
    )
    outcomes = list(FilterText(per_video=2, blind=False)(pairs, toolbox))
    assert [type(outcome) for outcome in outcomes] == [Dropped, Kept, Dropped, Kept]
    assert {one.reason for one in outcomes if isinstance(one, Dropped)} == {"video already has 2"}


def test_a_reply_that_is_no_verdict_is_a_failure_of_that_pair_alone(video, toolbox_at):

    def script(request):
        return assistant("Fine.") if "Who waits" in asked_text(request) else judging()(request)

    _, toolbox = toolbox_at(script)
    outcomes = list(FilterText()(questions_of(video, "Who waits?", "What is eaten?"), toolbox))
    assert [type(outcome) for outcome in outcomes] == [Failed, Kept]
    assert outcomes[0].record.question == "Who waits?"
