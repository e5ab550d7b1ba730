"""The stages of the demo. Each leaves ``done.json`` in its folder and is not repeated; delete the folder to repeat it.

::

    runs/demo/settings.json                what this folder was made with
    runs/demo/world/  traces/              videos and rows; conversations to imitate
    runs/demo/no_tool_sft/  sft/  rl/  rft/   recipe.yaml as it was run, log.txt, the checkpoint
    runs/demo/evaluation/<stage>/          what lmms-eval wrote, with every conversation
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from longvt_plugins.demo.children import program, run_child
from longvt_plugins.demo.settings import REWARDS, DemoSettings
from longvt_plugins.demo.traces import TOOLS, TracePlan, write_traces
from longvt_plugins.errors import ConfigError
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.progress import Tell
from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.selection import select_rft
from longvt_plugins.synthetic import checkpoint
from longvt_plugins.synthetic.make import make_world
from longvt_plugins.synthetic.world import TINY


@dataclass(frozen=True)
class Evaluation:
    """One checkpoint on one task.

    Attributes:
        name: Of its folder and its figures.
        checkpoint: Folder of the model.
        task: Of lmms-eval.
        temperature: 0 takes the likeliest token.
    """

    name: str
    checkpoint: Path
    task: str = "longvt_synthetic_tool"
    temperature: float = 0.0


class Stages:
    """The stages of one run in one folder.

    Args:
        folder: Work folder; it belongs to one seed and one set of settings.
        settings: How much of everything.
        seed: Of videos, traces and training.
        tell: Told the progress.
        processes: Processes that render, make traces and train.

    Raises:
        ConfigError: The folder was made with other settings.
    """

    def __init__(self, folder: Path, settings: DemoSettings, seed: int, tell: Tell, processes: int = 2) -> None:
        self.folder = folder.absolute()
        self.settings = settings
        self.seed = seed
        self._tell = tell
        self._processes = max(1, min(processes, os.cpu_count() or 1))
        self._claim()

    def _claim(self) -> None:
        made_with = {"seed": self.seed, **asdict(self.settings)}
        path = self.folder / "settings.json"
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found != made_with:
                differ = ", ".join(key for key in made_with if found.get(key) != made_with[key])
                raise ConfigError(f"{self.folder} was made with another {differ}; choose another --work-dir")
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made_with, indent=1), encoding="utf-8")

    @contextmanager
    def _stage(self, name: str, facts: dict[str, Any]) -> Iterator[Path]:
        """The stage's folder; leaving it without an error marks it done with these facts and the time it took."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        yield folder
        done = {"seconds": round(time.perf_counter() - start, 1), **facts}
        unfinished = folder / ".done.json"
        unfinished.write_text(json.dumps(done, indent=1), encoding="utf-8")
        unfinished.replace(folder / "done.json")

    def is_done(self, name: str) -> bool:
        """Whether a stage is finished."""
        return (self.folder / name / "done.json").is_file()

    def make_videos(self) -> None:
        """Renders training and held-out videos; their seeds differ by the name of the split."""
        if self.is_done("world"):
            return
        counts = {"train": self.settings.train_videos, "test": self.settings.test_videos}
        with self._stage("world", counts) as folder:
            make_world(
                folder, TINY, counts, self.seed, ("what",), processes=self._processes,
                progress=lambda done, total: self._tell("videos", done, total),
            )  # fmt: skip

    def make_traces(self) -> None:
        """Lets the offline reader answer the training rows with real crops, and keeps the right answers."""
        if self.is_done("traces"):
            return
        settings, rows = self.settings, self.folder / "world" / "train.parquet"
        plans = {
            "traces": TracePlan("tool", settings.traces_per_row, settings.sloppiness, self.seed),
            "answers": TracePlan("non_think", 1, 0.0, self.seed),
        }
        with self._stage("traces", {}) as folder:
            for title, plan in plans.items():
                for done, total in write_traces(rows, folder, plan, self._processes):
                    self._tell(title, done, total)

    def train_sft(self, name: str, data: str, start: Path, recipe: str, steps: int) -> Path:
        """Runs ``trl sft`` on a file of conversations.

        Args:
            name: Of the stage.
            data: Parquet files that :func:`trl_ext.dataset.write_sft` wrote, as a pattern.
            start: Checkpoint to start from.
            recipe: Name in ``recipes/tiny``.
            steps: Optimizer steps.

        Returns:
            Folder of the trained checkpoint.
        """
        if not self.is_done(name):
            changes = {"datasets": [{"path": "parquet", "data_files": data, "split": "train"}]}
            self._train(name, ["trl", "sft"], recipe, start, steps, changes)
        return self.folder / name / "checkpoint"

    def train_rl(self, name: str, start: Path, rewards: Sequence[str] = REWARDS, **keys: Any) -> Path:
        """Runs ``longvt grpo``; its rollouts are kept in the stage's folder.

        Args:
            name: Of the stage.
            start: Checkpoint to start from.
            rewards: Reward functions, by name.
            **keys: Further keys of the recipe, such as ``tools=[]``.

        Returns:
            Folder of the trained checkpoint.
        """
        if not self.is_done(name):
            changes: dict[str, Any] = {
                "rows": str(self.folder / "world" / "train.parquet"),
                "rollouts_dir": str(self.folder / name / "rollouts"),
                "reward_funcs": list(rewards),
                **keys,
            }
            flags = []
            if self._processes > 1:
                # Accelerate starts one process with --cpu alone; the variable keeps the others off a GPU.
                flags = ["--multi_gpu", "--num_processes", "2"]
                changes["gradient_accumulation_steps"] = 2
            self._train(name, ["longvt", "grpo"], "rl", start, self.settings.rl_steps, changes, flags)
        return self.folder / name / "checkpoint"

    def _train(
        self,
        name: str,
        command: Sequence[str],
        recipe: str,
        start: Path,
        steps: int,
        changes: Mapping[str, Any],
        flags: Sequence[str] = (),
    ) -> None:
        with self._stage(name, {"steps": steps}) as folder:
            settings = yaml.safe_load(recipe_path(recipe).read_text(encoding="utf-8"))
            settings |= {
                "model_name_or_path": str(start),
                "output_dir": str(folder / "checkpoint"),
                "max_steps": steps,
                "seed": self.seed,
                **changes,
            }
            written = folder / "recipe.yaml"
            written.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
            threads = 1 if flags else self._processes
            run_child(
                [program(command[0]), *command[1:], "--config", str(written), *flags],
                log=folder / "log.txt",
                env=_quiet(threads),
                progress=lambda done, total: self._tell(name, done, total),
            )

    def select_rollouts(self, rl: str = "rl") -> str:
        """Picks the RL stage's good rollouts: right, looked at the right place, not two alike.

        Returns:
            Parquet for ``trl sft``.

        Raises:
            ConfigError: No rollout is good enough.
        """
        data = self.folder / "selection" / "rft.parquet"
        if self.is_done("selection"):
            return str(data)
        from trl_ext.dataset import rollouts_to_sft, write_sft

        facts: dict[str, Any] = {}
        with self._stage("selection", facts):
            rollouts = read_rollouts(self.folder / rl / "rollouts")
            last = max(rollout.step for rollout in rollouts)
            # The second half only: the first half was written by a model that RL has since improved on.
            late = [rollout for rollout in rollouts if rollout.step > last / 2]
            kept, dropped = select_rft(late, per_question=self.settings.rft_per_question, seed=self.seed)
            if not kept:
                raise ConfigError(f"none of the {len(late)} rollouts in {self.folder / rl} is good enough for RFT")
            schemas = [tool.schema for tool in create_plugin_manager(entry_points=False).select_tools(TOOLS)]
            facts |= {"kept": len(kept), "dropped": dropped}
            write_sft(data, _counted(rollouts_to_sft(kept, schemas), len(kept), self._tell))
        return str(data)

    def evaluate(self, evaluations: Sequence[Evaluation], data: Path | None = None) -> None:
        """Runs one ``lmms-eval`` command over all checkpoints that are not evaluated yet.

        Args:
            evaluations: What to evaluate; results that exist are kept.
            data: Folder of the questions, ``test.parquet``; the run's own world by default.

        Raises:
            ConfigError: lmms-eval wrote no results.
        """
        waiting = [each for each in evaluations if not self._results(each.name).is_file()]
        if not waiting:
            return
        self._tell("evaluation", 0, len(waiting))
        folder = self.folder / "evaluation"
        folder.mkdir(exist_ok=True)
        entries = [
            {
                "model": "longvt_hf",
                "model_args": f"pretrained={each.checkpoint},preset=tiny,max_calls=2,rollouts={folder / each.name}",
                "tasks": each.task,
                "batch_size": "64",
                "gen_kwargs": f"max_new_tokens=64,temperature={each.temperature}",
                "output_path": str(folder / each.name),
                "log_samples": True,
            }
            for each in waiting
        ]
        listing = folder / "evaluations.yaml"
        listing.write_text(yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")
        run_child(
            [program("lmms-eval"), "--config", str(listing)],
            log=folder / "log.txt",
            env={**_quiet(self._processes), "LONGVT_DATA": str(data or self.folder / "world")},
        )
        for number, each in enumerate(waiting):
            found = sorted((folder / each.name).rglob("*_results.json"))
            if not found:
                # lmms-eval ends with 0 whatever happened: only the file tells.
                raise ConfigError(f"lmms-eval wrote no results for {each.name}, see {folder / 'log.txt'}")
            self._results(each.name).write_bytes(found[-1].read_bytes())
            self._tell("evaluation", number + 1, len(waiting))

    def _results(self, name: str) -> Path:
        return self.folder / "evaluation" / name / "results.json"


def recipe_path(name: str) -> Path:
    """The file of a tiny recipe, in the source tree or in the installed package."""
    package = Path(__file__).parent.parent
    places = (package.parent / "recipes" / "tiny", package / "recipes" / "tiny")
    for place in places:
        if (place / f"{name}.yaml").is_file():
            return place / f"{name}.yaml"
    raise ConfigError(f"no recipe {name}.yaml in {places[0]}")


def start_checkpoint() -> Path:
    """The base checkpoint that ships with the package."""
    return checkpoint("base")


def _quiet(threads: int) -> dict[str, str]:
    """Variables of a training or evaluation child: on the CPU, offline, and without the hosts' warnings."""
    return {
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }


def _counted(examples: Iterator[Any], total: int, tell: Tell) -> Iterator[Any]:
    for number, example in enumerate(examples, start=1):
        tell("selection", number, total)
        yield example
