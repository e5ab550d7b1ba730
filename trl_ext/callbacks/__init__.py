"""Callbacks for any ``GRPOTrainer``: what a run of GRPO should tell, what it should drop, and when it should stop.

::

    trainer = GRPOTrainer(...)
    add_callbacks(trainer, drop_mastered=True)        # or one by one: trainer.add_callback(GroupVariance(trainer))
    trainer.train()

Each is made with its trainer, as TRL's own callbacks are, before ``train``. They read the rewards where they are
scored, so the trainer's reward functions are put under one :class:`~trl_ext.scoring.Scoring` if they are not yet;
``longvt grpo`` adds them by itself.
"""

from __future__ import annotations

from typing import Any

from trl_ext.callbacks.boundary import SaveAtBoundary
from trl_ext.callbacks.breaker import JudgeBreaker
from trl_ext.callbacks.groups import GroupVariance
from trl_ext.callbacks.mastered import MasteredPrompts
from trl_ext.callbacks.order import PromptOrder
from trl_ext.callbacks.record import KeepRecord
from trl_ext.callbacks.statistics import RolloutStatistics
from trl_ext.resume import load_weights_by_model
from trl_ext.scoring import scoring_of

__all__ = [
    "GroupVariance",
    "JudgeBreaker",
    "KeepRecord",
    "MasteredPrompts",
    "PromptOrder",
    "RolloutStatistics",
    "SaveAtBoundary",
    "add_callbacks",
]


def add_callbacks(trainer: Any, *, drop_mastered: bool = False) -> None:
    """Adds the callbacks that suit a trainer, and lets it resume with the weights and the order of its checkpoint.

    The breaker is added only where there is a judge that may be down.

    Args:
        trainer: A ``GRPOTrainer`` that is not training yet.
        drop_mastered: Whether prompts that are mastered are left out of later epochs.

    Raises:
        ConfigError: The trainer's reward functions or rows do not allow it.
    """
    trainer.add_callback(GroupVariance(trainer))
    trainer.add_callback(RolloutStatistics(trainer))
    trainer.add_callback(PromptOrder())
    trainer.add_callback(SaveAtBoundary())
    load_weights_by_model(trainer)
    if drop_mastered:
        trainer.add_callback(MasteredPrompts(trainer))
    if scoring_of(trainer).judge is not None:
        trainer.add_callback(JudgeBreaker(trainer))
