"""The data card: what is in an export, how it came about, what it cost, and what is not known of it.

::

    ---
    configs: [{config_name: rl, data_files: rl.parquet}]
    ---
    # Data made by datapipe ...

The front matter is that of Hugging Face, so that ``load_dataset(folder, "rl")`` finds the files. Licences and
permissions of the videos are not known here: the card says so instead of guessing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datapipe.export.training import ExportedFile, ExportOptions
from datapipe.store import SOURCE, StepCounts, Store

WHAT = {
    "sft": "conversations to imitate, as rollouts: for `longvt sft`",
    "rft": "selected conversations to imitate, as rollouts: for `longvt sft` after RL",
    "rl": "questions to learn from, as rows: for `longvt grpo`",
    "benchmark": "questions about videos that no other file is about, as rows: for `eval_ext`",
}


def data_card(
    record: Mapping[str, Any], stores: Sequence[Store], files: Sequence[ExportedFile], options: ExportOptions
) -> str:
    """The text of ``README.md``.

    Args:
        record: What was run, as the work folder has it.
        stores: All shares of the run.
        files: What was exported.
        options: How.
    """
    return "\n".join([*_front_matter(files), "", *_body(record, stores, files, options), ""])


def _front_matter(files: Sequence[ExportedFile]) -> Iterator[str]:
    yield "---"
    yield "configs:"
    for file in files:
        if file.written.files:
            yield f"- config_name: {file.name}"
            yield f"  data_files: {file.written.files[0] if len(file.written.files) == 1 else file.name + '-*.parquet'}"
    yield "---"


def _body(
    record: Mapping[str, Any], stores: Sequence[Store], files: Sequence[ExportedFile], options: ExportOptions
) -> Iterator[str]:
    yield "# Data made from long videos by datapipe"
    yield ""
    yield "| file | records | what | made by step | left out |"
    yield "|---|---|---|---|---|"
    for file in files:
        left = ", ".join(f"{count} {reason}" for reason, count in sorted(file.left_out.items())) or "none"
        names = ", ".join(f"`{name}`" for name in file.written.files) or "(none)"
        yield f"| {names} | {file.written.records} | {WHAT[file.name]} | `{file.step}` | {left} |"
    yield ""
    yield f"{options.benchmark_share:.0%} of the videos, by a digest of their ids, are set aside for the benchmark."
    yield ""
    yield "## How it came about"
    yield ""
    yield f"Input: {sum(store.count_records(SOURCE) for store in stores)} entries. Seed {record.get('seed')}."
    yield ""
    yield "| step | version | model | kept | dropped | failed | requests | cost |"
    yield "|---|---|---|---|---|---|---|---|"
    models: Any = record.get("models") or {}
    steps: Any = record.get("steps") or []
    for step in steps:
        counts = StepCounts()
        for store in stores:
            counts.add(store.counts(step["name"]))
        model = models.get(step["model"], {}).get("model", "") if step["model"] else ""
        kept = sum(store.count_records(step["name"]) for store in stores)
        yield (
            f"| `{step['name']}` | {step['version']} | {model} | {kept} | {counts.dropped} | {counts.failed}"
            f" | {counts.replies} | ${counts.cost:.2f} |"
        )
    yield ""
    yield "Every record says by which step, version, model, prompts and seed it was made, and from which records."
    yield ""
    yield "## What is not known"
    yield ""
    yield "Licences and permissions of the videos, and of what the models wrote, are not known to the pipeline: look"
    yield "them up before you publish. Texts were written by models and were not read by a person unless a step of the"
    yield "table above says so."
