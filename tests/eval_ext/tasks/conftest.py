"""A local copy of every benchmark, in its published shape: two documents each, about one small video."""

import json
import shutil
from pathlib import Path

import pytest

from longvt_plugins.testing import write_stamped_video

SUBTITLES = """1
00:00:00,000 --> 00:00:04,000
<font color="white" size=".72c">Hello there</font>

2
00:00:08,000 --> 00:00:12,000
<font color="white" size=".72c">A lamp goes on</font>
"""

VIDEOMME_DOCS = [
    {
        "video_id": "001", "duration": "short", "domain": "Knowledge", "sub_category": "Humanity & History",
        "url": "https://www.youtube.com/watch?v=fFjv93ACGo8", "videoID": "fFjv93ACGo8", "question_id": f"001-{number}",
        "task_type": task_type, "question": "Which fruit is on the tree?",
        "options": ["A. Apples.", "B. Candles.", "C. Berries.", "D. Pears."], "answer": answer,
    }
    for number, (task_type, answer) in enumerate((("Counting Problem", "C"), ("OCR Problems", "A")), start=1)
]  # fmt: skip

LVBENCH_DOCS = [
    {
        "video_path": "Cm73ma6Ibcs.mp4", "uid": str(number), "answer": answer,
        "question": "What year appears first?\n(A) 1636\n(B) 1366\n(C) 1363\n(D) 1633",
        "question_type": ["key information retrieval", "event understanding"][: number + 1],
        "time_reference": reference,
    }
    for number, (answer, reference) in enumerate((("D", "00:08-00:12"), ("B", "")))
]  # fmt: skip

LONGVIDEOBENCH_DOCS = [
    {
        "id": f"86CxyhFV9MI_{number}", "video_id": "86CxyhFV9MI", "video_path": "86CxyhFV9MI.mp4",
        "subtitle_path": "86CxyhFV9MI_en.json", "question": "What follows the text?", "duration": 16.0,
        "option0": "a cat", "option1": "a dog", "option2": "a fox", "option3": fourth, "option4": "N/A",
        "correct_choice": right, "duration_group": 15 * 4**number, "question_category": "T2A",
        "starting_timestamp_for_subtitles": 0.0,
    }
    for number, (fourth, right) in enumerate((("a hen", 3), ("N/A", 0)))
]  # fmt: skip

CHARADES_DOCS = [
    {"video": "AO8RW.mp4", "caption": "a person is putting a book on a shelf", "timestamp": [8.0, 12.0]},
    {"video": "AO8RW.mp4", "caption": "a person opens a door", "timestamp": [4.0, 2.0]},
]

VIDEOSIAH_DOCS = [
    {"video_path": "videos/abc.mp4", "question": "What colour is the lamp?", "answer": "red"},
    {"video_path": "videos/abc.mp4", "question": "How many people pass?", "answer": "three"},
]

MMMU_DOCS = {
    "Adaptation": [
        {
            "id": "validation_Accounting_5", "question": "What is the cost?", "options": [], "answer": "700",
            "question_type": "open",
        },
        {
            "id": "validation_Accounting_5", "question": "Which entry is wrong?", "options": ["debit", "credit"],
            "answer": "B", "question_type": "multiple-choice",
        },
    ],
    **{
        track: [
            {
                "id": "validation_Accounting_5", "question": f"{track}: which statement holds?",
                "options": [f"statement {number}" for number in range(10)], "answer": "J",
                "question_type": "multiple-choice",
            }
        ]
        for track in ("Comprehension", "Perception")
    },
}  # fmt: skip


def write_parquet(docs, path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(docs), path)


@pytest.fixture(scope="session")
def copies(tmp_path_factory) -> Path:
    """A folder for ``LONGVT_DATA``, laid out as lmms-eval lays out ``HF_HOME``."""
    root = tmp_path_factory.mktemp("copies")
    film = root / "film.mp4"
    write_stamped_video(film, seconds=16, fps=2, size=(56, 56))
    for place in (
        "longvt_benchmark/videos/abc.mp4", "videomme/data/fFjv93ACGo8.mp4", "lvbench/Cm73ma6Ibcs.mp4",
        "video_mmmu/Business/validation_Accounting_5.mp4", "datasets/longvideobench/videos/86CxyhFV9MI.mp4",
        "charades_sta/Charades_v1_480/AO8RW.mp4",
    ):  # fmt: skip
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(film, root / place)
    (root / "videomme/subtitle").mkdir()
    (root / "videomme/subtitle/fFjv93ACGo8.srt").write_text(SUBTITLES)
    lines = "".join(json.dumps(doc) + "\n" for doc in VIDEOSIAH_DOCS)
    (root / "longvt_benchmark/test.jsonl").write_text(lines)
    write_parquet(VIDEOMME_DOCS, root / "videomme/videomme/test-00000-of-00001.parquet")
    write_parquet(LVBENCH_DOCS, root / "lvbench/data/train-00000-of-00001.parquet")
    write_parquet(LONGVIDEOBENCH_DOCS, root / "datasets/longvideobench/validation-00000-of-00001.parquet")
    # The other split has no answers and must not be read.
    write_parquet([{"id": "x"}], root / "datasets/longvideobench/test-00000-of-00001.parquet")
    write_parquet(CHARADES_DOCS, root / "charades_sta/data/test-00000-of-00001.parquet")
    for track, docs in MMMU_DOCS.items():
        write_parquet(docs, root / f"video_mmmu/{track}/test-00000-of-00001.parquet")
    return root


@pytest.fixture
def use_copies(copies, monkeypatch, tmp_path_factory) -> Path:
    """The local copies are what ``LONGVT_DATA`` names, and nothing else is there to be found."""
    monkeypatch.setenv("LONGVT_DATA", str(copies))
    # One home for all tests, so that a task of lmms-eval is loaded once.
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path_factory.getbasetemp() / "datasets"))
    return copies
