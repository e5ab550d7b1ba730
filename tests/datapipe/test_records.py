"""Outcomes, and the id of a video: the same wherever the collection lies, another for every file."""

import dataclasses

import pytest

from datapipe import Dropped, Failed, Kept, video_id
from datapipe.records import ID_CHUNK


def write(path, content: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_id_of_a_video_is_written_down_here_so_that_no_version_changes_it(tmp_path):
    path = write(tmp_path / "talk.mp4", b"0123456789")
    assert video_id(path, "lectures/talk.mp4") == "talk-7f88ce0e21fbe1c6"


def test_a_collection_that_is_moved_keeps_its_ids(tmp_path):
    old, new = write(tmp_path / "old/a/1.mp4", b"x"), write(tmp_path / "new/home/a/1.mp4", b"x")
    assert video_id(old, "a/1.mp4") == video_id(new, "a/1.mp4")


def test_one_file_name_in_two_folders_gives_two_ids_even_for_the_same_content(tmp_path):
    one, two = write(tmp_path / "a/1.mp4", b"x"), write(tmp_path / "b/1.mp4", b"x")
    assert video_id(one, "a/1.mp4") != video_id(two, "b/1.mp4")


@pytest.mark.parametrize("at", [0, ID_CHUNK - 1, 3 * ID_CHUNK - 1])
def test_content_at_both_ends_and_length_count(tmp_path, at):
    content = bytearray(3 * ID_CHUNK)
    before = video_id(write(tmp_path / "1.mp4", bytes(content)), "1.mp4")
    content[at] = 1
    assert video_id(write(tmp_path / "1.mp4", bytes(content)), "1.mp4") != before
    assert video_id(write(tmp_path / "1.mp4", bytes(3 * ID_CHUNK + 1)), "1.mp4") != before


def test_an_id_can_be_a_file_name_whatever_the_video_is_called(tmp_path):
    path = write(tmp_path / f"..a b'\"$(rm)é{'x' * 100}.mp4", b"x")
    name = video_id(path, path.name)
    assert name.replace("-", "").replace("_", "").isalnum()
    assert name.isascii()
    assert len(name) <= 57


def test_outcomes_are_values():
    assert Kept(1) == Kept(1)
    assert Dropped("short") != Failed("short")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Kept(1).record = 2
