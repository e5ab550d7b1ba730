"""``longvt ask``: one question about one video, or many.

::

    longvt ask film.mp4 "Which colour does the square flash?" --model tiny
    longvt ask film.mp4 "When does the red car leave?" --base-url http://localhost:8000/v1 --html trace.html
    longvt ask film.mp4 "..." --model checkpoints/rl --tools crop_video,zoom_region --json
    longvt ask films/ "Does it rain?" --model qwen --base-url URL --out runs/rain     # every video of a folder
    longvt ask questions.jsonl --model tiny --out runs/asked                          # run again: it resumes

The key of a server comes from ``OPENAI_API_KEY``, its address from ``--base-url`` or ``OPENAI_BASE_URL``. Exit codes:
0 answered, 1 not answered (or not all), 2 a call that cannot work.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from longvt_plugins.commands.asker_options import ADDRESS_VARIABLE, KEY_VARIABLE, add_asker_options, make_asker
from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from longvt_plugins.asking import Asker
    from longvt_plugins.rollouts import Rollout
    from longvt_plugins.rows import Row

NOT_ANSWERED = 1


def run(argv: list[str]) -> int:
    """Asks."""
    args = _parser().parse_args(argv)
    rows, is_batch = _rows(args)
    if is_batch and args.out is None:
        raise ConfigError(f"{args.video} holds {len(rows)} questions: give --out, a folder for the answers")
    if not is_batch and args.out is not None:
        raise ConfigError("--out is for a folder or a JSONL of questions; one answer is printed (--json, --html)")
    if args.html is not None and args.html.suffix != ".html":
        raise ConfigError(f"--html writes one file named .html, not {args.html.name}")
    if args.concurrency < 1:
        raise ConfigError(f"--concurrency must be at least 1, not {args.concurrency}")
    with make_asker(args, concurrency=args.concurrency) as asker:
        return _batch(args, asker, rows) if is_batch else _single(args, asker, rows[0])


def _rows(args: argparse.Namespace) -> tuple[list[Row], bool]:
    """The questions, and whether there may be several."""
    from longvt_plugins.asking.questions import check_no_address, folder_rows, question_row, read_questions

    check_no_address(args.video)
    path = Path(args.video)
    if path.suffix == ".jsonl":
        rows = read_questions(path, args.question)
    elif args.question is None:
        raise ConfigError("a question is missing: longvt ask VIDEO QUESTION")
    elif path.is_dir():
        rows = folder_rows(path, args.question)
    else:
        rows = [question_row(args.video, args.question)]
    if args.option:
        rows = [{**row, "kind": "choice", "options": list(args.option)} for row in rows]
    return rows, path.suffix == ".jsonl" or path.is_dir()


def _single(args: argparse.Namespace, asker: Asker, row: Row) -> int:
    from longvt_plugins.asking.asker import run_anywhere
    from longvt_plugins.asking.terminal import TerminalWatch, print_summary

    console = _console()
    watch = None if args.json or args.quiet else TerminalWatch(console, _thumbnails(args.thumbnails, console))
    answer = run_anywhere(asker.answer(row, watch=watch, closing=True))
    if args.json:
        print(json.dumps(answer.record(), ensure_ascii=False))
    elif args.quiet:
        from longvt_plugins.asking.terminal import printable

        print(printable(answer.text or ""))
    if not args.json:
        print_summary(_console(stderr=True) if args.quiet else console, answer)
    if args.html is not None:
        _write_html(args.html, [answer.rollout])
    return 0 if answer.text is not None else NOT_ANSWERED


def _batch(args: argparse.Namespace, asker: Asker, rows: list[Row]) -> int:
    from longvt_plugins.asking.batch import ANSWERS, ask_batch, read_batch
    from longvt_plugins.console import one_line
    from longvt_plugins.progress import show_progress

    console = _console(stderr=True)
    with show_progress(console) as tell:
        result = ask_batch(asker, rows, args.out, concurrency=args.concurrency, tell=tell)
    for name, reason in result.failed.items():
        console.print(f"{name}: not answered: {one_line(ConfigError(reason))}", style="red", markup=False)
    counts = {
        "questions": len(rows),
        "answered": result.answered,
        "unanswered": result.unanswered,
        "failed": len(result.failed),
        "kept": result.kept,
    }
    if args.json:
        print(json.dumps({**counts, "answers": str(args.out / ANSWERS)}))
    else:
        asked = {"asked": len(rows), **{name: number for name, number in counts.items() if name != "questions"}}
        told = ", ".join(f"{number} {name}" for name, number in asked.items() if number or name == "answered")
        print(f"{args.out / ANSWERS}: {told}")
    if args.html is not None:
        _write_html(args.html, read_batch(args.out, rows))
    return 0 if result.answered == len(rows) else NOT_ANSWERED


def _write_html(path: Path, rollouts: Sequence[Rollout]) -> None:
    from longvt_plugins.viewer import write_page

    written = write_page(rollouts, path)
    console = _console(stderr=True)
    for video, reason in written.failures.items():
        console.print(f"no frames of {video}: {reason}", style="yellow", markup=False)
    console.print(f"{written.page}: the conversation with its frames", style="dim", markup=False, highlight=False)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def _thumbnails(chosen: Any, console: Console) -> Any:
    # Terminals are asked what they can, and answer on standard input.
    can_answer = sys.stdin is not None and sys.stdin.isatty()
    if chosen == "auto":
        # What is piped into a file or a program is text.
        return "auto" if console.is_terminal and can_answer else "none"
    if chosen != "none" and console.is_terminal and not can_answer:
        raise ConfigError(f"--thumbnails {chosen} needs a terminal on standard input too; leave it out, or take none")
    return chosen


def _parser() -> argparse.ArgumentParser:
    from longvt_plugins.asking.thumbnails import Way

    parser = argparse.ArgumentParser(
        prog="longvt ask",
        description="Ask a question about a video and watch the model look for the answer.",
        epilog=f"The server's key is read from {KEY_VARIABLE}, its address from {ADDRESS_VARIABLE} too.",
        allow_abbrev=False,
    )
    parser.add_argument("video", metavar="VIDEO", help="a video file, a folder of them, or a .jsonl of questions")
    parser.add_argument("question", metavar="QUESTION", nargs="?", help="what to ask; a .jsonl may hold its own")
    parser.add_argument("--option", action="append", metavar="TEXT", help="a choice to show; may be repeated")
    add_asker_options(parser)
    shown = parser.add_argument_group("what is shown and kept")
    shown.add_argument("--html", type=Path, metavar="FILE", help="write the conversation as a page, frames inside")
    shown.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    shown.add_argument("--quiet", action="store_true", help="print the answer alone")
    shown.add_argument(
        "--thumbnails", choices=get_args(Way), default="auto", help="pictures in the terminal (default: what it can)"
    )
    shown.add_argument("--out", type=Path, metavar="DIR", help="folder for the answers to many questions")
    shown.add_argument("--concurrency", type=int, default=8, metavar="N", help="questions at once (default: 8)")
    return parser
