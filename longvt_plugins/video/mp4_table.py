"""The packet index of an MP4 or MOV file from its own tables, without reading the packets.

::

    index = read_mp4_table(path, container, stream)      # None: read the packets instead

The tables (ISO/IEC 14496-12, 8.6 and 8.7) say of each packet when it is decoded and shown, how large it is, where it
lies and whether decoding can start there. Reading them costs some milliseconds and some megabytes, whatever the size
of the video, where reading the packets means to read the whole file. Only plain tables are taken: no fragments, no
edit list that cuts, one sample description, all packets inside the file. What they give is held against what FFmpeg
reads at the start and at the end of the file, and everything that is not understood or not alike gives None.
"""

from __future__ import annotations

import itertools
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from longvt_plugins.video.index import PacketIndex, as_array, last_duration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

_MOST_BOXES = 1000
_MOST_TABLE_BYTES = 256 * 2**20
"""Of the box with all tables. Twelve hours of video and sound at 60 frames a second take 60 MB."""

_MOST_PACKETS = 2**24
"""Three days at 60 frames a second."""

_CHECKED = 16
"""Packets at the start of the file that are held against the tables; at its end, those from a key frame on."""


class _NotPlainError(Exception):
    """The tables are damaged, or of a kind that is not read here."""


@dataclass(frozen=True)
class _Table:
    """What the tables say of each packet, in the order of the file's decoding.

    Attributes:
        decoded: When, in ticks from the first.
        shown: When, in ticks from the first one's decoding.
        keys: Ordinals of those where decoding can start, rising.
    """

    decoded: Numbers
    shown: Numbers
    keys: Numbers


def read_mp4_table(path: Path, container: Any, stream: Any) -> PacketIndex | None:
    """Makes a packet index from a file's tables.

    Args:
        path: Of the file.
        container: PyAV's, open, at its start; afterwards it stands anywhere.
        stream: PyAV's.

    Returns:
        None if the tables cannot be trusted to say what reading the packets would.
    """
    from av.error import FFmpegError

    try:
        with path.open("rb") as file:
            tables = _moov(file, path.stat().st_size)
            table = _track_table(tables, stream, path.stat().st_size)
        return _checked(table, container, stream)
    except (_NotPlainError, struct.error, IndexError, ValueError, OverflowError, OSError, FFmpegError):
        return None


def _checked(table: _Table, container: Any, stream: Any) -> PacketIndex:
    """The index, if what FFmpeg reads at both ends agrees with the table."""
    import numpy as np

    head = list(itertools.islice(container.demux(stream), min(_CHECKED, len(table.shown))))
    first = head[0]
    if first.pts is None or first.dts is None:
        raise _NotPlainError
    # An edit list shifts all packets alike: where they begin is for FFmpeg to say.
    shown, decoded = table.shown + (first.pts - table.shown[0]), table.decoded + (first.dts - table.decoded[0])
    is_key = np.zeros(len(shown), bool)
    is_key[table.keys] = True
    count = len(shown)

    def agrees(packet: Any, ordinal: int) -> bool:
        return bool(
            ordinal < count
            and (packet.pts, packet.dts) == (shown[ordinal], decoded[ordinal])
            and packet.is_keyframe >= is_key[ordinal]
            and not packet.is_discard
            and not packet.is_corrupt
            and packet.size
        )

    if not all(agrees(packet, ordinal) for ordinal, packet in enumerate(head)):
        raise _NotPlainError
    container.seek(int(shown[table.keys[-1]]), stream=stream)
    ordinal, last = None, (0, 0)
    for packet in container.demux(stream):
        if packet.size == 0 and packet.pts is None:  # What tells the decoder that the file has ended.
            break
        if ordinal is None:  # It may be the key frame before the last one.
            ordinal = max(table.keys[shown[table.keys] == packet.pts], default=count)
        if not agrees(packet, ordinal):
            raise _NotPlainError
        last = max(last, (packet.pts, packet.duration or 0))
        ordinal += 1
    times, first_of = np.unique(shown, return_index=True)
    # Frames before the first one shown are cut away; the last one shown must be among those that were read.
    if ordinal != count or times[0] < 0 or len(times) != count or last[0] != times[-1]:
        raise _NotPlainError
    keys = table.keys[np.lexsort([table.keys, decoded[table.keys], shown[table.keys]])]
    found = as_array(times)
    return PacketIndex(
        times=found,
        ordinals=as_array(first_of.astype(np.int64)),
        key_times=as_array(shown[keys]),
        key_dts=as_array(decoded[keys]),
        key_ordinals=as_array(keys),
        end=last[0] + last_duration(found, last[1], stream),
        damaged=array("q"),
        packets=count,
        delay=int(stream.codec_context.has_b_frames),
        counted=False,
    )


