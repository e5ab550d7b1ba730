"""Charades-STA: when does an event happen? The answer is an interval, scored by its overlap.

::

    {"video": "AO8RW.mp4", "caption": "a person is putting a book on a shelf.", "timestamp": [0.0, 6.9]}
"""

from __future__ import annotations

import json

from eval_ext.tasks.benchmarks.benchmark import Benchmark, Doc, Question


def read(doc: Doc) -> Question:
    """Reads a document.

    Raises:
        ValueError: The timestamp is not two numbers.
    """
    stamp = json.loads(doc["timestamp"]) if isinstance(doc["timestamp"], str) else doc["timestamp"]
    # A few of the published ones are written backwards.
    start, end = sorted(float(second) for second in stamp)
    return Question(
        question=doc["caption"],
        answer=f"[{start:g}, {end:g}]",
        video=doc["video"],
        kind="grounding",
        segment=(start, end) if start < end else None,
    )


CHARADES_STA = Benchmark("charades_sta", base="charades_sta/charades.yaml", read=read)
