"""``longvt synth``: makes a synthetic long-video world, or serves the reader that can answer about it.

::

    longvt synth --out world --videos 200 --seed 7
    longvt synth --out world --split train=160 --split dev=20 --split test=20 --families what,when
    longvt synth tools --out tasks --tasks zoom_region,get_frames --count 100
    longvt synth models --out models
    longvt synth serve --port 8000

What it writes is told in :mod:`longvt_plugins.synthetic.make`. Run again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from longvt_plugins.errors import ConfigError
from longvt_plugins.progress import show_progress

if TYPE_CHECKING:
    from rich.console import Console

    from longvt_plugins.rows import Row

DEFAULT_SPLITS = {"train": 80, "dev": 10, "test": 10}
"""Percent of ``--videos``; rounding goes to the first."""


def run(argv: list[str]) -> int:
    """Makes a world; with ``serve``, ``tools`` or ``models`` as the first word, what that says."""
    others = {"tools": _make_tool_tasks, "models": _train_models, "serve": _serve}
    if argv and argv[0] in others:
        return others[argv[0]](argv[1:])
    return _make(argv)


def _make(argv: list[str]) -> int:
    from longvt_plugins.synthetic.make import count_missing, estimate, make_world
    from longvt_plugins.synthetic.questions import FAMILIES, check_families
    from longvt_plugins.synthetic.world import get_preset

    args = _parser().parse_args(argv)
    preset = get_preset(args.preset)
    families = tuple(args.families.split(",")) if args.families else FAMILIES
    check_families(families)
    splits = _splits(args.split, args.videos)
    if args.processes < 1:
        raise ConfigError(f"--processes must be at least 1, not {args.processes}")
    console = _console()
    missing = count_missing(args.out, preset, splits, args.seed, families)
    seconds, size = estimate(preset, missing, args.processes)
    told = f"{missing} of {sum(splits.values())} videos of the preset {preset.name} to make"
    console.print(f"{told}: about {_duration(seconds)} and {_size(size)}" if missing else told)
    with show_progress(console) as tell:
        make_world(
            args.out, preset, splits, args.seed, families, processes=args.processes,
            progress=lambda done, total: tell("videos", done, total),
        )  # fmt: skip
    _print_table(console, args.out, splits, families)
    return 0


def _serve(argv: list[str]) -> int:
    from longvt_plugins.synthetic.server import MODEL, ReaderServer

    parser = argparse.ArgumentParser(
        prog="longvt synth serve", description="Serve the offline reader as an OpenAI-compatible server on loopback."
    )
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        server = ReaderServer(port=args.port)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port {args.port} cannot be used: {error}; choose another with --port") from error
    with server:
        print(f"{MODEL} at {server.base_url} (Ctrl-C ends it)", flush=True)
        server.wait()
    return 0


def _make_tool_tasks(argv: list[str]) -> int:
    from longvt_plugins.synthetic.tool_tasks import TASKS, make_tool_tasks

    parser = argparse.ArgumentParser(
        prog="longvt synth tools", description="Make videos whose questions need one tool, and not crop_video."
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the videos and rows")
    parser.add_argument("--tasks", metavar="A,B", default=",".join(TASKS), help="by tool (default: %(default)s)")
    parser.add_argument("--count", metavar="N", type=int, default=20, help="videos of each (default: %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="another seed is another world (default: 0)")
    args = parser.parse_args(argv)
    if args.count < 1:
        raise ConfigError(f"--count must be at least 1, not {args.count}")
    rows = make_tool_tasks(args.out, args.tasks.split(","), args.count, args.seed)
    print(f"{len(rows)} rows in {args.out / 'tools.parquet'}")
    return 0


def _train_models(argv: list[str]) -> int:
    from longvt_plugins.synthetic.frame_model import train_frame_model
    from longvt_plugins.synthetic.speech_model import train_speech_model

    trainers = {"search_frames": train_frame_model, "transcribe": train_speech_model}
    parser = argparse.ArgumentParser(
        prog="longvt synth models",
        description="Train the tiny models with which search_frames and transcribe are of use in synthetic videos.",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="a folder for each model goes there")
    parser.add_argument("--only", choices=sorted(trainers), help="of this tool alone (default: both)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the weights (default: 0)")
    args = parser.parse_args(argv)
    if args.seed < 0:
        raise ConfigError(f"--seed must be at least 0, not {args.seed}")
    chosen = [args.only] if args.only else list(trainers)
    for tool in chosen:
        try:
            (args.out / tool).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{args.out / tool} cannot be a folder: {error.strerror}") from error
    with show_progress(_console()) as tell:
        for tool in chosen:
            told = partial(tell, f"training the model of {tool}")
            trainers[tool](args.out / tool, seed=args.seed, progress=told)
    for tool in chosen:
        print(f"{tool}:model={args.out / tool}")
    return 0


def _parser() -> argparse.ArgumentParser:
    from longvt_plugins.synthetic.questions import FAMILIES
    from longvt_plugins.synthetic.world import PRESETS

    parser = argparse.ArgumentParser(
        prog="longvt synth",
        description="Make a folder of synthetic long videos with questions whose answers are known.",
        epilog="`longvt synth serve` answers such questions as an OpenAI-compatible server; `longvt synth tools` makes "
        "questions that need other tools than crop_video, `longvt synth models` the models that two of them need.",
        allow_abbrev=False,
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the world")
    parser.add_argument(
        "--videos",
        metavar="N",
        type=int,
        help="how many, 80 %% of them for training and 10 %% each for development and test (default: 200)",
    )
    parser.add_argument(
        "--split", metavar="NAME=N", action="append", default=[], help="a split and its videos, instead of --videos"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="another seed is another world (default: 0)")
    parser.add_argument("--preset", default="tiny", help=f"{' or '.join(PRESETS)} (default: tiny)")
    parser.add_argument("--families", metavar="A,B", help=f"question families (default: {','.join(FAMILIES)})")
    parser.add_argument("--processes", metavar="N", type=int, default=2, help="videos rendered at once (default: 2)")
    return parser


def _splits(given: list[str], videos: int | None) -> dict[str, int]:
    if given and videos is not None:
        raise ConfigError("give either --videos or --split NAME=N, not both")
    if not given:
        videos = 200 if videos is None else videos
        if videos < 1:
            raise ConfigError(f"--videos must be at least 1, not {videos}")
        counts = {name: videos * percent // 100 for name, percent in DEFAULT_SPLITS.items()}
        first = next(iter(counts))
        counts[first] += videos - sum(counts.values())
        return {name: count for name, count in counts.items() if count}
    splits: dict[str, int] = {}
    for text in given:
        name, _, number = text.partition("=")
        if not (name.isidentifier() and number.isascii() and number.isdigit() and int(number) > 0):
            raise ConfigError(f"--split needs a name and a number of videos, such as train=160, not {text!r}")
        if name in splits:
            raise ConfigError(f"--split {name} is given twice")
        splits[name] = int(number)
    return splits


def _console() -> Console:
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    # In a pipe there is no width to fit into.
    if not console.is_terminal:
        console.width = 200
    return console


def _print_table(console: Console, folder: Path, splits: dict[str, int], families: tuple[str, ...]) -> None:
    from rich import box
    from rich.table import Table

    from longvt_plugins.rows import read_rows
    from longvt_plugins.synthetic.chance import chance

    rows = {split: read_rows(folder / f"{split}.parquet") for split in splits}
    table = Table("family", *splits, "chance", box=box.SIMPLE_HEAD)
    for family in families:
        by_split = {split: [row for row in found if _family(row) == family] for split, found in rows.items()}
        every = [row for found in by_split.values() for row in found]
        share = f"{chance(every):.3f}" if every else "-"
        table.add_row(family, *(str(len(found)) for found in by_split.values()), share)
    table.add_row("rows", *(str(len(found)) for found in rows.values()), "", end_section=True)
    console.print(table)
    console.print(f"{folder}: {', '.join(f'{split}.parquet' for split in splits)}")


def _family(row: Row) -> str:
    return row["source"].rpartition("/")[2]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _size(size: float) -> str:
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
