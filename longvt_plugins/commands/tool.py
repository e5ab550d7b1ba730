"""``longvt tool``: runs one tool on a video file, exactly as a model's call would.

::

    longvt tool                                            the tools and their parameters
    longvt tool crop_video talk.mp4 --start-time 10 --end-time 12 --out frames

    2 frames from 10s to 12s:
    10s
    frames/01_10s.jpg
    11s
    frames/02_11s.jpg

    longvt tool crop_video:fps talk.mp4 ... --fps 4        with an option that a recipe may set too

The flags come from the tool's schema, so a tool of any plugin works. The file goes in under the opaque
name ``video_1.mp4``, as in training; what the tool refuses is told as the model would be told.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from longvt_plugins.plugins import PluginManager
    from longvt_plugins.tools import Tool
    from longvt_plugins.types import Block

VIDEO_NAME = "video_1.mp4"
JPEG_QUALITY = 95


def run(argv: list[str]) -> int:
    """Lists the tools, or runs the one that is named first."""
    from longvt_plugins.plugins import create_plugin_manager

    plugins = create_plugin_manager()
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: longvt tool NAME[:OPTION=VALUE] VIDEO [--PARAMETER VALUE ...] [--out DIR]\n")
        print(
            "\n\n".join(_description(plugins.tools.get(name), plugins.tools.provider(name)) for name in plugins.tools)
        )
        return 0
    (tool,) = plugins.select_tools([argv[0]])
    args = vars(_parser(tool).parse_args(argv[1:]))
    blocks = _call(plugins, tool, args)
    _print_reply(blocks, Path(args["out"]) if "out" in args else None)
    return 0


def _call(plugins: PluginManager, tool: Tool, args: dict[str, Any]) -> list[Block]:
    from longvt_plugins.tools import ToolContext
    from longvt_plugins.types import ToolCall
    from longvt_plugins.video.config import VideoConfig, default_cache_dir
    from longvt_plugins.video.library import VideoLibrary
    from longvt_plugins.video.sampling import CROP

    config = VideoConfig(reader=args["reader"], cache_dir=str(default_cache_dir(os.environ)))
    given = {name: args[f"tool.{name}"] for name in _parameters(tool) if f"tool.{name}" in args}
    videos = {}
    if "video_path" in _parameters(tool):
        videos[VIDEO_NAME] = args["video"]
        given["video_path"] = VIDEO_NAME
    crop = replace(CROP, mode=args["sampling_mode"], scaling=args["scaling"])
    with VideoLibrary(config, plugins) as library, ToolContext(videos, library=library, crop=crop) as ctx:
        return plugins.call_tool(tool, ctx, ToolCall("call_1", tool.name, given))


def _print_reply(blocks: list[Block], folder: Path | None) -> None:
    """Prints the texts, writes the images and prints where they are; without a folder, only how large they are."""
    from PIL import Image

    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {folder} cannot be a folder: {error.strerror}") from error
    images = 0
    for block in blocks:
        if block["type"] == "text":
            print(block["text"])
            continue
        images += 1
        image = block["image"]
        if not isinstance(image, Image.Image):
            raise TypeError(f"image {images} of the reply is a {type(image).__name__}, not a PIL image")
        if folder is None:
            print(f"(a picture of {image.width}x{image.height} pixels; --out DIR writes it)")
            continue
        path = folder / f"{images:02d}{_second(block)}.jpg"
        # 4:4:4 keeps small coloured text readable: what a person checks is what a model gets.
        image.convert("RGB").save(path, quality=JPEG_QUALITY, subsampling="4:4:4")
        print(path)


def _second(block: Block) -> str:
    from longvt_plugins.video.sampling import format_seconds

    time = block.get("time")
    return f"_{format_seconds(time)}s" if isinstance(time, int | float) else ""


def _parser(tool: Tool) -> argparse.ArgumentParser:
    """Options from the schema: ``start_time`` is ``--start-time``."""
    from longvt_plugins.video.sampling import CROP, Mode, Scaling

    parser = argparse.ArgumentParser(
        prog=f"longvt tool {tool.name}",
        description=tool.description,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    if "video_path" in _parameters(tool):
        parser.add_argument("video", metavar="VIDEO", help=f"a video file; the tool sees it as {VIDEO_NAME}")
    parser.add_argument("--out", metavar="DIR", help="folder for the images of the reply")
    parser.add_argument(
        "--reader", metavar="NAME", default="pyav", help="an installed video reader instead of the built-in one"
    )
    parser.add_argument(
        "--sampling-mode",
        choices=get_args(Mode),
        default=CROP.mode,
        help="grid: evenly spaced seconds; qwen: the frames of qwen-vl-utils",
    )
    parser.add_argument(
        "--scaling",
        choices=get_args(Scaling),
        default=CROP.scaling,
        help="fast: straight to the size shown; exact: as qwen-vl-utils scales",
    )
    required = tool.schema["function"]["parameters"]["required"]
    for name, schema in _parameters(tool).items():
        if name != "video_path":
            parser.add_argument(
                _flag(name),
                dest=f"tool.{name}",
                metavar=_kind(schema),
                required=name in required,
                type=functools.partial(_value, schema),
                help=schema["description"].replace("%", "%%"),
            )
    return parser


def _flag(name: str) -> str:
    ours = ("out", "reader", "sampling_mode", "scaling", "help")
    return f"--{'tool-' if name in ours else ''}{name.replace('_', '-')}"


def _value(schema: dict[str, Any], text: str) -> Any:
    """A value typed on a command line: text where the tool wants text, JSON everywhere else."""
    kinds = _kind(schema).split("|")
    if kinds == ["string"]:
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        if "string" in kinds:
            return text
        raise argparse.ArgumentTypeError(f"{text!r} is not of type {_kind(schema)}") from None


def _kind(schema: dict[str, Any]) -> str:
    """The JSON type, alternatives separated by ``|``."""
    if "anyOf" in schema:
        return "|".join(_kind(one) for one in schema["anyOf"])
    return str(schema.get("type") or ("string" if "enum" in schema or "const" in schema else "json"))


def _parameters(tool: Tool) -> dict[str, Any]:
    properties: dict[str, Any] = tool.schema["function"]["parameters"]["properties"]
    return properties


def _description(tool: Tool, provider: str) -> str:
    lines = [f"{tool.name} ({provider})", f"  {tool.description}"]
    required = tool.schema["function"]["parameters"]["required"]
    for name, schema in _parameters(tool).items():
        signature = "VIDEO" if name == "video_path" else f"{_flag(name)} {_kind(schema)}"
        lines.append(f"  {signature if name in required else f'[{signature}]'}: {schema['description']}")
    lines += [f"  {tool.name}:{name}: {help}" for name, help in tool.option_help.items()]
    return "\n".join(lines)
