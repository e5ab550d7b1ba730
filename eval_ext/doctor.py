"""What would end or spoil an evaluation, found before lmms-eval spends half a minute on its start.

::

    findings = list(examine(("videosiah_eval_tool",), "longvt", model_args, Path("runs/eval"), os.environ))
    [finding.cure for finding in findings if finding.level == "blocker"]

Models, tasks and files that are not ours are lmms-eval's to check. It opens a few videos of each benchmark, and sends
the server three short requests; nothing is downloaded and no question is asked.
"""

from __future__ import annotations

import asyncio
import difflib
import fnmatch
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from eval_ext.arguments import KEY_VARIABLE, AgentArguments, LocalArguments, ServerArguments
from eval_ext.data_check import check_data
from eval_ext.preflight import doubt_of_judge, find_model, read_model_arguments
from eval_ext.probe import probe_server
from eval_ext.tasks.catalogue import BUILT_IN_LONGVT, Entry, entries
from longvt_plugins.errors import ConfigError, LongvtError, MissingExtraError
from longvt_plugins.finding import Finding, blocker, ok, warning
from longvt_plugins.synthetic import resolve_model
from longvt_plugins.video.tokens import FAMILIES, token_counter

OUR_MODELS = ("longvt", "longvt_hf")

_LEAST_FREE = 1 << 30
"""Bytes for the results, the log of samples and the conversations of a few thousand questions."""

_WIDE = (1920, 1080)
"""Size of a video, for the tokens of its frames."""


def examine(
    tasks: Sequence[str],
    model: str,
    model_args: str,
    output_path: Path,
    environ: Mapping[str, str],
    *,
    own_tasks: bool = False,
) -> Iterator[Finding]:
    """Looks at everything, what is quick first.

    Args:
        tasks: As ``--tasks`` has them.
        model: As ``--model`` has it.
        model_args: As ``--model_args`` has them.
        output_path: Where results go.
        environ: ``os.environ``, at the edge.
        own_tasks: The user has a folder of tasks besides, whose names are not known here.
    """
    named = known_tasks(tasks)
    if model in OUR_MODELS and not own_tasks:
        yield from _unknown(tasks)
    yield from _model(model, model_args, named, environ)
    yield from check_data(named, environ)
    yield from _disk(output_path)
    yield from _judge(environ)


def known_tasks(names: Sequence[str]) -> list[Entry]:
    """The tasks of ours that are named, groups taken apart, ``longvt`` and its family among them.

    Args:
        names: Which may have ``*`` in them.
    """
    known = entries()
    found: dict[str, Entry] = {}
    waiting = [BUILT_IN_LONGVT.get(name, name) for name in names]
    while waiting:
        name = waiting.pop(0)
        for entry in (known[match] for match in fnmatch.filter(known, name)):
            waiting += [member for member in entry.members if member not in found]
            if not entry.members:
                found[entry.name] = entry
    return list(found.values())


def _unknown(names: Sequence[str]) -> Iterator[Finding]:
    known = [*entries(), *BUILT_IN_LONGVT]
    for name in names:
        if fnmatch.filter(known, name) or Path(name).is_file():
            continue  # a file is a task of the user's own
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        yield blocker("tasks", f"our models answer no task {name!r}", f"{hint}longvt eval list names them")


def _model(model: str, model_args: str, named: Sequence[Entry], environ: Mapping[str, str]) -> Iterator[Finding]:
    if model not in OUR_MODELS:
        yield ok("model", f"{model} is lmms-eval's to check")
        return
    try:
        arguments = read_model_arguments(model, model_args, environ)
    except ConfigError as error:
        yield blocker("model", str(error), "docs/evaluation.md tells every key of --model_args")
        return
    try:
        found = find_model(arguments, environ)
    except (ConfigError, MissingExtraError) as error:
        yield blocker("model", str(error), "start it, or name another one in --model_args")
        return
    yield ok("model", found.told)
    if isinstance(arguments, ServerArguments):
        chat = arguments.chat_config(environ.get(KEY_VARIABLE), 1)
        tools = any(entry.form == "tool" for entry in named)
        yield from asyncio.run(probe_server(chat, tools=tools))
    yield _context(arguments, found.longest)


def _context(arguments: AgentArguments, longest: int | None) -> Finding:
    """Whether the overview, and what a rollout adds, fit into what the model reads."""
    try:
        counter = token_counter(_counts_like(arguments))
    except ConfigError as error:
        return blocker("context", str(error), "a folder with the processor and the chat template of the checkpoint")
    shown = arguments.agent_config()
    overview, crop = (
        counter([float(second) for second in range(frames.max_frames)], frames.size(*_WIDE, frames=frames.max_frames))
        for frames in (shown.overview, shown.crop)
    )
    if longest is None:
        return ok("context", f"an overview has up to {overview:,} tokens; how many the model reads is not said")
    limit = arguments.max_completion_length
    more = limit if limit is not None else crop
    what = f"an overview of up to {overview:,} tokens"
    added = "max_completion_length" if limit is not None else "one crop"
    if overview + more > longest:
        return warning(
            "context",
            f"{what} and {added} of {more:,}, and the model reads {longest:,}: questions about long videos fail",
            "fewer frames, a longer context, or turn_tokens and max_completion_length",
        )
    return ok("context", f"{what} and {added} of {more:,} fit into {longest:,}")


def _counts_like(arguments: AgentArguments) -> str:
    if isinstance(arguments, LocalArguments):
        return resolve_model(arguments.counts_with)
    if isinstance(arguments, ServerArguments) and arguments.processor is not None:
        return resolve_model(arguments.counts_with)
    return next(iter(FAMILIES))


def _disk(output_path: Path) -> Iterator[Finding]:
    folder = output_path.absolute()
    folder = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(folder).free
    told = f"{output_path} has {free / 1e9:,.1f} GB free"
    yield ok("disk", told) if free >= _LEAST_FREE else warning("disk", told, "another --output_path")


def _judge(environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        doubt = doubt_of_judge(environ)
    except LongvtError as error:
        yield blocker("judge", str(error), "LONGVT_JUDGE names it: docs/evaluation.md")
        return
    if doubt:
        yield warning("judge", doubt, "repair it, or unset LONGVT_JUDGE; the strict score does not need it")
    else:
        yield ok("judge", "the strict one asks nobody; another that is named passes three known questions")
