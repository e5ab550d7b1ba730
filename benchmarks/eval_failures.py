"""What two models of lmms-eval make of a server and a model that fail in every way: ours, and ``async_openai``.

::

    python benchmarks/eval_failures.py --markdown table.md           # a quarter of an hour: calls start processes

Every mode of :mod:`longvt_plugins.testing_adversary` is one question. Ours is asked against a server that is strict
about the protocol; ``async_openai`` against a strict and a lenient one, since it breaks the protocol in its second
turn. Then the same run is continued from lmms-eval's cache: what is not asked again was cached. A model that never
stops calling is made to answer after ten turns. A cell says what became of the question.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eval_peers.data import make_rows
from eval_peers.runs import environment

from longvt_plugins.testing_adversary import ANSWER, MODES, Adversary, strict
from longvt_plugins.testing_server import Reply, ScriptedChatServer, assistant

TASK = "longvt_synthetic_tool"
MOST_TURNS = 10
SECONDS, TRIES = 4, 3
GEN_KWARGS = "max_new_tokens=1024,temperature=0,top_p=1,do_sample=False"
"""All that ``async_openai`` would add to a request by itself, after which lmms-eval's cache does not find it again."""

TEXT_SERVER = Path(__file__).parent / "eval_peers" / "text_server.py"


def model_args(model: str, base_url: str) -> str:
    """The same patience for both, and few frames."""
    if model == "longvt":
        return f"base_url={base_url},model=m,preset=tiny,timeout={SECONDS},max_retries={TRIES - 1},backoff=0"
    return (
        f"base_url={base_url},model_version=m,nframes=4,max_pixels=50176,timeout={SECONDS},max_retries={TRIES},"
        f"retry_backoff_s=0,num_cpus={len(MODES)},mcp_server_path={TEXT_SERVER}"
    )


def observe(model: str, folder: Path, names: Sequence[str], *, is_strict: bool) -> dict[str, dict[str, Any]]:
    """Evaluates twice against the adversary; what became of each mode."""
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    marker = folder / "executed"
    adversary = Adversary(names, marker)

    def patient(request: dict[str, Any]) -> Reply:
        endless = adversary.mode_of(request) == "endless tool calls"
        if endless and adversary.asked["endless tool calls"] >= MOST_TURNS:
            adversary.asked["endless tool calls"] += 1
            return assistant(ANSWER)
        return adversary(request)

    refused: Counter[str] = Counter()
    script: Callable[[dict[str, Any]], Reply] = patient
    if is_strict:
        script = strict(patient, lambda request, fault: refused.update([adversary.mode_of(request)]))

    def evaluate(base_url: str) -> dict[str, Any]:
        results = simple_evaluate(
            model=model,
            model_args=model_args(model, base_url),
            tasks=[TASK],
            task_manager=TaskManager("ERROR", include_defaults=False),
            use_cache=str(folder / "cache"),
            gen_kwargs=GEN_KWARGS,
            log_samples=True,
            verbosity="ERROR",
        )
        return {names[sample["doc_id"]]: sample for sample in results["samples"][TASK]}

    with ScriptedChatServer(script) as server:
        samples = evaluate(server.base_url)
        asked = adversary.asked + refused
        evaluate(server.base_url)
        again = adversary.asked + refused - asked
    return {
        name: {
            "asked": asked[name],
            "refused": refused[name],
            "cached": not again[name],
            "executed": name == "injected code" and marker.exists(),
            "failed": bool(samples[name]["failed"]),
            "accuracy": samples[name]["accuracy"],
            "text": str(samples[name]["filtered_resps"]),
        }
        for name in names
    }


def cell(seen: dict[str, Any]) -> str:
    """What became of a question, in a few words."""
    told = []
    if seen["executed"]:
        told.append("**code is run**")
    if seen["refused"]:
        told.append("the server refuses its history")
    if "[LMMS_EVAL_REQUEST_FAILED" in seen["text"]:
        told.append("a text about the failure is the answer")
    elif seen["failed"]:
        told.append("failed, not scored")
    elif "Error: " in seen["text"] and "longvt_outcome" not in seen["text"]:
        told.append("a text about an error is the answer")
    else:
        told.append("scored right" if seen["accuracy"] == 1.0 else "scored wrong")
    if seen["asked"] > MOST_TURNS:
        told.append(f"never stops ({seen['asked']} turns until the server made it)")
    told.append("cached" if seen["cached"] else "asked again")
    return ", ".join(told)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    parser.add_argument("--json", type=Path, help="file for what was observed")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    args = parser.parse_args(argv)
    seen: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = make_rows(Path(temporary, "data"), questions=len(args.modes), films=1, seconds=16, ids=args.modes)
        os.environ.update(environment(data))
        for column, model, is_strict in (
            ("longvt", "longvt", True),
            ("async_openai, strict server", "async_openai", True),
            ("async_openai, lenient server", "async_openai", False),
        ):
            folder = Path(temporary, column.replace(" ", "_"))
            folder.mkdir()
            seen[column] = observe(model, folder, args.modes, is_strict=is_strict)
            sys.stderr.write(f"{column}: {json.dumps(seen[column])}\n")
    lines = [f"| server or model | {' | '.join(f'`{name}`' for name in seen)} |", "|---" * (len(seen) + 1) + "|"]
    for name in args.modes:
        cells = " | ".join(cell(column[name]) for column in seen.values())
        lines.append(f"| {name}: {MODES[name].about} | {cells} |")
    print("\n".join(lines))
    if args.markdown is not None:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if args.json is not None:
        args.json.write_text(json.dumps(seen, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
