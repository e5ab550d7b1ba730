"""The options of the commands that ask a model about videos, and the asker that they describe.

::

    add_asker_options(parser)                     # --model, --base-url, --tools, --fps, ...
    with make_asker(parser.parse_args(argv)) as asker: ...

The key of a server comes from the environment, never from the command line, which other users of a machine can read.
"""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from longvt_plugins.asking import Asker

ADDRESS_VARIABLE, KEY_VARIABLE = "OPENAI_BASE_URL", "OPENAI_API_KEY"
"""Environment variables, as OpenAI's own client has them."""


def add_asker_options(parser: argparse.ArgumentParser) -> None:
    """Adds them, in two groups."""
    from longvt_plugins.chat.config import ToolImages

    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        metavar="NAME",
        help="tiny (shipped, for made videos), a checkpoint's folder, or a name on a server",
    )
    model.add_argument(
        "--base-url", metavar="URL", help="an OpenAI-compatible server, such as http://localhost:8000/v1"
    )
    model.add_argument("--device", help="of a checkpoint, such as cuda:0")
    model.add_argument("--dtype", default="auto", help="of a checkpoint, such as bfloat16 (default: its own)")
    model.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token (default)")
    model.add_argument("--max-tokens", type=int, metavar="N", help="longest turn (default: 4096)")
    model.add_argument("--price-input", type=float, metavar="USD", help="dollars per million tokens read")
    model.add_argument("--price-output", type=float, metavar="USD", help="dollars per million tokens written")
    model.add_argument("--max-cost", type=float, metavar="USD", help="nothing more is sent after so many dollars")
    model.add_argument(
        "--tool-images",
        choices=get_args(ToolImages),
        default="tool",
        help="user: for servers that refuse images in tool messages",
    )
    agent = parser.add_argument_group("what the model may do and see")
    agent.add_argument("--tools", default="crop_video", metavar="A,B", help="that are offered (default: %(default)s)")
    agent.add_argument("--form", metavar="FORM", default="tool", help="tool (default), reasoning or non_think")
    agent.add_argument("--no-tool", action="store_true", help="the same as --form non_think")
    agent.add_argument("--max-calls", type=int, metavar="N", help="tool calls (default: 5)")
    agent.add_argument("--max-turns", type=int, metavar="N", help="turns (default: two more than calls)")
    agent.add_argument("--fps", type=float, help="frames per second of overview and crops (default: 1)")
    agent.add_argument("--max-frames", type=int, metavar="N", help="of the overview (default: 512)")
    agent.add_argument("--max-pixels", type=int, metavar="N", help="of a frame (default: 50176)")
    agent.add_argument("--preset", help="sampling of made videos, such as tiny, for checkpoints trained on them")
    agent.add_argument("--reader", default="pyav", metavar="NAME", help="video reader (default: %(default)s)")
    agent.add_argument("--prompts-dir", metavar="DIR", help="prompts of your own")


def make_asker(args: argparse.Namespace, *, concurrency: int = 2) -> Asker:
    """The asker that the options describe.

    Args:
        args: Parsed.
        concurrency: Requests to a server at once.

    Raises:
        ConfigError: No such model, or an option that makes no sense.
        UnknownNameError: A tool or reader that is not installed.
        ChatError: A server that was to be asked for its model cannot be.
    """
    from longvt_plugins.asking import Asker
    from longvt_plugins.asking.models import open_model, preset_defaults
    from longvt_plugins.plugins import create_plugin_manager
    from longvt_plugins.video.config import VideoConfig, default_cache_dir
    from longvt_plugins.video.sampling import CROP, OVERVIEW

    plugins = create_plugin_manager()
    tools = tuple(name for name in re.split("[,+]", args.tools) if name)
    plugins.select_tools(tools)
    plugins.video_readers.get(args.reader)
    prices = None
    if args.price_input is not None or args.price_output is not None:
        prices = {"input": args.price_input or 0.0, "output": args.price_output or 0.0}
    chat: dict[str, Any] = {"prices": prices, "max_cost": args.max_cost, "tool_images": args.tool_images}
    if key := os.environ.get(KEY_VARIABLE):
        chat["api_key"] = key
    model = open_model(
        args.model,
        base_url=args.base_url or os.environ.get(ADDRESS_VARIABLE),
        device=args.device,
        dtype=args.dtype,
        concurrency=concurrency,
        **chat,
    )
    defaults = dict(model.defaults)
    if args.preset is not None:
        defaults |= preset_defaults(args.preset)
    overview, crop = defaults.get("overview", OVERVIEW), defaults.get("crop", CROP)
    if args.fps is not None:
        overview, crop = replace(overview, fps=args.fps), replace(crop, fps=args.fps)
    if args.max_frames is not None:
        least = min(overview.min_frames, args.max_frames)
        overview = replace(overview, max_frames=args.max_frames, min_frames=least)
    if args.max_pixels is not None:
        overview, crop = (
            replace(each, max_pixels=args.max_pixels, min_pixels=min(each.min_pixels, args.max_pixels))
            for each in (overview, crop)
        )
    defaults |= {"overview": overview, "crop": crop}
    if args.max_tokens is not None:
        defaults["max_new_tokens"] = args.max_tokens
    return Asker(
        replace(model, defaults=defaults),
        tools=tools,
        plugins=plugins,
        form="non_think" if args.no_tool else args.form,
        **({} if args.max_calls is None else {"max_calls": args.max_calls}),
        max_turns=args.max_turns,
        temperature=args.temperature,
        prompts_dir=args.prompts_dir,
        video=VideoConfig(reader=args.reader, cache_dir=str(default_cache_dir(os.environ))),
    )
