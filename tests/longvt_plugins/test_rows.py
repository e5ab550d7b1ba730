"""Rows: one shape in memory and on disk, and one clear line for each faulty file."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import COLUMNS, parse_row, read_rows, row_span, write_rows
from longvt_plugins.types import TimeSpan

ROW = {
    "id": "tiny-1",
    "videos": {"video_1.mp4": "videos/1.mp4"},
    "kind": "choice",
    "question": "Which colour does the lamp flash?",
    "answer": "red",
    "video_segment": [48.6, 79.1],
    "options": ["red", "blue"],
    "source": "tests",
}
OPEN = ROW | {"id": "tiny-2", "kind": "open", "video_segment": None, "options": None, "answer": "rot – «é» 红"}


def lines(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_rows_come_back_as_they_were_written(tmp_path, suffix):
    path = tmp_path / "data" / f"rows{suffix}"
    write_rows([ROW, OPEN], path)
    rows = read_rows(path)
    file = str(tmp_path / "data" / "videos/1.mp4")
    assert rows == [ROW | {"videos": {"video_1.mp4": file}}, OPEN | {"videos": {"video_1.mp4": file}}]
    assert row_span(rows[0]) == TimeSpan(48.6, 79.1)
    assert row_span(rows[1]) is None


def test_a_folder_of_rows_and_videos_can_be_moved(tmp_path):
    old = tmp_path / "old"
    write_rows([ROW | {"videos": {"video_1.mp4": str(old / "videos" / "1.mp4")}}], old / "rows.jsonl")
    assert json.loads((old / "rows.jsonl").read_text())["videos"] == {"video_1.mp4": "videos/1.mp4"}
    old.rename(tmp_path / "new")
    (row,) = read_rows(tmp_path / "new" / "rows.jsonl")
    assert row["videos"] == {"video_1.mp4": str(tmp_path / "new" / "videos" / "1.mp4")}


def test_a_file_elsewhere_keeps_its_absolute_path(tmp_path):
    write_rows([ROW | {"videos": {"video_1.mp4": "/data/1.mp4"}}], tmp_path / "rows.parquet")
    assert read_rows(tmp_path / "rows.parquet")[0]["videos"] == {"video_1.mp4": "/data/1.mp4"}


def test_rows_with_different_video_names_stay_apart_in_parquet(tmp_path):
    """A struct column would fill each row with the other's names and nulls."""
    other = ROW | {"id": "b", "videos": {"video_1.mp4": "b1.mp4", "video_2.mp4": "b2.mp4"}}
    write_rows([ROW, other], tmp_path / "rows.parquet")
    assert [sorted(row["videos"]) for row in read_rows(tmp_path / "rows.parquet")] == [
        ["video_1.mp4"],
        ["video_1.mp4", "video_2.mp4"],
    ]


def test_videos_that_another_program_stored_as_a_struct_are_read_without_its_nulls(tmp_path):
    rows = [ROW | {"id": "a"}, ROW | {"id": "b", "videos": {"video_2.mp4": "2.mp4"}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert [list(row["videos"]) for row in read_rows(tmp_path / "rows.parquet")] == [["video_1.mp4"], ["video_2.mp4"]]


def test_no_rows_at_all_are_a_parquet_file_too(tmp_path):
    write_rows([], tmp_path / "rows.parquet")
    assert read_rows(tmp_path / "rows.parquet") == []
    assert pq.read_schema(tmp_path / "rows.parquet").names == list(COLUMNS)


def test_what_a_row_may_leave_out_is_filled_and_foreign_columns_are_left_out():
    row = parse_row({"id": 7, "videos": '{"v.mp4": "v.mp4"}', "question": "How many?", "answer": 3, "split": "train"})
    assert row == {
        "id": "7",
        "videos": {"v.mp4": "v.mp4"},
        "kind": "open",
        "question": "How many?",
        "answer": "3",
        "video_segment": None,
        "options": None,
        "source": "",
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"answer": None, "question": ""}, "no question, answer; a row has id, videos, kind"),
        ({"kind": "quiz"}, "kind must be one of open, choice, grounding, not 'quiz'"),
        ({"kind": ["open"]}, "kind must be one of"),
        ({"answer": {"text": "red"}}, "answer must be text, not {'text': 'red'}"),
        ({"answer": True}, "answer must be text, not True"),
        ({"options": "not json"}, "options is not JSON"),
        ({"options": ["red", 7]}, "options must be a list of texts or null"),
        ({"videos": {}}, "videos must map at least one name to a file"),
        ({"videos": ["a.mp4"]}, "videos must map at least one name to a file"),
        ({"videos": {"a": 3}}, "videos must map at least one name to a file"),
        ({"videos": "a.mp4"}, "videos is not JSON"),
        ({"video_segment": [5, 5]}, r"video_segment must satisfy 0 <= start < end, not \[5.0, 5.0\]"),
        ({"video_segment": [-1, 5]}, "video_segment must satisfy 0 <= start < end"),
        ({"video_segment": [0, float("nan")]}, "video_segment must satisfy 0 <= start < end"),
        ({"video_segment": [0, float("inf")]}, "video_segment must satisfy 0 <= start < end"),
        ({"video_segment": "12"}, r"video_segment must be \[start, end\] in seconds or null, not '12'"),
        ({"video_segment": ["1", "2"]}, "video_segment must be"),
        ({"video_segment": [1]}, "video_segment must be"),
        ({"video_segment": 3.5}, "video_segment must be"),
    ],
)
def test_a_faulty_row_is_refused_by_its_line_and_column(tmp_path, change, complaint):
    path = lines(tmp_path / "rows.jsonl", ROW, "", ROW | {"id": "faulty"} | change)
    with pytest.raises(ConfigError, match=rf"rows\.jsonl, line 3: {complaint}"):
        read_rows(path)


@pytest.mark.parametrize("line", ["[1, 2]", '"text"', "null", "3"])
def test_a_line_that_is_no_object_is_refused(tmp_path, line):
    with pytest.raises(ConfigError, match=r"line 1: a row is an object with id, videos, .*, not \w+"):
        read_rows(lines(tmp_path / "rows.jsonl", line))


def test_a_cut_line_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"rows\.jsonl, line 2: the line is not JSON"):
        read_rows(lines(tmp_path / "rows.jsonl", ROW, json.dumps(OPEN)[:40]))


def test_two_rows_of_one_id_are_refused_by_both_places(tmp_path):
    with pytest.raises(ConfigError, match=r"line 2: id 'tiny-1' is that of line 1 already"):
        read_rows(lines(tmp_path / "rows.jsonl", ROW, ROW))


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("rows.parquet", b"PAR1 and then nothing", "is not a parquet file that can be read"),
        ("rows.parquet", b"", "is not a parquet file that can be read"),
        ("rows.jsonl", b"\xff\xfe{}", "is not UTF-8 text"),
        ("rows.csv", b"id,question", "rows are read from .parquet or .jsonl, not rows.csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path, name, content, complaint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        read_rows(tmp_path / name)


def test_a_missing_file_and_an_unknown_format_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no rows file"):
        read_rows(tmp_path / "missing.jsonl")
    with pytest.raises(ConfigError, match=r"rows are written as \.parquet or \.jsonl, not rows\.csv"):
        write_rows([], tmp_path / "rows.csv")
