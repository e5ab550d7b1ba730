r"""Whether two formulas are equal, by math-verify, in a process of its own that can be ended at any time.

::

    maths = Maths()
    maths.agree(r"\frac{1}{2}", "2^{-1}")        # True
    maths.agree("x^2 + 2x + 1", "(x+1)^2")       # True
    maths.agree("red", "blue")                   # None: not formulas, the words must decide

The whole text must be a formula: no number is picked out of a sentence. A comparison that takes too long has no
result. It is not asked about quantities: see :mod:`longvt_plugins.judges.quantities`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import re
import select
import subprocess
import sys
import threading
import time
import weakref

from longvt_plugins.errors import JudgeError, MissingExtraError
from longvt_plugins.judges import maths_worker

LONGEST = 200
"""Characters of the longest text that is taken for a formula."""

WALL_SECONDS = 120.0
"""Until a worker counts as stuck. What ends a long comparison is its processor time, see the worker."""

_FUNCTIONS = "sqrt|sin|cos|tan|log|ln|exp|pi"
_CHARACTERS = re.compile(r"[\w\s\\{}()\[\]|+\-*/^=<>≤≥≠±×÷·√π∞.,!°']+")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_BARE_FUNCTION = re.compile(rf"(?<![\\A-Za-z])({_FUNCTIONS})(?![A-Za-z])")
# A score, a date or a product's name is written with digits, letters and hyphens alone.
_OPERATION = re.compile(r"[\\^+*=√π<>≤≥±×÷!]|\d\s*/\s*\(|\)\s*/|\bpi\b|\bsqrt\b")


class Maths:
    """Compares formulas; may be used from several threads, one at a time.

    Raises:
        MissingExtraError: math-verify is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("math_verify") is None:
            raise MissingExtraError("math-verify", "eval", "to compare formulas (maths: true)")
        self.version = importlib.metadata.version("math-verify")
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._finalizer: weakref.finalize[..., Maths] | None = None
        self._ask_once = functools.lru_cache(maxsize=4096)(self._ask)

    def agree(self, reference: str, prediction: str) -> bool | None:
        """Whether two texts are equal formulas; None if one is no formula, or if it cannot be told in time."""
        right, given = formula(reference), formula(prediction)
        if right is None or given is None or not (_OPERATION.search(right) or _OPERATION.search(given)):
            return None
        with self._lock:
            return self._ask_once(right, given)

    def close(self) -> None:
        """Ends the worker; the next comparison starts another."""
        with self._lock:
            self._drop()

    def _ask(self, right: str, given: str) -> bool | None:
        worker = self._running()
        try:
            assert worker.stdin is not None
            worker.stdin.write(json.dumps([right, given]).encode() + b"\n")
            worker.stdin.flush()
            line = _read_line(worker, WALL_SECONDS)
        except OSError:
            line = b""  # it has just ended
        if not line:
            self._drop()
            return None
        verdict: bool | None = json.loads(line)
        return verdict

    def _running(self) -> subprocess.Popen[bytes]:
        # A forked child must not talk into its parent's worker.
        if self._worker is not None and self._owner == os.getpid() and self._worker.poll() is None:
            return self._worker
        self._drop()
        # A session of its own: Ctrl-C ends the program, and then the worker by the end of its input.
        worker = subprocess.Popen(
            [sys.executable, "-m", maths_worker.__name__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._worker, self._owner = worker, os.getpid()
        self._finalizer = weakref.finalize(self, _end, worker, self._owner)
        if json.loads(_read_line(worker, WALL_SECONDS) or b"null") != maths_worker.READY:
            self._drop()
            raise JudgeError(
                f"the process that compares formulas did not start: {sys.executable} -m {maths_worker.__name__}"
            )
        return worker

    def _drop(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._worker = self._finalizer = None


def formula(text: str) -> str | None:
    """A text as LaTeX if the whole of it is a formula, else None."""
    bare = text.strip().removesuffix(".").strip()
    for start, end in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        if bare.startswith(start) and bare.endswith(end) and len(bare) >= len(start) + len(end):
            bare = bare[len(start) : -len(end)].strip()
            break
    if not bare or len(bare) > LONGEST or not _CHARACTERS.fullmatch(bare):
        return None
    bare = _BARE_FUNCTION.sub(lambda found: found[0] if found[1] == "sqrt" else "\\" + found[1], bare)
    words = _WORD.findall(_COMMAND.sub(" ", bare))
    if any(word != "sqrt" for word in words):
        return None
    return bare.replace("**", "^")


def _read_line(worker: subprocess.Popen[bytes], seconds: float) -> bytes:
    """One line, empty if the worker ended or did not write one in time."""
    assert worker.stdout is not None
    read, line, until = worker.stdout.fileno(), b"", time.monotonic() + seconds
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([read], [], [], max(0.0, until - time.monotonic()))
        more = os.read(read, 4096) if ready else b""
        if not more:
            return b""
        line += more
    return line


def _end(worker: subprocess.Popen[bytes], owner: int) -> None:
    if owner != os.getpid():
        return
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue  # it ended with something unread
    worker.kill()
    worker.wait()
