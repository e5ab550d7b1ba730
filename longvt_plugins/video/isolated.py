"""A reader in a process of its own, which is killed when it takes too long and whose crash is told as an error.

::

    workers = Workers()
    reader = IsolatedReader(Path("film.mp4"), DecordReader, workers=workers, timeout=60.0)
    reader.frames([10.0, 11.0])      # VideoTimeoutError after 60 s, even if the decoder hangs in C; the parent lives
    reader.close()                   # the process goes back to the workers, for the next video
    workers.close()

The process is started afresh, not forked, and runs nothing of the program's main module. Pixels come back over a
socket, one frame at a time, as plain bytes and JSON: a decoder that a file has taken over cannot make the parent
run anything. It is no sandbox besides: the process may read and write what the user may.
"""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time as clock
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from longvt_plugins import errors
from longvt_plugins.errors import ConfigError, LongvtError, VideoReaderCrashError, VideoTimeoutError
from longvt_plugins.video.interruption import check_interrupted
from longvt_plugins.video.sampling import Timetable
from longvt_plugins.video.video import Frame, ScalingReader, VideoReader

START_SECONDS = 60.0
"""Time for a process to start and import: Python itself, and a decoder from a slow disk."""

IDLE_WORKERS = 2
"""Processes that wait for the next video; each holds about 50 MB."""

MAX_HEADER = 2**26
MAX_PAYLOAD = 2**30
"""Bytes that one message may have: a header in JSON, such as a request for many times, and a frame's pixels."""

_GRACE = 5.0
"""Seconds after which a process ends itself, should its parent be gone and not have killed it."""

_START = "import json,sys; sys.path[:]=json.loads(sys.argv[2]); from longvt_plugins.video.isolated import serve; serve(int(sys.argv[1]))"  # noqa: E501

_MAX_TRACEBACK = 10_000

_LENGTHS = struct.Struct("!II")


class Worker:
    """One process and the socket to it; used by one thread at a time.

    Raises:
        VideoReaderCrashError: It does not start.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), json.dumps(sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._socket = ours
        self.usable = True
        self.receive(deadline=clock.monotonic() + START_SECONDS, what="starting the decoding process")

    def send(self, message: Mapping[str, Any], *, what: str) -> None:
        """Sends a request.

        Args:
            message: The request.
            what: What it asks for, for the error.

        Raises:
            VideoReaderCrashError: The process ended, perhaps before the whole request was sent.
        """
        try:
            self._socket.settimeout(START_SECONDS)
            _send(self._socket, message)
        except OSError:
            self._crashed(what)

    def receive(self, *, deadline: float, what: str) -> tuple[dict[str, Any], bytes]:
        """The next message: its header and its payload.

        Args:
            deadline: On the monotonic clock; after it the process is killed.
            what: What it is doing, for the error.

        Raises:
            VideoTimeoutError: The deadline passed.
            VideoReaderCrashError: The process ended.
        """
        try:
            return _receive(self._socket, deadline)
        except TimeoutError:
            self.kill()
            raise VideoTimeoutError(f"{what} took too long; the decoding process was killed") from None
        except (OSError, ValueError):
            self._crashed(what)

    def kill(self) -> None:
        """Ends the process at once, whatever it is doing."""
        self.usable = False
        self._process.kill()
        self._socket.close()
        # A process that waits for a dead disk ends when the kernel lets it; nobody waits for it here.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1.0)

    def leave_to_parent(self) -> None:
        """In a child of the process that started it: lets go without a word."""
        self.usable = False
        self._socket.close()
        self._process.returncode = 0  # It is not ours to wait for.

    def _crashed(self, what: str) -> NoReturn:
        self.usable = False
        self._socket.close()
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"was ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        raise VideoReaderCrashError(f"{what}: the decoding process {how}")


class Workers:
    """Decoding processes, kept for the next video."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._closed = False

    def take(self) -> Worker:
        """A process that nobody uses."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Worker()

    def give_back(self, worker: Worker) -> None:
        """Keeps a process, or ends it where enough wait."""
        with self._lock:
            if worker.usable and not self._closed and len(self._idle) < IDLE_WORKERS:
                self._idle.append(worker)
                return
        if worker.usable:
            worker.kill()

    def close(self) -> None:
        """Ends the processes that wait, and from now on each that is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def forget(self) -> None:
        """In a child process: leaves all processes to the parent."""
        idle, self._idle, self._lock = self._idle, [], threading.Lock()
        for worker in idle:
            worker.leave_to_parent()


