"""Files in the published shape, over a video whose frames say which they are."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

QUESTION = "Which colour does the lamp flash?"
SYSTEM = 'You are a helpful assistant.\n<tools>\n{"type": "function", "function": {"name": "crop_video"}}\n</tools>'
HINT = "Think first, call **crop_video** if needed, then answer. Format strictly as: <think>...</think>"


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def call(start: float, end: float, path: str = "/mnt/them/lamp.mp4") -> str:
    arguments = {"video_path": path, "start_time": start, "end_time": end}
    return f"<tool_call>{json.dumps({'name': 'crop_video', 'arguments': arguments})}</tool_call>"


def trace(start: float = 8, end: float = 11) -> list[dict]:
    """Five messages, the tool's reply as a user's, its frames in the order of their names as text."""
    frames = [{"type": "image_url", "image_url": {"url": f"lamp_8_11_{n}.jpg"}} for n in (0, 10, 2)]
    return [
        {"role": "system", "content": [text(SYSTEM)]},
        {
            "role": "user",
            "content": [
                {"type": "video_url", "video_url": {"url": "/mnt/them/lamp.mp4"}},
                text(f"{QUESTION} {HINT} The Video path for this video is: /mnt/them/lamp.mp4"),
            ],
        },
        {"role": "assistant", "content": [text(f"<think>Something near 8 s of lamp.mp4.</think>\n{call(start, end)}")]},
        {
            "role": "user",
            "content": [text("<tool_response>"), *frames, text("The tool executed successfully.</tool_response>")],
        },
        {"role": "assistant", "content": [text("<think>It is red.</think><answer>red</answer>")]},
    ]


def thought(answer: str = "4") -> list[dict]:
    """A question about a picture, without tools."""
    return [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "lamp_8_11_0.jpg"}}, text("<image>How many?")],
        },
        {"role": "assistant", "content": [text(f"<think>I count.</think><answer>{answer}</answer>")]},
    ]


def write_published(path: Path, conversations: list[list[dict]]) -> Path:
    """As Arrow stores it: blocks are one struct whose missing fields are nulls."""
    rows = [{"id": f"made_{number}", "messages": messages} for number, messages in enumerate(conversations)]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def verl_row(index: int = 0, **changes) -> dict:
    return {
        "data_source": "selfqa",
        "prompt": [{"role": "user", "content": f"<video>{QUESTION} {HINT}"}],
        "videos": [{"type": "video", "video": "file:///mnt/them/lamp.mp4", "fps": 1, "max_frames": 512}],
        "ability": "video_tool",
        "reward_model": {"style": "model", "ground_truth": "red"},
        "extra_info": {"index": index, "question": QUESTION, "answer": "red", "video_segment": [8.0, 12.0]},
        **changes,
    }


@pytest.fixture(scope="session")
def media(tmp_path_factory, video) -> Path:
    """A folder as the archives unpack: a video, and frames that were cut from it."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "tvg").mkdir()
    (folder / "tvg" / "lamp.mp4").write_bytes(video.read_bytes())
    for number, colour in ((0, "red"), (2, "green"), (10, "blue")):
        Image.new("RGB", (28, 28), colour).save(folder / "tvg" / f"lamp_8_11_{number}.jpg")
    return folder
