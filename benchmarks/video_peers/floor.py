"""The floor: reading the packets alone, and decoding only what is needed, with PyAV, in one thread.

Needed for a frame are the reference frames from its key frame on, and itself; frames that no other frame refers to are
never given to the decoder. Which those are is read from the H.264 packets beforehand and not counted. Nothing is
scaled or kept: a reader that returns the right frames cannot do with less decoding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import av

from video_peers.film import Film
from video_peers.task import KEPT, OPENED, Answer, Task

_SLICES = (1, 5)
"""H.264 NAL units that hold a picture: any, and of a key frame."""


class Demux:
    """Reads all packets and decodes none."""

    ways: tuple[str, ...] = ()

    def __init__(self, task: Task) -> None:
        self._task = task

    def overview(self) -> Answer:
        """All packets of the file."""
        with av.open(str(self._task.film.path)) as container:
            for _ in container.demux(container.streams.video[0]):
                pass
        return Answer([], [])

    def crop(self, start: float, end: float, way: str) -> Answer:
        """Has no crops."""
        raise NotImplementedError

    def close(self) -> None:
        """Keeps nothing open."""


class Floor:
    """Decodes what is needed."""

    ways = (OPENED, KEPT)

    def __init__(self, task: Task) -> None:
        self._task = task
        self._kept: Any = None
        self._packets = _packets(task.film)
        self._place = {pts: place for place, (pts, _, _) in enumerate(self._packets)}
        self._ticks = sorted(self._place)

    def overview(self) -> Answer:
        """Decodes the overview's frames."""
        return self._decode(self._task.numbers, None)

    def crop(self, start: float, end: float, way: str) -> Answer:
        """Decodes a crop's frames."""
        if way == KEPT and self._kept is None:
            self._kept = self._open()
        return self._decode(self._task.crop_numbers(start, end), self._kept if way == KEPT else None)

    def close(self) -> None:
        """Closes the file."""
        if self._kept is not None:
            self._kept.close()

    def _open(self) -> Any:
        container = av.open(str(self._task.film.path))
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.thread_type = "NONE"
        return container

    def _decode(self, numbers: list[int], kept: Any) -> Answer:
        wanted = {self._ticks[number] for number in numbers}
        send, first, last = self._plan(wanted)
        container = kept or self._open()
        stream = container.streams.video[0]
        codec = stream.codec_context
        if first > 0 or kept is not None:
            container.seek(self._packets[first][0], stream=stream)
        found = 0
        for place, packet in zip(range(first, last + 1), container.demux(stream), strict=False):
            if place in send:
                for frame in codec.decode(packet):
                    found += frame.pts in wanted
        for frame in codec.decode(None):
            found += frame.pts in wanted
        codec.flush_buffers()
        if kept is None:
            container.close()
        if found != len(wanted):
            raise RuntimeError(f"the floor decoded {found} of the {len(wanted)} frames wanted")
        return Answer([], [])

    def _plan(self, wanted: Iterable[int]) -> tuple[set[int], int, int]:
        """Places of the packets to decode, and the first and last of them."""
        send: set[int] = set()
        for pts in wanted:
            place = self._place[pts]
            send.add(place)
            place -= 1
            while not self._packets[place + 1][1] and place not in send:
                if self._packets[place][2]:
                    send.add(place)
                place -= 1
        return send, min(send), max(send)


def count_non_reference(film: Film) -> int:
    """How many frames of the film no other frame refers to."""
    return sum(not reference for _, _, reference in _packets(film))


def _packets(film: Film) -> list[tuple[int, bool, bool]]:
    """Presentation time, whether a key frame, whether others refer to it; in the order of decoding."""
    with av.open(str(film.path)) as container:
        return [
            (packet.pts, packet.is_keyframe, _is_reference(bytes(packet)))
            for packet in container.demux(container.streams.video[0])
            if packet.size
        ]


def _is_reference(data: bytes) -> bool:
    """Reads the head of the first slice: NAL units come after their length in 4 bytes, as MP4 has them."""
    place = 0
    while place + 4 < len(data):
        head = data[place + 4]
        if head & 31 in _SLICES:
            return head >> 5 & 3 > 0
        place += 4 + int.from_bytes(data[place : place + 4], "big")
    raise ValueError("an H.264 packet without a picture")
