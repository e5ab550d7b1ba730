"""Serves one folder on this machine alone, to look at a page in a browser.

::

    serve_folder("page", port=0, ready=print)          # http://127.0.0.1:40123/

Nothing outside the folder is served, and nobody on another machine is answered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: a page asks for hundreds of frames."""

    def translate_path(self, path: str) -> str:
        """The file asked for; one that a link leads out of the folder to is as good as missing."""
        file = Path(super().translate_path(path))
        inside = file.resolve().is_relative_to(Path(self.directory).resolve())
        return str(file if inside else Path(self.directory) / "no such file")


def serve_folder(folder: str | Path, port: int, ready: Callable[[str], None]) -> None:
    """Serves until Ctrl-C.

    Args:
        folder: With an ``index.html``.
        port: 0 takes a free one.
        ready: Told the address once it answers.
    """
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        ready(f"http://127.0.0.1:{server.server_port}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
