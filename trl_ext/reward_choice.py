"""From what a recipe says to what is asked: reward functions by name, path or preset, and a judge by name.

>>> functions, weights = choose_rewards(None, "longvt_weighted")
>>> [function.__name__ for function in functions], weights
(['answer_reward', 'format_reward'], [0.8, 0.2])
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.judge import Judge, JudgeConfig
from longvt_plugins.plugins import PluginManager
from longvt_plugins.registry import did_you_mean
from trl_ext import rewards
from trl_ext.rewards.presets import get_preset
from trl_ext.rewards.reading import READING
from trl_ext.scoring import RewardFunction, function_name

DEFAULT_PRESET = "longvt"
"""LongVT's reward: answer, format and time, 1 : 1 : 1 (arXiv 2511.20785, section 4)."""

EXACT = "exact"
"""The judge that reward functions ask by themselves, since it asks nobody."""

_JUDGED = ("answer_reward", "answer_recall_reward", "tool_use_reward")


def choose_rewards(
    given: Sequence[RewardFunction | str] | None, preset: str | None
) -> tuple[list[RewardFunction], list[float] | None]:
    """The reward functions, and their weights where a preset says them.

    Args:
        given: Functions, their names or dotted paths; None takes those of the preset.
        preset: Name of a preset; None takes LongVT's where nothing is given.

    Raises:
        ConfigError: Both were given, or there is no such function.
        UnknownNameError: There is no such preset.
    """
    if given is None:
        chosen = get_preset(preset or DEFAULT_PRESET)
        return chosen.reward_funcs, chosen.reward_weights
    if preset is not None:
        raise ConfigError(f"the reward preset {preset!r} names its functions itself: leave out reward_funcs")
    return [resolve_reward(reward) if isinstance(reward, str) else reward for reward in given], None


def choose_judge(config: JudgeConfig, functions: Sequence[RewardFunction], plugins: PluginManager) -> Judge | None:
    """The judge to ask; None for ``exact`` without options, which every function asks for itself.

    Args:
        config: Its name and options.
        functions: Of the recipe.
        plugins: Where judges come from.

    Raises:
        ConfigError: No function reads a verdict, or an option makes no sense.
        UnknownNameError: There is no such judge.
    """
    if config.name == EXACT and not config.options:
        return None
    judge = plugins.judges.get(config.name)(config)
    if not any(_reads_verdicts(function) for function in functions):
        names = ", ".join(function_name(function) for function in functions)
        raise ConfigError(f"the judge {config.name!r} has nothing to judge: answer_reward is not among {names}")
    return judge


def _reads_verdicts(function: RewardFunction) -> bool:
    """Ours by their names, so those that makers made too; others by the argument that they ask for."""
    return function_name(function) in _JUDGED or READING in inspect.signature(function).parameters


def resolve_reward(path: str) -> RewardFunction:
    """The reward function of a dotted path, or one of ours or of TRL's own by its name.

    Args:
        path: ``my_rewards.brevity_reward``, looked for beside the working directory too, ``format_reward``, or
            ``think_format_reward``.

    Raises:
        ConfigError: No such module, or no such function in it.
    """
    if path in rewards.REWARDS:
        return rewards.REWARDS[path]
    module_name, _, name = path.rpartition(".")
    if not module_name:
        module_name = "trl.rewards"
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(f"no module {module_name!r} for the reward {path!r}") from None
    function = getattr(module, name, None)
    if not callable(function):
        there = [known for known in dir(module) if known.endswith("_reward")]
        if module_name == "trl.rewards":
            there += rewards.REWARDS
        raise ConfigError(
            f"no reward {name!r} in {module_name}.{did_you_mean(name, there)} There are: {', '.join(there) or 'none'}"
        )
    return function  # type: ignore[no-any-return]
