"""``longvt data``: looks at training data before it is trained on, and writes it for the stock ``trl sft``.

::

    longvt data check longvt_sft_tvg_6k3.parquet --videos /data/longvt --model tiny --max-length 51200
    longvt data materialize mixture.yaml --out sft --model Qwen/Qwen2.5-VL-7B-Instruct --processes 8
    longvt data materialize longvt_rl_selfqa_1k6.parquet --videos /data/longvt --out rl.parquet

``check`` ends with 1 where anything is wrong. ``materialize`` tells the disk that it needs first, and goes on where it
was stopped.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.progress import Tell, show_progress

if TYPE_CHECKING:
    from rich.console import Console

    from trl_ext.dataset.check import Report
    from trl_ext.dataset.measure import Measure
    from trl_ext.dataset.media import MediaFolder
    from trl_ext.dataset.mixture import Mixture
    from trl_ext.dataset.replay import Replayer
    from trl_ext.environment import EnvironmentConfig

MIXTURE = (".yaml", ".yml")
"""Endings of a mixture's file."""

FAULTY = 1
"""Exit code of a check that found something."""


def run(argv: list[str]) -> int:
    """Runs one of the two."""
    parser = argparse.ArgumentParser(prog="longvt data", description="Looks at training data, and writes it.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_check(commands.add_parser("check", help="tell what is wrong with files of training data", allow_abbrev=False))
    _add_materialize(
        commands.add_parser("materialize", help="write frames and SFT files for `trl sft`", allow_abbrev=False)
    )
    args = parser.parse_args(argv)
    result: int = args.run(args)
    return result


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--videos", metavar="DIR", type=Path, help="where videos and pictures are (default: beside the file)"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="checkpoint whose processor counts tokens; tiny is the shipped one"
    )
    parser.add_argument("--max-length", metavar="TOKENS", type=int, help="longer rows are over-long; needs --model")
    parser.add_argument(
        "--recorded",
        action="store_true",
        help="take prompts and replies as recorded, not as RL gives them",
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="keys",
        help="how videos are shown, a key of `longvt sft`, such as overview_max_frames=256; may be repeated",
    )  # fmt: skip


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="FILE",
        type=Path,
        nargs="+",
        help="conversations, questions (.parquet, .jsonl), a mixture (.yaml)",
    )
    _add_shared(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=_check)


def _add_materialize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", type=Path, nargs="+", help="a mixture in YAML, or files of data")
    _add_shared(parser)
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="folder; of questions for RL, a file of rows"
    )
    parser.add_argument("--max-gb", metavar="GB", type=float, help="refuse what needs more disk than this")
    parser.add_argument("--skip-faulty", action="store_true", help="leave out what is faulty instead of refusing all")
    parser.add_argument("--processes", metavar="N", type=int, default=1, help="decode in so many processes")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be needed and stop")
    parser.set_defaults(run=_materialize)


def _check(args: argparse.Namespace) -> int:
    from trl_ext.dataset.check import Sizes, check_file

    wanted = [(file, media, replay) for file in args.files for file, media, replay in _files(file, args)]
    config, measure = _shown(args), _measure(args)
    sizes = Sizes(_blank(config), measure) if measure is not None else None
    reports = []
    with show_progress(_console(stderr=True)) as tell:
        for file, media, replay in wanted:
            told = _rows_told(file)
            reports.append(
                check_file(
                    file,
                    media,
                    sizes=sizes,
                    max_length=args.max_length,
                    replay=replay,
                    tell=functools.partial(_tell_rows, tell, file.name, told),
                )
            )
    if args.json:
        print(json.dumps([report.record() for report in reports], indent=1, ensure_ascii=False))
    else:
        _print_reports(_console(), reports)
    return 0 if all(report.ok for report in reports) else FAULTY


def _materialize(args: argparse.Namespace) -> int:
    from trl_ext.dataset.files import KEPT
    from trl_ext.dataset.materialize import RESERVE, estimate, materialize
    from trl_ext.dataset.questions import is_questions

    if args.processes < 1:
        raise ConfigError(f"--processes must be at least 1, not {args.processes}")
    if len(args.files) == 1 and args.files[0].suffix not in MIXTURE and is_questions(args.files[0]):
        return _write_questions(args)
    mixture, config, console = _mixture(args), _shown(args), _console()
    measure = _measure(args)
    with show_progress(_console(stderr=True)) as tell:
        needed = estimate(
            mixture, _blank(config), measure=measure, max_length=args.max_length,
            tell=lambda done: tell("conversations looked at", done, done),
        )  # fmt: skip
    for kind, count in needed.left_out.items():
        console.print(f"{count} {kind}: {needed.examples[kind]}")
    free = shutil.disk_usage(_existing_parent(args.out)).free
    size = f"{needed.conversations} conversations, {needed.frames} frames"
    console.print(f"{size}: about {_size(needed.bytes)} of disk, {_size(free)} are free at {args.out}")
    faulty = sum(count for kind, count in needed.left_out.items() if kind != "over-long")
    if faulty and not args.skip_faulty:
        raise ConfigError(
            f"{faulty} conversations are faulty; `longvt data check` lists them, --skip-faulty leaves them out"
        )
    if not needed.conversations:
        raise ConfigError("there is no conversation to write")
    usable = max(0, free - RESERVE)
    limit = usable if args.max_gb is None else min(usable, args.max_gb * 1e9)
    if needed.bytes > limit:
        raise ConfigError(
            f"about {_size(needed.bytes)} are needed and {_size(limit)} allowed: lower overview_max_frames or "
            "overview_max_pixels (--set), take a part (weight), or train with `longvt sft`, which decodes as it goes"
        )
    if args.dry_run:
        return 0
    with show_progress(_console(stderr=True)) as tell:
        counts = materialize(
            mixture, args.out, config, model=_model(args), max_length=args.max_length, processes=args.processes,
            tell=lambda done: tell("conversations written", done, needed.conversations),
        )  # fmt: skip
    console.print(f"{args.out}: {counts['written']} conversations, {counts['left out']} left out (left_out-*.jsonl)")
    files = f"{KEPT}{args.out.absolute() / 'sft-*.parquet'}"
    console.print(f"trl sft reads them as datasets: [{{path: parquet, data_files: {files}, split: train}}]")
    return 0


