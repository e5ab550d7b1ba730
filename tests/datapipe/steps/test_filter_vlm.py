"""Questions filtered by looking: the window is shown from our reader, and only a score that is one counts."""

from __future__ import annotations

import subprocess

import pytest

from datapipe import Dropped, Failed, Kept
from datapipe.steps.filter_vlm import FilterVLM
from longvt_plugins.errors import ConfigError
from longvt_plugins.testing_server import asked_text, assistant

from .conftest import pair_of, says

SURE = {"relevance": 1.0, "evidence": 0.9, "clarity": 0.9, "timing": 0.8, "reason": "seen"}


def test_the_window_and_a_margin_are_shown_at_two_frames_a_second(video, toolbox_at):
    server, toolbox = toolbox_at(lambda request: says(**SURE))
    (outcome,) = FilterVLM()([pair_of(video, start=10.0, end=12.0)], toolbox)
    assert isinstance(outcome, Kept)
    assert outcome.record.verdicts[-1].scores["mean"] == pytest.approx(0.9)
    content = server.requests[0]["messages"][0]["content"]
    labels = [float(block["text"][:-1]) for block in content if block["type"] == "text" and block["text"].endswith("s")]
    assert (labels[0], labels[-1], len(labels)) == (5.0, 16.5, 24)
    assert "from 10 s to 12 s shows" in asked_text(server.requests[0])


def test_a_mean_below_the_threshold_is_a_drop_with_its_scores(video, toolbox_at):
    _, toolbox = toolbox_at(lambda request: says(**SURE | {"evidence": 0.2}))
    (outcome,) = FilterVLM()([pair_of(video)], toolbox)
    assert isinstance(outcome, Dropped)
    assert outcome.reason == "mean score below 0.85"
    assert outcome.record.verdicts[-1].scores["evidence"] == 0.2
    _, toolbox = toolbox_at(lambda request: says(**SURE | {"evidence": 0.2}))
    assert isinstance(next(iter(FilterVLM(threshold=0.7)([pair_of(video)], toolbox))), Kept)


@pytest.mark.parametrize(
    "reply",
    [
        "0.2 out of 1",
        "Relevance: 1, evidence: 1, clarity: 1, timing: 1",
        '{"relevance": 8, "evidence": 9, "clarity": 9, "timing": 9, "reason": "out of ten"}',
        '{"relevance": "1.0", "evidence": 1, "clarity": 1, "timing": 1, "reason": "text"}',
        '{"relevance": 1.0}',
    ],
)
def test_no_number_is_fished_out_of_a_reply(video, toolbox_at, reply):
    """LongVT took the last number of a reply: "0.2 out of 1" was a score of 1."""
    server, toolbox = toolbox_at(lambda request: assistant(reply))
    (outcome,) = FilterVLM()([pair_of(video)], toolbox)
    assert isinstance(outcome, Failed)
    assert 1 < len(server.requests) < 8, "asked again, but not for ever"


def test_a_window_that_nobody_can_look_at_is_dropped_unseen(video, toolbox_at):
    server, toolbox = toolbox_at(lambda request: says(**SURE))
    (outcome,) = FilterVLM(max_seconds=10)([pair_of(video, start=0.0, end=30.0)], toolbox)
    assert outcome == Dropped("window longer than 10 s")
    assert server.requests == []


def test_no_other_program_is_started_and_no_file_is_left(video, toolbox_at, tmp_path, monkeypatch):
    """LongVT started 13 programs for a window of five seconds, and left their files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", None)
    _, toolbox = toolbox_at(lambda request: says(**SURE))
    assert isinstance(next(iter(FilterVLM()([pair_of(video)], toolbox))), Kept)
    assert list(tmp_path.iterdir()) == []


def test_a_window_past_the_end_of_a_changed_file_shows_what_is_there(video, toolbox_at):
    _, toolbox = toolbox_at(lambda request: says(**SURE))
    assert isinstance(next(iter(FilterVLM()([pair_of(video, start=36.0, end=40.0)], toolbox))), Kept)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="threshold must lie between 0 and 1"):
        FilterVLM(threshold=85)
