"""``longvt mcp``: serves the tools to any MCP client, over the videos of some folders and no others.

::

    longvt mcp ~/Videos                                        a client starts this and speaks over its pipes
    longvt mcp /data/talks /data/films --http --port 8765      http://127.0.0.1:8765/mcp
    longvt mcp ~/Videos --tools crop_video:fps,zoom_region --images png

``docs/mcp.md`` has the lines that desktop clients want in their configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import get_args

from longvt_plugins.errors import ConfigError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765


def run(argv: list[str]) -> int:
    """Serves until the client leaves, or until it is interrupted."""
    from longvt_plugins.mcp_server.folders import VideoFolders
    from longvt_plugins.mcp_server.server import ServerConfig, ToolServer
    from longvt_plugins.mcp_server.transports import serve_http, serve_stdio
    from longvt_plugins.plugins import create_plugin_manager
    from longvt_plugins.video.config import VideoConfig, default_cache_dir

    args = _parser().parse_args(argv)
    if not args.http and (args.host is not None or args.port is not None or args.allow_host):
        raise ConfigError(
            "--host, --port and --allow-host are for --http: a client that starts this speaks over its pipes"
        )
    config = ServerConfig(
        tools=tuple(name.strip() for name in args.tools.split(",") if name.strip()),
        images=args.images,
        max_frames=args.max_frames,
        threads=args.threads,
        video=VideoConfig(reader=args.reader, cache_dir=str(default_cache_dir(os.environ)), isolate=args.isolate),
    )
    with ToolServer(VideoFolders(args.folders), create_plugin_manager(), config) as tools:
        if not args.http:
            asyncio.run(serve_stdio(tools.server))
            return 0
        asyncio.run(
            serve_http(
                tools.server, host=DEFAULT_HOST if args.host is None else args.host,
                port=DEFAULT_PORT if args.port is None else args.port, names=args.allow_host,
                started=lambda address: print(f"{address} (Ctrl-C ends it)", flush=True),
            )
        )  # fmt: skip
    return 0


def _parser() -> argparse.ArgumentParser:
    from longvt_plugins.mcp_server.server import ImageFormat, ServerConfig

    defaults = ServerConfig()
    parser = argparse.ArgumentParser(
        prog="longvt mcp",
        description="Serve the tools over MCP. Only videos inside the given folders are opened.",
        allow_abbrev=False,
    )
    parser.add_argument("folders", metavar="DIR", type=Path, nargs="+", help="a folder of videos")
    parser.add_argument(
        "--tools", metavar="A,B", default=",".join(defaults.tools), help="that are offered (default: %(default)s)"
    )
    parser.add_argument(
        "--images",
        choices=get_args(ImageFormat),
        default=defaults.images,
        help="how pictures are sent (default: %(default)s)",
    )
    parser.add_argument(
        "--max-frames",
        metavar="N",
        type=int,
        default=defaults.max_frames,
        help="frames of one reply (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", metavar="N", type=int, default=defaults.threads, help="calls at once (default: %(default)s)"
    )
    parser.add_argument("--reader", metavar="NAME", default="pyav", help="an installed video reader")
    parser.add_argument("--isolate", action="store_true", help="decode in processes of their own")
    http = parser.add_argument_group("streamable HTTP, instead of standard input and output")
    http.add_argument("--http", action="store_true", help="serve over HTTP")
    http.add_argument("--host", help=f"address to listen on (default: {DEFAULT_HOST})")
    http.add_argument("--port", type=int, help=f"0 for any that is free (default: {DEFAULT_PORT})")
    http.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a name under which clients reach this machine; needed where --host is not loopback",
    )
    return parser
