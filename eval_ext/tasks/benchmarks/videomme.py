"""VideoMME: four options a question, about short, medium and long videos; with and without subtitles.

::

    {"video_id": "001", "duration": "short", "domain": "Knowledge", "sub_category": "Humanity & History",
     "videoID": "fFjv93ACGo8", "question_id": "001-1", "task_type": "Counting Problem", "question": "...",
     "options": ["A. Apples.", "B. Candles.", "C. Berries.", "D. The three kinds are of the same number."],
     "answer": "C"}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval_ext.tasks.benchmarks.benchmark import Benchmark, Doc, Question
from eval_ext.tasks.benchmarks.options import reordered


def read(doc: Doc) -> Question:
    """Reads a document."""
    return Question(
        question=doc["question"],
        answer=doc["answer"],
        video=doc["videoID"],
        kind="choice",
        id=str(doc["question_id"]),
        options=doc["options"],
        categories=(doc["duration"], doc["domain"], doc["task_type"]),
    )


def shuffle(doc: Doc, order: Sequence[int]) -> dict[str, Any]:
    """The document with its options in another order."""
    options, answer = reordered(doc["options"], doc["answer"], order)
    return {**doc, "options": options, "answer": answer}


def subtitle(doc: Doc) -> str:
    """Where the subtitles of a document's video are."""
    return f"subtitle/{doc['videoID']}.srt"


VIDEOMME = Benchmark("videomme", base="videomme/videomme.yaml", read=read, shuffle=shuffle)
VIDEOMME_W_SUBTITLE = Benchmark(
    "videomme_w_subtitle", base="videomme/videomme_w_subtitle.yaml", read=read, shuffle=shuffle, subtitle=subtitle
)
