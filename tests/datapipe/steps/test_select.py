"""Selection: questions that are neither too easy nor too hard, and right traces on the right evidence."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from datapipe import Dropped, Kept, Trace, Verdict
from datapipe.steps.select_rft import SelectRFT
from datapipe.steps.select_rl import SelectRL
from longvt_plugins.errors import ConfigError

from .conftest import pair_of


def trace_of(pair, sample=0, score=1.0, iou=1.0, answer="forty-one", **fields):
    window = (pair.start, pair.start + (pair.end - pair.start) * iou) if iou else (pair.end, pair.end + 1)
    return Trace.of(
        pair, start=pair.start, end=pair.end, qa=pair.id, sample=sample, question=pair.question,
        reference_answer=pair.answer, answer=answer, score=score, iou=iou, windows=(window,),
        messages=({"role": "assistant", "content": f"<think>{sample}</think><answer>{answer}</answer>"},), **fields,
    )  # fmt: skip


def reasons(outcomes):
    return Counter(one.reason for one in outcomes if isinstance(one, Dropped))


def test_questions_that_all_tries_get_right_or_wrong_teach_nothing(video):
    easy, hard, good, rare = (pair_of(video, question=f"Question {name}?") for name in "abcd")
    traces = [
        *(trace_of(easy, n, 1.0) for n in range(4)),
        *(trace_of(hard, n, 0.0) for n in range(4)),
        *(trace_of(good, n, float(n % 2)) for n in range(4)),
        trace_of(rare, 0, 1.0),
    ]
    outcomes = list(SelectRL(min_traces=4)(traces))
    kept = [one.record for one in outcomes if isinstance(one, Kept)]
    assert [pair.id for pair in kept] == [good.id]
    assert (kept[0].question, kept[0].answer) == ("Question c?", "forty-one")
    assert reasons(outcomes) == {"all right": 1, "all wrong": 1, "fewer than 4 scored rollouts": 1}


def test_a_try_without_a_verdict_counts_neither_way(video):
    traces = [trace_of(pair_of(video), 0, 1.0), trace_of(pair_of(video), 1, None)]
    assert reasons(SelectRL()(traces)) == {"fewer than 2 scored rollouts": 1}


def test_videos_of_another_length_are_dropped(video):
    traces = [trace_of(pair_of(video), n, float(n)) for n in range(2)]
    assert reasons(SelectRL(bands=("0:30", "60:600"))(traces)) == {"video of a length in no band": 1}
    assert isinstance(next(iter(SelectRL(bands=("0:300",))(traces))), Kept)


def test_a_limit_over_all_videos_is_refused_where_one_is_seen_at_a_time():
    with pytest.raises(ConfigError, match="longvt rollouts select-rl"):
        SelectRL(bands=("0:300:500",))


def test_only_right_answers_on_the_right_evidence_are_imitated(video):
    pair = pair_of(video)
    traces = [trace_of(pair, 0, 0.0), trace_of(pair, 1, 1.0, iou=0.2), trace_of(pair, 2, 1.0, iou=0.5)]
    outcomes = {one.record.sample: one for one in SelectRFT()(traces)}
    assert isinstance(outcomes[2], Kept)
    assert [outcomes[n].reason for n in range(2)] == ["answer not right", "IoU of the last window below 0.3"]


def test_of_one_question_so_many_are_kept_and_no_two_alike(video):
    pair = pair_of(video)
    twin = trace_of(pair, 0)
    traces = [twin, replace(twin, id=f"{twin.id}-again"), trace_of(pair, 2), trace_of(pair, 3)]
    outcomes = list(SelectRFT(per_question=2)(traces))
    assert sum(isinstance(one, Kept) for one in outcomes) == 2
    assert reasons(outcomes) == {"same text as another of this question": 1, "question already has 2": 1}
    assert list(SelectRFT(per_question=2)(traces)) == outcomes


def test_a_trace_in_another_form_is_not_imitated_unless_it_is_wanted(video):
    odd = trace_of(pair_of(video), verdicts=(Verdict("generate_imcott", False, {"format": 0.0}),))
    assert reasons(SelectRFT()([odd])) == {"not in the form that is trained": 1}
    assert isinstance(next(iter(SelectRFT(well_formed=False)([odd]))), Kept)