class IsolatedReader:
    """A :class:`~longvt_plugins.video.VideoReader` that has another one work in a process of its own.

    Args:
        path: A regular file.
        reader: Which class; it must be importable by its name.
        workers: Give the process.
        timeout: Seconds that opening, or one call for frames, may take.
        options: Further keywords of the class, numbers and texts.

    Raises:
        ConfigError: The class cannot be imported by its name.
        VideoTimeoutError: Opening took longer.
        VideoReaderCrashError: The process crashed.
        VideoError: What the reader raises.
    """

    def __init__(
        self,
        path: Path,
        reader: type[VideoReader],
        *,
        workers: Workers,
        timeout: float,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._path = path
        self._timeout = timeout
        self._workers = workers
        request = {
            "do": "open",
            "path": os.fspath(path),
            "reader": _import_name(reader),
            "options": {name: os.fspath(v) if isinstance(v, Path) else v for name, v in (options or {}).items()},
        }
        self._worker: Worker | None = workers.take()
        try:
            ((facts, _),) = self._ask(request, "opening")
        except BaseException:
            self.close()
            raise
        self.duration: float = facts["duration"]
        self.width: int = facts["width"]
        self.height: int = facts["height"]
        self.codec: str | None = facts["codec"]
        self.damage: tuple[str, ...] = tuple(facts["damage"])

    @property
    def timetable(self) -> Timetable | None:
        """When each frame comes on screen, if the reader can tell."""
        ((header, payload),) = self._ask({"do": "timetable"}, "reading the timetable")
        if not header["known"]:
            return None
        times = array.array("d")
        times.frombytes(payload)
        return Timetable(times.tolist(), header["fps"], header["duration"])

    def frames(self, times: Iterable[float]) -> Iterator[Frame]:
        """The frames on screen at these times, full size."""
        return iter(self._frames(times, None, "exact"))

    def scaled_frames(self, times: Iterable[float], size: tuple[int, int], scaling: str) -> Iterator[Frame]:
        """As :meth:`frames`, at another size."""
        return iter(self._frames(times, size, scaling))

    def close(self) -> None:
        """Closes the file and gives the process back; a second time does nothing."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        if worker.usable:
            with contextlib.suppress(LongvtError, RuntimeError):  # Then it is of no use any more, which is known.
                worker.send({"do": "close"}, what="closing")
                worker.receive(deadline=clock.monotonic() + _GRACE, what="closing")
        self._workers.give_back(worker)

    def leave_to_parent(self) -> None:
        """In a child process: the worker is the parent's."""
        if self._worker is not None:
            self._worker.leave_to_parent()

    def _frames(self, times: Iterable[float], size: tuple[int, int] | None, scaling: str) -> list[Frame]:
        from PIL import Image

        found = []
        request = {"do": "frames", "times": list(times), "size": size, "scaling": scaling}
        for header, payload in self._ask(request, "reading frames"):
            if header.get("last"):
                self.damage = tuple(header["damage"])
            else:
                image = Image.frombytes("RGB", tuple(header["size"]), payload)
                found.append(Frame(image, header["time"], header["exact"]))
        return found

    def _ask(self, request: Mapping[str, Any], what: str) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The messages of the answer; the last one says that it is the last."""
        worker, told = self._worker, f"{self._path}: {what}"
        if worker is None or not worker.usable:
            raise VideoReaderCrashError(f"{told}: the decoding process is gone")
        deadline, answered = clock.monotonic() + self._timeout, False
        try:
            worker.send({**request, "seconds": self._timeout + _GRACE}, what=told)
            while not answered:
                check_interrupted(self._path)
                header, payload = worker.receive(deadline=deadline, what=told)
                answered = "last" in header or "error" in header
                if "error" in header:
                    raise _rebuilt(header)
                yield header, payload
        except VideoTimeoutError as error:
            error.seconds = error.seconds or self._timeout
            raise
        finally:
            # After Ctrl-C, say: the rest of this answer would be taken for the answer to the next request.
            if not answered and worker.usable:
                worker.kill()


def serve(descriptor: int) -> None:
    """Answers requests until the other end closes: what runs in the process.

    Args:
        descriptor: Of the socket.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle.
    connection = socket.socket(fileno=descriptor)
    _send(connection, {"last": True})
    reader: Any = None
    while True:
        try:
            request, _ = _receive(connection, None)
        except (OSError, ValueError):
            return
        # The alarm ends the process though the decoder holds the interpreter: nothing of Python's has to run for it.
        signal.setitimer(signal.ITIMER_REAL, request.get("seconds", START_SECONDS))
        try:
            if reader is not None and request["do"] in ("open", "close"):
                reader, closing = None, reader
                closing.close()
            if request["do"] == "open":
                reader = _open(request)
                _send(connection, {**_facts(reader), "last": True})
            elif request["do"] == "timetable":
                _send_timetable(connection, getattr(reader, "timetable", None))
            elif request["do"] == "frames":
                for frame in decoded(reader, request["times"], request["size"], request["scaling"]):
                    header = {"size": frame.image.size, "time": frame.time, "exact": frame.exact}
                    _send(connection, header, frame.image.tobytes())
                _send(connection, {"damage": _facts(reader)["damage"], "last": True})
            else:
                _send(connection, {"last": True})
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001 - the parent raises it again
            _send(connection, _told(error))
        signal.setitimer(signal.ITIMER_REAL, 0)


def decoded(
    reader: VideoReader, times: list[float], size: tuple[int, int] | list[int] | None, scaling: Any
) -> Iterator[Frame]:
    """The frames at these rising times, in RGB; at ``size`` if it is given, whether the reader can scale or not."""
    wanted = (size[0], size[1]) if size is not None else None
    able = wanted is not None and isinstance(reader, ScalingReader)
    frames = reader.scaled_frames(times, wanted, scaling) if able else reader.frames(times)  # type: ignore[attr-defined]
    for frame in frames:
        rgb = frame if frame.image.mode == "RGB" else replace(frame, image=frame.image.convert("RGB"))
        yield rgb.resized(wanted) if wanted is not None else rgb


def _open(request: Mapping[str, Any]) -> Any:
    module, _, name = request["reader"].partition(":")
    reader: Any = importlib.import_module(module)
    for part in name.split("."):
        reader = getattr(reader, part)
    options = dict(request["options"])
    if "index_dir" in options:
        options["index_dir"] = Path(options["index_dir"])
    return reader(Path(request["path"]), **options)


def _facts(reader: Any) -> dict[str, Any]:
    return {
        "duration": reader.duration,
        "width": reader.width,
        "height": reader.height,
        "codec": getattr(reader, "codec", None),
        "damage": list(getattr(reader, "damage", ())),
    }


def _send_timetable(connection: socket.socket, table: Timetable | None) -> None:
    if table is None:
        _send(connection, {"known": False, "last": True})
        return
    header = {"known": True, "fps": table.fps, "duration": table.duration, "last": True}
    _send(connection, header, array.array("d", table.times).tobytes())


def _import_name(reader: type[VideoReader]) -> str:
    name = f"{reader.__module__}:{reader.__qualname__}"
    if reader.__module__ == "__main__" or "<locals>" in name:
        raise ConfigError(f"isolate needs a reader that another process can import; {name} lies in no module: move it")
    return name


def _told(error: Exception) -> dict[str, Any]:
    if isinstance(error, LongvtError) and type(error).__module__ == errors.__name__:
        # What cannot be said in JSON is left out; the message stands.
        extra = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | None)}
        return {"error": type(error).__name__, "text": str(error), "extra": extra}
    return {"error": "", "text": "".join(traceback.format_exception(error))[-_MAX_TRACEBACK:]}


