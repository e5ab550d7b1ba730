"""``VideoToolSpec``: three properties, named after the three arguments of ``GRPOTrainer`` that they fill.

::

    spec = VideoToolSpec("rl.parquet", tools=["crop_video"], judge="llm", overview_max_frames=256)
    GRPOTrainer(
        model=..., args=GRPOConfig(max_tool_calling_iterations=5), processing_class=spec.load_processor(model_id),
        train_dataset=spec.train_dataset, environment_factory=spec.environment_factory, reward_funcs=spec.reward_funcs,
    )

    spec.add_callbacks(trainer)           # a judge that is down stops the training; shares of groups that teach

It trains nothing itself; ``longvt grpo`` does the same from a recipe.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.judge import JudgeConfig
from longvt_plugins.ledger import Ledger
from longvt_plugins.plugins import PluginManager, create_plugin_manager
from longvt_plugins.registry import did_you_mean
from trl_ext.environment import EnvironmentConfig, VideoEnvironment, make_environment
from trl_ext.judge_reward import PATIENCE_SECONDS
from trl_ext.reward_choice import choose_judge, choose_rewards
from trl_ext.scoring import RewardFunction, Scoring
from trl_ext.turns import follow_turns

if TYPE_CHECKING:
    from datasets import Dataset

    from trl_ext.rollout_keeper import RolloutKeeper


class VideoToolSpec:
    """Rows, tools and rewards of one training.

    Args:
        rows: A rows file, see :mod:`longvt_plugins.rows`.
        tools: Tools that the model may call, by name.
        judge: Who judges answers, by name; ``"exact"`` asks nobody.
        judge_options: What this judge takes, such as ``base_url``.
        reward_funcs: Functions, or their names or dotted paths; those of the preset by default.
        preset: Functions and weights of a published recipe, see :mod:`trl_ext.rewards.presets`; LongVT's by default.
        judge_patience: Seconds that the judge may stay down before the training stops.
        judge_check: Whether the judge is asked three known questions first; one that fails them is not trained on.
        ledger: Keeps the tools' replies within the room of a conversation.
        keeper: Writes rollouts down.
        plugins: Where tools, judges and readers come from; None loads what is installed.
        environment: Further fields of :class:`EnvironmentConfig`.

    Attributes:
        reward_weights: For ``GRPOConfig``; None where functions were given, which TRL weighs 1.

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
        reward_funcs: Sequence[RewardFunction | str] | None = None,
        preset: str | None = None,
        judge_patience: float = PATIENCE_SECONDS,
        judge_check: bool = True,
        ledger: Ledger | None = None,
        keeper: RolloutKeeper | None = None,
        plugins: PluginManager | None = None,
        **environment: Any,
    ) -> None:
        plugins = plugins if plugins is not None else create_plugin_manager()
        self.rows = Path(rows)
        self.config = environment_config({"tools": list(tools), **environment})
        self.environment_factory: type[VideoEnvironment] = make_environment(self.config, plugins, ledger)
        functions, self.reward_weights = choose_rewards(reward_funcs, preset)
        self._preset = preset
        self.scoring = Scoring(
            functions,
            judge=choose_judge(JudgeConfig(judge, dict(judge_options or {})), functions, plugins),
            patience=judge_patience,
            check=judge_check,
            keep=keeper.keep if keeper is not None else None,
        )

    @functools.cached_property
    def train_dataset(self) -> Dataset:
        """The rows with their prompts, read when first asked for."""
        return self.load_rows(self.rows)

    @property
    def reward_funcs(self) -> list[RewardFunction]:
        """The reward functions, asked together: see :class:`~trl_ext.scoring.Scoring`."""
        return self.scoring.reward_funcs

    def add_callbacks(self, trainer: Any, *, drop_mastered: bool = False) -> None:
        """Adds what a run should tell and when it should stop, see :mod:`trl_ext.callbacks`.

        Args:
            trainer: Made with this spec.
            drop_mastered: Whether prompts that are mastered are left out of later epochs.

        Raises:
            ConfigError: The trainer does not weigh the rewards as the preset does.
        """
        from trl_ext.callbacks import add_callbacks

        if self._preset is not None and not _alike(trainer.reward_weights, self.reward_weights):
            raise ConfigError(
                f"the reward preset {self._preset!r} weighs {self.reward_weights}, the trainer "
                f"{trainer.reward_weights.tolist()}: give GRPOConfig reward_weights=spec.reward_weights"
            )
        add_callbacks(trainer, drop_mastered=drop_mastered)
        follow_turns(trainer)

    def close(self) -> None:
        """Gives back what the judge holds."""
        self.scoring.close()

    def load_rows(self, path: str | Path) -> Dataset:
        """Other rows, put to the model in the same way, for an evaluation during training."""
        from trl_ext.dataset import load_training_rows

        return load_training_rows(path, form=self.config.form, prompts_dir=self.config.prompts_dir)

    def load_processor(self, model: str, **options: Any) -> Any:
        """The processor of a checkpoint with our chat template, see :func:`trl_ext.model_setup.load_processor`."""
        from trl_ext.model_setup import load_processor

        return load_processor(model, **{"calls_per_turn": self.config.calls_per_turn, **options})


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


def _alike(held: Any, given: Sequence[float] | None) -> bool:
    """Whether the weights that TRL holds, as 32-bit floats, are these."""
    return given is not None and [round(weight, 6) for weight in held.tolist()] == [round(one, 6) for one in given]
