"""Which frames a file holds and where decoding can start, read from its packets without decoding any.

::

    index = PacketIndex.read(container, stream)
    index.shown_at(index.times[0] + 100)     # the last frame that is not later, in ticks of the stream
    index.key_before(ticks)                  # place of the key frame from which that one is decoded

Reading it costs one pass over the file's packets (0.35 s for an hour of 25 frames a second), which
:mod:`longvt_plugins.video.mp4_table` spares large MP4 files, and :mod:`longvt_plugins.video.index_store` files that
were opened before. In memory it takes 16 bytes a frame.
"""

from __future__ import annotations

import bisect
import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

EARLY = 4
"""Packets by which a mark of damage may miss the data that was lost: parsers read ahead, and notice late."""

_REGULAR, _ODD, _FEW = 0.98, 2, 8
"""Share of equal gaps from which on a frame rate counts as constant; or all but two, of eight or more."""

_UNKNOWN = -(2**63)
"""Stands for a time that the container does not give; FFmpeg's own number for it."""


class KeyPacket(NamedTuple):
    """A packet from which decoding can start.

    Attributes:
        pts: Presentation time in ticks.
        dts: Decoding time in ticks, which some containers seek by.
        ordinal: How many packets of the stream come before it.
    """

    pts: int
    dts: int
    ordinal: int


