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
tool_tasks.py   questions that one tool can answer and crop_video cannot
tool_reader.py  the reader that calls these tools
frame_model.py  a tiny CLIP that knows this world by name, trained on the spot
voice.py        a voice of tones
speech_model.py a tiny model that hears it, trained on the spot
fitting.py      the few steps of training of these two
server.py     the reader as an OpenAI-compatible server on loopback
tiny.py       a tiny Qwen2.5-VL and Qwen3-VL with tokenizer and processor
base.py       how the tiny base model was trained to read frames and time
"""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS = ("base", "agent", "qwen3_vl")
"""Tiny checkpoints that ship with the package: a Qwen2.5-VL that reads frames and time, the same after ``longvt demo``
taught it to call the tool, and a Qwen3-VL with random weights, for plumbing."""

TINY = "tiny"
"""Wherever a model is named, this stands for the shipped agent."""


def checkpoint(name: str) -> Path:
    """Folder of a shipped tiny checkpoint.

    Args:
        name: One of :data:`CHECKPOINTS`.

    Raises:
        ConfigError: There is none of this name.
    """
    from longvt_plugins.errors import ConfigError

    if name not in CHECKPOINTS:
        raise ConfigError(f"no tiny checkpoint {name!r}; there are: {', '.join(CHECKPOINTS)}")
    return Path(__file__).parent / "checkpoints" / name


def resolve_model(name: str) -> str:
    """The folder of the shipped agent for ``"tiny"``; any other name as it is.

    >>> resolve_model("Qwen/Qwen2.5-VL-7B-Instruct")
    'Qwen/Qwen2.5-VL-7B-Instruct'
    """
    return str(checkpoint("agent")) if name == TINY else name
