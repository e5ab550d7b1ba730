"""Makes the stock ``trl grpo --config rl.yaml`` train with the tools, for those who cannot use ``longvt grpo``.

The command line of TRL has no key for an environment, but it imports the module of every reward function
before it builds the trainer. Naming a reward of this module, and only that, turns the bridge on::

    reward_funcs:
      - trl_ext.bridge.answer_reward              # importing trl_ext.bridge gives GRPOTrainer the environment
      - trl_ext.rewards.format_reward
      - trl_ext.rewards.time_iou_reward
    datasets:
      - path: parquet                             # rows as longvt_plugins.rows has them; no prompt column
        data_files: rl.parquet
        split: train
    env:
      LONGVT_ENVIRONMENT: "{tools: [crop_video], overview_max_frames: 256, video_root: data}"

``LONGVT_ENVIRONMENT`` is YAML: fields of :class:`~trl_ext.environment.EnvironmentConfig`, ``video_root``, the
folder that relative video files lie in, and a judge by the keys of :mod:`trl_ext.judged`. Unlike other modules of
ours this one does work when it is imported and reads the process's environment; that is what it is for. All reward
functions of the recipe abstain together, where a video broke or the judge had no verdict. Of what ``longvt grpo``
does besides, it puts in the chat template and suppresses media tokens; rollouts on disk it does not have.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import parse_row
from trl_ext.dataset import rows_to_dataset
from trl_ext.environment import EnvironmentConfig, make_environment
from trl_ext.model_setup import load_processor, suppress_media_tokens, warn_of_resizing
from trl_ext.rewards import answer_reward
from trl_ext.shared_verdict import KEYS, share_verdict, with_environment
from trl_ext.spec import environment_config
from trl_ext.turns import follow_turns

__all__ = ["VARIABLE", "answer_reward", "install"]

VARIABLE = "LONGVT_ENVIRONMENT"

_MARK = "__longvt_bridge__"


def install(settings: Mapping[str, Any]) -> None:
    """Gives every ``GRPOTrainer`` of this process that has no environment ours; a second call does nothing.

    Args:
        settings: Fields of :class:`EnvironmentConfig`, ``video_root``, and those of
            :func:`trl_ext.shared_verdict.share_verdict`.

    Raises:
        ConfigError: An unknown field or a value that makes no sense.
        UnknownNameError: There is no such tool, reader or judge.
    """
    from trl import GRPOTrainer

    initialise = GRPOTrainer.__init__
    if hasattr(initialise, _MARK):
        return
    own = {name: value for name, value in settings.items() if name not in KEYS}
    root = Path(own.pop("video_root", ".")).absolute()
    config = environment_config(own)
    factory = make_environment(config)

    @functools.wraps(initialise)
    def with_tools(self: Any, *positional: Any, **given: Any) -> None:
        if given.get("environment_factory") is None:
            given["environment_factory"] = factory
            for name in ("train_dataset", "eval_dataset"):
                if given.get(name) is not None:
                    given[name] = _prompted(given[name], config, root)
            if given.get("processing_class") is None:
                given["processing_class"] = load_processor(given["model"])
            suppress_media_tokens(given["args"], given["processing_class"])
            warn_of_resizing(given["processing_class"], overview=config.overview, crop=config.crop)
        initialise(self, *positional, **given)
        follow_turns(self)

    setattr(with_tools, _MARK, True)
    GRPOTrainer.__init__ = with_tools
    share_verdict({name: value for name, value in settings.items() if name in KEYS})


def _prompted(dataset: Any, config: EnvironmentConfig, root: Path) -> Any:
    rows = [parse_row(values, where=f"row {number}", root=root) for number, values in enumerate(dataset, start=1)]
    return rows_to_dataset(rows, where="the dataset", form=config.form, prompts_dir=config.prompts_dir)


def _settings(text: str) -> Mapping[str, Any]:
    try:
        settings = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{VARIABLE} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{VARIABLE} must be a mapping, such as {{tools: [crop_video]}}, not {text!r}")
    return settings


install(with_environment(_settings(os.environ.get(VARIABLE, "")), os.environ))
