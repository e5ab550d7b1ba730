"""Every task and group that we add to lmms-eval, by name, made from one table of benchmarks.

::

    videomme_tool                    benchmark videomme, form tool
    videomme_reasoning_random_choice the same questions with their options in another order
    video_mmmu_tool                  a group: the three tracks of one benchmark
    longvt_suite_tool                a group: every benchmark in one form
    lvbench_tool_no_tool             another name of lvbench_reasoning

Reading the table imports neither lmms-eval nor anything of ours that is heavy: it is read when lmms-eval starts.
Tasks over files of rows (``longvt_synthetic_...``) are YAML beside it and listed here too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eval_ext.tasks.benchmarks import BENCHMARKS, Benchmark

if TYPE_CHECKING:
    from longvt_plugins.conversation import Form

FORMS: tuple[Form, ...] = ("non_think", "reasoning", "tool")

SUITE = "longvt_suite"
"""Group of all benchmarks in all forms; ``longvt_suite_<form>`` has one form, and so on for controls."""

SYNTHETIC = "longvt_synthetic"

LONGVT_NAMES = {
    "videomme_w_subtitle_reward": "videomme_w_subtitle_reasoning",
    "videomme_w_subtitle_reward_tool": "videomme_w_subtitle_tool",
    "video_mmmu_reasoning_tool": "video_mmmu_tool",
    "longvt_tool": "videosiah_eval_tool",
}
"""What LongVT calls tasks that lmms-eval does not have, and ours of the same questions and form."""

BUILT_IN_LONGVT = {
    "longvt": "videosiah_eval_tool",
    "longvt_reasoning": "videosiah_eval_reasoning",
    "longvt_non_think": "videosiah_eval_non_think",
    "longvt_no_visual": "videosiah_eval_reasoning_no_visual",
}
"""lmms-eval's own tasks of VideoSIAH-Eval, and ours of the same questions and form."""


@dataclass(frozen=True)
class Entry:
    """One name that ``--tasks`` takes.

    Attributes:
        name: The name.
        benchmark: Whose questions; empty for a group of several.
        form: Whether the model calls tools, only thinks, or answers at once; None where a group has several.
        control: ``no_visual``, ``no_tool``, ``random_choice`` or ``oracle_window``, where it is one.
        alias_of: The task or group whose other name it is.
        group: The group of all benchmarks that it is part of, if any.
        members: Of a group; empty for a task.
    """

    name: str
    benchmark: str
    form: Form | None
    control: str | None = None
    alias_of: str | None = None
    group: str | None = None
    members: tuple[str, ...] = ()


@functools.cache
def entries() -> Mapping[str, Entry]:
    """All of them by name, in the order in which they are listed."""
    found: dict[str, Entry] = {}
    for entry in (*_benchmark_entries(), *_suites(), *_synthetic()):
        found[entry.name] = entry
    for name, target in LONGVT_NAMES.items():
        original = found[target]
        found[name] = Entry(name, original.benchmark, original.form, alias_of=target, members=original.members)
    return found


def catalogue() -> list[Entry]:
    """Every name that we add, for ``longvt eval list``."""
    return list(entries().values())


def benchmark_of(entry: Entry) -> Benchmark:
    """The benchmark of a task; for a group the first of its tracks."""
    return next(benchmark for benchmark in BENCHMARKS if entry.benchmark in (benchmark.name, benchmark.family))


def _benchmark_entries() -> Iterator[Entry]:
    families: dict[str, dict[str, Entry]] = {}
    for benchmark in BENCHMARKS:
        for entry in _of(benchmark):
            yield entry
            if benchmark.family != benchmark.name:
                name = benchmark.family + entry.name.removeprefix(benchmark.name)
                so_far = families.setdefault(benchmark.family, {})
                members = so_far[name].members if name in so_far else ()
                so_far[name] = Entry(
                    name, benchmark.family, entry.form, entry.control, group=entry.group, members=(*members, entry.name)
                )
    for tracks in families.values():
        yield from tracks.values()


def _of(benchmark: Benchmark) -> Iterator[Entry]:
    name = benchmark.name
    for form in FORMS:
        yield Entry(f"{name}_{form}", name, form, group=f"{SUITE}_{form}")
    for form in FORMS:
        if form != "tool":
            yield _control(name, form, "no_visual")
    if benchmark.has_options:
        for form in FORMS:
            yield _control(name, form, "random_choice")
    if benchmark.has_windows:
        yield _control(name, "tool", "oracle_window")
    # The same questions and overview, thinking, and nothing to call.
    yield Entry(f"{name}_tool_no_tool", name, "reasoning", "no_tool", alias_of=f"{name}_reasoning")


def _control(name: str, form: Form, control: str) -> Entry:
    return Entry(f"{name}_{form}_{control}", name, form, control, group=f"{SUITE}_{form}_{control}")


def _suites() -> Iterator[Entry]:
    """A group of all benchmarks for every form and control, and one of the three forms."""
    groups: dict[str, Entry] = {}
    for benchmark in BENCHMARKS:
        for entry in _of(benchmark):
            if entry.group is not None:
                so_far = groups.get(entry.group, Entry(entry.group, "", entry.form, entry.control))
                groups[entry.group] = Entry(
                    so_far.name, "", so_far.form, so_far.control, members=(*so_far.members, entry.name)
                )
    yield from groups.values()
    yield Entry(SUITE, "", None, members=tuple(f"{SUITE}_{form}" for form in FORMS))


def _synthetic() -> Iterator[Entry]:
    forms: dict[str, Form] = {"non_think": "non_think", "tool": "tool", "oracle_window": "tool"}
    for name, form in forms.items():
        control = name if name == "oracle_window" else None
        yield Entry(f"{SYNTHETIC}_{name}", SYNTHETIC, form, control, group=SYNTHETIC)
    yield Entry(SYNTHETIC, SYNTHETIC, None, members=tuple(f"{SYNTHETIC}_{name}" for name in forms))
