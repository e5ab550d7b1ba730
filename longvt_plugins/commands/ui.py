"""``longvt ui``: a local page to ask about videos and watch the model look.

::

    pip install 'longvt-plugins[ui]'
    longvt ui films/ --model tiny                       # http://127.0.0.1:7860
    longvt ui films/ --base-url http://localhost:8000/v1 --tools crop_video,zoom_region

It answers this machine alone unless ``--host`` says otherwise. Then whoever reaches the port may upload videos, ask,
and see the videos that it was started with: there is no password.
"""

from __future__ import annotations

import argparse
import ipaddress
import sys
import threading


def run(argv: list[str]) -> int:
    """Serves until Ctrl-C."""
    from longvt_plugins.commands.asker_options import make_asker
    from longvt_plugins.ui.app import build_app, launch
    from longvt_plugins.ui.videos import VideoChoice

    args = _parser().parse_args(argv)
    choice = VideoChoice(args.videos)
    with make_asker(args) as asker:
        app = build_app(asker, choice)
        address = launch(app, host=args.host, port=args.port, browser=args.browser)
        if not _is_loopback(args.host):
            sys.stderr.write(
                f"longvt ui: other machines are answered too ({args.host}), and there is no password: "
                "whoever reaches the port may ask, and see these videos\n"
            )
        print(f"The page is at {address} (Ctrl-C ends it)", flush=True)
        try:
            threading.Event().wait()
        finally:
            app.close(verbose=False)
    return 0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parser() -> argparse.ArgumentParser:
    from longvt_plugins.commands.asker_options import add_asker_options

    parser = argparse.ArgumentParser(
        prog="longvt ui",
        description="Serve a page on this machine: open a video, ask, watch the model look.",
        allow_abbrev=False,
    )
    parser.add_argument("videos", metavar="VIDEO", nargs="*", help="videos, or folders of them, to choose from")
    parser.add_argument("--host", default="127.0.0.1", help="address to answer at (default: this machine alone)")
    parser.add_argument("--port", type=int, default=7860, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--browser", action="store_true", help="open the page")
    add_asker_options(parser)
    return parser