def _write_questions(args: argparse.Namespace) -> int:
    from longvt_plugins.rows import write_rows
    from trl_ext.dataset.media import MediaFolder
    from trl_ext.dataset.questions import read_questions

    rows = read_questions(args.files[0], MediaFolder(args.videos) if args.videos is not None else None)
    if not rows:
        raise ConfigError(f"{args.files[0]} holds no rows")
    write_rows(rows, args.out)
    print(f"{args.out}: {len(rows)} rows for `longvt grpo`")
    return 0


def _mixture(args: argparse.Namespace) -> Mixture:
    from trl_ext.dataset.mixture import Mixture, Source

    if len(args.files) == 1 and args.files[0].suffix in MIXTURE:
        return _read_mixture(args.files[0], args)
    videos = str(args.videos.absolute()) if args.videos is not None else None
    sources = [Source(str(file.absolute()), replay=not args.recorded) for file in args.files]
    return Mixture(sources, videos=videos)


def _shown(args: argparse.Namespace) -> EnvironmentConfig:
    """How videos are shown: the keys of ``--set``, read as YAML."""
    import yaml

    from longvt_plugins.video.config import CACHE_VARIABLE
    from trl_ext.spec import environment_config

    values: dict[str, Any] = {}
    if os.environ.get(CACHE_VARIABLE):
        values["video_cache_dir"] = os.environ[CACHE_VARIABLE]
    for text in args.keys:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set needs KEY=VALUE, not {text!r}")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {key}: {value!r} is not a value in YAML") from None
    return environment_config(values)


def _blank(config: EnvironmentConfig) -> Replayer:
    from longvt_plugins.plugins import create_plugin_manager
    from trl_ext.dataset.measure import BlankLibrary
    from trl_ext.dataset.replay import Replayer

    plugins = create_plugin_manager()
    return Replayer(config, plugins, library=BlankLibrary(config.video, plugins))


def _measure(args: argparse.Namespace) -> Measure | None:
    model = _model(args)
    if model is None:
        if args.max_length is not None:
            raise ConfigError("--max-length needs --model, whose processor counts tokens")
        return None
    from trl_ext.dataset.measure import Measure
    from trl_ext.model_setup import load_processor

    try:
        return Measure(load_processor(model))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--model {args.model}: no processor there: {str(error).splitlines()[0]}") from None


def _model(args: argparse.Namespace) -> str | None:
    from longvt_plugins.synthetic import resolve_model

    return resolve_model(args.model) if args.model is not None else None


def _files(file: Path, args: argparse.Namespace) -> list[tuple[Path, MediaFolder | None, bool]]:
    """A file of data, or those of a mixture, each with where its media are and whether it is asked anew."""
    from trl_ext.dataset.media import MediaFolder

    if file.suffix not in MIXTURE:
        return [(file, MediaFolder(args.videos) if args.videos is not None else None, not args.recorded)]
    mixture = _read_mixture(file, args)
    return [(mixture.file(source), mixture.media(source), source.replay) for source in mixture.sources]


def _read_mixture(file: Path, args: argparse.Namespace) -> Mixture:
    from trl_ext.dataset.mixture import read_mixture

    if args.videos is not None or args.recorded:
        raise ConfigError("a mixture in YAML says `videos` and `replay` itself")
    return read_mixture(file)


def _tell_rows(tell: Tell, title: str, rows: int | None, done: int) -> None:
    tell(title, done, rows or done)


def _rows_told(file: Path) -> int | None:
    """How many rows a file says that it has; JSONL does not say."""
    if file.suffix != ".parquet" or not file.is_file():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: int = pq.ParquetFile(file).metadata.num_rows
    except pa.ArrowException:
        return None
    return rows


def _print_reports(console: Console, reports: list[Report]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(
        "file", "holds", "rows", "faulty", "videos", "tokens (all / median / most)", "trained", "frames (all / most)",
        box=box.SIMPLE_HEAD,
    )  # fmt: skip
    for report in reports:
        sizes = {name: spread.summary() for name, spread in report.sizes.items() if spread.values}
        tokens, trained, frames = (sizes.get(name) for name in ("tokens", "trained", "frames"))
        table.add_row(
            Path(report.path).name, report.holds, str(report.rows),
            str(sum(found.count for found in report.faults.values())), str(report.videos),
            f"{tokens['total']:,.0f} / {tokens['median']:,.0f} / {tokens['largest']:,.0f}" if tokens else "not counted",
            f"{trained['total']:,.0f}" if trained else "",
            f"{frames['total']:,.0f} / {frames['largest']:,.0f}" if frames else "",
        )  # fmt: skip
    console.print(table)
    for report in reports:
        for kind, found in report.faults.items():
            console.print(f"{found.count} {kind}")
            for example in found.examples:
                console.print(f"  {example}")
            if found.count > len(found.examples):
                console.print(f"  and {found.count - len(found.examples)} more")
        if not report.rows:
            console.print(f"{report.path}: no rows")
        if report.download:
            console.print(f"missing media are published, in archives to be unpacked where they are: {report.download}")


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True, stderr=stderr)
    # In a pipe there is no width to fit into.
    if not console.is_terminal:
        console.width = 240
    return console


def _existing_parent(path: Path) -> Path:
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def _size(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
