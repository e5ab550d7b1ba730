"""Rows over real videos whose frames say which they are, and a tiny model; made once a run."""

import json
from pathlib import Path

import pytest

from longvt_plugins.rows import Row, write_rows
from longvt_plugins.testing import write_stamped_video

pytest.importorskip("trl")


@pytest.fixture(scope="session")
def video(tmp_path_factory) -> Path:
    """20 seconds at 4 frames a second: frame 4 s shows the number 16."""
    path = tmp_path_factory.mktemp("videos") / "stamped.mp4"
    write_stamped_video(path, seconds=20, fps=4, size=(56, 56))
    return path


@pytest.fixture
def row(video) -> Row:
    return {
        "id": "row-1",
        "videos": {"video_1.mp4": str(video)},
        "kind": "open",
        "question": "Which colour does the lamp flash?",
        "answer": "red",
        "video_segment": [8.0, 12.0],
        "options": None,
        "source": "test",
    }


@pytest.fixture
def columns(row) -> dict:
    """The row as TRL hands it to reset: a dataset's columns, videos as JSON text, the prompt beside them."""
    return {**row, "videos": json.dumps(row["videos"]), "prompt": [{"role": "user", "content": ""}]}


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory, video) -> Path:
    """Four rows over one video, beside which the file lies."""
    path = video.parent / "rows.parquet"
    rows: list[Row] = [
        {
            "id": f"row-{number}",
            "videos": {"video_1.mp4": str(video)},
            "kind": "open",
            "question": f"What comes after {number}?",
            "answer": str(number + 1),
            "video_segment": [float(number), number + 4.0],
            "options": None,
            "source": "test",
        }
        for number in range(4)
    ]
    write_rows(rows, path)
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A Qwen2.5-VL with random weights."""
    from longvt_plugins.synthetic.tiny import build_tiny_model

    folder = tmp_path_factory.mktemp("tiny") / "qwen2_5_vl"
    build_tiny_model("qwen2_5_vl", folder, seed=0)
    return folder
