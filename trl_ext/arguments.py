"""The keys that ``longvt grpo`` adds to TRL's own; every one is a key of the recipe and a flag.

::

    rows: rl.parquet
    tools: [crop_video]
    overview_max_frames: 256
    reward_funcs: [answer_reward, format_reward, my_rewards.brevity_reward]
    judge: llm
    judge_options: {base_url: "http://127.0.0.1:1234/v1", model: judge}
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from longvt_plugins.errors import ConfigError
from trl_ext.environment import EnvironmentConfig
from trl_ext.judge_reward import PATIENCE_SECONDS
from trl_ext.rewards.presets import PRESETS, get_preset


@dataclass(frozen=True)
class EnvironmentArguments(EnvironmentConfig):
    """What ``longvt grpo`` trains on and how it scores, besides the environment's own keys.

    Raises:
        ConfigError: A value that makes no sense, named.
    """

    rows: str | None = field(default=None, metadata={"help": "Training rows, .parquet or .jsonl. Needed."})
    eval_rows: str | None = field(default=None, metadata={"help": "Rows to evaluate on during training."})
    reward_funcs: list[str] | None = field(
        default=None, metadata={"help": "Reward functions: ours and TRL's own by name, others by dotted path."}
    )
    reward_preset: str | None = field(
        default=None,
        metadata={"help": f"Instead: functions and weights of a published recipe, {', '.join(PRESETS)}."},
    )
    judge: str = field(default="exact", metadata={"help": "Who judges answers, by name; exact asks nobody."})
    judge_options: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "What the judge takes; JSON on the command line."}
    )
    judge_patience: float = field(
        default=PATIENCE_SECONDS,
        metadata={"help": "Seconds that the judge may stay down before the training stops with a checkpoint."},
    )
    judge_check: bool = field(
        default=True, metadata={"help": "Ask the judge three known questions first, and refuse one that fails them."}
    )
    drop_mastered: bool = field(
        default=False, metadata={"help": "Leave out of later epochs the prompts that are always answered right."}
    )
    turn_tokens: int | None = field(
        default=None,
        metadata={
            "help": "Longest turn of the model. With it no tool reply overflows max_completion_length: what the turns "
            "may need is set aside, and replies are shortened to what is left. Needs max_calls."
        },
    )
    tell_left: bool = field(
        default=False, metadata={"help": "Whether replies end with the calls and tokens left; needs turn_tokens."}
    )
    vision_cache_mb: int = field(
        default=2048,
        metadata={
            "help": "Megabytes of vision features to keep, so that a picture is computed once for all rollouts that "
            "show it; kept between calls where the vision tower is frozen and the model not sharded. 0: none."
        },
    )
    rollouts_dir: str | None = field(default=None, metadata={"help": "Folder to write every rollout to."})
    chat_template: Literal["ours", "model"] = field(
        default="ours", metadata={"help": "ours puts in the template of the model's family; model keeps its own."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.judge_options, str):
            # The field is frozen; JSON from the command line becomes what YAML gives at once.
            object.__setattr__(self, "judge_options", _parse_options(self.judge_options))
        if self.turn_tokens is not None and (type(self.turn_tokens) is not int or self.turn_tokens < 1):
            raise ConfigError(f"turn_tokens must be a whole number from 1 or null, not {self.turn_tokens!r}")
        if self.tell_left and self.turn_tokens is None:
            raise ConfigError("tell_left needs turn_tokens: without it nobody counts what is left")
        if type(self.vision_cache_mb) is not int or self.vision_cache_mb < 0:
            raise ConfigError(f"vision_cache_mb must be a whole number from 0, not {self.vision_cache_mb!r}")
        if self.judge_options is not None and not isinstance(self.judge_options, dict):
            raise ConfigError(f"judge_options must be a mapping, not {self.judge_options!r}")
        if self.reward_funcs is not None and (isinstance(self.reward_funcs, str) or not self.reward_funcs):
            raise ConfigError(f"reward_funcs must be a list of dotted paths, not {self.reward_funcs!r}")
        if self.reward_preset is not None:
            get_preset(self.reward_preset)
        if self.rows is None:
            raise ConfigError("the recipe needs the key rows: a .parquet or .jsonl file of training rows")

    @property
    def environment(self) -> dict[str, Any]:
        """The environment's own keys, without ``tools``."""
        own = [known.name for known in fields(EnvironmentConfig) if known.name != "tools"]
        return {name: getattr(self, name) for name in own}


def _parse_options(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"judge_options is not JSON: {error}") from None
