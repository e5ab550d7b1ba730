"""A pipeline as YAML: what goes in, who is asked, and which steps follow each other.

::

    input: videos                       # a folder, a .jsonl, or a text file with a path a line
    seed: 7
    concurrency: 64                     # requests of the whole run in flight at once
    models:
      vlm: {base_url: "http://gpu1:8000/v1", model: qwen-vl, prices: {input: 0.2, output: 0.6}}
      text: {model: gpt-5-mini, api_key_variable: OPENAI_API_KEY}
    steps:
      - probe_video                     # a name alone: the step as it is, on the records of the one before
      - {step: segment, set: {min_seconds: 10}}
      - {step: caption, model: vlm, set: {fps: 1}}
      - {step: merge_events, model: text}
      - {step: summarize, model: text}
      - {step: generate_qa, model: text, from: merge_events}
      - {step: filter_text, model: text, with: {summarize: summarize}}

Every fault is told with its place. Relative paths lie beside the file. Keys of accounts are not written here:
``api_key_variable`` names the environment variable, and a model without an address is the one that
``OPENAI_BASE_URL``, ``OPENAI_API_KEY`` and ``OPENAI_MODEL_NAME`` name. It runs nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from datapipe.checking import check
from longvt_plugins.chat import ChatConfig
from longvt_plugins.errors import ConfigError
from longvt_plugins.video.config import VideoConfig

OPENAI = "https://api.openai.com/v1"

OFFLINE = "offline"
"""A model of this one word is the synthetic world's reader, served on the loopback interface while the run lasts."""

_OFFLINE_CROWD = 8
"""The offline reader computes on this machine: more requests at once only wait."""

PATIENCE_SECONDS = 600.0
"""How long a server may be down before a run stops: ten minutes outlast a restart, and not a forgotten one."""

_STEP_KEYS = ("step", "name", "from", "with", "model", "set")


@dataclass(frozen=True)
class RecipeStep:
    """One line of ``steps``.

    Attributes:
        step: Name of an installed step.
        name: Its name in this pipeline, where a step comes twice.
        source: Whose records it gets; None: those of the line before. In YAML ``from``.
        beside: Which step stands for each name in ``Step.beside``. In YAML ``with``.
        model: Who is asked; None: the one that is called ``default``, or the only one.
        config: Fields of the step. In YAML ``set``.
    """

    step: str
    name: str
    source: str | None = None
    beside: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SyntheticInput:
    """Videos that are made for the run, with known evidence: see ``longvt synth``.

    Attributes:
        videos: How many.
        preset: Which world.
        seed: Another seed is another world.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    videos: int
    preset: str = "tiny"
    seed: int = 7


@dataclass(frozen=True, kw_only=True)
class RecipeSettings:
    """What a recipe says besides input, models and steps.

    Attributes:
        seed: Of everything that is drawn.
        concurrency: Requests in flight at once; None: the largest of the models'.
        workers: Threads that compute; None: one for each core.
        max_cost: US dollars for all runs of a work folder together.
        patience: Seconds that a server may be down before the run stops.
        journal: ``"delete"`` where the work folder is on a network.
        prompts_dir: The user's own prompts.
        video: How videos are opened.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "allow_inf_nan": False}

    seed: int = 0
    concurrency: int | None = None
    workers: int | None = None
    max_cost: float | None = None
    patience: float = PATIENCE_SECONDS
    journal: Literal["wal", "delete"] = "wal"
    prompts_dir: str | None = None
    video: VideoConfig = field(default_factory=VideoConfig)


@dataclass(frozen=True, kw_only=True)
class Recipe(RecipeSettings):
    """A pipeline.

    Attributes:
        where: The file, for messages.
        source: The input: a path, or videos that are made for the run.
        models: Settings by name; those of :data:`OFFLINE` models have no address yet.
        offline: Names of the models that are the offline reader.
        steps: In order.
        more_inputs: Further inputs, by the names under which steps may look at them.
    """

    where: str
    source: Path | SyntheticInput
    models: Mapping[str, ChatConfig]
    offline: tuple[str, ...]
    steps: tuple[RecipeStep, ...]
    more_inputs: Mapping[str, Path] = field(default_factory=dict)


