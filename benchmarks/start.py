"""How long a person waits before anything happens: `longvt --help`, and `import longvt_plugins`.

::

    python benchmarks/start.py --json start.json
    python benchmarks/start.py --rounds 3                    # shows that it runs, and proves little

Each round starts four processes after one another: one that does nothing (``python -c pass``), ``longvt --help``,
``import longvt_plugins``, and ``longvt ask --help``, whose options need more of the package. ``help_s`` (seconds) and
``import_ms`` (milliseconds) are the median times of a process, less that of the one that does nothing: an interpreter
with many packages installed needs a while for itself. ``help_loads`` and ``import_loads`` name what must not be loaded
and is. Files are in the page cache and compiled: a first round is run and thrown away.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

TARGET_HELP_S, TARGET_IMPORT_MS = 0.3, 100.0
HEAVY = ("torch", "transformers", "trl", "lmms_eval", "av", "pyarrow", "numpy", "pydantic", "rich", "openai")

HELP = "import longvt_plugins.cli as cli; cli.main(['--help'])"
IMPORT = "import longvt_plugins"
ASK_HELP = "import longvt_plugins.cli as cli; cli.main(['ask', '--help'])"


def seconds(code: str) -> float:
    """Wall time of a process that runs this."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def heavy_modules(code: str) -> list[str]:
    """What of the heavy is loaded by this."""
    told = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True)
    return done.stderr.split()


def measure(rounds: int) -> dict[str, float | int | list[str]]:
    """All figures."""
    codes = {"pass": "pass", "help": HELP, "import": IMPORT, "ask_help": ASK_HELP}
    for code in codes.values():
        seconds(code)
    taken: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(rounds):
        for name, code in codes.items():
            taken[name].append(seconds(code))
    middle = {name: statistics.median(each) for name, each in taken.items()}
    return {
        "help_s": middle["help"] - middle["pass"],
        "import_ms": 1000 * (middle["import"] - middle["pass"]),
        "ask_help_s": middle["ask_help"] - middle["pass"],
        "pass_s": middle["pass"],
        "help_loads": heavy_modules(HELP),
        "import_loads": heavy_modules(IMPORT),
        "rounds": rounds,
    }


def main() -> int:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description="How long it takes until anything happens.")
    parser.add_argument("--rounds", type=int, default=15, help="of each process (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    figures = measure(args.rounds)
    print(f"python -c pass            {figures['pass_s']:.3f} s")
    print(f"longvt --help             {figures['help_s']:.3f} s more   (goal: below {TARGET_HELP_S:g} s)")
    print(f"import longvt_plugins     {figures['import_ms']:.1f} ms more   (goal: below {TARGET_IMPORT_MS:g} ms)")
    print(f"longvt ask --help         {figures['ask_help_s']:.3f} s more")
    if loaded := [*figures["help_loads"], *figures["import_loads"]]:  # type: ignore[misc]
        print(f"loaded without need       {', '.join(loaded)}")
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
