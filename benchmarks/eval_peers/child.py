"""Evaluates one model in a process of its own and tells what the answers took, as JSON on the last line.

::

    LONGVT_DATA=data python eval_peers/child.py longvt longvt_synthetic_tool base_url=...,model=m

What is timed is the model's ``generate_until`` alone: lmms-eval's own start and scoring are not in it. CPU seconds are
those of the process and of every process that it started and waited for.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

from lmms_eval.evaluator import simple_evaluate
from lmms_eval.models import get_model
from lmms_eval.tasks import TaskManager

KEPT = ("doc_id", "filtered_resps", "accuracy", "failed", "turns", "seconds", "model_seconds")


def main(model: str, task: str, model_args: str, cache: str = "") -> None:
    """Evaluates and tells."""
    lm: Any = get_model(model).create_from_arg_string(model_args, {"batch_size": 1, "device": None})
    timed: dict[str, float] = {"seconds": 0.0, "cpu_seconds": 0.0}
    generate = lm.generate_until

    def generate_until(requests: Any) -> Any:
        start, cpu = time.perf_counter(), _cpu()
        answers = generate(requests)
        timed["seconds"] += time.perf_counter() - start
        timed["cpu_seconds"] += _cpu() - cpu
        return answers

    lm.generate_until = generate_until
    results = simple_evaluate(
        model=lm,
        tasks=[task],
        task_manager=TaskManager("ERROR", include_defaults=False),
        use_cache=cache or None,
        log_samples=True,
        verbosity="ERROR",
    )
    samples = [{name: sample.get(name) for name in KEPT} for sample in results["samples"][task]]
    sys.stdout.write("\n" + json.dumps({**timed, "samples": samples}) + "\n")


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    main(*sys.argv[1:])
