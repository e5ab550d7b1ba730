"""``transcribe``: what is said in a part of a video, by a model of speech in a folder of this machine.

::

    tools: ["transcribe:model=/models/whisper-small"]          # any folder that transformers' pipeline can load
    tools: ["transcribe:model=/models/whisper-small:language=en:device=cuda"]

Needs ``pip install 'longvt-plugins[tools]'``. The part is heard in pieces, each a line of the reply with its seconds; a
word that is said where two pieces meet may be lost. One model is kept in memory, by one process, for all videos.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from longvt_plugins.console import one_line
from longvt_plugins.errors import ConfigError, MissingExtraError, ToolError
from longvt_plugins.hookspecs import RegisterTool, hookimpl
from longvt_plugins.tools.context import ToolContext
from longvt_plugins.tools.local_files import ModelFolder
from longvt_plugins.tools.moments import read_span
from longvt_plugins.types import Block, TimeSpan
from longvt_plugins.video.sampling import format_seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SECONDS = 300
"""Of one call: some 800 words."""

PIECE = 15.0
"""Seconds of a line; Whisper hears up to 30 at once."""

MAX_CHARACTERS = 1000
"""Of a line: 15 s of fast speech are 300."""

_loading = threading.Lock()
_hearing = threading.Lock()


def transcribe(  # noqa: D417 - ctx is hidden
    ctx: ToolContext,
    video_path: str,
    start_time: float,
    end_time: float,
    *,
    model: ModelFolder,
    language: str | None = None,
    device: str = "cpu",
    max_seconds: Annotated[float, Field(gt=0, le=3600)] = MAX_SECONDS,
) -> list[Block]:
    """Read what is said in a part of the video.

    Args:
        video_path: Name of the video, as given in the question.
        start_time: Where the part starts, in seconds from the start of the video.
        end_time: Where the part ends, in seconds from the start of the video.
        model: Folder with a model of speech, as transformers saves it.
        language: That is spoken, such as "en", for models of many languages; by default the model finds out.
        device: Where the model runs, such as cpu or cuda.
        max_seconds: Longest part of one call.

    Returns:
        What is said, each piece after its time in seconds.
    """
    from longvt_plugins.sound import NoSoundError, read_sound

    recognise = load_recogniser(model, device)
    video = ctx.open(video_path)
    span = read_span(start_time, end_time, video.duration)
    if span.seconds > max_seconds:
        raise ToolError(
            f"the part from {start_time:g} to {end_time:g} lasts {span.seconds:g} seconds, and at most "
            f"{max_seconds:g} are transcribed at once"
        )
    limit = ctx.library.config.decode_timeout
    pieces = _pieces(span)
    lines = []
    for number, piece in enumerate(pieces):
        ctx.report(number, len(pieces))
        try:
            samples = read_sound(ctx.file(video_path).absolute(), piece, time_limit=limit)
        except NoSoundError:
            raise ToolError(f"{video_path} has no sound") from None
        text = " ".join(recognise(samples, language).split())[:MAX_CHARACTERS] if samples.any() else ""
        lines.append(f"{format_seconds(piece.start)}s to {format_seconds(piece.end)}s: {text or '(nothing is said)'}")

    def show(count: int) -> list[Block]:
        told = lines[:count]
        if count < len(lines):
            told.append(f"(no room for the rest, from {format_seconds(pieces[count].start)}s)")
        return [ctx.text("\n".join(told))]

    return ctx.fit_text(len(lines), show)


def _pieces(span: TimeSpan) -> list[TimeSpan]:
    count = max(1, round(span.seconds / PIECE))
    length = span.seconds / count
    return [TimeSpan(span.start + number * length, span.start + (number + 1) * length) for number in range(count)]


class _Recogniser:
    """A model of speech, used by one thread at a time."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        # Whisper takes a language; a CTC model has no such argument.
        self._generates = bool(getattr(pipeline.model, "can_generate", lambda: False)())

    def __call__(self, samples: NDArray[np.float32], language: str | None) -> str:
        from longvt_plugins.sound import RATE

        options = {"generate_kwargs": {"language": language}} if language is not None and self._generates else {}
        with _hearing:
            text: str = self._pipeline({"raw": samples, "sampling_rate": RATE}, **options)["text"]
        return text


def load_recogniser(model: str, device: str) -> _Recogniser:
    """A model of speech from a folder; the last one is kept.

    Raises:
        ConfigError: Nothing in it that can be loaded.
        MissingExtraError: No transformers.
    """
    # One thread loads, the others wait: a batch of rollouts would else load as many models at once.
    with _loading:
        return _load(model, device)


@functools.lru_cache(maxsize=1)
def _load(folder: str, device: str) -> _Recogniser:
    try:
        from transformers import pipeline
    except ImportError:
        raise MissingExtraError("transformers", "tools", "to transcribe") from None
    try:
        return _Recogniser(pipeline("automatic-speech-recognition", model=folder, device=device))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(f"transcribe: the model in {folder} cannot be used: {one_line(error)}") from error


@hookimpl
def register_tools(register: RegisterTool) -> None:  # noqa: D103 - the hook's own docstring says it
    register(transcribe)
