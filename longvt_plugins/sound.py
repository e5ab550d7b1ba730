"""What is heard in a part of a video, as samples for a model of speech.

::

    samples = read_sound(Path("talk.mp4"), TimeSpan(60, 75))     # 15 s of one channel at 16 kHz, float32 from -1 to 1

Seconds are those of the pictures: sound that starts later than they do begins with silence. One part is held in memory
at a time, so that a caller who wants an hour asks for it piece by piece.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longvt_plugins.console import one_line
from longvt_plugins.errors import VideoError
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.container import Deadline, open_container

RATE = 16_000
"""Samples a second: what models of speech were trained on."""

MAX_SECONDS = 600
"""Of one part: 40 MB of samples."""


class NoSoundError(VideoError):
    """The video has no track of sound that can be decoded."""


def read_sound(path: Path, span: TimeSpan, *, time_limit: float | None = None) -> NDArray[np.float32]:
    """The samples of a part, all channels mixed into one.

    Args:
        path: A video file, absolute.
        span: Seconds from the first picture.
        time_limit: Seconds that it may take.

    Raises:
        NoSoundError: There is no sound in it.
        VideoError: It cannot be read.
        VideoTimeoutError: It took longer than the limit.
        ValueError: A part longer than ``MAX_SECONDS``.
    """
    import av
    from av.error import FFmpegError

    if span.seconds > MAX_SECONDS:
        raise ValueError(f"at most {MAX_SECONDS} s of sound are read at once, not {span.seconds:g}")
    deadline = Deadline(path, time_limit)
    samples = np.zeros(round(span.seconds * RATE), np.float32)
    with open_container(path, deadline) as container:
        stream = next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
        if stream is None:
            raise NoSoundError(f"{path}: no sound in it")
        pictures = next(iter(container.streams.video), None)
        zero = float((pictures.start_time or 0) * pictures.time_base) if pictures is not None else 0.0
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        try:
            # A second earlier: decoders need a few packets until what they give is right.
            container.seek(max(0, int((span.start + zero - 1) / stream.time_base)), stream=stream)
            for frame in container.decode(stream):
                deadline.check()
                if frame.pts is None:
                    continue
                begins = float(frame.pts * stream.time_base) - zero
                if begins >= span.end:
                    break
                frame.pts = None  # The resampler would fill gaps of its own; places are computed here.
                for part in resampler.resample(frame):
                    _place(samples, part.to_ndarray()[0], round((begins - span.start) * RATE))
        except FFmpegError as error:
            raise VideoError(f"{path}: its sound cannot be decoded: {one_line(error)}") from None
    return samples


def _place(samples: NDArray[np.float32], part: NDArray[np.float32], at: int) -> None:
    """Copies what of a part lies inside."""
    begin, end = max(at, 0), min(at + len(part), len(samples))
    if begin < end:
        samples[begin:end] = part[begin - at : end - at]
