"""Questions about small films that are made here, as rows that ``LONGVT_DATA`` names.

>>> make_rows(folder, questions=320, films=8, seconds=64)       # folder/test.parquet, folder/film-0.mp4, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from longvt_plugins.rows import Row, write_rows
from longvt_plugins.testing import write_stamped_video

SIZE = (320, 180)
GRAIN = 12
"""Noise of the pictures, so that they cost what filmed ones cost to encode."""


def make_rows(folder: Path, *, questions: int, films: int, seconds: int, ids: Sequence[str] = ()) -> Path:
    """Makes the films and the rows; the answer is always red, in the seconds 8 to 12.

    Args:
        folder: Is made.
        questions: How many.
        films: How many different ones they are about.
        seconds: How long a film is.
        ids: Of the questions; by default their numbers.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"film-{number}.mp4" for number in range(films)]
    for file in files:
        if not file.exists():
            write_stamped_video(file, seconds=seconds, fps=4, size=SIZE, grain=GRAIN)
    rows: list[Row] = [
        {
            "id": ids[number] if ids else f"q{number}",
            "videos": {"video_1.mp4": str(files[number % films])},
            "kind": "open",
            "question": f"Question {number}: which colour?",
            "answer": "red",
            "video_segment": [8.0, 12.0],
            "options": None,
            "source": "made",
        }
        for number in range(questions)
    ]
    write_rows(rows, folder / "test.parquet")
    return folder
