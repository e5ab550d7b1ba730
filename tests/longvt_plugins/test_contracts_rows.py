"""Golden shapes of rows, messages, judges, tools and pipeline outcomes, as ``docs/contracts.md`` promises them.

A failing test here means that something other packages rely on was renamed or retyped: extend instead.
"""

import dataclasses
import inspect
import re
import typing
from pathlib import Path

import datapipe
from longvt_plugins import ToolContext, create_plugin_manager, types
from longvt_plugins.judges import Judge, JudgeConfig, JudgeHealth, Judgement
from longvt_plugins.rows import COLUMNS, Row, RowKind
from longvt_plugins.tools import Tool
from longvt_plugins.tools.crop_video import crop_video

CONTRACTS = (Path(__file__).resolve().parents[2] / "docs" / "contracts.md").read_text()


def section(title: str) -> str:
    (text,) = re.findall(rf"^## {re.escape(title)}[^\n]*\n(.*?)(?=^## |\Z)", CONTRACTS, re.MULTILINE | re.DOTALL)
    return text


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def fields(cls: type) -> dict[str, object]:
    return {field.name: field.default for field in dataclasses.fields(cls)}


def test_row():
    assert COLUMNS == ("id", "videos", "kind", "question", "answer", "video_segment", "options", "source")
    assert typing.get_args(RowKind) == ("open", "choice", "grounding")
    assert typing.get_type_hints(Row) == {
        "id": str,
        "videos": dict[str, str],
        "kind": RowKind,
        "question": str,
        "answer": str,
        "video_segment": list[float] | None,
        "options": list[str] | None,
        "source": str,
    }
    assert set(COLUMNS) <= quoted(section("Row"))


def test_message():
    hints = typing.get_type_hints(types.Message, include_extras=True)
    optional = {name for name, hint in hints.items() if typing.get_origin(hint) is typing.NotRequired}
    assert (set(hints) - optional, optional) == ({"role", "content"}, {"tool_calls", "tool_call_id", "name"})
    assert set(types.FunctionCall.__annotations__) == {"id", "type", "function"}
    assert set(types.FunctionSpec.__annotations__) == {"name", "arguments"}
    assert set(types.TextBlock.__annotations__) == {"type", "text"}
    assert set(types.ImageBlock.__annotations__) == {"type", "image", "time", "video", "region"}
    assert set(types.FrameReference.__annotations__) == {"video", "time", "width", "height", "region"}
    assert types.ToolCall("call_1", "crop_video", {"start_time": 1}).to_message_entry() == {
        "id": "call_1",
        "type": "function",
        "function": {"name": "crop_video", "arguments": {"start_time": 1}},
    }
    assert {"role", "content", "tool_calls", "tool_call_id", "name"} <= quoted(section("Message"))


def test_the_text_of_a_message_leaves_images_out():
    blocks = [{"type": "text", "text": "0s"}, {"type": "image", "image": None}, {"type": "text", "text": " What?"}]
    assert types.text_of({"role": "user", "content": blocks}) == "0s What?"
    assert types.text_of({"role": "user", "content": "What?"}) == "What?"
    assert types.text_of({"role": "assistant", "content": None}) == ""


def test_what_a_model_is_told_of_crop_video():
    assert Tool.from_function(crop_video).schema == {
        "type": "function",
        "function": {
            "name": "crop_video",
            "description": ("Look closer at a part of the video: returns frames sampled densely between two times."),
            "parameters": {
                "type": "object",
                "properties": {
                    "video_path": {"type": "string", "description": "Name of the video, as given in the question."},
                    "start_time": {
                        "type": "number",
                        "description": "Where the part starts, in seconds from the start of the video.",
                    },
                    "end_time": {
                        "type": "number",
                        "description": "Where the part ends, in seconds from the start of the video.",
                    },
                },
                "required": ["video_path", "start_time", "end_time"],
            },
        },
    }


def test_tool_context():
    parameters = inspect.signature(ToolContext).parameters
    assert list(parameters) == ["videos", "budget", "crop", "library", "progress"]
    assert [name for name, value in parameters.items() if value.kind is not inspect.Parameter.KEYWORD_ONLY] == [
        "videos"
    ]
    with ToolContext({"video_1.mp4": "a.mp4"}) as ctx:
        assert ctx.videos == {"video_1.mp4": Path("a.mp4")}
        assert (ctx.budget.max_frames, ctx.budget.max_calls, ctx.crop.max_frames) == (None, None, 128)
    for method in ("open", "text", "image", "frames", "close"):
        assert callable(getattr(ToolContext, method))
    assert {"videos", "budget", "crop", "open(name)", "text(...)", "image(...)", "frames(...)"} <= quoted(
        section("Tool and context")
    )


def test_tool():
    assert list(fields(Tool)) == [
        *("name", "function", "description", "schema", "returns", "arguments_model", "options", "option_help")
    ]


def test_judge():
    assert list(fields(Judgement)) == [
        *("score", "verdict", "reason", "raw", "fingerprint", "cached", "seconds", "cost", "scores", "prompt_hash")
    ]
    assert typing.get_type_hints(Judgement)["score"] == float | None
    assert fields(JudgeConfig)["name"] == "exact"
    parameters = inspect.signature(Judge.__call__).parameters
    assert list(parameters) == ["self", "question", "reference", "prediction", "options", "kind"]
    assert inspect.iscoroutinefunction(Judge.__call__)
    assert set(fields(Judgement)) <= quoted(section("Judge"))
    assert set(vars(JudgeHealth())) - {"_lock"} <= quoted(section("Judge"))


async def _judge_once() -> Judgement:
    judge = create_plugin_manager(entry_points=False).judges.get("exact")(JudgeConfig())
    return await judge("Which colour?", "red", "Red.", options=None, kind="open")


def test_the_built_in_judge_keeps_the_contract():
    import asyncio

    judgement = asyncio.run(_judge_once())
    assert (judgement.score, judgement.verdict) == (1.0, "correct")
    assert judgement.fingerprint


def test_pipeline_outcome():
    assert list(fields(datapipe.Kept)) == ["record"]
    assert list(fields(datapipe.Dropped)) == ["reason", "record"]
    assert list(fields(datapipe.Failed)) == ["error", "record"]
    assert [field.name for field in dataclasses.fields(datapipe.VideoRecord)] == [
        *("id", "path", "duration", "width", "height", "size_bytes", "subtitles_path", "subtitles_digest", "provenance")
    ]
    assert {"Kept(record)", "Dropped(reason, record=None)", "Failed(error, record=None)", "VideoRecord"} <= quoted(
        section("Pipeline outcome")
    )