@dataclass
class PacketIndex:
    """The moments at which a stream's picture changes.

    Attributes:
        times: Presentation times in ticks, rising, each once.
        ordinals: For each of ``times`` how many packets of the stream come before its own; empty where that cannot
            be told (``counted``, or two packets of one time).
        key_times: Presentation times of the packets from which decoding can start, rising; never empty.
        key_dts: Their decoding times.
        key_ordinals: How many packets come before each.
        end: Ticks at which the last frame found leaves the screen.
        damaged: Ordinals of the packets that the container calls corrupt, rising.
        packets: How many packets the stream has, those that show nothing included.
        delay: Frames by which the codec may store one late.
        counted: The container does not say which packet is shown when (AVI and MPEG program streams with
            reordered frames): the n-th frame decoded from the start is the n-th of ``times``.
    """

    times: array[int]
    ordinals: array[int]
    key_times: array[int]
    key_dts: array[int]
    key_ordinals: array[int]
    end: int
    damaged: array[int]
    packets: int
    delay: int
    counted: bool

    @classmethod
    def read(cls, container: Any, stream: Any, check: Callable[[], None] | None = None) -> PacketIndex | None:
        """Reads the packets of a stream to the end of the file.

        Args:
            container: An open PyAV input container, at its start.
            stream: One of its video streams.
            check: Called for each packet; what it raises ends the reading.

        Returns:
            None if nothing can be decoded: there is no key frame.
        """
        import numpy as np
        from av.error import ExitError, FFmpegError

        shown, places, decoded = array("q"), array("q"), array("q")
        keys: tuple[array[int], ...] = (array("q"), array("q"), array("q"))
        damaged = array("q")
        latest = (_UNKNOWN, 0)
        ordinal = -1
        # Of these every packet has a time, unless it is damaged.
        timed = "mp4" in container.format.name or container.format.name == "flv"
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except ExitError:
                raise
            except (StopIteration, FFmpegError, IndexError):
                # A cut file: what is left of it counts. PyAV 15.1 stumbles at the end over streams found on the way.
                break
            if check is not None:
                check()
            if packet.size == 0:
                continue
            ordinal += 1
            pts = packet.pts if packet.pts is not None else packet.dts
            dts = packet.dts if packet.dts is not None else pts
            if packet.is_corrupt or (timed and pts is None):
                damaged.append(ordinal)
            if packet.is_keyframe:
                for column, value in zip(keys, (pts or 0, dts or 0, ordinal), strict=True):
                    column.append(value)
            # Before the first key frame nothing can be decoded; discarded packets are cut away by an edit list.
            if keys[0] and not packet.is_discard:
                decoded.append(dts if dts is not None else _UNKNOWN)
                if pts is not None:
                    shown.append(pts)
                    places.append(ordinal)
                    latest = max(latest, (pts, packet.duration or 0))
        if not shown:
            return None
        delay = int(stream.codec_context.has_b_frames)
        guessed = container.format.name in ("avi", "mpeg") and delay > 0
        counted = guessed or (len(shown) < len(decoded) and not timed)
        times, first = np.unique(np.frombuffer(shown, np.int64), return_index=True)
        clear = not counted and len(times) == len(shown)
        ordinals = as_array(np.frombuffer(places, np.int64)[first]) if clear else array("q")
        found = _counted_times(decoded, stream) if counted else as_array(times)
        end = found[-1] + last_duration(found, latest[1], stream)
        by_time = np.lexsort([np.frombuffer(column, np.int64) for column in reversed(keys)])
        key_times, key_dts, key_ordinals = (as_array(np.frombuffer(column, np.int64)[by_time]) for column in keys)
        return cls(found, ordinals, key_times, key_dts, key_ordinals, end, damaged, ordinal + 1, delay, counted)

    @property
    def start(self) -> int:
        """Ticks at which the first frame comes on screen."""
        return self.times[0]

    def start_at(self, ticks: int) -> None:
        """Forgets the frames before this one, which turned out to depend on others that the file lacks."""
        first = bisect.bisect_left(self.times, ticks, hi=len(self.times) - 1)
        del self.times[:first], self.ordinals[:first]

    def shown_at(self, ticks: int) -> int:
        """The last presentation time that is not later, or the first."""
        return self.times[max(0, bisect.bisect_right(self.times, ticks) - 1)]

    def regular_gap(self) -> int | None:
        """Ticks from one frame to the next, if they are nearly all the same; None on variable frame rates."""
        import numpy as np

        gaps = np.diff(np.frombuffer(self.times, np.int64))
        if not len(gaps):
            return None
        lengths, numbers = np.unique(gaps, return_counts=True)
        usual = int(lengths[numbers.argmax()])
        # Whole ticks cannot hold every rate: of 29.97 frames a second some are 33 milliseconds long and some 34.
        odd = int((np.abs(gaps - usual) > 1).sum())
        regular = odd <= (1 - _REGULAR) * len(gaps) or (odd <= _ODD and len(gaps) >= _FEW)
        return usual if regular else None

    def usual_gap(self) -> float:
        """Ticks from one frame to the next, as half of the frames have it or less."""
        import numpy as np

        gaps = np.diff(np.frombuffer(self.times, np.int64), append=self.end)
        return float(np.median(gaps))

    def after(self, ticks: int) -> int | None:
        """The presentation time that follows this one; None after the last."""
        place = bisect.bisect_right(self.times, ticks)
        return self.times[place] if place < len(self.times) else None

    def is_between(self, start: int, end: int) -> bool:
        """Whether a frame comes on screen at ``start`` or after it, and before ``end``."""
        return bisect.bisect_left(self.times, start) < bisect.bisect_left(self.times, end)

    def ordinal_of(self, ticks: int) -> int | None:
        """How many packets come before that of the frame shown from ``ticks`` on; None if it cannot be told."""
        return self.ordinals[bisect.bisect_left(self.times, ticks)] if self.ordinals else None

    def key(self, place: int) -> KeyPacket:
        """The key packet at a place that :meth:`key_before` gave."""
        return KeyPacket(self.key_times[place], self.key_dts[place], self.key_ordinals[place])

    def key_before(self, ticks: int) -> int:
        """Place of the last key frame shown at or before this time, or 0."""
        return max(0, bisect.bisect_right(self.key_times, ticks) - 1)

    def key_after(self, ticks: int) -> float:
        """The time of the first key frame after this time, infinite if there is none."""
        place = bisect.bisect_right(self.key_times, ticks)
        return self.key_times[place] if place < len(self.key_times) else math.inf

    def is_damaged(self, first: int, last: int | None = None) -> bool:
        """Whether the container found damage at these packets or just before: transport streams tell it too early.

        Args:
            first: An ordinal.
            last: Another, not smaller; None is the same one.
        """
        place = bisect.bisect_right(self.damaged, first if last is None else last)
        return place > 0 and first - self.damaged[place - 1] <= EARLY

    def holes(self, second: int) -> list[tuple[int, float]]:
        """Where frames seem to be missing from a stream that is regular otherwise, though no packet is corrupt.

        A picture that stands still leaves such a gap too, so this is a suspicion, and only where a
        container lets packets vanish: MP4 counts its frames.

        Args:
            second: Ticks in a second: a gap longer than that is a hole, and at the very end a shorter one.

        Returns:
            From the last frame before each hole to the key frame after it, in ticks.
        """
        import numpy as np

        gaps = np.diff(np.frombuffer(self.times, np.int64))
        usual = self.regular_gap()
        if usual is None:
            return []
        found = []
        for place in np.flatnonzero(2 * gaps > 3 * usual).tolist():
            at_end = place >= len(gaps) - self.delay
            if at_end or gaps[place] > second:
                after = bisect.bisect_left(self.key_times, self.times[place + 1])
                whole_from = self.key_times[after] if after < len(self.key_times) else math.inf
                # The packet that the hole begins in is broken, and may be shown before others that came earlier.
                found.append((self.times[max(0, place - self.delay)], whole_from))
        return found


def as_array(numbers: NDArray[np.int64]) -> array[int]:
    """The same numbers as an array of 64 bits, whose items are plain integers."""
    made = array("q")
    made.frombytes(numbers.tobytes())
    return made


def _counted_times(decoded: array[int], stream: Any) -> array[int]:
    """Times for frames that are counted: the packets' own in rising order, or evenly spaced where those do not fit."""
    known = sorted({dts for dts in decoded if dts != _UNKNOWN})
    if len(known) == len(decoded):
        return array("q", known)
    gap = float(1 / (stream.average_rate * stream.time_base)) if stream.average_rate else 1.0
    return array("q", [known[0] + round(number * gap) for number in range(len(decoded))])


def last_duration(times: array[int], packet_duration: int, stream: Any) -> int:
    """How long the last frame stays: as its packet says, or as the one before, or as the frame rate."""
    if packet_duration > 0:
        return packet_duration
    if len(times) > 1:
        return times[-1] - times[-2]
    return max(1, round(1 / (stream.average_rate * stream.time_base))) if stream.average_rate else 1
