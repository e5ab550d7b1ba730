"""LongVT's questions for RL as rows, and as the data set that GRPO trains on."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longvt_plugins.errors import ConfigError
from trl_ext.dataset import load_training_rows
from trl_ext.dataset.media import MediaFolder
from trl_ext.dataset.questions import iterate_questions, read_questions

from .conftest import QUESTION, verl_row


def test_a_verl_row_becomes_a_row(tmp_path, media):
    path = tmp_path / "longvt_rl_selfqa_1k6.parquet"
    pq.write_table(pa.Table.from_pylist([verl_row(0), verl_row(1)]), path)
    first, second = read_questions(path, MediaFolder(media))
    assert first == {
        "id": "longvt_rl_selfqa_1k6-0",
        "videos": {"video_1.mp4": str(media / "tvg" / "lamp.mp4")},
        "kind": "open",
        "question": QUESTION,
        "answer": "red",
        "video_segment": [8.0, 12.0],
        "options": None,
        "source": "selfqa",
    }
    assert second["id"] == "longvt_rl_selfqa_1k6-1"


def test_an_interval_as_answer_is_a_grounding_row_and_the_prompt_may_hold_the_question(tmp_path, media):
    row = verl_row(reward_model={"ground_truth": [8.0, 12.5]}, extra_info=json.dumps({"index": 3}))
    (tmp_path / "time.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    first, second = read_questions(tmp_path / "time.jsonl", MediaFolder(media))
    assert (first["kind"], first["answer"], first["video_segment"]) == ("grounding", "[8.0, 12.5]", [8.0, 12.5])
    assert (first["question"], first["source"]) == (QUESTION, "selfqa")
    assert (first["id"], second["id"]) == ("time-3", "time-3-row2")  # An index that is given twice.


def test_a_row_with_an_id_and_options_keeps_them(tmp_path, media):
    extra = {**verl_row()["extra_info"], "id": "clip-7", "options": ["red", "blue"]}
    (tmp_path / "rl.jsonl").write_text(json.dumps(verl_row(extra_info=extra)) + "\n")
    (row,) = read_questions(tmp_path / "rl.jsonl", MediaFolder(media))
    assert (row["id"], row["kind"], row["options"]) == ("clip-7", "choice", ["red", "blue"])


def test_what_datapipe_exports_in_longvts_shape_is_read(tmp_path, media):
    from datapipe.export.published import verl_rows
    from datapipe.records import QAPair

    video = str(media / "tvg" / "lamp.mp4")
    pair = QAPair(id="clip-1", video="v", path=video, duration=20, start=8, end=12, question=QUESTION, answer="red")
    pq.write_table(pa.Table.from_pylist(list(verl_rows([pair]))), tmp_path / "longvt_rl_datapipe_1.parquet")
    (row,) = read_questions(tmp_path / "longvt_rl_datapipe_1.parquet")
    assert (row["id"], row["question"], row["answer"], row["video_segment"]) == ("clip-1", QUESTION, "red", [8.0, 12.0])
    assert row["videos"] == {"video_1.mp4": video}


def test_grpo_trains_on_published_questions_whose_videos_lie_beside_them(media):
    path = media / "longvt_rl_selfqa_1k6.parquet"
    pq.write_table(pa.Table.from_pylist([verl_row(0)]), path)
    (row,) = load_training_rows(path)
    assert json.loads(row["videos"]) == {"video_1.mp4": str(media / "tvg" / "lamp.mp4")}
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]


def test_missing_videos_come_with_the_line_that_gets_them(tmp_path):
    path = tmp_path / "longvt_rl_val_114.parquet"
    pq.write_table(pa.Table.from_pylist([verl_row(0)]), path)
    line = rf"hf download longvideotool/LongVT-Source .* --include 'rl_val_\*\.zip' --local-dir {tmp_path}"
    with pytest.raises(ConfigError, match=rf"row 1: no file lamp\.mp4 below .*; published in archives: {line}"):
        read_questions(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"videos": []}, "videos must name at least one file"),
        ({"reward_model": {"ground_truth": None}}, "no answer"),
        ({"extra_info": {"question": QUESTION, "video_segment": [9, 1]}}, "0 <= start < end"),
        ({"extra_info": {}, "prompt": []}, "no question"),
        ({"extra_info": "{"}, "extra_info is not JSON"),
    ],
)
def test_a_faulty_row_is_told_and_the_others_are_read(tmp_path, media, changes, told):
    (tmp_path / "rl.jsonl").write_text(json.dumps(verl_row(**changes)) + "\n" + json.dumps(verl_row()) + "\n")
    fault, row = iterate_questions(tmp_path / "rl.jsonl", MediaFolder(media))
    assert (fault.kind, fault.where) == ("schema", f"{tmp_path / 'rl.jsonl'}, line 1")
    assert told in fault.what
    assert row["question"] == QUESTION
