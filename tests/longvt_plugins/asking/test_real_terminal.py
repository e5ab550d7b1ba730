"""``longvt ask`` in a pseudo terminal: it asks what the terminal can, and draws thumbnails that way."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

from longvt_plugins.testing_server import assistant

pytestmark = pytest.mark.slow

WHAT_ARE_YOU = b"\x1b[c"
SIXEL_TERMINAL = b"\x1b[?62;4;22c"
PLAIN_TERMINAL = b"\x1b[?62;22c"


def converse(command, answer, seconds=120, stdin=None):
    """Runs a command in a terminal that answers when it is asked what it is; gives all that it wrote."""
    master, slave = pty.openpty()
    # Rows, columns, and their size in pixels.
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 1000, 800))
    env = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    stdin = slave if stdin is None else stdin
    process = subprocess.Popen(command, stdin=stdin, stdout=slave, stderr=slave, env=env, start_new_session=True)
    os.close(slave)
    written, asked, end = b"", 0, time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            try:
                written += os.read(master, 65536)
            except OSError:  # the other side has gone
                break
            for _ in range(written.count(WHAT_ARE_YOU) - asked):
                asked += 1
                os.write(master, answer)
    os.close(master)
    return process.wait(30), written.decode(errors="replace")


@pytest.fixture
def command(serve, video):
    server = serve([assistant("<think>Red.</think><answer>red</answer>")])
    where = ["--base-url", server.base_url, "--model", "m", "--max-frames", "4", "--max-pixels", "7056"]
    return [sys.executable, "-m", "longvt_plugins.cli", "ask", video, "Which colour?", *where]


@pytest.mark.parametrize(
    ("terminal", "drawn", "not_drawn"), [(SIXEL_TERMINAL, "\x1bP", "▀"), (PLAIN_TERMINAL, "▀", "\x1bP")]
)
def test_thumbnails_are_drawn_as_the_terminal_can(command, terminal, drawn, not_drawn):
    code, written = converse(command, terminal)
    assert code == 0, written
    assert drawn in written
    assert not_drawn not in written
    assert "red" in written


def test_without_a_terminal_to_answer_there_are_none(command):
    """As in a shell's loop over lines that it reads."""
    code, written = converse(command, SIXEL_TERMINAL, stdin=subprocess.DEVNULL)
    assert code == 0, written
    assert "red" in written
    assert "▀" not in written
    assert "\x1bP" not in written
    code, written = converse([*command, "--thumbnails", "blocks"], SIXEL_TERMINAL, stdin=subprocess.DEVNULL)
    assert code == 2
    assert "needs a terminal on standard input too" in written
