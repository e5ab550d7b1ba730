"""Does the tiny model learn to look closer? The stages over several seeds, each with videos of its own.

::

    python benchmarks/learning.py --seeds 3 --json learning.json      # at most 3 hours on two cores
    python benchmarks/learning.py --only 4                            # one seed, beside others in the same --work-dir
    python benchmarks/learning.py --quick                             # one seed, few steps: that it runs

Besides the demo's stages it trains LongVT's ablations: RL without a time reward, with the recall of the window in
place of its IoU, without the cold start, and without the tool.

Settings were chosen on other videos (split ``dev``, seed 7); the held-out questions are scored once. The table is
mean and standard error over the seeds. A stopped run goes on where it was, stage by stage, in ``--work-dir``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from longvt_plugins.demo.figures import read_figures
from longvt_plugins.demo.run import run_demo
from longvt_plugins.demo.settings import FULL, IOU_REWARD, QUICK, REWARDS
from longvt_plugins.demo.stages import Evaluation, Stages, start_checkpoint
from longvt_plugins.progress import Tell, show_progress
from longvt_plugins.rows import read_rows
from longvt_plugins.synthetic.chance import chance
from longvt_plugins.synthetic.make import make_world
from longvt_plugins.synthetic.questions import FAMILIES
from longvt_plugins.synthetic.world import TINY

SAMPLED = 0.7
"""Temperature of the sampled figures, that of RL."""

ANSWER_REWARD = "trl_ext.rewards.answer_reward"
RECALL_REWARD = "trl_ext.rewards.time_recall_reward"
NO_TOOL = "longvt_synthetic_non_think"

STAGES = ("base", "no_tool_sft", "no_tool_rl", "sft", "rl", "rl_no_time", "rl_recall", "rl_no_sft", "rft",
          "oracle_window")  # fmt: skip
FAMILY_QUESTIONS = 16


def run_seed(folder: Path, seed: int, quick: bool, tell: Tell) -> dict[str, Any]:
    """All stages and figures of one seed."""
    stages = Stages(folder, QUICK if quick else FULL, seed, tell)
    run_demo(stages)
    sft = stages.folder / "sft" / "checkpoint"
    no_time = tuple(reward for reward in REWARDS if reward != IOU_REWARD)
    ablations = {
        "rl_no_time": stages.train_rl("rl_no_time", sft, no_time),
        "rl_recall": stages.train_rl("rl_recall", sft, (*no_time, RECALL_REWARD)),
        "rl_no_sft": stages.train_rl("rl_no_sft", start_checkpoint()),
    }
    no_tool = stages.train_rl(
        "no_tool_rl", stages.folder / "no_tool_sft" / "checkpoint", (ANSWER_REWARD,), tools=[], form="non_think"
    )
    trained = {name: stages.folder / name / "checkpoint" for name in ("sft", "rl", "rft")} | ablations
    sampled = [Evaluation(f"{name}_sampled", path, temperature=SAMPLED) for name, path in trained.items()]
    greedy = [Evaluation(name, path) for name, path in ablations.items()]
    stages.evaluate([*greedy, Evaluation("no_tool_rl", no_tool, task=NO_TOOL), *sampled])
    families = stages.folder / "families"
    make_world(families, TINY, {"test": FAMILY_QUESTIONS * len(FAMILIES)}, seed, FAMILIES)
    stages.evaluate([Evaluation("families", trained["rft"])], data=families)
    figures: dict[str, Any] = {name: dict(read_figures(stages.folder, name)) for name in STAGES}
    for name in trained:
        figures[f"{name}_sampled"] = dict(read_figures(stages.folder, f"{name}_sampled"))
    found = json.loads((stages.folder / "evaluation" / "families" / "results.json").read_text(encoding="utf-8"))
    (task,) = found["results"].values()
    figures["families"] = {
        key.split("/")[-1].removesuffix(",none"): value
        for key, value in task.items()
        if key.startswith("accuracy/") and key.endswith(",none") and "_stderr" not in key
    }
    figures["chance"] = chance(read_rows(stages.folder / "world" / "test.parquet"))
    return figures


def summary(seeds: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Rows of the table: stage, greedy accuracy, sampled accuracy, format, IoU, sampled IoU, calls."""
    rows = []
    for name in STAGES:
        greedy = [seed[name] for seed in seeds]
        sampled = [seed[f"{name}_sampled"] for seed in seeds if f"{name}_sampled" in seed]
        columns = [(greedy, "accuracy"), (sampled, "accuracy"), (greedy, "format"), (greedy, "iou"), (sampled, "iou"),
                   (greedy, "calls")]  # fmt: skip
        rows.append([name, *(_mean([figures[key] for figures in found]) for found, key in columns)])
    return rows


def _mean(values: Sequence[float | None]) -> str:
    present = [value for value in values if value is not None]
    if not present:
        return "–"
    error = statistics.stdev(present) / len(present) ** 0.5 if len(present) > 1 else None
    return f"{statistics.mean(present):.3f}" + (f" ± {error:.3f}" if error is not None else "")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the seeds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--only", type=int, help="this seed alone; --seeds puts the seeds of one folder together")
    parser.add_argument("--quick", action="store_true", help="one seed, few steps")
    parser.add_argument("--json", type=Path, help="file for every figure")
    parser.add_argument("--work-dir", type=Path, default=Path("runs/learning"))
    args = parser.parse_args(argv)
    console = Console()
    seeds = []
    folder = args.work_dir.with_name(args.work_dir.name + "-quick") if args.quick else args.work_dir
    chosen = range(args.only, args.only + 1) if args.only is not None else range(1 if args.quick else args.seeds)
    for seed in chosen:
        console.print(f"seed {seed}")
        with show_progress(console) as tell:
            seeds.append(run_seed(folder / f"seed-{seed}", seed, args.quick, tell))
        if args.json is not None:
            args.json.write_text(json.dumps({"seeds": seeds}, indent=1), encoding="utf-8")
    table = Table("stage", "accuracy", "sampled accuracy", "format", "IoU", "sampled IoU", "calls")
    for row in summary(seeds):
        table.add_row(*row)
    console.print(table)
    console.print(f"{seeds[0]['sft']['questions']} questions a seed; chance {seeds[0]['chance']}")
    families = {family: _mean([seed["families"][family] for seed in seeds]) for family in FAMILIES}
    console.print(f"other families, RFT checkpoint trained on `what` alone: {families}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
