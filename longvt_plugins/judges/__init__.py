"""Judges: they compare an answer with its reference."""

from longvt_plugins.judges.judge import (
    Judge,
    JudgeConfig,
    JudgeFactory,
    JudgeHealth,
    Judgement,
    close_judge,
    health_of,
)

__all__ = ["Judge", "JudgeConfig", "JudgeFactory", "JudgeHealth", "Judgement", "close_judge", "health_of"]
