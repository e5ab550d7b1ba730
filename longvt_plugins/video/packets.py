"""The packets of one video stream, in the order of the file, from any key frame on.

::

    source = PacketSource(path, deadline)
    key, first = source.seek(index, index.key_before(ticks))     # stands behind that key frame's packet
    source.next()                                                # the packet after it; None at the end of the file

It decodes nothing: :mod:`longvt_plugins.video.careful` and :mod:`longvt_plugins.video.group` do, and share it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import DamagedVideoError
from longvt_plugins.video.container import Deadline, open_container, video_stream
from longvt_plugins.video.index import PacketIndex
from longvt_plugins.video.mp4_table import read_mp4_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longvt_plugins.video.index import KeyPacket

_MOST_FAILED_SEEKS = 3
"""After so many a container is taken for one that cannot be sought in: to read on beats to start over each time."""

_WORTH_A_TABLE = 4 * 2**20
"""Bytes from which on an MP4 file's own tables are tried: smaller ones are read through as fast."""


class PacketSource:
    """An open file, its video stream, and where in it the next packet is read.

    Args:
        path: A regular file, absolute.
        deadline: Looked at before each packet.

    Attributes:
        container: PyAV's.
        stream: PyAV's; its codec context decodes.
        position: Ordinal of the packet that comes next.
        user: Who may go on decoding from ``position``; None after an interruption, when nobody may.
        broken: Whether the file could not be read to the end: the last packet was followed by an error.
    """

    def __init__(self, path: Path, deadline: Deadline) -> None:
        self.position = 0
        self.user: object = None
        self.broken = False
        self._path = path
        self._deadline = deadline
        self._failed_seeks = 0
        self._packets: Iterator[Any] = iter(())
        self._open()

    def read_index(self) -> PacketIndex:
        """The index of the file: from its own tables where that spares time, else from its packets.

        Raises:
            DamagedVideoError: No frame in it can be decoded.
            VideoTimeoutError: The time is over.
        """
        from av.error import ExitError

        index = None
        if "mp4" in self.container.format.name and self._path.stat().st_size >= _WORTH_A_TABLE:
            index = read_mp4_table(self._path, self.container, self.stream)
            self.rewind()
        try:
            index = index or PacketIndex.read(self.container, self.stream, self._deadline.check)
        except ExitError:
            raise self._deadline.error() from None
        if index is None:
            raise DamagedVideoError(f"{self._path}: holds no frame that can be decoded")
        return index

    def next(self) -> Any | None:
        """The next packet with data in it, or None at the end of what can be read.

        Raises:
            VideoTimeoutError: The time is over.
        """
        from av.error import ExitError, FFmpegError

        while True:
            self._deadline.check()
            try:
                packet = next(self._packets)
            except (StopIteration, IndexError):  # PyAV 15.1 stumbles at the end over streams found on the way.
                return None
            except ExitError:
                raise self._deadline.error() from None
            except FFmpegError:
                self.broken = True
                return None
            if packet.size:
                self.position += 1
                return packet

    def seek(self, index: PacketIndex, place: int) -> tuple[KeyPacket, Any] | None:
        """Goes to a key frame, or to an earlier one where the container cannot do better.

        Args:
            index: Of this file.
            place: Of the key frame in the index.

        Returns:
            The key frame reached and its packet, which has been read; None if the container cannot go there,
            and the file was opened anew: it stands before its first packet.
        """
        from av.error import ExitError, FFmpegError

        if not index.counted:
            wanted, earlier = index.key(place), index.key(max(0, place - 1))
            # Some containers seek by presentation time, some by decoding time, and transport streams by guess.
            for offset in (wanted.pts, wanted.dts, earlier.dts):
                try:
                    self.container.seek(offset, stream=self.stream)
                except ExitError:
                    raise self._deadline.error() from None
                except FFmpegError:
                    continue
                self._start()
                packet = self._next_key()
                if packet is None or packet.pts is None:
                    continue
                landed = index.key(index.key_before(packet.pts))
                if landed.pts == packet.pts <= wanted.pts:
                    self.position = landed.ordinal + 1
                    return landed, packet
        self._failed_seeks += 1
        self.rewind()
        return None

    @property
    def seekable(self) -> bool:
        """Whether key frames have been found by seeking so far."""
        return self._failed_seeks < _MOST_FAILED_SEEKS

    def rewind(self) -> None:
        """Opens the file anew: some containers cannot seek to their start."""
        self.container.close()
        self._open()

    def close(self) -> None:
        """Closes the file; without it PyAV keeps memory and the file descriptor."""
        # Who decoded last knows this source: left so, the decoder would stay until the garbage collector comes by.
        self.user = None
        self._packets = iter(())
        self.container.close()

    def _next_key(self) -> Any | None:
        while (packet := self.next()) is not None:
            if packet.is_keyframe:
                return packet
        return None

    def _open(self) -> None:
        self.container = open_container(self._path, self._deadline)
        try:
            self.stream = video_stream(self.container, self._path)
            self._start()
        except BaseException:
            self.container.close()
            raise

    def _start(self) -> None:
        self._packets = self.container.demux(self.stream)
        self.position = 0
        self.user = None
        self.broken = False
