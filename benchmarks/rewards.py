"""What rewards cost: milliseconds for each completion without a judge, and how busy a judge's server is kept.

::

    python benchmarks/rewards.py --json rewards.json
    python benchmarks/rewards.py --quick                     # fewer repetitions

A completion is a rollout of five turns: four crops of 16 frames, then the answer. A batch is LongVT's, 16 questions
with 16 rollouts each, all answers different. The judge's server runs in a process of its own and takes 50 ms for each
verdict, whatever else it does; "ideal" is what its delay and the client's limit of requests allow. ``reward_ms`` is the
dearest function's median in milliseconds of processor time, ``judge_x_sequential`` the seconds of asking one after
another over those of asking at once (the best of ten: other work on the machine can only slow it),
``repeat_requests`` what the server is asked when the same batch comes again to another client with the same cache.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from longvt_plugins.judges.judge import Judge, JudgeConfig, close_judge
from longvt_plugins.judges.llm import llm_judge
from longvt_plugins.testing_server import ScriptedChatServer, assistant, slow
from longvt_plugins.transcript import parse_transcript
from trl_ext.rewards import REWARDS
from trl_ext.rewards.presets import PRESETS
from trl_ext.scoring import Scoring

QUESTIONS = ROLLOUTS = 16
CONCURRENCY = 64
SERVER_SECONDS = 0.05
TARGET_MS, TARGET_TIMES = 1.0, 12.0


def rollout(answer: str) -> list[dict[str, Any]]:
    """Five turns, as TRL hands them over; only the kind of an image block matters here."""
    messages: list[dict[str, Any]] = []
    for turn in range(4):
        arguments = {"video_path": "video_1.mp4", "start_time": 60 * turn, "end_time": 60 * turn + 16}
        call = {"type": "function", "function": {"name": "crop_video", "arguments": arguments}}
        thought = f"<think>{'The lamp may flash in this part of the video, so I look closer. ' * 8}</think>"
        frames: list[dict[str, Any]] = [{"type": "text", "text": f"16 frames from {60 * turn}s to {60 * turn + 16}s:"}]
        for second in range(16):
            frames += [{"type": "text", "text": f"{60 * turn + second}s"}, {"type": "image", "image": None}]
        messages.append({"role": "assistant", "content": thought, "tool_calls": [call]})
        messages.append({"role": "tool", "name": "crop_video", "content": frames})
    messages.append({"role": "assistant", "content": f"<think>It flashes twice.</think><answer>{answer}</answer>"})
    return messages


def batch() -> tuple[list[list[dict[str, Any]]], dict[str, list[Any]]]:
    """The completions of a step and the columns of their rows."""
    places = [(question, index) for question in range(QUESTIONS) for index in range(ROLLOUTS)]
    completions = [rollout(f"the lamp flashes {question * ROLLOUTS + index} times") for question, index in places]
    columns = {
        "question": [f"How often does the lamp of part {question} flash?" for question, _ in places],
        "answer": ["twice"] * len(places),
        "kind": ["open"] * len(places),
        "options": [None] * len(places),
        "video_segment": [[180.0, 190.0]] * len(places),
    }
    return completions, columns


def median_ms(work: Callable[[], Any], repeats: int) -> float:
    """Median milliseconds of processor time of a call."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return 1000 * statistics.median(seconds)


def measure_rewards(repeats: int) -> dict[str, float]:
    """Milliseconds for each completion: of every function alone, of the parser, and of LongVT's three together."""
    completions, columns = batch()
    found = {}
    for name, reward in REWARDS.items():
        found[name] = median_ms(lambda reward=reward: reward(completions, **columns), repeats) / len(completions)
    parsing = median_ms(lambda: [parse_transcript(completion) for completion in completions], repeats)
    found["(parsing alone)"] = parsing / len(completions)
    scoring = Scoring(PRESETS["longvt"].reward_funcs)
    found["(longvt: three together)"] = median_ms(lambda: scoring.score(completions, columns), repeats) / len(
        completions
    )
    return found


def serve(pipe: Connection) -> None:
    """The judge's server: tells its address, and each time it is asked how many requests it had."""
    reply = slow(assistant('{"reason": "they differ", "score": "0"}'), SERVER_SECONDS)
    with ScriptedChatServer(lambda request: reply) as server:
        pipe.send(server.base_url)
        while pipe.recv():
            pipe.send(len(server.requests))


