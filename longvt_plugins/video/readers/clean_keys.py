"""Whether decoding can start at every key frame of an H.264 video and be right at once.

::

    has_clean_keys(Path("film.mp4"))       # False: gradual refresh, or an open group of pictures

A container may call a frame a key frame that only begins to mend the picture (a recovery point), or behind which
frames refer to what came before. Only an IDR frame, as the standard calls it, is a clean start. Other codecs are
taken at their container's word.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from longvt_plugins.video.container import open_container, video_stream

_IDR = 5
"""Type of a unit that holds a part of an IDR frame (ITU-T H.264, table 7-1)."""


def has_clean_keys(path: Path) -> bool:
    """Whether each key frame is an IDR frame, if the codec is H.264.

    Raises:
        VideoError: The file cannot be opened.
    """
    from av.error import FFmpegError

    container = open_container(path)
    try:
        stream = video_stream(container, path)
        if stream.codec_context.codec.canonical_name != "h264":
            return True
        prefix = _length_size(bytes(stream.codec_context.extradata or b""))
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, FFmpegError):  # Damaged from here on, which is not the question.
                return True
            if packet.size and packet.is_keyframe and _IDR not in _unit_types(bytes(packet), prefix):
                return False
    finally:
        container.close()


def _length_size(header: bytes) -> int:
    """Bytes that say how long a unit is, where a container has it so; 0 for start codes between units."""
    return (header[4] & 3) + 1 if len(header) > 4 and header[0] == 1 else 0


def _unit_types(data: bytes, prefix: int) -> Iterator[int]:
    """The types of the units in a packet."""
    if prefix:
        place = 0
        while place + prefix < len(data):
            yield data[place + prefix] & 31
            place += prefix + int.from_bytes(data[place : place + prefix], "big")
    else:
        place = data.find(b"\0\0\1")
        while 0 <= place < len(data) - 3:
            yield data[place + 3] & 31
            place = data.find(b"\0\0\1", place + 3)
