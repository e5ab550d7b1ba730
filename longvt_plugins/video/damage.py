"""What the packets of a file tell of damage, before anything is decoded.

::

    damage = Damage.find(container, stream, index)
    damage.end                  # ticks at which the video should end, more than index.end if it was cut short
    damage.is_in_hole(ticks)    # frames seem to be missing there
    damage.findings()           # ("truncated: nothing after 20.5 of 40 s",)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from longvt_plugins.video.index import PacketIndex
from longvt_plugins.video.sampling import format_seconds

if TYPE_CHECKING:
    from longvt_plugins.video.careful import CarefulDecoder

NEAR = 1.0
"""Seconds within which a neighbour may stand in for a frame that damage took."""

_MOST_HOLES_TOLD = 10


@dataclass(frozen=True)
class Damage:
    """Where a file is incomplete.

    Args:
        index: Of its packets.
        tick: Seconds of a tick.
        end: Ticks at which its header says that it ends, or its last frame does.
        holes: From the last frame before each suspected hole to the key frame after it, in ticks.
    """

    index: PacketIndex
    tick: float
    end: int
    holes: list[tuple[int, float]]

    @classmethod
    def find(cls, container: Any, stream: Any, index: PacketIndex) -> Damage:
        """Compares what a file promises with the packets that are in it.

        Args:
            container: PyAV's.
            stream: PyAV's.
            index: Of that stream.
        """
        tick, is_mp4 = float(stream.time_base), "mp4" in container.format.name
        if is_mp4 or container.format.name == "avi":
            # An edit list shortens the video rightly; a cut file has fewer packets than its header counts too.
            promised = index.start + (stream.duration or 0) if index.packets < stream.frames else 0
        else:
            promised = round(_matroska_seconds(stream.metadata.get("DURATION", "")) / tick)
        end = promised if (promised - index.end) * tick > NEAR else index.end
        second = math.ceil(1 / tick)
        holes = [] if is_mp4 else index.holes(second)
        if end > index.end:
            # What a cut takes away is not only the end: of the last frames, some were stored after later ones.
            holes.append((index.times[-1] - second, math.inf))
        elif index.counted and index.packets < stream.frames:
            # Likewise of an AVI, whose header does not say how long it should be, but how many frames it had.
            holes.append((index.times[max(0, len(index.times) - 1 - index.delay)], math.inf))
        return cls(index, tick, end, holes)

    @property
    def readable_until(self) -> float | None:
        """Seconds from the first frame after which the file has nothing; None if it is whole there."""
        return (self.index.end - self.index.start) * self.tick if self.end > self.index.end else None

    def is_in_hole(self, ticks: int) -> bool:
        """Whether frames seem to be missing at this moment."""
        return any(start <= ticks < end for start, end in self.holes)

    def findings(self, decoder: CarefulDecoder | None = None) -> tuple[str, ...]:
        """What there is to say, one line each.

        Args:
            decoder: What it has found besides.
        """
        said = []
        start, until = self.index.start, self.readable_until
        if until is not None:
            whole = format_seconds((self.end - start) * self.tick)
            said.append(f"truncated: nothing after {format_seconds(until)} of {whole} s")
        marked = len(self.index.damaged)
        if marked:
            said.append(f"{marked} packet{'s' * (marked != 1)} marked as damaged by the container")
        if decoder is not None and decoder.failed:
            failed = len(decoder.failed)
            said.append(f"{failed} damaged packet{'s' * (failed != 1)} skipped")
        if decoder is not None and decoder.disordered:
            said.append("the times of frames contradict the order in which they are stored")
        inside = [hole for hole in self.holes if hole[1] < math.inf or until is None]
        for begin, end in inside[:_MOST_HOLES_TOLD]:
            last = min(end, self.index.end)
            places = " to ".join(format_seconds((ticks - start) * self.tick) for ticks in (begin, last))
            said.append(f"frames seem to be missing from {places} s")
        if len(inside) > _MOST_HOLES_TOLD:
            said.append(f"frames seem to be missing in {len(inside) - _MOST_HOLES_TOLD} more places")
        return tuple(said)


def _matroska_seconds(text: str) -> float:
    """Reads ``00:04:00.250000000``, the tag of a stream; 0 if it is not written so."""
    parts = text.split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return 0.0
    total = hours * 3600 + minutes * 60 + seconds
    return total if math.isfinite(total) else 0.0
