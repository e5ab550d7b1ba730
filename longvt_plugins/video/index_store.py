"""Packet indexes kept on disk, so that a file is read through once and not at every opening.

::

    store, film = IndexStore(Path("/scratch/longvt/index")), identify(path)     # before the file is opened
    kept = store.load(film)              # None: never seen, changed since, or not to be trusted
    store.save(film, KeptIndex(index, width=640, height=360))

A file is known by its path, size and time of modification. Any number of processes may share the folder: an entry
appears whole or not at all, and one that is damaged, foreign or of another version is ignored and written anew. An
hour of video takes 10 to 100 kilobytes; when the folder grows past its bound, the entries used longest ago leave.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import VideoNotFoundError
from longvt_plugins.video.index import PacketIndex, as_array

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Identity = dict[str, Any]
"""What :func:`identify` gives: plain JSON."""

_MAGIC = b"longvt packet index 1\n"
"""The number rises when the layout or the meaning of an entry changes."""

_SUFFIX, _UNFINISHED = ".index", ".part"
_COLUMNS = ("times", "ordinals", "key_times", "key_dts", "key_ordinals", "damaged")
_MOST_NUMBERS = 2**25
"""In one entry: 16 million frames with their places, 90 hours at 50 a second. More is neither kept nor believed."""

_MOST_BYTES = 256 * 2**20
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class KeptIndex:
    """An index, and what else only decoding tells.

    Args:
        index: Of the file's packets; its times begin with the first frame that can be shown.
        width: Pixels, rotation applied.
        height: Pixels, rotation applied.
    """

    index: PacketIndex
    width: int
    height: int


class IndexStore:
    """A folder of packet indexes.

    Args:
        folder: Made when something is saved.
        max_bytes: Bound on what lies in it.
    """

    def __init__(self, folder: Path, max_bytes: int = _MOST_BYTES) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def load(self, identity: Identity) -> KeptIndex | None:
        """The index of a file.

        Args:
            identity: Of the file as it is now.

        Returns:
            None if there is none that can be trusted.
        """
        entry = self._entry(identity)
        try:
            data = entry.read_bytes()
        except OSError:
            return None
        kept = _unpacked(data, identity)
        if kept is not None:
            # Those used longest ago leave first. Another process may have removed it, or own it.
            with contextlib.suppress(OSError):
                os.utime(entry)
        return kept

    def save(self, identity: Identity, kept: KeptIndex) -> bool:
        """Keeps the index of a file.

        Args:
            identity: Of the file before it was read, so that a file that is replaced meanwhile gets none.
            kept: What was read.

        Returns:
            Whether it lies there now: a full or read-only disk is no reason not to read a video.
        """
        if sum(len(getattr(kept.index, name)) for name in _COLUMNS) > _MOST_NUMBERS:
            return False
        data = _packed(kept, identity)
        if len(data) > self.max_bytes:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / f"{secrets.token_hex(8)}{_UNFINISHED}"
            try:
                part.write_bytes(data)
                part.replace(self._entry(identity))
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            self._make_room()
        except OSError:
            return False
        return True

    def size(self) -> tuple[int, int]:
        """How many entries there are, and their bytes."""
        sizes = [found.st_size for _, found in self._entries()]
        return len(sizes), sum(sizes)

    def clear(self) -> None:
        """Removes all entries, and nothing else in the folder."""
        for entry, _ in self._entries():
            entry.unlink(missing_ok=True)

    def _entry(self, identity: Identity) -> Path:
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{name[:40]}{_SUFFIX}"

    def _entries(self) -> list[tuple[Path, os.stat_result]]:
        """Also what a process that died left unfinished."""
        found = []
        try:
            names = [entry for entry in self.folder.iterdir() if entry.suffix in (_SUFFIX, _UNFINISHED)]
        except OSError:
            return []
        for entry in names:
            with contextlib.suppress(OSError):  # Removed by another process since.
                found.append((entry, entry.stat()))
        return found

    def _make_room(self) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry[1].st_mtime_ns)
        total = sum(found.st_size for _, found in entries)
        for entry, found in entries:
            if total <= self.max_bytes:
                return
            entry.unlink(missing_ok=True)
            total -= found.st_size


def identify(path: Path) -> Identity:
    """What a file is known by. What FFmpeg makes of its packets belongs to it.

    Args:
        path: Of the video, absolute.

    Raises:
        VideoNotFoundError: It is not there any more.
    """
    from av import library_versions

    try:
        found = path.stat()
    except OSError as error:
        raise VideoNotFoundError(f"no video file {str(path)!r}: {error.strerror}") from None
    return {
        "path": os.fsencode(path).hex(),
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "libavformat": list(library_versions["libavformat"]),
        "libavcodec": list(library_versions["libavcodec"]),
    }


def _packed(kept: KeptIndex, identity: Identity) -> bytes:
    """Magic, digest of the rest, one line of JSON, and the columns: differences, which are nearly all alike, packed."""
    import numpy as np

    index = kept.index
    columns = [np.frombuffer(getattr(index, name), np.int64) for name in _COLUMNS]
    header = {
        "identity": identity,
        "lengths": [len(column) for column in columns],
        "end": index.end,
        "packets": index.packets,
        "delay": index.delay,
        "counted": index.counted,
        "width": kept.width,
        "height": kept.height,
    }
    differences = b"".join(np.diff(column, prepend=0).astype("<i8").tobytes() for column in columns)
    body = json.dumps(header).encode() + b"\n" + zlib.compress(differences, 1)
    return _MAGIC + hashlib.sha256(body).digest() + body


def _unpacked(data: bytes, identity: Identity) -> KeptIndex | None:
    """What :func:`_packed` packed for this file; None for anything else."""
    import numpy as np

    start = len(_MAGIC) + _DIGEST
    if not data.startswith(_MAGIC) or hashlib.sha256(data[start:]).digest() != data[len(_MAGIC) : start]:
        return None
    line, _, packed = data[start:].partition(b"\n")
    try:
        header = json.loads(line)
        lengths = header["lengths"]
        numbers = [header[name] for name in ("end", "packets", "delay", "width", "height")]
        whole = all(type(number) is int for number in [*lengths, *numbers]) and type(header["counted"]) is bool
        if header["identity"] != identity or not whole or not 0 <= min(lengths) <= sum(lengths) <= _MOST_NUMBERS:
            return None
        differences = np.frombuffer(zlib.decompressobj().decompress(packed, 8 * sum(lengths) or 1), "<i8")
        columns = [part.cumsum() for part in np.split(differences, np.cumsum(lengths)[:-1])]
    except (ValueError, KeyError, TypeError, zlib.error):
        return None
    end, packets, delay, width, height = numbers
    sizes = [len(column) for column in columns]
    if sizes != lengths or not _makes_sense(columns, end, packets) or min(width, height) < 1:
        return None
    times, ordinals, key_times, key_dts, key_ordinals, damaged = (as_array(column) for column in columns)
    index = PacketIndex(
        times, ordinals, key_times, key_dts, key_ordinals, end, damaged, packets, delay, header["counted"]
    )
    return KeptIndex(index, width, height)


def _makes_sense(columns: list[NDArray[np.int64]], end: int, packets: int) -> bool:
    """Whether such an index can be of any file."""
    import numpy as np

    if len(columns) != len(_COLUMNS):
        return False
    times, ordinals, key_times, key_dts, key_ordinals, damaged = columns
    return bool(
        len(times)
        and len(key_times)
        and len(key_times) == len(key_dts) == len(key_ordinals)
        and len(ordinals) in (0, len(times))
        and (np.diff(times) > 0).all()
        and (np.diff(key_times) >= 0).all()
        and end > times[-1]
        and all(
            ((places >= 0) & (places < packets)).all() for places in (ordinals, key_ordinals, damaged) if len(places)
        )
    )
