"""What becomes of a question when its server fails or its model writes nonsense: every mode of the adversarial server.

One run has a question for each mode; a second one continues it from lmms-eval's cache. The slow test does the same
through the command, which has to end with an error.
"""

import json
from collections import Counter
from dataclasses import dataclass

import pytest

from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.rows import read_rows, write_rows
from longvt_plugins.testing_adversary import BURST, MODES, Adversary, strict
from longvt_plugins.testing_server import ScriptedChatServer

TASK = "longvt_synthetic_tool"
TRIES = 1 + BURST


@dataclass(frozen=True)
class Expected:
    """What is to become of a question.

    Attributes:
        asked: Requests of the first run: two tries are repeated, five calls are allowed.
        failed: The server gave no turn: not scored, and asked again when the run continues.
        accuracy: Of a question that did not fail.
        told: Part of what the model or the user is told.
        numbers: Metrics of the question.
    """

    asked: int
    failed: bool = False
    accuracy: float | None = 1.0
    told: str = ""
    numbers: tuple = ()


def lost(told, asked=TRIES):
    return Expected(asked, failed=True, accuracy=None, told=told)


EXPECTED = {
    "no failure": Expected(2, numbers=(("calls", 1), ("iou", 1.0), ("turns", 2))),
    "two rounds": Expected(3, numbers=(("calls", 2), ("turns", 3))),
    "five rounds": Expected(6, numbers=(("calls", 5), ("turns", 6))),
    "injected code": Expected(2, told="must be a JSON object", numbers=(("calls", 0), ("refused_calls", 2))),
    "null and true": Expected(2, told="should be a valid number", numbers=(("calls", 0), ("refused_calls", 1))),
    "broken JSON": Expected(2, told="must be a JSON object", numbers=(("refused_calls", 1),)),
    "unknown tool": Expected(2, told="there is no tool named 'run_shell'", numbers=(("refused_calls", 1),)),
    "endless tool calls": Expected(
        7, accuracy=0.0, told="all 5 tool calls are used", numbers=(("cut_off", 1.0), ("calls", 5), ("turns", 7))
    ),
    "content null": lost("without content (3 tries)"),
    "finish_reason length": Expected(1, accuracy=0.0, numbers=(("cut_off", 1.0), ("truncated_turns", 1))),
    "500 in bursts": Expected(TRIES, numbers=(("retries", BURST), ("turns", 1))),
    "500 for ever": lost("HTTP 500"),
    "429 with a time to wait": Expected(2, numbers=(("retries", 1), ("turns", 1))),
    "hang": lost("no reply within 4 s"),
    "dropped connection": lost("no connection"),
    "dropped in the middle": lost("no connection"),
    "empty choices": lost("(3 tries)"),
    "no JSON": lost("(3 tries)"),
    "refused": lost("too long", asked=1),
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
    refused: list


@pytest.fixture(scope="module")
def questions(data, tmp_path_factory):
    """A question for each mode."""
    folder = tmp_path_factory.mktemp("failures")
    row, *_ = read_rows(data / "test.parquet")
    rows = [{**row, "id": name, "question": f"Question {n}: which colour?"} for n, name in enumerate(MODES)]
    write_rows(rows, folder / "rows.jsonl")
    return folder / "rows.jsonl"


def model_args(server, folder):
    return (
        f"base_url={server.base_url},model=scripted,preset=tiny,timeout=4,max_retries={BURST},backoff=0,"
        f"concurrency={len(MODES)},rollouts={folder / 'traces'}"
    )


@pytest.fixture(scope="module")
def run(questions, evaluate, tmp_path_factory):
    folder = tmp_path_factory.mktemp("in_process")
    adversary, refused = Adversary(list(MODES), folder / "executed"), []
    script = strict(adversary, lambda request, fault: refused.append(fault))
    with ScriptedChatServer(script) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGVT_DATA", str(questions))
        options = {"use_cache": str(folder / "cache"), "log_samples": True}
        results = evaluate("longvt", [TASK], model_args(server, folder), **options)
        before = Counter(adversary.asked)
        rollouts = read_rollouts(folder / "traces" / TASK)
        continued = evaluate("longvt", [TASK], model_args(server, folder), **options)
    return Run(
        folder / "executed",
        results["results"][TASK],
        continued["results"][TASK],
        {list(MODES)[sample["doc_id"]]: sample for sample in results["samples"][TASK]},
        before,
        adversary.asked - before,
        {rollout.row_id: rollout for rollout in rollouts},
        refused,
    )


def test_every_mode_has_its_behaviour_stated():
    assert EXPECTED.keys() == MODES.keys()


@pytest.mark.parametrize("name", MODES)
def test_a_failure_is_neither_lost_nor_scored_wrongly_nor_cached(run, name):
    expected, sample, rollout = EXPECTED[name], run.samples[name], run.rollouts[name]
    assert (sample["failed"], sample["accuracy"]) == (int(expected.failed), expected.accuracy)
    assert {metric: sample[metric] for metric, _ in expected.numbers} == dict(expected.numbers)
    assert run.asked[name] == expected.asked
    # Cached is what the model did; what the server did not do is asked for again.
    assert run.asked_again[name] == (expected.asked if expected.failed else 0)
    assert (rollout.stop_reason == "error", rollout.rewards.get("accuracy")) == (expected.failed, expected.accuracy)
    assert expected.told in (rollout.error if expected.failed else json.dumps(rollout.messages))


def test_nothing_that_a_model_wrote_is_executed(run):
    assert not run.marker.exists()


def test_no_request_breaks_the_protocol(run):
    assert run.refused == []


def test_failures_are_counted_and_excluded_also_when_the_run_continues(run):
    lost_questions = sum(expected.failed for expected in EXPECTED.values())
    scores = [expected.accuracy for expected in EXPECTED.values() if expected.accuracy is not None]
    for numbers in (run.results, run.continued):
        assert (numbers["failed,none"], numbers["scored,none"]) == (lost_questions, len(scores))
        assert numbers["accuracy,none"] == pytest.approx(sum(scores) / len(scores))
    assert len(run.rollouts) == len(MODES)


@pytest.mark.slow
def test_the_command_ends_with_an_error_and_keeps_what_was_had(questions, longvt_eval_command, tmp_path):
    adversary = Adversary(list(MODES), tmp_path / "executed")
    with ScriptedChatServer(strict(adversary)) as server:
        arguments = [
            "--tasks", TASK, "--model_args", model_args(server, tmp_path), "--output_path", str(tmp_path / "out"),
            "--use_cache", str(tmp_path / "cache"), "--json", str(tmp_path / "numbers.json"), "--no-doctor",
        ]  # fmt: skip
        code, output = longvt_eval_command(*arguments, env={"LONGVT_DATA": str(questions)})
        assert code != 0
        failed = sum(expected.failed for expected in EXPECTED.values()) / len(EXPECTED)
        assert f"{TASK}: {failed:.1%} of its questions failed, 5.0% may" in output
        code, output = longvt_eval_command(*arguments, "--max-failed", "0.5", env={"LONGVT_DATA": str(questions)})
        assert code == 0, output
    written = json.loads((tmp_path / "numbers.json").read_text())
    assert written["faults"] == []
    assert written["tasks"][TASK]["failed"] == sum(expected.failed for expected in EXPECTED.values())
    assert not (tmp_path / "executed").exists()
