"""Runs a recipe in a work folder: everything between the command line and the runner.

::

    result = run_recipe(load_recipe("curate.yaml", os.environ), "runs/demo", RunOptions(max_cost=20))

A run again in the same folder goes on where the last one ended, however it ended. Results that another configuration
made are told before anything is sent; where to make them again asks a model, it is refused without ``redo``.
"""

from __future__ import annotations

import fcntl
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapipe.plan import Change, PlannedStep, changes, config_record, installed_steps, make_plan
from datapipe.recipe import Recipe, SyntheticInput
from datapipe.runner import Runner, RunResult, Silence, View
from datapipe.source import Shard, source_entries
from datapipe.store import SOURCE, Store
from datapipe.toolbox import Toolbox
from datapipe.workdir import LOG, RECIPE, STORE, Reserve, locked, shard_folder
from longvt_plugins.chat import ChatConfig, CostBudget
from longvt_plugins.chat.config import NO_KEY
from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from datapipe.step import Step
    from longvt_plugins.registry import Registry

LOGGERS = ("datapipe", "longvt_plugins")


@dataclass(frozen=True)
class RunOptions:
    """Where and how much: what flags say.

    Attributes:
        shard: Which share of the videos.
        until: Name of the last step to run; None: all.
        max_cost: US dollars, instead of the recipe's.
        redo: Make results of another configuration again, also where that costs requests.
        concurrency: Requests in flight, instead of the recipe's.
    """

    shard: Shard = field(default_factory=Shard)
    until: str | None = None
    max_cost: float | None = None
    redo: bool = False
    concurrency: int | None = None


def run_recipe(
    recipe: Recipe,
    work_dir: str | Path,
    options: RunOptions | None = None,
    *,
    view: View | None = None,
    steps: Registry[type[Step[Any, Any]]] | None = None,
) -> RunResult:
    """Runs a recipe until everything is done, or nothing more can be.

    Args:
        recipe: What to do.
        work_dir: Where its results are, and will be.
        options: Where and how much.
        view: Is told how it goes.
        steps: Those that a recipe may name; None: the installed ones.

    Raises:
        ConfigError: A fault in the recipe or the input, a folder that somebody works on, or results of another
            configuration that would cost requests again.
    """
    options = options or RunOptions()
    told = view or Silence()
    folder = shard_folder(work_dir, options.shard)
    with ExitStack() as stack:
        stack.enter_context(locked(folder))
        stack.enter_context(log_to(folder / LOG, recipe.models.values()))
        store = Store(folder / STORE, journal=recipe.journal)
        stack.callback(store.close)
        budget = CostBudget(options.max_cost or recipe.max_cost, spent=float(store.meta("spent") or 0.0))
        toolbox = stack.enter_context(open_toolbox(recipe, folder, budget=budget, concurrency=options.concurrency))
        plan = make_plan(recipe, steps or installed_steps(), toolbox, until=options.until)
        found = changes(store, plan)
        for change in found:
            told.note(str(change))
        refuse_unwanted(found, redo=options.redo)
        source = input_path(recipe, Path(work_dir), told.note)
        try:
            if twice := store.replace_source(source_entries(source, options.shard)):
                told.note(f"input: {twice} records come twice; the first of them counts")
            for name, path in recipe.more_inputs.items():
                store.replace_source(source_entries(path, options.shard), name)
            for planned in plan:
                if planned.upstream.step == SOURCE:
                    store.find_videos(planned.name)
        except sqlite3.Error as error:
            raise ConfigError(f"{store.path} cannot be written: {error}; nothing was changed") from None
        write_record(folder / RECIPE, recipe, plan)
        runner = Runner(
            plan, store, toolbox, reserve=Reserve(folder), budget=budget, view=told, patience=recipe.patience
        )
        return runner.run()


def refuse_unwanted(found: Sequence[Change], *, redo: bool) -> None:
    """Refuses to spend twice what nobody asked to spend twice.

    Raises:
        ConfigError: Results would be asked for again.
    """
    costly = [change for change in found if change.asks]
    if costly and not redo:
        told = "; ".join(str(change) for change in costly)
        raise ConfigError(f"{told}. That asks models again: say --redo to go on, or take the change back")


