"""VideoSIAH-Eval: open questions about long videos, LongVT's own benchmark.

::

    {"video_path": "videos/abc.mp4", "question": "...", "answer": "..."}

Copies that also say where the evidence is, in a column ``video_segment``, give evidence scores and the control
``oracle_window``.
"""

from __future__ import annotations

from eval_ext.tasks.benchmarks.benchmark import Benchmark, Doc, Question
from eval_ext.tasks.benchmarks.windows import span_of


def read(doc: Doc) -> Question:
    """Reads a document."""
    named = doc.get("id", doc.get("question_id"))
    return Question(
        question=doc["question"],
        answer=str(doc["answer"]),
        video=doc["video_path"],
        kind="open",
        id=None if named is None else str(named),
        segment=span_of(doc.get("video_segment")),
    )


VIDEOSIAH_EVAL = Benchmark(
    "videosiah_eval",
    base={
        "non_think": "longvt/longvt_non_think.yaml",
        "reasoning": "longvt/longvt_reasoning.yaml",
        "tool": "longvt/longvt_tool.yaml",
    },
    read=read,
    has_windows=True,
)
