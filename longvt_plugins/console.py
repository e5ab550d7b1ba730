"""How every command of ours ends: an exit code, and for an error of ours one line on standard error.

::

    longvt: No tool named 'crop_vdeo'. Did you mean 'crop_video'? Installed: crop_video (built-in).

0 is success, 2 a fault that the user can repair, 130 Ctrl-C, 141 that whoever read our output left, as ``| head`` does.
A bug is not an error of ours: it keeps its traceback. ``LONGVT_TRACEBACK=1`` shows the traceback of the others too.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

from longvt_plugins.errors import LongvtError

TRACEBACK_VARIABLE = "LONGVT_TRACEBACK"

USER_FAULT = 2
INTERRUPTED = 130
READER_LEFT = 141
"""What a shell tells of a program that SIGPIPE ended."""


def run_command(program: str, command: Callable[[], int | None]) -> int:
    """Runs a command and gives its exit code.

    Args:
        program: Begins the error line.
        command: Does the work; None counts as 0.
    """
    try:
        code = command() or 0
        sys.stdout.flush()  # Here, where a reader who left is understood, and not when Python ends.
        return code
    except BrokenPipeError:
        if not _reader_left():
            raise
        # What is still in the buffer would be written once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_LEFT
    except LongvtError as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        sys.stderr.write(f"{program}: {one_line(error)}\n")
        return USER_FAULT
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted\n")
        return INTERRUPTED


def _reader_left() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks; its type where it has no message."""
    return " ".join(str(error).split()) or type(error).__name__
