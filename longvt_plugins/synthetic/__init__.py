"""The synthetic long-video world: real video files in which it is known what happens when.

world.py      what happens in a video, drawn from a seed
render.py     the script as pixels, and as an H.264 file
questions.py  what is asked about it, and the answer
make.py       a folder of videos with rows for training, development and test (``longvt synth``)
chance.py     how right one is about them without watching
sight.py      what one frame shows, from its pixels
dialogue.py   what the messages sent to a model hold
captions.py   a clip in plain sentences
reader.py     a small program that looks at the pixels and answers: the teacher, and a stand-in for a VLM
traces.py     its conversations, to be imitated
server.py     the reader as an OpenAI-compatible server on loopback
tiny.py       a tiny Qwen2.5-VL and Qwen3-VL with tokenizer and processor
base.py       how the tiny base model was trained to read frames and time
"""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS = ("base", "agent")
"""Tiny Qwen2.5-VL checkpoints that ship with the package: one that reads frames and time, one that calls the tool."""


def checkpoint(name: str) -> Path:
    """Folder of a shipped tiny checkpoint.

    Args:
        name: ``"base"``, or ``"agent"``, which ``longvt demo`` made.

    Raises:
        ConfigError: There is none of this name.
    """
    from longvt_plugins.errors import ConfigError

    folder = Path(__file__).parent / "checkpoints" / name
    if name not in CHECKPOINTS or not folder.is_dir():
        raise ConfigError(f"no tiny checkpoint {name!r}; there are: {', '.join(CHECKPOINTS)}")
    return folder
