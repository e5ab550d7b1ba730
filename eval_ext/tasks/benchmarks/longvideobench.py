"""LongVideoBench, its validation split: up to five options a question, videos of seconds to an hour.

::

    {"id": "86CxyhFV9MI_0", "video_path": "86CxyhFV9MI.mp4", "question": "...", "option0": "...", "option1": "...",
     "option2": "...", "option3": "...", "option4": "N/A", "correct_choice": 1, "duration_group": 600,
     "question_category": "T2A", "duration": 190.16}

The prompts are those without subtitles, as ``longvideobench_val_v`` has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval_ext.tasks.benchmarks.benchmark import Benchmark, Doc, Question
from eval_ext.tasks.benchmarks.options import LETTERS, letter_of, reordered

NO_OPTION = "N/A"
"""Fills the places of options that a question does not have."""

_PLACES = 5


def read(doc: Doc) -> Question:
    """Reads a document."""
    return Question(
        question=doc["question"],
        answer=letter_of(int(doc["correct_choice"])),
        video=doc["video_path"],
        kind="choice",
        id=str(doc["id"]),
        options=_options(doc),
        categories=(f"duration group {doc['duration_group']}", str(doc["question_category"])),
    )


def shuffle(doc: Doc, order: Sequence[int]) -> dict[str, Any]:
    """The document with its options in another order."""
    moved, answer = reordered(_options(doc), letter_of(int(doc["correct_choice"])), order)
    columns = {f"option{place}": option for place, option in enumerate(moved)}
    return {**doc, **columns, "correct_choice": LETTERS.index(answer)}


def _options(doc: Doc) -> list[str]:
    columns = [doc.get(f"option{place}") for place in range(_PLACES)]
    return [option for option in columns if option not in (None, NO_OPTION)]


LONGVIDEOBENCH = Benchmark(
    "longvideobench", base="longvideobench/longvideobench_val_v.yaml", read=read, shuffle=shuffle
)
