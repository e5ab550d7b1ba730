import dataclasses
import importlib.metadata
import json
import math
import platform
import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import (
    Rollout,
    read_rollouts,
    rollout_line,
    shard_path,
    to_references,
    versions,
    write_rollouts,
)

ROW = {
    "id": "q1",
    "videos": {"video_1.mp4": "videos/1.mp4"},
    "kind": "open",
    "question": "Welche Farbe? 何色",
    "answer": "red",
    "video_segment": [10.0, 20.0],
    "options": None,
    "source": "test",
}


def frame(time=10.0):
    return {"type": "image", "image": Image.new("RGB", (56, 28)), "time": time, "video": "video_1.mp4"}


def conversation(start=10, end=20, answer="red", thought="When?"):
    arguments = {"video_path": "video_1.mp4", "start_time": start, "end_time": end}
    call = {"id": "c1", "type": "function", "function": {"name": "crop_video", "arguments": arguments}}
    return [
        {"role": "user", "content": [{"type": "text", "text": "0s"}, frame(0.0), {"type": "text", "text": "Which?"}]},
        {"role": "assistant", "content": f"<think>{thought}</think>", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "name": "crop_video", "content": [frame(10.0), frame(11.0)]},
        {"role": "assistant", "content": f"<think>Seen.</think><answer>{answer}</answer>"},
    ]


def rollout(messages=None, *, index=0, score=1.0, row=ROW, **given):
    return Rollout.from_messages(
        row,
        conversation() if messages is None else messages,
        run="demo",
        step=12,
        index=index,
        rewards={"answer_reward": score, "time_iou_reward": None},
        tokens=80,
        seconds=1.5,
        model="tiny",
        **{"stop_reason": "answered", **given},
    )


def stored(made):
    return dataclasses.replace(made, messages=to_references(made.messages))


def test_a_rollout_is_made_from_its_conversation():
    made = rollout(index=3)
    assert (made.id, made.group, made.row_id) == ("demo/12/q1/3", "demo/12/q1", "q1")
    assert (made.answer, made.windows, made.reference, made.frames) == ("red", [[10.0, 20.0]], [10.0, 20.0], 3)


def test_rollouts_come_back_as_they_were_written(tmp_path):
    rollouts = [rollout(), rollout([], index=1, row={**ROW, "video_segment": None}, stop_reason="no_answer")]
    write_rollouts(rollouts, tmp_path / "deep" / "rollouts.parquet")
    assert read_rollouts(tmp_path / "deep" / "rollouts.parquet") == rollouts


def test_rollouts_written_line_by_line_are_read_and_of_one_id_the_last_line_counts(tmp_path):
    lines = [
        rollout_line(rollout(score=0.0)),
        rollout_line(rollout(index=1), effort={"turns": 2}),
        rollout_line(rollout()),
    ]
    (tmp_path / "rollouts-00000000.jsonl").write_text("\n".join([*lines, lines[0][:40]]))
    write_rollouts([rollout(index=2)], tmp_path / "rollouts-00000001.parquet")
    expected = [stored(rollout()), stored(rollout(index=1)), stored(rollout(index=2))]
    assert read_rollouts(tmp_path) == expected


@pytest.mark.parametrize(("line", "told"), [("{", "line 1 is not JSON"), ("[]", "line 1 is no rollout: it has no id,")])
def test_a_line_that_is_no_rollout_is_named(tmp_path, line, told):
    (tmp_path / "r.jsonl").write_text(f"{line}\n{rollout_line(rollout())}\n")
    with pytest.raises(ConfigError, match=re.escape(told)):
        read_rollouts(tmp_path / "r.jsonl")


def test_the_columns_on_disk_are_those_of_the_contract(tmp_path):
    write_rollouts([rollout()], tmp_path / "r.parquet")
    table = pq.read_table(tmp_path / "r.parquet")
    assert {name: str(table.schema.field(name).type) for name in table.column_names} == {
        "id": "string",
        "run": "string",
        "step": "int64",
        "row_id": "string",
        "group": "string",
        "row": "string",
        "messages": "string",
        "windows": "list<element: list<element: double>>",
        "reference": "list<element: double>",
        "answer": "string",
        "rewards": "string",
        "tokens": "int64",
        "frames": "int64",
        "seconds": "double",
        "stop_reason": "string",
        "model": "string",
        "versions": "string",
        "error": "string",
    }
    (record,) = table.to_pylist()
    assert json.loads(record["rewards"]) == {"answer_reward": 1.0, "time_iou_reward": None}
    assert json.loads(record["row"]) == ROW


