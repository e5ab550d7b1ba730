"""``longvt rollouts``: looks at saved rollouts, and picks what the next stage trains on.

::

    longvt rollouts view runs/rl/rollouts --out page              # a page with the frames; --serve shows it at once
    longvt rollouts view runs/rl/rollouts --against runs/rl-2/rollouts --out page
    longvt rollouts select-rl runs/probe/rollouts --out rl.parquet --band 0:300:500 --band 300:3600
    longvt rollouts select-rft runs/rl/rollouts --out rft.parquet --min-iou 0.3

What was selected lies beside its provenance: ``rl.provenance.json`` says from what, by which rule, and what was
dropped why.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.progress import show_progress

if TYPE_CHECKING:
    from longvt_plugins.rollouts import Rollout
    from longvt_plugins.rows import Row


def run(argv: list[str]) -> int:
    """Runs one of the three."""
    parser = argparse.ArgumentParser(
        prog="longvt rollouts", description="Looks at saved rollouts, and selects from them."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_view(commands.add_parser("view", help="write a page that shows rollouts with their frames"))
    _add_select_rl(commands.add_parser("select-rl", help="questions that are neither too easy nor too hard"))
    _add_select_rft(commands.add_parser("select-rft", help="right rollouts with the right evidence, to imitate"))
    args = parser.parse_args(argv)
    result: int = args.run(args)
    return result


def _add_view(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rollouts", type=Path, help="folder of rollouts-*.parquet, or one such file")
    parser.add_argument("--against", type=Path, help="another run, shown beside it question by question")
    parser.add_argument("--out", type=Path, help="folder for the page; NAME.html writes one file with everything in it")
    parser.add_argument("--limit", type=int, default=500, help="rollouts of each run at most (default %(default)s)")
    parser.add_argument("--frames", type=int, default=64, help="frames of a message at most (default %(default)s)")
    parser.add_argument("--serve", action="store_true", help="serve the page on this machine until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="of --serve; 0 takes a free one")
    parser.set_defaults(run=_view)


def _view(args: argparse.Namespace) -> int:
    from rich.console import Console

    from longvt_plugins.rollouts import read_rollouts
    from longvt_plugins.viewer import PageLimits, write_page

    if args.out is None and not args.serve:
        raise ConfigError("longvt rollouts view needs --out, a folder for the page, or --serve")
    if args.serve and args.out is not None and args.out.suffix == ".html":
        raise ConfigError("--serve serves a folder: give --out a name without .html")
    if min(args.limit, args.frames) < 1:
        raise ConfigError("--limit and --frames must be 1 or more")
    console = Console(stderr=True)
    rollouts = read_rollouts(args.rollouts)
    against = read_rollouts(args.against) if args.against is not None else []
    with tempfile.TemporaryDirectory(prefix="longvt-rollouts-") as temporary:
        out = args.out if args.out is not None else Path(temporary)
        with show_progress(console) as tell:
            limits = PageLimits(rollouts=args.limit, frames=args.frames)
            written = write_page(rollouts, out, against=against, limits=limits, tell=tell)
        for video, reason in written.failures.items():
            console.print(f"no frames of {video}: {reason}", style="yellow", markup=False)
        more = f", {written.left_out} left out (--limit)" if written.left_out else ""
        print(f"{written.page}: {written.rollouts} rollouts{more}")
        if args.serve:
            from longvt_plugins.viewer.serve import serve_folder

            serve_folder(out, args.port, lambda address: print(f"Serving at {address}; Ctrl-C ends it", flush=True))
    return 0


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rollouts", type=Path, nargs="+", help="folders of rollouts-*.parquet, or such files")
    parser.add_argument("--out", type=Path, required=True, help="file that the next stage reads")
    parser.add_argument("--answer-reward", default="answer_reward", help="reward that scores the answer")
    parser.add_argument("--seed", type=int, default=0)


def _add_select_rl(parser: argparse.ArgumentParser) -> None:
    _add_selection(parser)
    parser.add_argument("--min-rollouts", type=int, default=2, help="scored ones that a question needs")
    parser.add_argument("--band", action="append", default=[], metavar="START:END[:MOST]",
                        help="seconds of video wanted, and how many questions of them; may be repeated")  # fmt: skip
    parser.set_defaults(run=_select_rl)


def _select_rl(args: argparse.Namespace) -> int:
    from longvt_plugins.rows import write_rows
    from longvt_plugins.selection import DurationBand, select_rl

    rollouts = _read(args.rollouts)
    bands = [DurationBand.parse(text) for text in args.band]
    rows, dropped = select_rl(
        rollouts,
        min_rollouts=args.min_rollouts,
        answer_reward=args.answer_reward,
        bands=bands,
        duration=_duration,
        seed=args.seed,
    )
    if rows:
        write_rows(rows, args.out)
    return _tell(args, "questions", len(rows), len({rollout.row_id for rollout in rollouts}), dropped)


def _add_select_rft(parser: argparse.ArgumentParser) -> None:
    _add_selection(parser)
    parser.add_argument("--min-iou", type=float, default=0.3, help="of the last window (default %(default)s, LongVT's)")
    parser.add_argument("--min-answer", type=float, default=1.0, help="score of the answer (default %(default)s)")
    parser.add_argument("--per-question", type=int, default=1, help="rollouts of one question (default %(default)s)")
    parser.add_argument("--tools", nargs="+", default=["crop_video"], help="described in the system message")
    parser.set_defaults(run=_select_rft)


def _select_rft(args: argparse.Namespace) -> int:
    from rich.console import Console

    from longvt_plugins.plugins import create_plugin_manager
    from longvt_plugins.selection import select_rft
    from trl_ext.dataset import rollouts_to_sft, write_sft

    schemas = [tool.schema for tool in create_plugin_manager().select_tools(args.tools)]
    rollouts = _read(args.rollouts)
    kept, dropped = select_rft(
        rollouts,
        min_iou=args.min_iou,
        per_question=args.per_question,
        min_answer=args.min_answer,
        answer_reward=args.answer_reward,
        seed=args.seed,
    )
    if kept:
        with show_progress(Console(stderr=True)) as tell:

            def examples() -> Any:
                for number, example in enumerate(rollouts_to_sft(kept, schemas), start=1):
                    yield example
                    tell("conversations", number, len(kept))

            write_sft(args.out, examples())
    return _tell(args, "rollouts", len(kept), len(rollouts), dropped)


def _read(paths: Sequence[Path]) -> list[Rollout]:
    from longvt_plugins.rollouts import read_rollouts

    return [rollout for path in paths for rollout in read_rollouts(path)]


def _duration(row: Row) -> float:
    return max(_seconds(file) for file in row["videos"].values())


@functools.cache
def _seconds(file: str) -> float:
    from longvt_plugins.video.video import Video

    with Video.open(file) as video:
        return video.duration


def _tell(args: argparse.Namespace, what: str, kept: int, given: int, dropped: Mapping[str, int]) -> int:
    from longvt_plugins.rollouts import versions

    for reason, count in sorted(dropped.items(), key=lambda item: -item[1]):
        print(f"dropped {count}: {reason}")
    if not kept:
        raise ConfigError(f"none of the {given} {what} is good enough; nothing was written to {args.out}")
    settings = {name: value for name, value in vars(args).items() if name not in ("run", "rollouts", "out", "command")}
    provenance = {
        "command": f"longvt rollouts {args.command}",
        "from": [str(path) for path in args.rollouts],
        "settings": settings,
        "given": given,
        "kept": kept,
        "dropped": dropped,
        "versions": versions(),
    }
    args.out.with_suffix(".provenance.json").write_text(json.dumps(provenance, indent=1) + "\n", encoding="utf-8")
    print(f"{args.out}: {kept} of {given} {what}")
    return 0
