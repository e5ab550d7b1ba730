"""Lets a judge decide the rewards of the stock ``trl grpo --config rl.yaml``, for any dataset with answers.

Naming a reward of this module, and only that, turns it on::

    reward_funcs:
      - trl_ext.judged.answer_reward              # importing trl_ext.judged puts all functions under one judge
      - trl_ext.rewards.format_reward
      - my_rewards.brevity_reward
    env:
      LONGVT_JUDGE: "{judge: llm, judge_options: {base_url: 'http://127.0.0.1:1234/v1', model: judge}}"

``LONGVT_JUDGE`` is YAML: the keys ``judge``, ``judge_options``, ``judge_patience`` and ``judge_check`` of
``longvt grpo``; an address and a key that it does not say are taken from the usual variables. The judge is asked
once for every completion, and where it has no verdict all functions of the recipe abstain. Like
:mod:`trl_ext.bridge`, and unlike every other module, this one does work when it is imported and reads the process's
environment. It needs the dataset's columns ``prompt``, ``question`` and ``answer``, and gives no tools: that is
what the bridge is for, which takes the same keys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import yaml

from longvt_plugins.errors import ConfigError
from trl_ext.rewards import answer_recall_reward, answer_reward, tool_use_reward
from trl_ext.shared_verdict import share_verdict, with_environment

__all__ = ["VARIABLE", "answer_recall_reward", "answer_reward", "tool_use_reward"]

VARIABLE = "LONGVT_JUDGE"


def _settings(text: str) -> Mapping[str, Any]:
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{VARIABLE} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{VARIABLE} must name a judge, such as {{judge: llm}}, not {text!r}")
    return settings


share_verdict(with_environment(_settings(os.environ.get(VARIABLE, "")), os.environ))
