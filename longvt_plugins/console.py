"""How every command of ours ends: an exit code, and for an error of ours one line on standard error.

::

    longvt: No tool named 'crop_vdeo'. Did you mean 'crop_video'? Installed: crop_video (built-in).

0 is success, 2 a fault that the user can repair, 130 Ctrl-C. A bug is not an error of ours: it keeps its
traceback. ``LONGVT_TRACEBACK=1`` shows the traceback of the others too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from longvt_plugins.errors import LongvtError

TRACEBACK_VARIABLE = "LONGVT_TRACEBACK"

USER_FAULT = 2
INTERRUPTED = 130


def run_command(program: str, command: Callable[[], int | None]) -> int:
    """Runs a command and gives its exit code.

    Args:
        program: Begins the error line.
        command: Does the work; None counts as 0.
    """
    try:
        return command() or 0
    except LongvtError as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        sys.stderr.write(f"{program}: {one_line(error)}\n")
        return USER_FAULT
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted\n")
        return INTERRUPTED


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks; its type where it has no message."""
    return " ".join(str(error).split()) or type(error).__name__
