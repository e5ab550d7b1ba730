"""LongVT's conversations, ours and rollouts, read into one shape; what cannot be mapped is told."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from longvt_plugins.conversation import system_message
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import Rollout, write_rollouts
from trl_ext.dataset import write_sft
from trl_ext.dataset.conversations import Conversation, read_conversations
from trl_ext.dataset.faults import DataFault
from trl_ext.dataset.media import MediaFolder, MediaNotFoundError

from .conftest import QUESTION, call, text, thought, trace, write_published

WINDOW = {"video_path": "video_1.mp4", "start_time": 1, "end_time": 2}


def read(path: Path, media: Path, **options) -> list[Conversation | DataFault]:
    return list(read_conversations(path, MediaFolder(media), **options))


def jsonl(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_published_trace_becomes_a_question_calls_and_replies(tmp_path, media):
    (found,) = read(write_published(tmp_path / "longvt_sft_tvg_6k3.parquet", [trace()]), media)
    assert (found.id, found.source, found.question, found.tools) == ("made_0", "tvg", QUESTION, True)
    assert found.videos == {"video_1.mp4": str(media / "tvg" / "lamp.mp4")}
    assert [message["role"] for message in found.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assistant = found.messages[2]
    assert assistant["content"] == "<think>Something near 8 s of video_1.mp4.</think>"
    (entry,) = assistant["tool_calls"]
    assert entry["function"] == {
        "name": "crop_video",
        "arguments": {"video_path": "video_1.mp4", "start_time": 8, "end_time": 11},
    }
    assert found.messages[3]["tool_call_id"] == entry["id"]
    assert Conversation.from_json(found.to_json()) == found


def test_as_recorded_prompts_and_replies_stay_and_frames_stand_in_the_order_of_their_numbers(tmp_path, media):
    path = write_published(tmp_path / "own.parquet", [trace()])
    (found,) = read(path, media, replay=False)
    assert (found.question, found.source) == (None, "own")
    assert found.messages[0]["content"].startswith("You are a helpful assistant.\n<tools>")
    overview, question = found.messages[1]["content"]
    assert overview == {"type": "video", "video": "video_1.mp4"}
    assert question["text"].startswith(f"{QUESTION} Think first") and question["text"].endswith("is: video_1.mp4")
    shown = [Path(block["image"]).name for block in found.messages[3]["content"] if block["type"] == "image"]
    assert shown == ["lamp_8_11_0.jpg", "lamp_8_11_2.jpg", "lamp_8_11_10.jpg"]
    assert found.messages[3]["content"][-1] == text("The tool executed successfully.")


def test_a_conversation_about_a_picture_keeps_it_and_loses_the_placeholder(tmp_path, media):
    (found,) = read(write_published(tmp_path / "cot.parquet", [thought()]), media)
    assert (found.question, found.videos, found.tools) == (None, {}, False)
    assert found.messages[0]["content"] == [
        {"type": "image", "image": str(media / "tvg" / "lamp_8_11_0.jpg")},
        text("How many?"),
    ]


def test_openai_calls_and_tool_messages_are_read_too(tmp_path, media):
    arguments = {"video_path": "lamp.mp4", "start_time": 8, "end_time": 11}
    messages = [
        {"role": "user", "content": f"<video>{QUESTION}"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "function": {"name": "crop_video", "arguments": json.dumps(arguments)}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "done"},
        {"role": "assistant", "content": "<answer>red</answer>"},
    ]
    (found,) = read(jsonl(tmp_path / "own.jsonl", {"messages": messages, "videos": ["lamp.mp4"]}), media)
    assert found.id == "own-1"
    assert found.messages[1]["tool_calls"][0]["function"]["arguments"]["video_path"] == "video_1.mp4"
    assert (found.question, found.tools) == (QUESTION, True)


def changed(messages: list[dict], number: int, **fields) -> list[dict]:
    return [*messages[:number], {**messages[number], **fields}, *messages[number + 1 :]]


@pytest.mark.parametrize(
    ("messages", "kind", "told"),
    [
        ("no", "schema", "messages is not JSON"),
        ([], "schema", "must be a list of messages"),
        (changed(trace(), 0, role="bot"), "schema", "must be from system, user, assistant, tool, not 'bot'"),
        (trace()[:4], "schema", "last message is not the assistant's"),
        (trace()[:3], "tool call", "no tool replies to the call of crop_video"),
        ([*trace()[:2], *trace()[3:]], "tool call", "a tool replies to no call"),
        (changed(trace(), 2, content="<tool_call>{x</tool_call>"), "tool call", "a call that is not JSON"),
        (changed(trace(), 2, content=call(1, 2, "else.mp4")), "tool call", "the video 'else.mp4', which is not shown"),
        (changed(trace(), 4, content="<|im_end|> done"), "special tokens", "text holds <|im_end|>"),
        (changed(trace(), 4, content=""), "schema", "an assistant's message is empty"),
        (changed(trace(), 1, content=[{"type": "audio"}]), "schema", "block of type 'audio'"),
        (changed(trace(), 1, content=[{"type": "video", "video": "gone.mp4"}]), "missing video", "no file gone"),
        (changed(thought(), 0, content=[{"type": "image", "image": "data:x"}]), "schema", "a picture inside the row"),
        (changed(thought(), 0, content=[{"type": "image", "image": "http://x/a"}]), "missing image", "no file's path"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_is_named_by_kind_and_row(tmp_path, media, messages, kind, told):
    path = jsonl(tmp_path / "own.jsonl", {"messages": trace()}, {"messages": messages})
    good, fault = read(path, media)
    assert isinstance(good, Conversation)
    assert (fault.kind, fault.where) == (kind, f"{path}, line 2")
    assert told in fault.what


def test_a_line_that_is_no_json_does_not_end_the_reading(tmp_path, media):
    path = jsonl(tmp_path / "own.jsonl", {"messages": trace()})
    path.write_text(path.read_text() + "{oops\n[1]\n" + path.read_text())
    assert [getattr(item, "kind", "fine") for item in read(path, media)] == ["fine", "schema", "schema", "fine"]


def test_files_of_other_things_are_refused_with_what_they_hold(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be mapped: no column messages among a, b"):
        read(jsonl(tmp_path / "own.jsonl", {"a": 1, "b": 2}), tmp_path)
    with pytest.raises(ConfigError, match="holds questions for RL, not conversations"):
        read(jsonl(tmp_path / "rl.jsonl", {"question": "?", "videos": {}}), tmp_path)
    with pytest.raises(ConfigError, match=r"read from \.parquet or \.jsonl, not data\.csv"):
        read(tmp_path / "data.csv", tmp_path)
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(ConfigError, match="not a parquet file that can be read"):
        read(tmp_path / "bad.parquet", tmp_path)


def test_a_published_file_that_is_not_there_is_named_with_the_line_that_gets_it(tmp_path):
    name = "longvt_sft_tvg_6k3.parquet"
    line = f"hf download longvideotool/LongVT-Parquet {name} --repo-type dataset --local-dir {tmp_path}"
    with pytest.raises(ConfigError, match=line):
        read(tmp_path / name, tmp_path)
    with pytest.raises(ConfigError, match=r"no file .*own\.parquet$"):
        read(tmp_path / "own.parquet", tmp_path)


def test_what_was_written_here_is_taken_as_it_is(tmp_path):
    image = {"type": "image", "image": Image.new("RGB", (28, 28), "red"), "time": 1.0, "video": "video_1.mp4"}
    entry = {"id": "call_1", "type": "function", "function": {"name": "crop_video", "arguments": WINDOW}}
    messages = [
        {"role": "system", "content": "Answer."},
        {"role": "user", "content": [text("0s"), image]},
        {"role": "assistant", "content": "<think>a</think>", "tool_calls": [entry]},
        {"role": "tool", "name": "crop_video", "tool_call_id": "call_1", "content": [image]},
        {"role": "assistant", "content": "<answer>red</answer>"},
    ]
    write_sft(tmp_path / "sft.parquet", [{"id": "a", "source": "traces", "messages": messages}])
    assert "messages" in pq.read_schema(tmp_path / "sft.parquet").names
    (found,) = read(tmp_path / "sft.parquet", tmp_path)
    assert (found.id, found.source, found.question, found.tools) == ("a", "traces", None, False)
    assert found.messages[2] == messages[2]
    block = found.messages[3]["content"][0]
    assert (Path(block["image"]).parent.name, block["time"], block["video"]) == ("sft_images", 1.0, "video_1.mp4")


def test_rollouts_are_read_with_their_references(tmp_path, row):
    reference = {"video": "video_1.mp4", "time": 4.0, "width": 28, "height": 28}
    messages = [
        {"role": "system", "content": "Answer."},
        {"role": "user", "content": [{"type": "image", "image": reference}]},
        {"role": "assistant", "content": "<answer>red</answer>"},
    ]
    write_rollouts(
        [Rollout.from_messages(row, messages, run="r", stop_reason="answered")], tmp_path / "rollouts-1.parquet"
    )
    (found,) = read(tmp_path / "rollouts-1.parquet", tmp_path)
    assert (found.source, found.videos, found.tools) == ("test", row["videos"], True)
    assert found.messages == messages


def test_a_rollout_that_was_not_told_of_tools_is_not_told_of_them_in_training(tmp_path, row):
    asked = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "<answer>red</answer>"}]
    called = {**asked[1], "tool_calls": [{"id": "a", "type": "function", "function": {"name": "t", "arguments": {}}}]}
    openings = [system_message("reasoning"), system_message("non_think"), system_message("tool"), None]
    given = [[*([opening] if opening else []), *asked] for opening in openings] + [[asked[0], called, asked[1]]]
    rollouts = [Rollout.from_messages(row, messages, run="r", stop_reason="answered") for messages in given]
    write_rollouts(rollouts, tmp_path / "rollouts-1.parquet")
    *found, fault = read(tmp_path / "rollouts-1.parquet", tmp_path)
    assert [conversation.tools for conversation in found] == [False, False, True, False]
    assert fault.what == "no system message to describe its tools in"


def test_frames_that_are_not_numbered_stay_in_their_order(tmp_path):
    names = ["f.jpg", "a.jpg", "c.jpg"]
    for number, name in enumerate(names):
        Image.new("RGB", (28, 28), (number, 0, 0)).save(tmp_path / name)
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": call(1, 2)},
        {"role": "tool", "content": [{"type": "image", "image": name} for name in names]},
        {"role": "assistant", "content": "<answer>red</answer>"},
    ]
    (tmp_path / "lamp.mp4").write_bytes(b"")
    (found,) = read(jsonl(tmp_path / "own.jsonl", {"messages": messages}), tmp_path, replay=False)
    assert [Path(block["image"]).name for block in found.messages[2]["content"]] == names


def test_a_name_inside_a_longer_one_is_not_renamed(tmp_path, media):
    thoughts = "<think>Not 1lamp.mp4, nor lamp.mp4x: see /a/b/lamp.mp4, or lamp.mp4.</think>"
    (found,) = read(jsonl(tmp_path / "own.jsonl", {"messages": changed(trace(), 4, content=thoughts)}), media)
    renamed = "<think>Not 1lamp.mp4, nor lamp.mp4x: see video_1.mp4, or video_1.mp4.</think>"
    assert found.messages[4]["content"] == renamed


def test_a_rollout_that_did_not_answer_is_a_fault(tmp_path, row):
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "<think>a"}]
    write_rollouts(
        [Rollout.from_messages(row, messages, run="r", stop_reason="length")], tmp_path / "rollouts-1.parquet"
    )
    (fault,) = read(tmp_path / "rollouts-1.parquet", tmp_path)
    assert fault.what == "the rollout did not answer: length"


def test_media_are_found_by_path_below_the_folder_or_by_name(tmp_path):
    for name in ("a/one.mp4", "a/two.mp4", "b/two.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    media = MediaFolder(tmp_path)
    assert media.find(f"file://{tmp_path}/a/one.mp4") == str(tmp_path / "a/one.mp4")
    assert media.find("/mnt/them/one.mp4") == str(tmp_path / "a/one.mp4")
    assert media.find("/mnt/b/two.mp4") == str(tmp_path / "b/two.mp4")
    assert media.find("../../a/one.mp4") == str(tmp_path / "a/one.mp4")
    with pytest.raises(MediaNotFoundError, match=r"2 files named two\.mp4"):
        media.find("/mnt/them/two.mp4")
    with pytest.raises(MediaNotFoundError, match=r"no file three\.mp4 below"):
        media.find("three.mp4")


def test_a_folder_with_too_many_files_is_refused_once_and_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr("trl_ext.dataset.media.MOST_FILES", 0)
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"more than 0 files below .*: name a folder further down"):
        MediaFolder(tmp_path).find("b.mp4")
