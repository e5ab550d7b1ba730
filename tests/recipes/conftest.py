"""What the recipes find beside them when a test runs their commands: rows, conversations, tiny checkpoints."""

import os
import subprocess
from pathlib import Path

import pytest

from longvt_plugins.rows import read_rows, write_rows
from longvt_plugins.testing import write_stamped_video

pytest.importorskip("trl")

FAMILIES = ("qwen2_5_vl", "qwen3_vl")


@pytest.fixture(scope="session")
def workplace(tmp_path_factory) -> Path:
    """A folder with everything at the places that the recipes name, made once a run."""
    from longvt_plugins.chat_templates import load_chat_template
    from longvt_plugins.synthetic.tiny import build_tiny_model

    folder = tmp_path_factory.mktemp("workplace")
    video = folder / "data" / "longvt" / "stamped.mp4"
    video.parent.mkdir(parents=True)
    write_stamped_video(video, seconds=20, fps=4, size=(64, 64))
    rows = [
        {"id": f"row-{number}", "videos": {"video_1.mp4": str(video)}, "kind": "open", "question": f"After {number}?",
         "answer": str(number + 1), "video_segment": [float(number), number + 4.0], "options": None, "source": "test"}
        for number in range(4)
    ]  # fmt: skip
    for name in ("data/rl.parquet", "data/longvt/rl.parquet"):
        write_rows(rows, folder / name)
    for family in FAMILIES:
        build_tiny_model(family, folder / family, seed=0)
        (folder / f"{family}.jinja").write_text(load_chat_template(family))
    write_conversations(folder, read_rows(folder / "data" / "rl.parquet"))
    return folder


def write_conversations(folder: Path, rows: list) -> None:
    """A call and its reply with pictures for each row, in the files of every supervised recipe."""
    from longvt_plugins.conversation import system_message
    from longvt_plugins.tools.crop_video import crop_video
    from longvt_plugins.tools.tool import Tool
    from trl_ext.dataset import messages_to_sft, write_sft
    from trl_ext.environment import EnvironmentConfig, make_environment

    small = {f"{part}_{end}_pixels": 64 * 64 for part in ("overview", "crop") for end in ("min", "max")}
    environment = make_environment(EnvironmentConfig(overview_max_frames=2, frame_factor=32, **small))()
    schemas = [Tool.from_function(crop_video).schema]
    examples = []
    for row in rows:
        window = {
            "video_path": "video_1.mp4",
            "start_time": row["video_segment"][0],
            "end_time": row["video_segment"][1],
        }
        call = {"id": "call_1", "type": "function", "function": {"name": "crop_video", "arguments": window}}
        messages = [
            system_message(),
            {"role": "user", "content": environment.reset(**row)},
            {"role": "assistant", "content": "<think>I look closer.</think>", "tool_calls": [call]},
            {
                "role": "tool",
                "name": "crop_video",
                "tool_call_id": "call_1",
                "content": environment.crop_video(**window),
            },
            {"role": "assistant", "content": f"<think>Seen.</think>\n<answer>{row['answer']}</answer>"},
        ]
        examples.append(
            {"id": row["id"], "source": "test", "messages": messages_to_sft(messages, schemas), "length": 300}
        )
    for name in ("data/sft/sft-0.parquet", "data/longvt/sft-0.parquet", "data/rft.parquet", "data/longvt/rft.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_sft(folder / name, examples, lengths=True)


@pytest.fixture
def run(workplace):
    """Runs a command of this environment there, on the CPU, and gives what it wrote."""

    def command(*words) -> str:
        quiet = {
            **os.environ, "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "TRL_EXPERIMENTAL_SILENCE": "1",
            "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=workplace, env=quiet)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return command
