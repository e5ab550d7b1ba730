"""``longvt eval``: what lmms-eval's exit code hides ends the command with an error.

A program stands in for lmms-eval here, since the real one needs half a minute to start: it writes what it is told to.
``test_eval_command.py`` runs the real one.
"""

import json
import os
import sys

import pytest

from eval_ext.results import read_results
from eval_ext.run import Evaluation
from longvt_plugins.cli import main
from longvt_plugins.errors import ConfigError
from longvt_plugins.testing_server import ScriptedChatServer, assistant, failure

TASK = "videosiah_eval_tool"

STAND_IN = """
import json, os, sys
from pathlib import Path
options = dict(zip(sys.argv[1::1], sys.argv[2::1]))
Path(os.environ["SEEN"]).write_text(json.dumps([sys.argv[1:], os.environ.get("LONGVT_TASKS")]))
if os.environ["ASKED"]:
    Path(os.environ["LONGVT_EVAL_REPORT"]).write_text(os.environ["ASKED"])
if os.environ["RESULTS"]:
    folder = Path(options["--output_path"], "m")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "20260102_000000_results.json").write_text(os.environ["RESULTS"])
"""


def report(**tasks):
    """A results file: the metrics of each task, of which ten questions were asked."""
    return {
        "results": {name: {f"{key},none": value for key, value in numbers.items()} for name, numbers in tasks.items()},
        "configs": {name: {} for name in tasks},
        "n-samples": {name: {"effective": 10} for name in tasks},
        "group_subtasks": {"longvt_suite_tool": list(tasks)},
        "model_name": "m",
    }


def ours(failed=0, accuracy=0.5, **more):
    return {"accuracy": accuracy, "scored": 10 - failed, "failed": failed, **more}


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capfd):
    """Runs the command; returns its exit code, both that it printed, and what lmms-eval was given."""
    package = tmp_path / "path" / "lmms_eval"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.json"))
    monkeypatch.delenv("LONGVT_TASKS", raising=False)

    def evaluate(results, *arguments, asked="", tasks=TASK, doctor=False):
        arguments = [*([] if doctor else ["--no-doctor"]), *arguments]
        monkeypatch.setenv("RESULTS", json.dumps(results) if results else "")
        monkeypatch.setenv("ASKED", asked)
        code = main(["eval", "--tasks", tasks, "--model", "other", "--output_path", str(tmp_path / "out"), *arguments])
        printed = capfd.readouterr()
        return code, printed.out, printed.err, json.loads((tmp_path / "seen.json").read_text())

    return evaluate


def test_good_results_are_printed_and_the_command_ends_well(evaluate, tmp_path):
    numbers = ours(accuracy_ci_low=0.4, accuracy_ci_high=0.6, iou=0.25)
    code, printed, told, (given, tasks) = evaluate(report(**{TASK: numbers}), "--limit", "10")
    assert (code, told) == (0, "")
    assert "0.500 [0.400, 0.600]" in printed
    assert str(tmp_path / "out" / "m") in printed
    assert tasks == "ours"
    assert given[:2] == ["--tasks", TASK]
    assert given[4:] == ["--model", "other", "--limit", "10", "--log_samples"]


def test_a_run_without_results_is_an_error(evaluate):
    code, _, told, _ = evaluate(None)
    assert code != 0
    assert "longvt: these numbers cannot be trusted: lmms-eval wrote no results and ended with 0" in told


def test_results_of_an_earlier_run_are_not_taken_for_those_of_this_one(evaluate, tmp_path):
    earlier = tmp_path / "out" / "m"
    earlier.mkdir(parents=True)
    (earlier / "20260101_000000_results.json").write_text(json.dumps(report(**{TASK: ours()})))
    assert "wrote no results" in evaluate(None)[2]


@pytest.mark.parametrize(
    ("results", "told"),
    [
        (report(lvbench_tool=ours()), f"{TASK}: not in the results"),
        (report(**{TASK: ours(failed=10, accuracy=None)}), f"{TASK}: not one question has a score"),
        (report(**{TASK: ours(failed=1)}), f"{TASK}: 10.0% of its questions failed, 5.0% may"),
        ({**report(**{TASK: ours()}), "n-samples": {}}, f"{TASK}: no question was asked"),
        (report(**{TASK: {"acc": float("nan")}}), f"{TASK}: acc has no value"),
        (report(**{TASK: {"acc": []}}), f"{TASK}: acc has no value"),
    ],
)
def test_results_that_cannot_be_trusted_are_an_error_that_says_why(evaluate, results, told):
    code, _, said, _ = evaluate(results)
    assert code != 0
    assert told in said


def test_how_many_may_fail_is_the_users_to_say(evaluate):
    results = report(**{TASK: ours(failed=2)})
    assert evaluate(results, "--max-failed", "0.2")[0] == 0
    assert "20.0% of its questions failed, 10.0% may" in evaluate(results, "--max-failed", "0.1")[2]
    assert "must lie between 0 and 1" in evaluate(results, "--max-failed", "20")[2]


def test_failures_that_a_foreign_scorer_took_for_wrong_answers_are_an_error(evaluate):
    asked = json.dumps({"task": "mlvu", "asked": 10, "failed": 3, "reason": "HTTP 500"})
    code, printed, told, _ = evaluate(report(mlvu={"acc_score": 0.7}), tasks="mlvu", asked=asked)
    assert code != 0
    assert "mlvu: 30.0% of its questions failed, which its scorer took for wrong answers, 5.0% may: HTTP 500" in told
    assert "acc_score 0.7" in printed