def _moov(file: IO[bytes], size: int) -> memoryview:
    """The box that holds all tables."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        length, kind = struct.unpack_from(">I4s", head)
        start = 8
        if length == 1:
            (length,), start = struct.unpack_from(">Q", head, 8), 16
        if length == 0:
            length = size - at
        if length < start or at + length > size:
            break
        if kind == b"moov" and length <= _MOST_TABLE_BYTES:
            file.seek(at + start)
            return memoryview(file.read(length - start))
        at += length
    raise _NotPlainError


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if length < 8 or at + length > len(data):  # Long and open-ended boxes have no place among tables.
            raise _NotPlainError
        yield kind, data[at + 8 : at + length]
        at += length


def _inside(data: memoryview, *path: bytes) -> memoryview:
    """The one box of each kind within the other."""
    for kind in path:
        found = [body for name, body in _boxes(data) if name == kind]
        if len(found) != 1:
            raise _NotPlainError
        data = found[0]
    return data


def _track_table(moov: memoryview, stream: Any, file_size: int) -> _Table:
    if any(kind in (b"mvex", b"cmov") for kind, _ in _boxes(moov)):  # Fragments follow, or it is compressed.
        raise _NotPlainError
    tracks = [body for kind, body in _boxes(moov) if kind == b"trak" and _track_number(body) == stream.id]
    if len(tracks) != 1:
        raise _NotPlainError
    _check_edits(tracks[0])
    header = _inside(tracks[0], b"mdia", b"mdhd")
    (scale,) = struct.unpack_from(">I", header, 20 if header[0] == 1 else 12)
    if stream.time_base.numerator != 1 or stream.time_base.denominator != scale:
        raise _NotPlainError
    return _sample_table(_inside(tracks[0], b"mdia", b"minf", b"stbl"), file_size, stream)


def _track_number(track: memoryview) -> int:
    header = _inside(track, b"tkhd")
    number: int = struct.unpack_from(">I", header, 20 if header[0] == 1 else 12)[0]
    return number


def _check_edits(track: memoryview) -> None:
    """At most one stretch of the track, at its own speed, perhaps after a pause; what it cuts is seen elsewhere."""
    edits = [body for kind, body in _boxes(track) if kind == b"edts"]
    if not edits:
        return
    entries = _inside(edits[0], b"elst")
    (count,) = struct.unpack_from(">I", entries, 4)
    form = ">QqI" if entries[0] == 1 else ">IiI"
    if not 1 <= count <= 2:
        raise _NotPlainError
    parts = [struct.unpack_from(form, entries, 8 + place * struct.calcsize(form)) for place in range(count)]
    starts, speeds = [start for _, start, _ in parts], [speed for _, _, speed in parts]
    if starts[-1] < 0 or any(start != -1 for start in starts[:-1]) or any(speed != 1 << 16 for speed in speeds):
        raise _NotPlainError


def _sample_table(table: memoryview, file_size: int, stream: Any) -> _Table:
    import numpy as np

    kinds = [kind for kind, _ in _boxes(table)]
    groups = [bytes(body[4:8]) for kind, body in _boxes(table) if kind == b"sbgp"]
    if b"stps" in kinds or b"stz2" in kinds or set(groups) & {b"rap ", b"sync"}:  # Other kinds of key frames and sizes.
        raise _NotPlainError
    (descriptions,) = struct.unpack_from(">I", _inside(table, b"stsd"), 4)
    same, count = struct.unpack_from(">II", _inside(table, b"stsz"), 4)
    if descriptions != 1 or same or not 0 < count <= _MOST_PACKETS or count != stream.frames:
        raise _NotPlainError
    sizes = _column(_inside(table, b"stsz")[12:], count)
    if not sizes.all():
        raise _NotPlainError
    _check_places(table, sizes, file_size, wide=b"co64" in kinds)
    durations = _runs(_inside(table, b"stts"), count)
    decoded = durations.cumsum() - durations
    if b"ctts" in kinds:
        shown = decoded + _runs(_inside(table, b"ctts"), count, signed=True)
    elif stream.codec_context.has_b_frames:
        raise _NotPlainError
    else:
        shown = decoded
    if b"stss" in kinds:
        entries = _inside(table, b"stss")
        (found,) = struct.unpack_from(">I", entries, 4)
        keys = _column(entries[8:], found) - 1
    else:
        keys = np.arange(count, dtype=np.int64)
    if not len(keys) or keys[0] != 0 or keys[-1] >= count or not (np.diff(keys) > 0).all():
        raise _NotPlainError
    return _Table(decoded, shown, keys)


def _column(data: memoryview, count: int, width: int = 1, kind: str = ">u4") -> Numbers:
    """``count`` rows of numbers at the start of some bytes."""
    import numpy as np

    size = np.dtype(kind).itemsize
    if count * width * size > len(data):
        raise _NotPlainError
    return np.frombuffer(data, kind, count * width).astype(np.int64)


def _runs(table: memoryview, count: int, *, signed: bool = False) -> Numbers:
    """Numbers for ``count`` packets, which the table gives as runs of equal ones."""
    import numpy as np

    (entries,) = struct.unpack_from(">I", table, 4)
    rows = _column(table[8:], entries, 2).reshape(-1, 2)
    lengths, numbers = rows[:, 0], rows[:, 1]
    if signed:
        numbers = numbers.astype(np.uint32).astype(np.int32).astype(np.int64)
    elif (numbers >= 2**31).any():
        raise _NotPlainError
    if int(lengths.sum()) != count:
        raise _NotPlainError
    return np.repeat(numbers, lengths)


def _check_places(table: memoryview, sizes: Numbers, file_size: int, *, wide: bool) -> None:
    """All packets lie inside the file: it was not cut short."""
    import numpy as np

    places = _inside(table, b"co64" if wide else b"stco")
    (chunks,) = struct.unpack_from(">I", places, 4)
    offsets = _column(places[8:], chunks, kind=">u8" if wide else ">u4")
    runs = _inside(table, b"stsc")
    (entries,) = struct.unpack_from(">I", runs, 4)
    rows = _column(runs[8:], entries, 3).reshape(-1, 3)
    if not len(rows) or not chunks or rows[0, 0] != 1 or (rows[:, 2] != 1).any() or (rows[:, 1] < 1).any():
        raise _NotPlainError
    lengths = np.diff(np.append(rows[:, 0], chunks + 1))
    if (lengths < 1).any() or int((lengths * rows[:, 1]).sum()) != len(sizes):
        raise _NotPlainError
    firsts = np.repeat(rows[:, 1], lengths).cumsum()
    ends = offsets + np.add.reduceat(sizes, np.concatenate([[0], firsts[:-1]]))
    if (offsets < 0).any() or (ends > file_size).any():
        raise _NotPlainError
