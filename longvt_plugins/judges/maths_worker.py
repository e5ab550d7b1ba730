"""The process in which formulas are compared: ``python -m longvt_plugins.judges.maths_worker``.

It reads one JSON line ``["1/2", "0.5"]`` and writes one line ``true``, ``false`` or ``null``, until its input
ends. What a model wrote can make any algebra system compute for ever or take all memory, inside C code where
no Python time-out reaches. So the kernel ends this process when a comparison has used its seconds of processor
time, whatever else the machine does meanwhile. :mod:`longvt_plugins.judges.maths` starts it anew.

Of math-verify only the reading of LaTeX is used: its other reader evaluates text as Python.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
from typing import TextIO

CPU_SECONDS = 2.0
"""Processor time for one comparison; ordinary ones take a tenth of a second."""

MEMORY_BYTES = 2 << 30

READY = "ready"
"""The first line, once the library is loaded."""


def main() -> None:
    """Answers until its input ends."""
    from math_verify import LatexExtractionConfig, parse, verify

    # math-verify warns that it was given no time-out.
    logging.disable(logging.CRITICAL)
    # What a library prints must not be taken for a verdict.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    reader = [LatexExtractionConfig()]

    def formula(text: str) -> list[object]:
        found: list[object] = parse(f"${text}$", reader, fallback_mode="no_fallback", parsing_timeout=None)
        return found

    def agree(reference: str, prediction: str) -> bool | None:
        right, given = formula(reference), formula(prediction)
        return bool(verify(right, given, timeout_seconds=None)) if right and given else None

    _write(answers, READY)
    for line in sys.stdin:
        reference, prediction = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            verdict = agree(reference, prediction)
        except (Exception, RecursionError, MemoryError):  # noqa: BLE001 - an algebra system fails in many ways
            verdict = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answers, verdict)


def _write(answers: TextIO, value: object) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
