"""A recipe made ready to run: its steps with their configuration, who is asked, and what decides their results.

::

    plan = make_plan(recipe, installed_steps(), toolbox)
    plan[2].fingerprint                 # of version, configuration, prompts, model, seed and named files
    changes(store, plan)                # [Change(step="caption", what="prompt caption 3f2a -> 91bc", units=812, ...)]

A result is as good as new while its step has the same fingerprint and was given the same records: a change of a
prompt makes the results of its steps stale, and of the steps behind it exactly those whose input comes out different.
Addresses, limits, prices and numbers of threads decide no result. Nothing is run here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapipe.records import digest, file_digest
from datapipe.step import ContextStep, Step
from datapipe.store import SOURCE, Store, Upstream
from longvt_plugins.errors import ConfigError, PluginError
from longvt_plugins.judges.judge import SECRET_OPTIONS, JudgeConfig

if TYPE_CHECKING:
    from datapipe.recipe import Recipe, RecipeStep
    from datapipe.toolbox import Model, Toolbox
    from longvt_plugins.registry import Registry

SHOWN = 8
"""Digits of a digest that are told."""

_MODEL_FIELDS = ("model", "cache_name", "extra_body", "image_format", "tool_images")
"""Settings of a model that decide what it says; the others only how it is reached."""


@dataclass(frozen=True)
class PlannedStep:
    """One step of a run.

    Attributes:
        name: In the recipe.
        step: With its configuration.
        upstream: Where its units come from.
        model: Who is asked; None for a step that asks nobody.
        parts: What decides its results, by name.
        fingerprint: Of the parts.
    """

    name: str
    step: Step[Any, Any]
    upstream: Upstream
    model: Model | None
    parts: Mapping[str, Any]
    fingerprint: str

    @property
    def prompts(self) -> dict[str, str]:
        """Name of each prompt to the digest of its text."""
        return dict(self.parts["prompts"])


@dataclass(frozen=True)
class Change:
    """Results that were made with another configuration.

    Attributes:
        step: Name of the step.
        what: What is different now.
        units: How many results will be made again.
        asks: Whether that may cost requests: its own, or those of a step behind it that has results.
        behind: Steps whose results are made again where their input comes out different.
    """

    step: str
    what: str
    units: int
    asks: bool
    behind: tuple[str, ...]

    def __str__(self) -> str:
        behind = f"; behind it, where records come out different: {', '.join(self.behind)}" if self.behind else ""
        return f"{self.step}: {self.what}: {self.units} results are made again{behind}"


def installed_steps() -> Registry[type[Step[Any, Any]]]:
    """All steps of all plugins.

    Raises:
        PluginError: A plugin gave something else for a step.
    """
    from longvt_plugins.plugins import create_plugin_manager

    steps = create_plugin_manager().steps
    for name in steps:
        if not issubclass(steps.get(name), Step):
            raise PluginError(f"step {name!r} ({steps.provider(name)}) is not a subclass of datapipe.Step")
    return steps


def make_plan(
    recipe: Recipe, steps: Registry[type[Step[Any, Any]]], toolbox: Toolbox, *, until: str | None = None
) -> list[PlannedStep]:
    """The steps of a recipe, ready to run.

    Args:
        recipe: What to do.
        steps: The installed ones.
        toolbox: Has the models and the prompts.
        until: Name of the last step to run; None: all.

    Raises:
        ConfigError: A field that a step does not have, a model that is not there, a prompt that is missing.
        UnknownNameError: A step that nobody installed.
    """
    names = [line.name for line in recipe.steps]
    if until is not None and until not in names:
        raise ConfigError(f"no step {until!r} in {recipe.where}; there are: {', '.join(names)}")
    plan: list[PlannedStep] = []
    before = SOURCE
    for line in recipe.steps:
        known = [*recipe.more_inputs, *names[: names.index(line.name)]]
        plan.append(_planned(line, before, known, steps, toolbox, recipe.where))
        before = line.name
        if line.name == until:
            break
    return plan


def _planned(
    line: RecipeStep,
    before: str,
    known: Sequence[str],
    steps: Registry[type[Step[Any, Any]]],
    toolbox: Toolbox,
    where: str,
) -> PlannedStep:
    try:
        step = steps.get(line.step).from_config(line.config)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    beside = _beside(line, step, known, where)
    if line.model is not None and not step.uses_chat:
        raise ConfigError(f"{where}: step {line.name} asks no model: leave out model: {line.model}")
    try:
        model = toolbox.model(line.model) if step.uses_chat else None
        parts = fingerprint_parts(step, model, toolbox)
        _check_judges(step, toolbox)
    except ConfigError as error:
        raise ConfigError(f"{where}: step {line.name}: {error}") from None
    upstream = Upstream(before if line.source is None else line.source, step.per, beside)
    return PlannedStep(line.name, step, upstream, model, parts, digest(parts))


def _check_judges(step: Step[Any, Any], toolbox: Toolbox) -> None:
    """A budget can only hold a judge that says what it costs.

    Raises:
        ConfigError: One that does not.
    """
    for judge in (value for field in fields(step) if isinstance(value := getattr(step, field.name), JudgeConfig)):
        if toolbox.budget.max_cost is not None and "base_url" in judge.options and not judge.options.get("prices"):
            raise ConfigError(
                f"max_cost holds for the judge {judge.name!r} too: give its options prices: {{input: ..., output: ...}}"
            )


def _beside(line: RecipeStep, step: Step[Any, Any], known: Sequence[str], where: str) -> dict[str, str]:
    if unknown := sorted(set(line.beside) - set(step.beside)):
        raise ConfigError(
            f"{where}: step {line.name} does not look at {', '.join(unknown)};"
            f" with: may name {', '.join(step.beside) or 'nothing'}"
        )
    found = {name: line.beside.get(name, name) for name in step.beside}
    for name, source in found.items():
        if source not in known:
            raise ConfigError(
                f"{where}: step {line.name} looks at the records of a step {source!r}, which does not come before it:"
                f" add it, or say with: {{{name}: STEP}}; there are: {', '.join(known) or 'none'}"
            )
    return found


def fingerprint_parts(step: Step[Any, Any], model: Model | None, toolbox: Toolbox) -> dict[str, Any]:
    """What decides a step's results, by name.

    Args:
        step: With its configuration.
        model: Who is asked.
        toolbox: Has the prompts and the seed.

    Raises:
        ConfigError: A prompt or a named file that cannot be read.
    """
    asked = None
    if model is not None:
        settings = model.config.record()
        asked = {name: settings[name] for name in _MODEL_FIELDS if settings[name] is not None}
    return {
        "step": step.name,
        "version": step.version,
        "set": config_record(step),
        "prompts": {name: toolbox.prompt_digest(name, step.prompt_folder) for name in step.prompts},
        "model": asked,
        "seed": toolbox.seed if isinstance(step, ContextStep) else None,
        "files": _files(step.files()),
    }


def config_record(step: Step[Any, Any]) -> dict[str, Any]:
    """A step's fields as JSON, without keys of accounts."""
    from pydantic_core import to_jsonable_python

    values = {field.name: getattr(step, field.name) for field in fields(step)}
    return dict(_without_secrets(to_jsonable_python(values)))


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_secrets(part) for name, part in value.items() if name not in SECRET_OPTIONS}
    return [_without_secrets(part) for part in value] if isinstance(value, list) else value