@contextmanager
def open_toolbox(
    recipe: Recipe, folder: Path, *, budget: CostBudget | None = None, concurrency: int | None = None
) -> Iterator[Toolbox]:
    """The toolbox of a recipe; models without a cache of their own keep their replies in the folder.

    Args:
        recipe: Has the models.
        folder: Of the share.
        budget: What may be spent.
        concurrency: Instead of the recipe's.

    Raises:
        ConfigError: A cache that cannot be opened, or a budget for a model without prices.
    """
    with ExitStack() as stack:
        models: dict[str, ChatConfig] = {}
        for name, settings in recipe.models.items():
            config = settings
            if name in recipe.offline:
                from longvt_plugins.synthetic.server import ReaderServer

                server = stack.enter_context(ReaderServer())
                config = replace(config, base_url=server.base_url, prices={"input": 0.0, "output": 0.0})
            if concurrency is not None:
                config = replace(config, concurrency=concurrency)
            models[name] = config if config.cache_dir else replace(config, cache_dir=str(folder / "cache"))
        toolbox = Toolbox(
            models,
            seed=recipe.seed,
            concurrency=concurrency or recipe.concurrency,
            workers=recipe.workers,
            budget=budget,
            prompts_dir=recipe.prompts_dir,
            video=recipe.video,
        )
        yield stack.enter_context(toolbox)


def input_path(recipe: Recipe, work_dir: Path, note: Callable[[str], None]) -> Path:
    """The input of a recipe; videos that are to be made are made.

    Args:
        recipe: Says which.
        work_dir: Where made videos go.
        note: Is told before that takes time.
    """
    if not isinstance(recipe.source, SyntheticInput):
        return recipe.source
    from longvt_plugins.synthetic.make import count_missing, make_world
    from longvt_plugins.synthetic.questions import FAMILIES
    from longvt_plugins.synthetic.world import get_preset

    folder, made = work_dir / "world", recipe.source
    preset, splits = get_preset(made.preset), {"train": made.videos}
    with (work_dir / "world.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several shares that begin at once, one makes them and the others wait
        if missing := count_missing(folder, preset, splits, made.seed, FAMILIES):
            note(f"input: making {missing} synthetic videos in {folder}")
        make_world(folder, preset, splits, made.seed, processes=1)
    return folder / "videos"


def write_record(path: Path, recipe: Recipe, plan: Sequence[PlannedStep]) -> None:
    """Writes what is run beside its results, without keys.

    Raises:
        ConfigError: The file cannot be written.
    """
    record = {
        "recipe": recipe.where,
        "input": str(recipe.source),
        "seed": recipe.seed,
        "models": {name: config.record() for name, config in recipe.models.items()},
        "steps": [
            {
                "name": planned.name,
                "step": planned.step.name,
                "version": planned.step.version,
                "from": planned.upstream.step,
                "with": dict(planned.upstream.beside),
                "model": None if planned.model is None else planned.model.name,
                "set": config_record(planned.step),
                "fingerprint": planned.fingerprint,
            }
            for planned in plan
        ],
    }
    try:
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


@contextmanager
def log_to(path: Path, models: Any) -> Iterator[None]:
    """Writes what the packages log to a file while the block runs, with every key replaced.

    Args:
        path: Of the file; it is added to.
        models: The settings of those who are asked.

    Raises:
        ConfigError: The file cannot be written.
    """
    keys = {config.api_key for config in models} - {NO_KEY}
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"log {path} cannot be written: {error.strerror}") from None
    handler.setFormatter(_WithoutKeys(keys))
    handler.setLevel(logging.INFO)
    before: Mapping[str, int] = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(before[name])
        handler.close()


class _WithoutKeys(logging.Formatter):
    """A line with time and level, and ``[api_key]`` for every key."""

    def __init__(self, keys: set[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._keys = keys

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        for key in self._keys:
            line = line.replace(key, "[api_key]")
        return line
