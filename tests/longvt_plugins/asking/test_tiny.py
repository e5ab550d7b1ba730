"""The shipped agent finds the flash in a video that was made, offline."""

import re
from pathlib import Path

import pytest

from longvt_plugins.asking import Asker
from longvt_plugins.events import Wrote
from longvt_plugins.rows import read_rows
from longvt_plugins.synthetic.make import make_world
from longvt_plugins.synthetic.world import TINY


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    world = tmp_path_factory.mktemp("world")
    make_world(world, TINY, {"test": 3}, seed=3, families=("what",), processes=1)
    return read_rows(world / "test.parquet")


def test_tiny_looks_and_answers_and_is_heard_while_it_writes(rows):
    heard = []
    with Asker("tiny") as asker:
        answers = [asker.ask(row["videos"]["video_1.mp4"], row["question"], watch=heard.append) for row in rows]
        at_once = asker.ask(rows[0]["videos"]["video_1.mp4"], rows[0]["question"], form="non_think")
    assert sum(answer.text == row["answer"] for answer, row in zip(answers, rows, strict=True)) >= 2
    assert all(answer.windows for answer in answers)
    assert not at_once.windows
    assert answers[0].prompt_tokens > 100
    pieces = [event.text for event in heard if isinstance(event, Wrote)]
    assert len(pieces) > 3 * 10  # not a turn at a time


def test_the_documents_examples_run(rows, tmp_path, monkeypatch, capsys):
    text = (Path(__file__).resolve().parents[3] / "docs" / "ask.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("film.mp4").symlink_to(rows[0]["videos"]["video_1.mp4"])
    names = {}
    for example in examples:
        exec(compile(example, "docs/ask.md", "exec"), names)
    assert names["first"].windows == names["answer"].windows != ()
    assert names["second"].windows == ()
    assert "[crop_video took" in capsys.readouterr().out