def test_images_are_stored_as_references():
    messages = [{"role": "user", "content": [frame(2.5), {"type": "image", "image": Image.new("RGB", (4, 2))}]}]
    ((first, second),) = [message["content"] for message in to_references(messages)]
    assert first["image"] == {"video": "video_1.mp4", "time": 2.5, "width": 56, "height": 28}
    assert second["image"] == {"video": None, "time": None, "width": 4, "height": 2}
    assert isinstance(messages[0]["content"][0]["image"], Image.Image), "what was given stays as it was"
    stored = to_references(messages)
    assert to_references(stored) == stored


@pytest.mark.parametrize("image", ["frame.png", None, 7])
def test_another_thing_in_an_image_block_is_our_mistake(image):
    with pytest.raises(TypeError, match=f"a PIL image or a reference, not {type(image).__name__}"):
        to_references([{"role": "user", "content": [{"type": "image", "image": image}]}])


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("arguments", [{"start_time": math.nan}, {"x": object()}, nested(5000)])
def test_arguments_that_json_cannot_write_do_not_stop_the_run(tmp_path, arguments):
    entry = {"type": "function", "function": {"name": "crop_video", "arguments": arguments}}
    messages = [{"role": "assistant", "content": "<answer>half \ud800</answer>", "tool_calls": [entry]}]
    write_rollouts([rollout(messages)], tmp_path / "r.parquet")
    (back,) = read_rollouts(tmp_path / "r.parquet")
    assert back.messages[0]["content"] == "<answer>half \ud800</answer>"
    assert (back.answer, back.windows) == ("half ?", [])


def test_not_a_number_is_a_reward_that_did_not_apply():
    assert rollout(score=math.nan).rewards["answer_reward"] is None
    assert dataclasses.replace(rollout(), rewards={"x": math.nan}).rewards == {"x": None}


def test_shards_of_a_run_are_read_in_order_of_steps(tmp_path):
    for step in (2, 100, 11):
        write_rollouts([dataclasses.replace(rollout(), step=step)], shard_path(tmp_path, step))
    write_rollouts([dataclasses.replace(rollout(), step=11, id="other process")], shard_path(tmp_path, 11, rank=1))
    assert [(found.step, found.id[:5]) for found in read_rollouts(tmp_path)] == [
        (2, "demo/"),
        (11, "other"),
        (11, "demo/"),
        (100, "demo/"),
    ]


def test_a_step_that_is_done_again_replaces_its_shard(tmp_path):
    write_rollouts([rollout(), rollout(index=1)], shard_path(tmp_path, 1))
    write_rollouts([rollout(index=2)], shard_path(tmp_path, 1))
    assert [found.id for found in read_rollouts(tmp_path)] == ["demo/12/q1/2"]


def test_no_rollouts_are_rollouts_too(tmp_path):
    write_rollouts([], tmp_path / "r.parquet")
    assert read_rollouts(tmp_path / "r.parquet") == []


DIES_WRITING = """
import os, sys
import pyarrow.parquet as pq
from longvt_plugins.rollouts import read_rollouts, write_rollouts

def write_half(table, where):
    open(where, "wb").write(b"PAR1 half")
    os._exit(9)

rollouts = read_rollouts(sys.argv[1])
pq.write_table = write_half
write_rollouts(rollouts, sys.argv[1])
"""


def test_a_crash_while_writing_leaves_the_file_that_was_there(tmp_path):
    path = shard_path(tmp_path, 1)
    write_rollouts([rollout()], path)
    before = path.read_bytes()
    assert subprocess.run([sys.executable, "-c", DIES_WRITING, str(path)], check=False).returncode == 9
    assert len(list(tmp_path.iterdir())) == 2, "the half file lies beside it"
    assert path.read_bytes() == before
    assert read_rollouts(tmp_path) == [rollout()]


def test_a_failure_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(pa.ArrowInvalid):
        write_rollouts([dataclasses.replace(rollout(), tokens="many")], tmp_path / "r.parquet")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_or_no_rollouts_is_said_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"no rollouts at .*nowhere"):
        read_rollouts(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"no rollouts-\*.parquet in"):
        read_rollouts(tmp_path)
    with pytest.raises(ConfigError, match=r"written as \.parquet, not r\.jsonl"):
        write_rollouts([], tmp_path / "r.jsonl")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(ConfigError, match=r"text\.parquet is not a parquet file"):
        read_rollouts(tmp_path / "text.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "rows.parquet")
    with pytest.raises(ConfigError, match="does not hold rollouts: it has no column run, step"):
        read_rollouts(tmp_path / "rows.parquet")


def test_versions_are_of_what_is_installed():
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["longvt-plugins"] == importlib.metadata.version("longvt-plugins")
    found["python"] = "changed"
    assert versions()["python"] == platform.python_version()


def test_looking_up_versions_imports_nothing():
    code = (
        "import sys; from longvt_plugins.rollouts import versions as v; v(); print({'torch', 'trl'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
