"""Benchmarks, and what they share.

>>> from eval_ext.tasks import catalogue
>>> [entry.name for entry in catalogue() if entry.benchmark == "lvbench" and entry.control is None]
['lvbench_non_think', 'lvbench_reasoning', 'lvbench_tool']
"""

from eval_ext.tasks.entries import Entry, catalogue

__all__ = ["Entry", "catalogue"]
