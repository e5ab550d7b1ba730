"""``datapipe step`` and ``datapipe steps``: one step by itself, and which there are.

::

    datapipe steps
    datapipe step probe_video --input videos --output runs/probe --set min_seconds=60
    datapipe step caption --input runs/segment/kept.jsonl --output runs/caption --base-url $URL --model qwen
    datapipe step filter_text --input runs/qa/kept.jsonl --with summarize=runs/summary/kept.jsonl --output runs/filtered
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from datapipe.commands.shared import add_shard_flags, console, key_value, setting, shard_of, tell_end


def add_parser(commands: Any) -> None:
    """Adds both commands."""
    commands.add_parser("steps", help="list the installed steps and their fields").set_defaults(run=list_steps)
    step = commands.add_parser("step", help="run one step by itself; run again, it goes on")
    step.add_argument("name", metavar="NAME", help="a step that `datapipe steps` lists")
    step.add_argument("--input", required=True, metavar="IN", help="folder of videos, text file of paths, or .jsonl")
    step.add_argument("--output", required=True, metavar="OUT", help="folder for the results")
    step.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="sets a field of the step (YAML)")
    step.add_argument(
        "--with", action="append", default=[], dest="beside", metavar="NAME=FILE", help="records that it looks at too"
    )
    step.add_argument("--base-url", metavar="URL", help="of the model (default: OPENAI_BASE_URL)")
    step.add_argument("--model", metavar="NAME", help="of the model (default: OPENAI_MODEL_NAME); offline: our reader")
    step.add_argument("--chat", action="append", default=[], metavar="KEY=VALUE", help="sets how the model is asked")
    step.add_argument("--concurrency", type=int, metavar="N", help="requests in flight at once")
    step.add_argument("--max-cost", type=float, metavar="DOLLARS", help="for all runs of this folder together")
    step.add_argument("--seed", type=int, default=0)
    step.add_argument("--redo", action="store_true", help="ask again where prompts, the model or the step have changed")
    add_shard_flags(step)
    step.set_defaults(run=run)


def list_steps(args: argparse.Namespace) -> int:
    """Prints the installed steps."""
    from datapipe.plan import installed_steps

    steps = installed_steps()
    for name in steps:
        step = steps.get(name)
        print(f"{name} {step.version} ({steps.provider(name)}): {(step.__doc__ or '').strip().splitlines()[0]}")
        for field in dataclasses.fields(step):
            kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
            print(f"  {field.name}: {kind}{_default(field)}")
    return 0


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f" = {field.default!r}"
    return "" if field.default_factory is dataclasses.MISSING else f" = {field.default_factory()!r}"


def run(args: argparse.Namespace) -> int:
    """Runs the step."""
    from datapipe.live import LiveView
    from datapipe.run import RunOptions
    from datapipe.step_alone import StepSettings, run_step

    models, offline = _models(args)
    settings = StepSettings(
        config=dict(map(setting, args.set)),
        beside={name: Path(file) for name, file in (key_value(text, "--with") for text in args.beside)},
        models=models,
        offline=offline,
        seed=args.seed,
        options=RunOptions(shard_of(args), None, args.max_cost, args.redo, args.concurrency),
    )
    with LiveView(console()) as view:
        counts, result = run_step(args.name, args.input, args.output, settings, view=view)
    total = counts.total()
    print(f"{args.name}: {', '.join(f'{count} {name}' for name, count in counts.items())} of {total}")
    if (code := tell_end(result)) is not None:
        return code
    return 1 if counts["failed"] == total else 0


def _models(args: argparse.Namespace) -> Any:
    import os

    from datapipe.recipe import OFFLINE, read_models

    if args.model == OFFLINE:
        return read_models({"default": OFFLINE}, os.environ, "step")
    told = dict(map(setting, args.chat))
    for name in ("base_url", "model"):
        if getattr(args, name) is not None:
            told[name] = getattr(args, name)
    return read_models({"default": told} if told else None, os.environ, "step")