def load_recipe(
    path: str | Path,
    environ: Mapping[str, str],
    *,
    source: str | Path | None = None,
    seed: int | None = None,
    need_keys: bool = True,
) -> Recipe:
    """Reads a pipeline file.

    Args:
        path: The YAML file.
        environ: ``os.environ``, at the edge; keys and addresses are looked up in it.
        source: Instead of the file's ``input``.
        seed: Instead of the file's.
        need_keys: False for who only looks: a key that the environment lacks is then no fault.

    Raises:
        ConfigError: What is wrong, and where.
    """
    import yaml

    path = Path(path)
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not UTF-8 text: {error}"
        raise ConfigError(f"recipe {path} cannot be read: {reason}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise ConfigError(f"recipe {path} must be a mapping with input, models and steps")
    return read_recipe(
        given, environ, where=str(path), folder=path.parent, source=source, seed=seed, need_keys=need_keys
    )


def read_recipe(
    given: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    where: str = "recipe",
    folder: Path | None = None,
    source: str | Path | None = None,
    seed: int | None = None,
    need_keys: bool = True,
) -> Recipe:
    """A pipeline from its mapping.

    Args:
        given: As the YAML has it.
        environ: Keys and addresses are looked up in it.
        where: Begins the errors.
        folder: Relative paths lie here.
        source: Instead of ``input``.
        seed: Instead of ``seed``.
        need_keys: As for :func:`load_recipe`.

    Raises:
        ConfigError: What is wrong, and where.
    """
    rest = dict(given)
    told = rest.pop("input", None)
    told_models = rest.pop("models", None)
    steps = _steps(rest.pop("steps", None), where)
    settings = check(RecipeSettings, rest, where)
    values = {**vars(settings)} | ({} if seed is None else {"seed": seed})
    if values["prompts_dir"] is not None:
        values["prompts_dir"] = str(_beside(values["prompts_dir"], folder))
    _check_numbers(values, where)
    models, offline = read_models(told_models, environ, where, concurrency=settings.concurrency, need_keys=need_keys)
    return Recipe(
        where=where,
        source=Path(source) if source is not None else _input(told, folder, where),
        models=models,
        offline=offline,
        steps=steps,
        **values,
    )


def _input(told: object, folder: Path | None, where: str) -> Path | SyntheticInput:
    if isinstance(told, str) and told:
        return _beside(told, folder)
    if isinstance(told, dict) and list(told) == ["synthetic"]:
        made: SyntheticInput = check(SyntheticInput, told["synthetic"], f"{where}: input.synthetic")
        if made.videos < 1:
            raise ConfigError(f"{where}: input.synthetic: videos must be at least 1, not {made.videos}")
        return made
    raise ConfigError(
        f"{where}: input must be a folder of videos, a .jsonl or a text file, or {{synthetic: {{videos: N}}}}"
        + ("; or give --input" if told is None else f", not {told!r}")
    )


def _beside(path: str, folder: Path | None) -> Path:
    return Path(path) if folder is None else folder / Path(path).expanduser()


def _check_numbers(values: Mapping[str, Any], where: str) -> None:
    for name in ("concurrency", "workers"):
        if values[name] is not None and values[name] < 1:
            raise ConfigError(f"{where}: {name} must be at least 1, not {values[name]}")
    for name in ("max_cost", "patience"):
        if values[name] is not None and not values[name] > 0:
            raise ConfigError(f"{where}: {name} must be above 0, not {values[name]}")


def _steps(told: object, where: str) -> tuple[RecipeStep, ...]:
    if not isinstance(told, list) or not told:
        raise ConfigError(f"{where}: steps must be a list of steps, such as [probe_video, segment]")
    steps: list[RecipeStep] = []
    for number, line in enumerate(told, start=1):
        step = _step(line, f"{where}: step {number}")
        known = [earlier.name for earlier in steps]
        if step.name in known:
            raise ConfigError(f"{where}: step {number}: there is a step {step.name!r} already: give this one a name")
        for wanted in ([] if step.source is None else [step.source]) + list(step.beside.values()):
            if wanted not in known:
                raise ConfigError(
                    f"{where}: step {number} ({step.name}): no earlier step {wanted!r};"
                    f" there are: {', '.join(known) or 'none'}"
                )
        steps.append(step)
    return tuple(steps)


def _step(line: object, where: str) -> RecipeStep:
    if isinstance(line, str) and line:
        return RecipeStep(line, line)
    if not isinstance(line, dict) or not isinstance(line.get("step"), str):
        raise ConfigError(f"{where} must be a name or {{step: NAME, {', '.join(_STEP_KEYS[1:])}: ...}}, not {line!r}")
    for key in line:
        if key not in _STEP_KEYS:
            near = difflib.get_close_matches(str(key), _STEP_KEYS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"fields of the step go into set; there are {_STEP_KEYS}"
            raise ConfigError(f"{where} ({line['step']}): there is no key {key!r} ({hint})")
    for key, kind, wanted in (
        ("name", str, "a text"),
        ("from", str, "the name of a step"),
        ("model", str, "the name of a model"),
        ("with", dict, "a mapping of names to steps"),
        ("set", dict, "a mapping of fields to values"),
    ):
        if line.get(key) is not None and not isinstance(line[key], kind):
            raise ConfigError(f"{where} ({line['step']}): {key} must be {wanted}, not {line[key]!r}")
    name = line.get("name") or line["step"]
    if not name.isidentifier():
        raise ConfigError(f"{where}: the name {name!r} must be letters, digits and underscores")
    beside = check(dict[str, str], line.get("with") or {}, f"{where} ({line['step']}): with")
    return RecipeStep(line["step"], name, line.get("from"), beside, line.get("model"), dict(line.get("set") or {}))


def read_models(
    told: object,
    environ: Mapping[str, str],
    where: str,
    *,
    concurrency: int | None = None,
    need_keys: bool = True,
) -> tuple[dict[str, ChatConfig], tuple[str, ...]]:
    """Settings of models, with what they leave open taken from the environment.

    Args:
        told: As the YAML has it; None is the one that the environment names, if it names one.
        environ: ``os.environ``, at the edge.
        where: Begins the errors.
        concurrency: Of the run: that of every model that states none of its own.
        need_keys: As for :func:`load_recipe`.

    Returns:
        The settings by name, and the names of those that are the offline reader.

    Raises:
        ConfigError: What is wrong.
    """
    if told is None:
        told = {"default": {}} if environ.get("OPENAI_MODEL_NAME", "").strip() else {}
    if not isinstance(told, dict):
        raise ConfigError(f"{where}: models must be a mapping of names to settings, such as {{vlm: {{base_url: ...}}}}")
    models, offline = {}, []
    for name, settings in told.items():
        place = f"{where}: models.{name}"
        if settings == OFFLINE:
            offline.append(str(name))
            # The port is known when the reader is started; replies are found again by this name.
            models[str(name)] = ChatConfig(
                base_url="http://127.0.0.1:1/v1",
                model="offline-reader",
                cache_name=OFFLINE,
                concurrency=concurrency or _OFFLINE_CROWD,
            )
            continue
        if not isinstance(settings, dict):
            raise ConfigError(f"{place} must be a mapping with base_url and model, or {OFFLINE}, not {settings!r}")
        own = {} if concurrency is None else {"concurrency": concurrency}
        given = own | _with_environment(settings, environ, place, need_keys)
        models[str(name)] = ChatConfig.from_mapping(given, place)
    return models, tuple(offline)


def _with_environment(
    settings: Mapping[str, Any], environ: Mapping[str, str], where: str, need_keys: bool
) -> dict[str, Any]:
    found = dict(settings)
    variable = found.pop("api_key_variable", None)
    address, key = environ.get("OPENAI_BASE_URL", "").strip(), environ.get("OPENAI_API_KEY", "").strip()
    if variable is not None:
        own = environ.get(variable, "").strip() if isinstance(variable, str) else ""
        if need_keys and not own:
            raise ConfigError(f"{where}: the environment variable {variable} is not set")
        if own:
            found["api_key"] = own
    # The key of the environment goes to the address of the environment alone, never to one that a recipe names.
    if "base_url" not in found and (address or key):
        found["base_url"] = address or OPENAI
        if key:
            found.setdefault("api_key", key)
    if environ.get("OPENAI_MODEL_NAME", "").strip():
        found.setdefault("model", environ["OPENAI_MODEL_NAME"].strip())
    return found
