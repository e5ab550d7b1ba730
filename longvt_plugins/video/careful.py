"""Frames decoded one after the other, every packet of them, with an eye on damage: slow and sure.

::

    decoder = CarefulDecoder(source, index)
    shown = decoder.show(wanted, look_past=False)    # the last frame that is not later, or what stands near it

It is what reads files that are damaged, that do not say when their frames are shown, or whose groups of pictures
turn out not to be as their index has them. :mod:`longvt_plugins.video.group` reads the others, at half the cost.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from longvt_plugins.video.index import KeyPacket, PacketIndex
    from longvt_plugins.video.packets import PacketSource

_WORTH_SEEKING = 3
"""Packets: to decode so few of them costs less than a seek."""

_LOOKED_AHEAD = 16
"""Frames in which the order of times shows; decoders keep no more of them back."""

_MOST_FAILURES = 100_000
"""Packets that are remembered as damaged."""


class Decoded(NamedTuple):
    """A decoded frame.

    Attributes:
        ticks: Presentation time.
        frame: PyAV's.
        sound: Whether nothing it depends on is known to be damaged.
        damages: How many packets had failed when it came out, counted from the last seek.
    """

    ticks: int
    frame: Any
    sound: bool
    damages: int


class CarefulDecoder:
    """Walks forwards through a video, and seeks only where that saves decoding.

    Args:
        source: Packets; others may use it in between.
        index: Of the same file.

    Attributes:
        shown: The frame reached, None if there is none.
        ahead: The frame after it, if it was decoded already.
        damages: How many packets failed since the last seek.
        failed: Ordinals of all packets that have failed.
        disordered: Whether frames came in another order than their times have: no time can be trusted then.
    """

    def __init__(self, source: PacketSource, index: PacketIndex) -> None:
        self.shown: Decoded | None = None
        self.ahead: Decoded | None = None
        self.damages = 0
        self.failed: set[int] = set()
        self.disordered = False
        self._source = source
        self._index = index
        self._decoding: Iterator[Decoded] = iter(())

    def first(self) -> Any | None:
        """PyAV's frame that comes first, and from which times count: the index forgets what comes before it.

        Returns:
            None if no frame can be decoded.
        """
        self._source.user = None
        self._seek(0)
        first = next(self._decoding, None)
        if first is not None and not self._index.counted:
            if self._index.is_between(self._index.key(0).pts, first.ticks):
                # Frames that should have come before it: they do not come at all, or in the wrong order.
                for _ in itertools.islice(self._decoding, _LOOKED_AHEAD):
                    pass
            if not self.damages:
                self._index.start_at(first.ticks)
        return first.frame if first is not None else None

    def examine(self) -> None:
        """Decodes all there is, so that ``failed`` is complete.

        Raises:
            VideoTimeoutError: The time is over.
        """
        self._source.user = None
        self._seek(0)
        for _ in self._decoding:
            pass

    def go_to(self, wanted: int, *, look_past: bool) -> None:
        """Makes ``shown`` the last frame that is not later than ``wanted``, as far as it can be decoded.

        Args:
            wanted: Ticks of a frame in the index.
            look_past: Decode on to the frame after it, so that damage in between is seen.

        Raises:
            VideoTimeoutError: The time is over.
        """
        # A decoder that was stopped half-way, by a signal or Ctrl-C, must not be trusted to go on from there.
        anew = self._source.user is not self
        self._source.user = None
        place = self._index.key_before(wanted)
        current = self.shown or self.ahead
        behind = current is not None and current.ticks > wanted
        ahead = self._index.key(place).ordinal - self._source.position
        worth_seeking = not self._index.counted and self._source.seekable and ahead > _WORTH_SEEKING
        if anew or behind or worth_seeking:
            self._seek(place)
        self._walk(wanted, look_past)
        # Decoding from a key frame may show nothing yet (gradual refresh, or the key frame is damaged).
        for earlier in (place - 1, place - 2, 0):
            if self.shown is not None or self._index.counted or earlier < 0:
                break
            damages = self.damages
            self._seek(earlier)
            self._walk(wanted, look_past)
            self.damages += damages
        self._source.user = self

    def close(self) -> None:
        """Lets go of the frames. The decoding under way knows this object: else they would wait to be collected."""
        self.shown, self.ahead, self._decoding = None, None, iter(())

    def _walk(self, wanted: int, look_past: bool) -> None:
        while True:
            if self.ahead is None:
                if self.shown is not None and self.shown.ticks == wanted and not look_past:
                    return
                self.ahead = next(self._decoding, None)
            if self.ahead is None or self.ahead.ticks > wanted:
                return
            self.shown, self.ahead = self.ahead, None

    def _seek(self, place: int) -> None:
        """Stands before a key frame, or before an earlier one where the container cannot do better."""
        reached = self._source.seek(self._index, place)
        self.shown, self.ahead, self.damages = None, None, 0
        key, packet = reached if reached is not None else (self._index.key(0), None)
        self._decoding = self._whole(key, self._decode(key, packet))

    def _whole(self, start: KeyPacket, decoding: Iterator[Decoded]) -> Iterator[Decoded]:
        """Leaves out pictures that are refreshed bit by bit and not yet whole: those have no key frame to show.

        Encoders say from where on they are whole again, and sometimes wrongly; one turn later they are.
        """
        first = next(decoding, None)
        if first is None:
            return
        index = self._index
        whole_from: float = -math.inf
        # Nor is a key frame shown that an edit list cuts away, or that damage took.
        expected = index.shown_at(start.pts) == start.pts and not (index.counted or first.damages)
        if first.ticks > start.pts and expected:
            whole_from = index.key_after(start.pts)
        for decoded in itertools.chain([first], decoding):
            if decoded.ticks >= whole_from:
                yield decoded

    def _decode(self, start: KeyPacket, first: Any) -> Iterator[Decoded]:
        """Frames in the order in which they are shown, from a key packet on."""
        from av.error import FFmpegError

        sound_from: float = -math.inf
        count = 0
        latest = -math.inf
        for packet in self._packets(first):
            ordinal = self._source.position - 1
            failed = packet is not None and self._index.is_damaged(ordinal)
            try:
                frames = self._source.stream.codec_context.decode(packet)
            except FFmpegError:
                frames, failed = [], True
            # Frames that lead the first key frame refer to others before it: that they fail is no damage.
            leading = packet is not None and packet.pts is not None and packet.pts < start.pts
            if failed and not leading:
                self.damages += 1
                if packet is not None and len(self.failed) < _MOST_FAILURES:
                    self.failed.add(ordinal)
                sound_from = math.inf
            elif packet is not None and packet.is_keyframe and packet.pts is not None and not self._index.counted:
                # All that is shown from a key frame on is whole again. Lost frames cannot be counted, though.
                sound_from = min(sound_from, packet.pts)
            for frame in frames:
                ticks = frame.pts if frame.pts is not None else frame.dts
                if self._index.counted:
                    ticks = self._index.times[min(count, len(self._index.times) - 1)]
                    count += 1
                elif ticks is None:
                    continue
                elif ticks <= latest:
                    # The decoder gives frames in the order in which they are shown: these times are wrong.
                    self.disordered = True
                    self.damages += 1
                    sound_from = math.inf
                latest = max(latest, ticks)
                if ticks < start.pts and not self._index.counted:
                    continue
                yield Decoded(ticks, frame, ticks >= sound_from and not frame.is_corrupt, self.damages)

    def _packets(self, first: Any) -> Iterator[Any]:
        """The packets from here to the end of the file, then None, which empties the decoder."""
        if first is not None:
            yield first
        while (packet := self._source.next()) is not None:
            yield packet
        if self._source.broken:
            self.damages += 1
        yield None