def _rebuilt(header: Mapping[str, Any]) -> Exception:
    kind = getattr(errors, header["error"], None) if header["error"] else None
    if not (isinstance(kind, type) and issubclass(kind, LongvtError)):
        return RuntimeError(f"the reader broke in its process:\n{header['text']}")
    # Not by its constructor, which may take other things than the message.
    error: LongvtError = kind.__new__(kind, header["text"])
    vars(error).update(header["extra"])
    return error


def _send(connection: socket.socket, header: Mapping[str, Any], payload: bytes = b"") -> None:
    text = json.dumps(header).encode()
    connection.sendall(_LENGTHS.pack(len(text), len(payload)) + text)
    connection.sendall(payload)


def _receive(connection: socket.socket, deadline: float | None) -> tuple[dict[str, Any], bytes]:
    header_length, length = _LENGTHS.unpack(_read(connection, _LENGTHS.size, deadline))
    if header_length > MAX_HEADER or length > MAX_PAYLOAD:
        raise ValueError("not a message")
    header = json.loads(_read(connection, header_length, deadline))
    return header, bytes(_read(connection, length, deadline))


def _read(connection: socket.socket, length: int, deadline: float | None) -> bytearray:
    """Exactly so many bytes.

    Raises:
        TimeoutError: The deadline passed.
        EOFError: The other end closed; it is a kind of OSError here.
    """
    data = bytearray(length)
    view, got = memoryview(data), 0
    while got < length:
        if deadline is not None:
            left = deadline - clock.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
        count = connection.recv_into(view[got:])
        if count == 0:
            raise ConnectionResetError
        got += count
    return data