async def ask(judge: Judge, columns: dict[str, list[Any]], answers: Sequence[str], *, at_once: bool) -> float:
    """Seconds to judge the answers."""
    start = time.perf_counter()
    asked = (
        judge(question, reference, answer)
        for question, reference, answer in zip(columns["question"], columns["answer"], answers, strict=False)
    )
    if at_once:
        judgements = await asyncio.gather(*asked)
    else:
        judgements = [await one for one in asked]
    seconds = time.perf_counter() - start
    if any(judgement.score != 0 for judgement in judgements):
        raise RuntimeError("a verdict is missing: the figures would mean nothing")
    return seconds


async def measure_judge(
    base_url: str, requests: Callable[[], int], sequential: int, repeats: int, cache: Path
) -> dict[str, float]:
    """Figures of the judge's client.

    Args:
        base_url: Of the server.
        requests: How many it had so far.
        sequential: How many answers are asked one after another; the time of a batch is taken in proportion.
        repeats: How often a batch is asked at once.
        cache: Folder for verdicts.
    """
    completions, columns = batch()
    answers = [parse_transcript(completion).answer or "" for completion in completions]

    def make(**options: Any) -> Judge:
        server = {"base_url": base_url, "model": "scripted", "concurrency": CONCURRENCY}
        return llm_judge(JudgeConfig("llm", server | options))

    judge = make()
    await ask(judge, columns, answers[:1], at_once=False)  # the first connection
    one_by_one = await ask(judge, columns, answers[:sequential], at_once=False) * len(answers) / sequential
    await close_judge(judge)
    at_once = math.inf
    for number in range(repeats):
        before = requests()
        judge = make(cache_dir=str(cache / str(number)))
        at_once = min(at_once, await ask(judge, columns, answers, at_once=True))
        await close_judge(judge)
        asked = requests() - before
    judge = make(cache_dir=str(cache / str(number)))
    again = await ask(judge, columns, answers, at_once=True)
    await close_judge(judge)
    ideal = math.ceil(len(answers) / CONCURRENCY) * SERVER_SECONDS
    return {
        "answers": len(answers),
        "sequential_seconds": one_by_one,
        "at_once_seconds": at_once,
        "ideal_seconds": ideal,
        "share_of_ideal": ideal / at_once,
        "judge_x_sequential": one_by_one / at_once,
        "requests": asked,
        "repeat_seconds": again,
        "repeat_requests": requests() - before - asked,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", type=Path, help="file for every figure")
    args = parser.parse_args(argv)
    console = Console()
    each = measure_rewards(3 if args.quick else 15)
    here, there = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    base_url = here.recv()

    def requests() -> int:
        here.send(True)
        count: int = here.recv()
        return count

    with tempfile.TemporaryDirectory() as cache:
        sequential = 16 if args.quick else QUESTIONS * ROLLOUTS
        repeats = 3 if args.quick else 10
        judged = asyncio.run(measure_judge(base_url, requests, sequential, repeats, Path(cache)))
    here.send(False)
    server.join()
    _print(console, each, judged)
    figures = {"reward_ms": max(each[name] for name in REWARDS), "reward_ms_each": each, **judged}
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


def _print(console: Console, each: dict[str, float], judged: dict[str, float]) -> None:
    rewards = Table("reward", "ms for a completion", f"goal: below {TARGET_MS:g}")
    for name, milliseconds in each.items():
        rewards.add_row(name, f"{milliseconds:.3f}", "yes" if milliseconds < TARGET_MS else "NO")
    console.print(rewards)
    table = Table("judge, 50 ms a verdict", "")
    table.add_row(f"{judged['answers']:g} answers, one after another", f"{judged['sequential_seconds']:.2f} s")
    table.add_row(f"at once, {CONCURRENCY} in flight", f"{judged['at_once_seconds']:.2f} s")
    table.add_row("that is", f"{judged['judge_x_sequential']:.1f}x as fast (goal: {TARGET_TIMES:g}x)")
    table.add_row("ideal", f"{judged['ideal_seconds']:.2f} s ({judged['share_of_ideal']:.0%} of it reached)")
    table.add_row("the same batch again", f"{judged['repeat_seconds']:.2f} s, {judged['repeat_requests']:g} requests")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
