"""What a report tells of results, and what it does not pretend to know."""

from __future__ import annotations

from datapipe.records import Kept
from datapipe.report.figures import collect
from datapipe.report.page import trace_rows
from datapipe.store import Store, Unit, UnitResult


def test_traces_without_a_window_have_no_mean_overlap(tmp_path):
    store = Store(tmp_path / "store.sqlite3")
    trace = {"id": "t1", "question": "what?", "messages": [], "score": 1.0, "windows": [], "stop_reason": "answered"}
    store.save([UnitResult("teach", Unit("q1", "v", "input"), "f", [Kept(trace)])])
    (figures,) = collect([store], ["teach"]).traces.values()
    assert (figures.count, figures.right, figures.mean_iou) == (1, 1, None)
    assert dict(trace_rows(figures))["IoU of the last window with the reference, mean"] == "no trace has both"
    store.save([UnitResult("teach", Unit("q2", "v", "input"), "f", [Kept({**trace, "id": "t2", "iou": 0.5})])])
    assert collect([store], ["teach"]).traces["teach"].mean_iou == 0.5
    store.close()