def _files(paths: Iterable[Path]) -> dict[str, str]:
    found = {}
    for number, path in enumerate(paths, start=1):
        try:
            members = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
            # By what they hold, not by where they lie: a file that was moved decides what it did before.
            content = [[str(file.relative_to(path)), file_digest(file)] for file in members]
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
        found[f"{number} ({path.name})"] = digest(content)
    return found


def changes(store: Store, plan: Sequence[PlannedStep]) -> list[Change]:
    """What was made with another configuration than the plan's, in the order of the steps.

    Args:
        store: What there is.
        plan: What is to be.
    """
    found = []
    made_by = {planned.name: store.fingerprints(planned.name) for planned in plan}
    asking = {planned.name for planned in plan if planned.model is not None and made_by[planned.name]}
    for planned in plan:
        for fingerprint, units in made_by[planned.name].items():
            if fingerprint != planned.fingerprint:
                what = difference(store.plan(planned.name, fingerprint), planned.parts)
                behind = tuple(_behind(planned.name, plan))
                asks = not asking.isdisjoint({planned.name, *behind})
                found.append(Change(planned.name, what, units, asks, behind))
    return found


def _behind(name: str, plan: Sequence[PlannedStep]) -> Iterable[str]:
    touched = {name}
    for planned in plan:
        if touched & {planned.upstream.step, *planned.upstream.beside.values()}:
            touched.add(planned.name)
            yield planned.name


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is different between two configurations, in one line.

    >>> difference({"version": 1, "set": {"fps": 1}}, {"version": 2, "set": {"fps": 1}})
    'version 1 -> 2'
    """
    told = []
    for name in sorted({*then, *now}):
        old, new = then.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            told += [
                f"{_singular(name)}{key} {_short(old.get(key))} -> {_short(new.get(key))}"
                for key in sorted({*old, *new})
                if old.get(key) != new.get(key)
            ]
        else:
            told.append(f"{name} {_short(old)} -> {_short(new)}")
    return ", ".join(told) or "made by an unknown configuration"


def _singular(name: str) -> str:
    return {"prompts": "prompt ", "files": "file ", "model": "model's ", "set": ""}.get(name, f"{name} ")


def _short(value: Any) -> str:
    is_digest = isinstance(value, str) and len(value) >= 16 and all(letter in "0123456789abcdef" for letter in value)
    text = value[:SHOWN] if is_digest else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."
