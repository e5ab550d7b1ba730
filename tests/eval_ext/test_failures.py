"""What becomes of a question when its server fails or its model writes nonsense, in the real ``lmms-eval`` command.

One run has a question for each way to fail; a second one continues it from lmms-eval's cache.
"""

import json
from collections import Counter
from dataclasses import dataclass, replace

import pytest

from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.rows import read_rows, write_rows
from longvt_plugins.testing_server import (
    ScriptedChatServer,
    assistant,
    cut_off,
    failure,
    hang,
    no_choices,
    null_content,
    rate_limited,
    reset,
    truncated,
    unreadable,
)

# The command starts in half a minute, and a hang is waited for.
pytestmark = pytest.mark.slow

TASK = "longvt_synthetic_tool"
RED = "<think>I see it.</think><answer>red</answer>"
WINDOW = {"video_path": "video_1.mp4", "start_time": 8, "end_time": 12}


@dataclass(frozen=True)
class Mode:
    """A way to fail.

    Attributes:
        reply: From how often it was asked before, and where code that is run would leave a file, to the reply.
        asked: Requests of the first run: one try is repeated, three calls are allowed.
        failed: The server gave no turn: not scored, and asked again when the run continues.
        accuracy: Of a question that did not fail.
        told: Part of what the model or the user is told.
        numbers: Metrics of the question.
    """

    reply: object
    asked: int
    failed: bool = False
    accuracy: float | None = 1.0
    told: str = ""
    numbers: tuple = ()


def lost(reply, told):
    return Mode(lambda n, marker: reply, asked=2, failed=True, accuracy=None, told=told)


def first(reply, **expected):
    """A reply that comes once; then the model answers."""
    return Mode(lambda n, marker: assistant(RED) if n else reply(marker), asked=2, **expected)


def call(name, arguments):
    return assistant("<think>x</think>", [("c1", name, arguments)])


def injected(marker):
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    return assistant(
        "<think>x</think>", [("c1", "crop_video", code), ("c2", "crop_video", {**WINDOW, "start_time": code})]
    )


MODES = {
    "no failure": first(lambda marker: call("crop_video", WINDOW), numbers=(("calls", 1), ("iou", 1.0), ("turns", 2))),
    "500 for ever": lost(failure(500), "HTTP 500"),
    "500 once": first(lambda marker: failure(500), numbers=(("retries", 1), ("turns", 1))),
    "429 with a time to wait": first(lambda marker: rate_limited(0.1), numbers=(("retries", 1),)),
    "hang": lost(hang(), "no reply within"),
    "dropped connection": lost(reset(), "no connection"),
    "dropped in the middle": lost(cut_off(assistant(RED)), "no connection"),
    "empty choices": lost(no_choices(), "(2 tries)"),
    "content null": lost(null_content(), "(2 tries)"),
    "no JSON": lost(unreadable(), "(2 tries)"),
    "refused": replace(lost(failure(400, "too long"), "too long"), asked=1),
    "finish_reason length": Mode(
        lambda n, marker: truncated("<think>I wonder"),
        asked=1,
        accuracy=0.0,
        numbers=(("cut_off", 1.0), ("truncated_turns", 1)),
    ),
    "endless tool calls": Mode(
        lambda n, marker: call("crop_video", WINDOW),
        asked=5,
        accuracy=0.0,
        told="tool calls are used",
        numbers=(("cut_off", 1.0), ("calls", 3)),
    ),
    "unknown tool": first(
        lambda marker: call("run_shell", {"command": "ls"}), told="run_shell", numbers=(("calls", 0),)
    ),
    "broken JSON": first(
        lambda marker: call("crop_video", '{"video_path": "vid'),
        told="must be a JSON object",
        numbers=(("refused_calls", 1),),
    ),
    "injected code": first(injected, told="must be a JSON object", numbers=(("calls", 0), ("refused_calls", 2))),
}


@dataclass(frozen=True)
class Run:
    """What two runs left."""

    marker: object
    results: dict
    continued: dict
    samples: dict
    asked: Counter
    asked_again: Counter
    rollouts: dict
    output: str


@pytest.fixture(scope="module")
def run(data, lmms_eval_command, evaluate, question_number, tmp_path_factory):
    folder = tmp_path_factory.mktemp("failures")
    row, *_ = read_rows(data / "test.parquet")
    rows = [{**row, "id": name, "question": f"Question {n}: which colour?"} for n, name in enumerate(MODES)]
    write_rows(rows, folder / "rows.jsonl")
    names, asked, marker = list(MODES), Counter(), folder / "executed"

    def script(request):
        name = names[question_number(request)]
        asked[name] += 1
        return MODES[name].reply(asked[name] - 1, marker)

    with ScriptedChatServer(script) as server:
        arguments = (
            f"base_url={server.base_url},model=scripted,preset=tiny,max_calls=3,timeout=6,max_retries=1,backoff=0,"
            f"rollouts={folder / 'traces'}"
        )
        output = lmms_eval_command(
            "--model", "longvt", "--model_args", arguments, "--tasks", TASK, "--use_cache", folder / "cache",
            "--output_path", folder / "out", "--log_samples", env={"LONGVT_DATA": str(folder / "rows.jsonl")},
        )  # fmt: skip
        before = Counter(asked)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LONGVT_DATA", str(folder / "rows.jsonl"))
            continued = evaluate("longvt", [TASK], arguments, use_cache=str(folder / "cache"))
    (results,) = folder.rglob("*_results.json")
    (samples,) = folder.rglob(f"*_samples_{TASK}.jsonl")
    logged = [json.loads(line) for line in samples.read_text().splitlines()]
    return Run(
        marker,
        json.loads(results.read_text())["results"][TASK],
        continued["results"][TASK],
        {names[sample["doc_id"]]: sample for sample in logged},
        before,
        asked - before,
        {rollout.row_id: rollout for rollout in read_rollouts(folder / "traces" / TASK)},
        output,
    )


@pytest.mark.parametrize("name", MODES)
def test_a_failure_is_neither_lost_nor_scored_wrongly_nor_cached(run, name):
    mode, sample, rollout = MODES[name], run.samples[name], run.rollouts[name]
    assert (sample["failed"], sample["accuracy"]) == (int(mode.failed), mode.accuracy), run.output
    assert {metric: sample[metric] for metric, _ in mode.numbers} == dict(mode.numbers)
    assert run.asked[name] == mode.asked
    # Cached is what the model did; what the server did not do is asked for again.
    assert run.asked_again[name] == (mode.asked if mode.failed else 0)
    assert (rollout.stop_reason == "error", rollout.rewards.get("accuracy")) == (mode.failed, mode.accuracy)
    assert mode.told in (rollout.error if mode.failed else json.dumps(rollout.messages))


def test_nothing_that_a_model_wrote_is_executed(run):
    assert not run.marker.exists()


def test_failures_are_counted_and_excluded_also_when_the_run_continues(run):
    lost_questions = sum(mode.failed for mode in MODES.values())
    scores = [mode.accuracy for mode in MODES.values() if mode.accuracy is not None]
    for numbers in (run.results, run.continued):
        assert (numbers["failed,none"], numbers["scored,none"]) == (lost_questions, len(scores))
        assert numbers["accuracy,none"] == pytest.approx(sum(scores) / len(scores))
    assert len(run.rollouts) == len(MODES)
