"""Rows for GRPO, conversations for SFT, and the stock `trl sft` on what we write."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageChops

from longvt_plugins.chat_templates import render_tools_into_system
from longvt_plugins.conversation import system_message
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import Rollout
from longvt_plugins.testing import plugin_manager, read_stamp
from trl_ext.dataset import load_training_rows, messages_to_sft, read_sft, rollouts_to_sft, write_sft
from trl_ext.environment import EnvironmentConfig, make_environment

SCHEMA = plugin_manager().tools.get("crop_video").schema


def picture(colour: str) -> dict:
    return {"type": "image", "image": Image.new("RGB", (28, 28), colour), "time": 1.0, "video": "video_1.mp4"}


def conversation(colour: str = "red") -> list[dict]:
    arguments = {"video_path": "video_1.mp4", "start_time": 1, "end_time": 2}
    call = {"id": "call_1", "type": "function", "function": {"name": "crop_video", "arguments": arguments}}
    return [
        {"role": "system", "content": "Answer."},
        {"role": "user", "content": [{"type": "text", "text": "0s"}, picture("gray"), {"type": "text", "text": "é?"}]},
        {"role": "assistant", "content": "<think>Look.</think>", "tool_calls": [call]},
        {"role": "tool", "name": "crop_video", "tool_call_id": "call_1", "content": [picture(colour), picture("gray")]},
        {"role": "assistant", "content": f"<think>Seen.</think><answer>{colour}</answer>"},
    ]


def examples(colours=("red", "blue")) -> list[dict]:
    return [
        {"id": f"trace-{colour}", "source": "test", "messages": messages_to_sft(conversation(colour), [SCHEMA])}
        for colour in colours
    ]


def test_training_rows_carry_the_prompt_and_every_column_of_a_row(rows_file):
    dataset = load_training_rows(rows_file)
    assert len(dataset) == 4
    assert dataset[1]["prompt"] == [system_message("tool"), {"role": "user", "content": ""}]
    assert json.loads(dataset[1]["videos"]) == {"video_1.mp4": str(rows_file.parent / "stamped.mp4")}
    assert (dataset[1]["answer"], dataset[1]["video_segment"], dataset[1]["options"]) == ("2", [1.0, 5.0], None)


def test_videos_that_are_not_there_are_told_before_the_training(tmp_path, row):
    gone = {**row, "videos": {"video_1.mp4": "gone.mp4"}}
    (tmp_path / "rows.jsonl").write_text(json.dumps(gone) + "\n")
    with pytest.raises(ConfigError, match=r"videos that are not there: .*gone.mp4"):
        load_training_rows(tmp_path / "rows.jsonl")
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(ConfigError, match="holds no rows"):
        load_training_rows(tmp_path / "none.jsonl")


def test_tools_are_described_in_the_system_message_as_the_template_would():
    system, *rest = messages_to_sft(conversation(), [SCHEMA])
    assert system["content"] == render_tools_into_system("Answer.", [SCHEMA])
    assert rest == conversation()[1:]
    with pytest.raises(ConfigError, match="must start with a system message"):
        messages_to_sft(conversation()[1:], [SCHEMA])


def test_what_is_written_is_read_back_and_each_picture_is_stored_once(tmp_path):
    path = tmp_path / "sft.parquet"
    assert write_sft(path, examples(), lossless=True) == 2
    stored = sorted((tmp_path / "sft_images").iterdir())
    assert [file.suffix for file in stored] == [".png"] * 3  # gray, red, blue: not one for each of the six blocks
    first = read_sft(path)[0]
    assert (first["id"], first["source"]) == ("trace-red", "test")
    expected = messages_to_sft(conversation(), [SCHEMA])
    assert [message["role"] for message in first["messages"]] == [message["role"] for message in expected]
    assert first["messages"][2] == expected[2]
    shown = first["messages"][3]["content"][0]
    assert Image.open(shown["image"]).getpixel((5, 5)) == (255, 0, 0)
    assert shown["time"] == 1.0
    assert json.loads(json.dumps(first)) == first


def test_the_messages_given_are_left_as_they_were(tmp_path):
    given = examples()
    write_sft(tmp_path / "sft.parquet", given)
    assert isinstance(given[0]["messages"][1]["content"][1]["image"], Image.Image)


def test_data_that_was_moved_finds_its_pictures_beside_it(tmp_path):
    (tmp_path / "here").mkdir()
    write_sft(tmp_path / "here" / "sft.parquet", examples())
    (tmp_path / "here").rename(tmp_path / "there")
    moved = read_sft(tmp_path / "there" / "sft.parquet")
    assert Path(moved[0]["messages"][1]["content"][1]["image"]).parent == tmp_path / "there" / "sft_images"
    write_sft(tmp_path / "again.parquet", moved)
    assert read_sft(tmp_path / "again.parquet") == moved


def test_a_failed_write_leaves_no_file(tmp_path):
    def broken():
        yield examples()[0]
        raise RuntimeError("the disk is on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        write_sft(tmp_path / "sft.parquet", broken())
    assert list(tmp_path.glob("*.parquet")) == list(tmp_path.glob(".*parquet*")) == []


def test_an_image_that_is_none_is_refused_by_name(tmp_path):
    reference = {"video": "video_1.mp4", "time": 1.0, "width": 28, "height": 28}
    messages = [{"role": "user", "content": [{"type": "image", "image": reference}]}]
    with pytest.raises(ConfigError, match="trace-1: an image must be a PIL image or the path of a file"):
        write_sft(tmp_path / "sft.parquet", [{"id": "trace-1", "source": "", "messages": messages}])
    with pytest.raises(ConfigError, match=r"written as \.parquet"):
        write_sft(tmp_path / "sft.csv", [])


def test_a_rollouts_frames_are_read_again_exactly_as_they_were_shown(row, columns):
    config = EnvironmentConfig(overview_max_frames=3, overview_max_pixels=28 * 28, crop_max_pixels=56 * 56)
    environment = make_environment(config, plugin_manager())()
    arguments = {"video_path": "video_1.mp4", "start_time": 8, "end_time": 11}
    call = {"type": "function", "function": {"name": "crop_video", "arguments": arguments}}
    messages = [
        {"role": "system", "content": "Answer."},
        {"role": "user", "content": environment.reset(**columns)},
        {"role": "assistant", "content": "<think>a</think>", "tool_calls": [call]},
        {"role": "tool", "name": "crop_video", "content": environment.crop_video(**arguments)},
        {"role": "assistant", "content": "<think>b</think><answer>red</answer>"},
    ]
    rollout = Rollout.from_messages(row, messages, run="test", stop_reason="answered")
    (example,) = rollouts_to_sft([rollout], [SCHEMA])
    before, after = (
        [block["image"] for message in (shown[1], shown[3]) for block in message["content"] if block["type"] == "image"]
        for shown in (messages, example["messages"])
    )
    assert [image.size for image in after] == [(28, 28)] * 3 + [(56, 56)] * 3
    assert all(ImageChops.difference(*pair).getbbox() is None for pair in zip(before, after, strict=True))
    assert [read_stamp(image) for image in after[3:]] == [32, 36, 40]
    assert example["messages"][0]["content"] == render_tools_into_system("Answer.", [SCHEMA])


def test_stock_trl_sft_trains_on_it(tmp_path, tiny_model):
    """The command of TRL itself, on multi-turn conversations with images in tool replies."""
    from longvt_plugins.chat_templates import chat_template_path

    write_sft(tmp_path / "sft.parquet", examples())
    recipe = {
        "model_name_or_path": str(tiny_model),
        "chat_template_path": str(chat_template_path("qwen2_5_vl")),
        "datasets": [{"path": "parquet", "data_files": str(tmp_path / "sft.parquet"), "split": "train"}],
        "output_dir": str(tmp_path / "out"),
        "assistant_only_loss": True,
        "max_length": None,
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "logging_steps": 1,
        "num_processes": 1,
    }
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(recipe))
    trl = Path(sys.executable).with_name("trl")
    done = subprocess.run(
        [trl, "sft", "--config", tmp_path / "sft.yaml"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    state = json.loads((tmp_path / "out" / "checkpoint-2" / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert len(losses) == 2 and all(loss > 0 for loss in losses)
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == chat_template_path("qwen2_5_vl").read_text()
