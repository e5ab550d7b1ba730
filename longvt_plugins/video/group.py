"""Frames decoded group of pictures by group of pictures, and of each only what the wanted ones are made from.

::

    decoder = GroupDecoder(source, index)
    run = decoder.plan([Wanted(1000), Wanted(41000), Wanted(250000)], 0, 3)     # those in one group of pictures
    for ticks, frame in decoder.frames(run):         # in the order of time
        ...

Decoding starts at the key frame before the first wanted frame and stops at the packet of the last; packets that no
other frame refers to are left out unless they are wanted themselves. What is decoded is checked against the index,
and at the first thing that is not as it should be (damage, a frame that does not come) the decoder stops without a
word: what has not come, :mod:`longvt_plugins.video.careful` reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from longvt_plugins.video.index import EARLY
from longvt_plugins.video.non_reference import non_reference_test

if TYPE_CHECKING:
    from longvt_plugins.video.index import PacketIndex
    from longvt_plugins.video.packets import PacketSource

_WORTH_SEEKING = 24
"""Packets: to read so many of them without decoding costs less than a seek (4 against 60 to 240 microseconds)."""

_MOST_SURPRISES = 8
"""Groups that were not as the index has them, after which a file is read carefully throughout."""


class Wanted(NamedTuple):
    """A frame that is asked for.

    Attributes:
        ticks: When it comes on screen, as the index has it.
        witness: Ticks of the frame after it, where that has to come too before this one is believed to be on screen
            for so long; None where it need not.
    """

    ticks: int
    witness: int | None = None


@dataclass(frozen=True)
class Run:
    """Wanted frames that are decoded in one go.

    Attributes:
        place: Of the key frame in the index.
        times: Ticks of all frames that have to come, rising, each once.
        unsure: Those of them that are believed when the next one has come.
        witnesses: Those of them that nobody asked for.
        last: Ordinal of the last packet that is needed.
        stop: Which of the frames asked for comes after it.
    """

    place: int
    times: list[int]
    unsure: frozenset[int]
    witnesses: frozenset[int]
    last: int
    stop: int


class GroupDecoder:
    """Decodes the groups of pictures that hold wanted frames.

    Args:
        source: Packets; others may use it in between.
        index: Of the same file.

    Attributes:
        usable: Whether the index says of each frame where its packet is, and has been right about it so far.
    """

    def __init__(self, source: PacketSource, index: PacketIndex) -> None:
        self._source = source
        self._index = index
        self._surprises = 0
        context = source.stream.codec_context
        self._is_non_reference = non_reference_test(context.codec.canonical_name, context.extradata)
        # A packet of interlaced H.264 may hold one field alone, so that its frame needs another one.
        self._fields = context.codec.canonical_name == "h264"
        # Where frames are stored out of order, those that no other refers to are shown before one stored earlier.
        self._reordered = bool(context.has_b_frames)

    @property
    def usable(self) -> bool:  # noqa: D102 - said above
        return bool(self._index.ordinals) and self._surprises < _MOST_SURPRISES

    def plan(self, wanted: Sequence[Wanted], first: int, stop: int) -> Run | None:
        """The frames that are decoded together with one of them.

        Args:
            wanted: In the order in which they are asked for.
            first: Which of them to begin with.
            stop: Which of them to end before, at the latest.

        Returns:
            None if damage is known to lie on the way.
        """
        index = self._index
        place = index.key_before(wanted[first].ticks)
        start, last = index.key_ordinals[place], -1
        asked: set[int] = set()
        unsure: set[int] = set()
        witnesses: set[int] = set()
        reached = first
        while reached < stop:
            ticks, witness = wanted[reached]
            own, ordinal = index.key_before(ticks), index.ordinal_of(ticks)
            if ordinal is None or ordinal < start or (reached > first and ticks < wanted[reached - 1].ticks):
                break
            # A key frame that comes before the last packet needed is decoded on the way to it.
            if own != place and index.key_ordinals[own] > last:
                break
            asked.add(ticks)
            last = max(last, ordinal)
            if witness is not None:
                unsure.add(ticks)
                witnesses.add(witness)
                last = max(last, index.ordinal_of(witness) or 0)
            reached += 1
        if not asked or index.is_damaged(start, last + EARLY):
            return None
        times = sorted(asked | witnesses)
        return Run(place, times, frozenset(unsure), frozenset(witnesses - asked), last, reached)

    def frames(self, run: Run) -> Iterator[tuple[int, Any]]:
        """Decodes.

        Returns:
            Ticks and PyAV's frame for each different frame that was asked for, in order; fewer of them if anything
            is not as the index has it, or somebody else used the source in between.

        Raises:
            VideoTimeoutError: The time is over.
        """
        source, mine = self._source, object()
        found, held, whole = 0, None, False
        latest = -math.inf
        start, packet = self._go_to(run)
        # It comes first, unless an edit list cuts it away; or its picture is made whole bit by bit.
        key_comes = self._index.shown_at(start) == start
        try:
            for frame in self._decoded(run, mine, start, packet):
                if frame is None or frame.pts is None or frame.is_corrupt or frame.pts > run.times[found]:
                    break
                # Frames come out in the order in which they are shown.
                if frame.pts <= latest or (key_comes and latest < start < frame.pts):
                    break
                latest = frame.pts
                if frame.pts < run.times[found]:
                    continue
                if self._fields and frame.interlaced_frame:
                    break
                found += 1
                shown, held = [held, frame], None
                if frame.pts in run.unsure:
                    held = shown.pop()
                for sure in shown:
                    if sure is not None and sure.pts not in run.witnesses:
                        yield sure.pts, sure
                        if source.user is not mine:
                            return
                if found == len(run.times):
                    break
            whole = found == len(run.times)
            self._surprises += not whole
        finally:
            if source.user is mine:
                # The packet after the last one is known, but not whether all before it were read.
                source.user = self if whole else None

    def _decoded(self, run: Run, user: object, start: int, packet: Any | None) -> Iterator[Any]:
        """All frames that the packets of a run give, in the order of time; then None if there was a fault."""
        from av.error import FFmpegError

        source = self._source
        source.user = user
        context = source.stream.codec_context
        needed = {self._index.ordinal_of(ticks): ticks for ticks in run.times}
        latest = start
        while packet is not None:
            ordinal = source.position - 1
            ticks = needed.get(ordinal)
            spare = self._is_non_reference is not None and self._is_non_reference(memoryview(packet))
            if spare and self._reordered and (packet.pts is None or packet.pts > latest):
                break
            if ticks is None and spare:
                packet = source.next()
                continue
            if packet.is_corrupt or (ticks is not None and packet.pts != ticks):
                break
            if packet.pts is not None:
                latest = max(latest, packet.pts)
            try:
                yield from context.decode(packet)
                if ordinal == run.last:
                    yield from context.decode(None)
                    return
            except FFmpegError:
                # Frames that lead the key frame refer to others before it: that they fail is no damage.
                if ordinal == run.last or packet.pts is None or packet.pts >= start:
                    break
            packet = source.next()
        yield None

    def _go_to(self, run: Run) -> tuple[int, Any | None]:
        """Reads on to the key packet of a run, or seeks to it or to one before it; with the time decoding starts at."""
        source, index = self._source, self._index
        known, source.user = source.user is not None, None
        key = index.key(run.place)
        ahead = key.ordinal - source.position
        if known and ahead >= 0 and (ahead <= _WORTH_SEEKING or not source.seekable):
            for _ in range(ahead):
                if source.next() is None:
                    break
            packet = source.next()
            if packet is not None and packet.is_keyframe and packet.pts == key.pts:
                source.stream.codec_context.flush_buffers()
                return key.pts, packet
        reached = source.seek(index, run.place)
        if reached is not None:
            return reached[0].pts, reached[1]
        return index.key(0).pts, source.next()
