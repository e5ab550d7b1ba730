"""Charts and table of the demo's report."""

import json
import xml.etree.ElementTree as ET

import pytest

from longvt_plugins.demo.figures import read_curve, read_figures
from longvt_plugins.demo.report import TITLES, line_chart, table_rows
from longvt_plugins.errors import ConfigError


def figures(**changes):
    return {"accuracy": 0.5, "accuracy_ci": [0.4, 0.6], "format": 1.0, "iou": None, "calls": None, "questions": 64,
            "failed": 0, **changes}  # fmt: skip


def test_a_number_without_meaning_is_a_dash_and_not_a_zero():
    rows = table_rows({name: figures() for name in TITLES})
    assert rows[0] == ["base model", "0.50 [0.40, 0.60]", "1.00", "–", "–", "64"]


def test_a_chart_is_a_picture_with_one_line_a_curve():
    svg = ET.fromstring(line_chart({"loss": [(0, 2.0), (10, 1.0)], "reward": [(0, 0.1), (10, 0.9)]}))
    assert len(svg.findall("polyline")) == 2


def test_a_curve_that_never_was_logged_is_left_out(tmp_path):
    state = tmp_path / "sft" / "checkpoint" / "checkpoint-2" / "trainer_state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"log_history": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5, "epoch": 1}]}))
    assert read_curve(tmp_path, "sft", ("loss", "reward")) == {"loss": [(1, 2.0), (2, 1.5)]}


def test_figures_come_from_the_results_file_and_what_is_missing_is_none(tmp_path):
    results = tmp_path / "evaluation" / "sft" / "results.json"
    results.parent.mkdir(parents=True)
    task = {"accuracy,none": 0.75, "accuracy_ci_low,none": 0.7, "accuracy_ci_high,none": 0.8, "scored,none": 8,
            "failed,none": 1, "iou,none": "N/A"}  # fmt: skip
    results.write_text(json.dumps({"results": {"longvt_synthetic_non_think": task}}))
    found = read_figures(tmp_path, "sft")
    assert found["accuracy_ci"] == [0.7, 0.8]
    assert found["iou"] is None and found["format"] is None
    assert (found["questions"], found["failed"]) == (8, 1)


def test_an_evaluation_that_was_not_run_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no results of 'rl'"):
        read_figures(tmp_path, "rl")