def test_a_group_stands_for_its_tasks(evaluate):
    assert evaluate(report(**{TASK: ours()}), tasks="longvt_suite_tool")[0] == 0
    assert evaluate(report(**{TASK: ours()}), tasks="videosiah_*")[0] == 0


def test_numbers_and_faults_are_written_for_programs(evaluate, tmp_path):
    file = tmp_path / "numbers.json"
    evaluate(report(**{TASK: ours(failed=5)}), "--json", str(file))
    written = json.loads(file.read_text())
    assert written["tasks"][TASK]["accuracy"] == 0.5
    assert len(written["faults"]) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no task is named"),
        (["--tasks", TASK, "--config", "x.yaml"], "name them with --tasks instead of --config"),
        (["--tasks", TASK, "--processes", "0"], "processes must be at least 1"),
        (["compre"], "has no command 'compre'"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_before_anything_starts(arguments, told, capsys):
    assert main(["eval", *arguments]) != 0
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "arguments", "told"),
    [
        ("longvt", "model=scripted", "base_url is missing"),
        ("longvt", "model=scripted,base_url=URL,modle=x", "unknown argument modle (did you mean model?)"),
        ("longvt", "model=other,base_url=URL", "has no model 'other'; it has scripted"),
        ("longvt", "model=scripted,base_url=http://127.0.0.1:9/v1", "no chat server at http://127.0.0.1:9/v1: "),
        (
            "longvt",
            'model=scripted,base_url=URL,extra_body={"a": 1, "b": 2},modle=x',
            "longvt: --model longvt: unknown argument modle",
        ),
        ("longvt_hf", "pretrained=nowhere", "no checkpoint in nowhere"),
        ("longvt_hf", "pretrained=tiny,engine=vlm", "engine: input should be 'transformers' or 'vllm', not 'vlm'"),
        (
            "longvt_hf",
            "pretrained=tiny,max_model_len=9",
            "max_model_len goes with engine=vllm, not engine=transformers",
        ),
        ("longvt_hf", "pretrained=tiny,engine=vllm", "pip install 'longvt-plugins[eval,vllm]'"),
    ],
)
def test_a_model_that_cannot_answer_is_told_of_before_lmms_eval_starts(
    model, arguments, told, evaluate, tmp_path, monkeypatch, capfd
):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with ScriptedChatServer([]) as server:
        arguments = arguments.replace("URL", server.base_url)
        assert main(["eval", "--tasks", TASK, "--model", model, "--model_args", arguments]) != 0
    assert told in capfd.readouterr().err
    assert not (tmp_path / "seen.json").exists()


def test_a_model_that_the_server_has_is_evaluated_and_doubts_are_told(evaluate, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with ScriptedChatServer(lambda request: assistant("No.")) as server:
        options = ["--model", "longvt", "--model_args", f"base_url={server.base_url},model=scripted"]
        code, _, told, (given, _) = evaluate(report(**{TASK: ours()}), *options, doctor=True)
    assert code == 0
    assert given[4:8] == options
    assert "a forced call did not come back; cure: vLLM: --enable-auto-tool-choice" in told
    assert "videosiah_eval: no annotations" in told


def test_a_blocker_ends_the_command_unless_it_is_told_to_start(evaluate, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with ScriptedChatServer(lambda request: failure(400, "no tools")) as server:
        options = ["--model", "longvt", "--model_args", f"base_url={server.base_url},model=scripted"]
        assert main(["eval", "--tasks", TASK, *options]) == 2
        assert "it refuses tools: " in capfd.readouterr().err
        assert evaluate(report(**{TASK: ours()}), *options)[0] == 0


def test_a_judge_that_cannot_be_trusted_is_told_of_and_ends_nothing(evaluate, monkeypatch):
    with ScriptedChatServer(lambda request: failure(400, "out of memory")) as server:
        options = f'{{base_url: "{server.base_url}", model: judge}}'
        monkeypatch.setenv("LONGVT_JUDGE", f"{{judge: llm, judge_options: {options}}}")
        code, _, told, _ = evaluate(report(**{TASK: ours()}), doctor=True)
    assert code == 0
    assert "out of memory" in told
    assert "the strict score does not need it" in told


def test_a_judge_that_there_is_not_ends_the_command(evaluate, monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("LONGVT_JUDGE", "cascde")
    assert main(["eval", "--tasks", TASK, "--model", "other"]) != 0
    assert "Did you mean 'cascade'?" in capfd.readouterr().err
    assert not (tmp_path / "seen.json").exists()


def test_several_processes_are_several_also_where_there_is_no_gpu(tmp_path):
    command = Evaluation((TASK,), tmp_path, processes=2).command()
    assert command[1:6] == ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    assert "accelerate.commands.launch" not in Evaluation((TASK,), tmp_path).command()


@pytest.mark.parametrize(
    ("arguments", "asks"),
    [
        (["--model", "longvt"], True),
        (["--model=longvt"], True),
        (["--model", "longvt_hf", "--log_samples_suffix", "longvt"], False),
        ([], False),
    ],
)
def test_only_the_model_that_asks_a_server_computes_nothing(arguments, asks, tmp_path):
    assert Evaluation((TASK,), tmp_path, tuple(arguments)).asks_a_server is asks


def test_without_lmms_eval_the_install_line_is_told(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "lmms_eval", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["eval", "--tasks", TASK, "--model", "other"]) != 0
    assert "pip install 'longvt-plugins[eval]'" in capsys.readouterr().err


def test_a_file_that_is_no_results_is_named(tmp_path):
    (tmp_path / "x_results.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"x_results\.json holds no results"):
        read_results(tmp_path)
