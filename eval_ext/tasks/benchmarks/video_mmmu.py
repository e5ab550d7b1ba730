"""VideoMMMU: lectures, in three tracks; up to ten options a question, and open ones in ``adaptation``.

::

    {"id": "validation_Accounting_5", "question": "...", "options": ["...", ...], "answer": "B",
     "question_type": "multiple-choice"}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval_ext.tasks.benchmarks.benchmark import Benchmark, Doc, Question
from eval_ext.tasks.benchmarks.options import reordered


def read(doc: Doc) -> Question:
    """Reads a document."""
    options = list(doc["options"] or [])
    kind = str(doc.get("question_type") or "unknown")
    return Question(
        question=doc["question"],
        answer=str(doc["answer"]),
        video=doc["id"],
        kind="choice" if options else "open",
        id=doc["id"],
        options=options or None,
        categories=(kind,),
    )


def shuffle(doc: Doc, order: Sequence[int]) -> dict[str, Any]:
    """The document with its options in another order."""
    options, answer = reordered(doc["options"], doc["answer"], order)
    return {**doc, "options": options, "answer": answer}


TRACKS = tuple(
    Benchmark(f"video_mmmu_{track}", base=f"videommmu/{track}.yaml", read=read, shuffle=shuffle, track_of="video_mmmu")
    for track in ("adaptation", "comprehension", "perception")
)
