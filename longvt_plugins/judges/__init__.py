"""Judges: they compare an answer with its reference."""

from longvt_plugins.judges.judge import Judge, JudgeConfig, JudgeFactory, Judgement

__all__ = ["Judge", "JudgeConfig", "JudgeFactory", "Judgement"]
