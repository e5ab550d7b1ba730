"""Gives every ``GRPOTrainer`` of this process reward functions that are asked together, whoever makes it.

::

    share_verdict({"judge": "llm", "judge_options": {"base_url": "http://127.0.0.1:1234/v1", "model": "judge"}})

For the stock ``trl grpo`` command, whose recipe names functions one by one: a judge's verdict, and its absence, has to
reach all of them, TRL's and a user's own among them. :mod:`trl_ext.judged` and :mod:`trl_ext.bridge` do this
when a recipe names them. In Python, and with ``longvt grpo``, use :class:`trl_ext.scoring.Scoring`.
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Mapping
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.environment import judge_options_from_environment
from longvt_plugins.judges.judge import JudgeConfig
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.registry import did_you_mean
from trl_ext.judge_reward import PATIENCE_SECONDS
from trl_ext.reward_choice import EXACT, choose_judge
from trl_ext.scoring import is_function, scoring_of

KEYS = ("judge", "judge_options", "judge_patience", "judge_check")
"""What settings may hold, as keys of ``longvt grpo`` do."""

_MARK = "__longvt_shared_verdict__"


def share_verdict(settings: Mapping[str, Any]) -> None:
    """Puts the reward functions of every ``GRPOTrainer`` under one scoring; a second call does nothing.

    Args:
        settings: ``judge`` (a name, ``exact`` by default), ``judge_options``, ``judge_patience`` and ``judge_check``.

    Raises:
        ConfigError: An unknown key, or options of a judge that make no sense.
        UnknownNameError: There is no such judge.
    """
    from trl import GRPOTrainer

    from trl_ext.callbacks import add_callbacks

    initialise = GRPOTrainer.__init__
    if hasattr(initialise, _MARK):
        return
    if unknown := [name for name in settings if name not in KEYS]:
        raise ConfigError(f"no key {unknown[0]!r}.{did_you_mean(unknown[0], KEYS)} There are: {', '.join(KEYS)}")
    options = settings.get("judge_options") or {}
    if not isinstance(options, Mapping):
        raise ConfigError(f"judge_options must be a mapping, not {options!r}")
    config = JudgeConfig(str(settings.get("judge") or EXACT), dict(options))
    patience, check = settings.get("judge_patience", PATIENCE_SECONDS), settings.get("judge_check", True)

    @functools.wraps(initialise)
    def with_shared_verdict(self: Any, *positional: Any, **given: Any) -> None:
        initialise(self, *positional, **given)
        functions = [function for function in self.reward_funcs if is_function(function)]
        judge = choose_judge(config, functions, create_plugin_manager())
        if judge is not None and len(functions) < len(self.reward_funcs):
            raise ConfigError(f"a reward model cannot abstain where the judge {config.name!r} has no verdict")
        if functions:
            atexit.register(scoring_of(self, judge=judge, patience=patience, check=check).close)
            add_callbacks(self)

    setattr(with_shared_verdict, _MARK, True)
    GRPOTrainer.__init__ = with_shared_verdict


def with_environment(settings: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings with what they do not say of a judge's server taken from the environment.

    Args:
        settings: As for :func:`share_verdict`.
        environ: ``os.environ``, at the edge.

    Raises:
        ConfigError: The options are no mapping.
    """
    options = settings.get("judge_options")
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(f"judge_options must be a mapping, not {options!r}")
    found = judge_options_from_environment(environ, str(settings.get("judge") or EXACT), options)
    return {**settings, "judge_options": found}
