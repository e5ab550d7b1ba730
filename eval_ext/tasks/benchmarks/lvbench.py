r"""LVBench: four options a question, about videos of half an hour and more.

::

    {"video_path": "Cm73ma6Ibcs.mp4", "question": "What year ...?\n(A) 1636\n(B) 1366\n(C) 1363\n(D) 1633",
     "answer": "D", "uid": "0", "question_type": ["key information retrieval"], "time_reference": "00:15-00:19"}

Options may have a column of their own; the last three columns may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from eval_ext.tasks.benchmarks.benchmark import Benchmark, Doc, Question
from eval_ext.tasks.benchmarks.options import letter_of, reordered
from eval_ext.tasks.benchmarks.windows import span_of

_OPTION = re.compile(r"\(([A-Z])\) ?(.*)")


def read(doc: Doc) -> Question:
    """Reads a document."""
    question, options = _question_and_options(doc)
    named = doc.get("uid", doc.get("id"))
    types = doc.get("question_type") or ()
    return Question(
        question=question,
        answer=doc["answer"],
        video=doc["video_path"],
        kind="choice",
        id=None if named is None else str(named),
        options=options,
        segment=span_of(doc.get("time_reference")),
        categories=(types,) if isinstance(types, str) else tuple(types),
    )


def shuffle(doc: Doc, order: Sequence[int]) -> dict[str, Any]:
    """The document with its options in another order."""
    question, options = _question_and_options(doc)
    moved, answer = reordered(options, doc["answer"], order)
    if doc.get("options"):
        return {**doc, "options": moved, "answer": answer}
    lines = [f"({letter_of(place)}) {option}" for place, option in enumerate(moved)]
    return {**doc, "question": "\n".join([question, *lines]), "answer": answer}


def _question_and_options(doc: Doc) -> tuple[str, list[str]]:
    if doc.get("options"):
        return doc["question"], list(doc["options"])
    lines = doc["question"].split("\n")
    found = [_OPTION.fullmatch(line.strip()) for line in lines]
    options = [match[2] for match in found if match]
    rest = [line for line, match in zip(lines, found, strict=True) if match is None]
    return "\n".join(rest).strip(), options


LVBENCH = Benchmark("lvbench", base="lvbench/lvbench.yaml", read=read, shuffle=shuffle, has_windows=True)
