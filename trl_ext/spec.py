"""``VideoToolSpec``: three properties, named after the three arguments of ``GRPOTrainer`` that they fill.

::

    spec = VideoToolSpec("rl.parquet", tools=["crop_video"], judge="llm", overview_max_frames=256)
    GRPOTrainer(
        model=..., args=GRPOConfig(max_tool_calling_iterations=5), processing_class=spec.load_processor(model_id),
        train_dataset=spec.train_dataset, environment_factory=spec.environment_factory, reward_funcs=spec.reward_funcs,
    )

It trains nothing itself; ``longvt grpo`` does the same from a recipe.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.judge import JudgeConfig
from longvt_plugins.plugins import PluginManager, create_plugin_manager
from longvt_plugins.registry import did_you_mean
from trl_ext import rewards
from trl_ext.environment import EnvironmentConfig, VideoEnvironment, make_environment
from trl_ext.judge_reward import get_judge_reward
from trl_ext.scoring import RewardFunction, Scoring, function_name

if TYPE_CHECKING:
    from datasets import Dataset

    from trl_ext.rollout_keeper import RolloutKeeper

DEFAULT_REWARDS = (rewards.answer_reward, rewards.format_reward, rewards.time_iou_reward)
"""LongVT's reward: answer, format and time, 1 : 1 : 1 (arXiv 2511.20785, section 4)."""


class VideoToolSpec:
    """Rows, tools and rewards of one training.

    Args:
        rows: A rows file, see :mod:`longvt_plugins.rows`.
        tools: Tools that the model may call, by name.
        judge: Who judges answers, by name; ``"exact"`` asks nobody.
        judge_options: What this judge takes, such as ``base_url``.
        reward_funcs: Functions, or dotted paths of functions; LongVT's three by default.
        keeper: Writes rollouts down.
        plugins: Where tools, judges and readers come from; None loads what is installed.
        environment: Further fields of :class:`EnvironmentConfig`.

    Raises:
        ConfigError: An unknown field or a value that makes no sense.
        UnknownNameError: A tool, judge or reader is not installed.
    """

    def __init__(
        self,
        rows: str | Path,
        tools: Sequence[str] = ("crop_video",),
        judge: str = "exact",
        *,
        judge_options: Mapping[str, Any] | None = None,
        reward_funcs: Sequence[RewardFunction | str] = DEFAULT_REWARDS,
        keeper: RolloutKeeper | None = None,
        plugins: PluginManager | None = None,
        **environment: Any,
    ) -> None:
        plugins = plugins if plugins is not None else create_plugin_manager()
        self.rows = Path(rows)
        self.config = environment_config({"tools": list(tools), **environment})
        self.environment_factory: type[VideoEnvironment] = make_environment(self.config, plugins)
        functions = [resolve_reward(reward) if isinstance(reward, str) else reward for reward in reward_funcs]
        deciding: list[str] = []
        if judge != "exact":
            functions = _judged(functions, JudgeConfig(judge, dict(judge_options or {})), plugins)
            deciding = [rewards.answer_reward.__name__]
        elif judge_options:
            raise ConfigError(f"the judge 'exact' takes no judge_options, but {', '.join(judge_options)} were given")
        self._scoring = Scoring(functions, deciding=deciding, keep=keeper.keep if keeper is not None else None)

    @functools.cached_property
    def train_dataset(self) -> Dataset:
        """The rows with their prompts, read when first asked for."""
        return self.load_rows(self.rows)

    @property
    def reward_funcs(self) -> list[RewardFunction]:
        """The reward functions, asked together: see :class:`~trl_ext.scoring.Scoring`."""
        return self._scoring.reward_funcs

    def load_rows(self, path: str | Path) -> Dataset:
        """Other rows, put to the model in the same way, for an evaluation during training."""
        from trl_ext.dataset import load_training_rows

        return load_training_rows(path, form=self.config.form, prompts_dir=self.config.prompts_dir)

    def load_processor(self, model: str, **options: Any) -> Any:
        """The processor of a checkpoint with our chat template, see :func:`trl_ext.model_setup.load_processor`."""
        from trl_ext.model_setup import load_processor

        return load_processor(model, **options)


def environment_config(values: Mapping[str, Any]) -> EnvironmentConfig:
    """Builds the configuration from names and values that a user wrote.

    Raises:
        ConfigError: An unknown name, with the one that was probably meant, or a value that makes no sense.
    """
    known = [field.name for field in fields(EnvironmentConfig)]
    if unknown := [name for name in values if name not in known]:
        raise ConfigError(
            f"no key {unknown[0]!r}.{did_you_mean(unknown[0], known)} The environment takes: {', '.join(known)}"
        )
    return EnvironmentConfig(**values)


def resolve_reward(path: str) -> RewardFunction:
    """The reward function of a dotted path, or one of TRL's own by its name.

    Args:
        path: ``my_rewards.brevity_reward``, looked for beside the working directory too, or ``think_format_reward``.

    Raises:
        ConfigError: No such module, or no such function in it.
    """
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
        raise ConfigError(
            f"no reward {name!r} in {module_name}.{did_you_mean(name, there)} There are: {', '.join(there) or 'none'}"
        )
    return function  # type: ignore[no-any-return]


def _judged(functions: Sequence[RewardFunction], config: JudgeConfig, plugins: PluginManager) -> list[RewardFunction]:
    """The functions with the judge's answer reward in the place of the exact one."""
    if rewards.tool_use_reward in functions:
        raise ConfigError(f"tool_use_reward asks the exact judge only; it cannot go with the judge {config.name!r}")
    if rewards.answer_reward not in functions:
        names = ", ".join(function_name(function) for function in functions)
        raise ConfigError(f"the judge {config.name!r} has nothing to judge: answer_reward is not among {names}")
    judged = get_judge_reward(plugins.judges.get(config.name)(config))
    return [judged if function is rewards.answer_reward else function for function in functions]
