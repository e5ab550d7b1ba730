"""``longvt video``: looks at a video file, and at the folder where decoded frames are kept.

::

    longvt video probe talk.mp4                          length, codec, groups of pictures, damage, tokens
    longvt video probe talk.mp4 --decode                 also the damage that only decoding shows
    longvt video probe talk.mp4 --json --model qwen3_vl
    longvt video sheet talk.mp4 --out sheet.jpg          24 frames of it on one picture, with their seconds
    longvt video sheet talk.mp4 --out sheet.jpg --start 60 --end 75 --frames 15
    longvt video cache                                   how large it is, and how often it spared decoding
    longvt video cache --clear

The cache is that of all commands: ``--dir``, else ``LONGVT_CACHE``, else ``longvt`` in the user's cache folder.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from longvt_plugins.video.disk_cache import CacheStats
    from longvt_plugins.video.probe import VideoInfo
    from longvt_plugins.video.tokens import TokenCounter

_CROP_SECONDS = 60.0
_SAME_RATE = 0.001
"""Share by which a rate may be off through rounding alone."""

_SHEET_FRAMES = 24
_SHEET_SUFFIXES = (".jpg", ".jpeg", ".png")
_JPEG_QUALITY = 90


def add_parser(subparsers: Any) -> None:
    """Adds the options of this command."""
    parser = subparsers.add_parser("video", description="Look at a video file, or at the cache of decoded frames.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="{probe,sheet,cache}")

    probe = actions.add_parser("probe", description="Tell what a video file holds, and what it costs a model.")
    probe.add_argument("video", metavar="FILE", type=Path, help="a video file")
    probe.add_argument("--decode", action="store_true", help="decode all of it, so that all damage is found")
    probe.add_argument("--json", action="store_true", help="print JSON instead of text")
    probe.add_argument(
        "--model",
        metavar="NAME|DIR",
        default="qwen2_5_vl",
        help="whose tokens are counted: qwen2_5_vl, qwen3_vl, or the folder of a checkpoint (default: %(default)s)",
    )

    sheet = actions.add_parser("sheet", description="Draw frames of a video on one picture, each over its second.")
    sheet.add_argument("video", metavar="FILE", type=Path, help="a video file")
    sheet.add_argument("--out", metavar="FILE", type=Path, required=True, help="the picture: .jpg or .png")
    sheet.add_argument("--start", metavar="SECONDS", type=float, default=0.0, help="where it begins (default: 0)")
    sheet.add_argument("--end", metavar="SECONDS", type=float, help="where it ends (default: where the video does)")
    sheet.add_argument(
        "--frames", metavar="N", type=int, default=_SHEET_FRAMES, help="how many frames (default: %(default)s)"
    )
    sheet.add_argument("--columns", metavar="N", type=int, help="frames side by side (default: as the shape asks)")
    sheet.add_argument("--reader", metavar="NAME", default="pyav", help="which video reader (default: %(default)s)")

    cache = actions.add_parser("cache", description="Tell what the cache of decoded frames holds, or clear it.")
    cache.add_argument("--dir", metavar="DIR", type=Path, help="the folder of the cache, as in video_cache_dir")
    cache.add_argument("--clear", action="store_true", help="delete what is in it")
    cache.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args: argparse.Namespace) -> int:
    """Does what is asked for."""
    {"probe": _probe, "sheet": _sheet, "cache": _cache}[args.action](args)
    return 0


def _probe(args: argparse.Namespace) -> None:
    from longvt_plugins.video.probe import probe
    from longvt_plugins.video.tokens import token_counter

    count = token_counter(args.model)
    info = probe(args.video, decode=args.decode)
    costs = _costs(info, count)
    if args.json:
        told = {"path": str(args.video)} | asdict(info) | {"tokens": {"model": args.model} | costs}
        print(json.dumps(told, indent=2))
        return
    print(args.video)
    for name, text in [*_facts(info, decoded=args.decode), *_cost_lines(args.model, costs)]:
        print(f"  {name:<11}{text}")


def _costs(info: VideoInfo, count: TokenCounter) -> dict[str, dict[str, float]]:
    """Tokens of the overview, and of crops of a minute and of the whole video, as the presets sample them."""
    from longvt_plugins.types import TimeSpan
    from longvt_plugins.video.sampling import CROP, OVERVIEW

    costs = {}
    for name, sampling, seconds in (
        ("overview", OVERVIEW, info.duration),
        ("crop", CROP, min(info.duration, _CROP_SECONDS)),
        ("longest_crop", CROP, info.duration),
    ):
        times = sampling.times(TimeSpan(0, seconds))
        width, height = sampling.size(info.width, info.height)
        tokens = count(times, (width, height))
        costs[name] = {
            "seconds": seconds,
            "frames": len(times),
            "width": width,
            "height": height,
            "tokens": tokens,
        }
    return costs


def _facts(info: VideoInfo, *, decoded: bool) -> list[tuple[str, str]]:
    turned = f", turned by {info.rotation} degrees" if info.rotation else ""
    rate = f"{info.average_fps:.2f} frames a second"
    if info.variable:
        rate += ", variable"
    elif info.nominal_fps is not None and abs(info.nominal_fps - info.average_fps) > _SAME_RATE * info.average_fps:
        rate += f" (the file says {info.nominal_fps:.2f})"
    groups = f"{info.key_frames}, of {info.gop_median:g} frames ({info.gop_min} to {info.gop_max})"
    beside = " and ".join(
        name for name, there in (("sound", info.has_audio), ("subtitles", info.has_subtitles)) if there
    )
    none = "none" if decoded else "none in its packets; --decode looks inside them"
    return [
        ("length", f"{_length(info.duration)}, {_number(info.frames, 'frame')}"),
        ("picture", f"{info.width}x{info.height}{turned}, {info.codec} in {info.container}"),
        ("rate", rate),
        ("groups", groups),
        ("size", f"{_size(info.size)}, {info.bit_rate / 1000:.0f} kbit/s"),
        *([("beside", beside)] if beside else []),
        *(("damage", finding) for finding in info.damage or (none,)),
    ]


def _cost_lines(model: str, costs: dict[str, dict[str, float]]) -> list[tuple[str, str]]:
    from longvt_plugins.video.sampling import format_seconds

    lines = [("tokens", f"for {model}, labels included")]
    for name, cost in costs.items():
        frames = f"{_number(cost['frames'], 'frame')} of {cost['width']}x{cost['height']}"
        part = name if name == "overview" else f"crop of {format_seconds(cost['seconds'])} s"
        lines.append(("", f"{part}: {cost['tokens']:,} ({frames})"))
    return lines


def _sheet(args: argparse.Namespace) -> None:
    from longvt_plugins.plugins import create_plugin_manager
    from longvt_plugins.types import TimeSpan
    from longvt_plugins.video.config import VideoConfig, default_cache_dir
    from longvt_plugins.video.library import VideoLibrary
    from longvt_plugins.video.sampling import format_seconds
    from longvt_plugins.video.sheet import contact_sheet

    if args.out.suffix.lower() not in _SHEET_SUFFIXES:
        raise ConfigError(f"--out must end in {', '.join(_SHEET_SUFFIXES)}, not {args.out.name!r}")
    config = VideoConfig(reader=args.reader, cache_dir=str(default_cache_dir(os.environ)))
    with VideoLibrary(config, create_plugin_manager()) as library, library.open(args.video) as video:
        end = video.duration if args.end is None else min(args.end, video.duration)
        if not 0 <= args.start < end:  # Not a number is neither.
            length = format_seconds(video.duration)
            raise ConfigError(f"no part of the video, which lasts {length} s: from {args.start:g} to {end:g} s")
        sheet = contact_sheet(video, TimeSpan(args.start, end), frames=args.frames, columns=args.columns)
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(args.out, quality=_JPEG_QUALITY)
    except OSError as error:
        raise ConfigError(f"{args.out} cannot be written: {error.strerror or error}") from None
    print(args.out)


def _cache(args: argparse.Namespace) -> None:
    from longvt_plugins.video.config import default_cache_dir
    from longvt_plugins.video.disk_cache import cache_stats, clear_cache

    folder = args.dir if args.dir is not None else default_cache_dir(os.environ)
    if args.clear:
        freed = clear_cache(folder)
        print(json.dumps({"folder": str(folder), "freed": freed}) if args.json else f"{folder}: {_size(freed)} freed")
        return
    stats = cache_stats(folder)
    if args.json:
        print(json.dumps(asdict(stats) | {"folder": str(stats.folder)}, indent=2))
    else:
        print("\n".join(_cache_lines(stats)))


def _cache_lines(stats: CacheStats) -> list[str]:
    asked = stats.memory_hits + stats.disk_hits + stats.misses
    spared = f" ({(stats.memory_hits + stats.disk_hits) / asked:.0%} spared)" if asked else ""
    return [
        str(stats.folder),
        f"  frames   {_size(stats.bytes)} in {_number(stats.packs, 'pack')}, of {_number(stats.videos, 'video')}",
        f"  indexes  {_size(stats.index_bytes)} in {_number(stats.index_files, 'file')}",
        f"  given    {_number(asked, 'frame')}: {stats.memory_hits} from memory, {stats.disk_hits} from disk, "
        f"{stats.misses} decoded{spared}",
    ]


def _number(count: float, what: str) -> str:
    return f"{count:.0f} {what}{'s' * (count != 1)}"


def _length(seconds: float) -> str:
    whole = f"{seconds:.2f} s"
    if seconds < 60:
        return whole
    minutes, rest = divmod(int(seconds), 60)
    return f"{whole} ({minutes // 60}:{minutes % 60:02}:{rest:02})"


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
