"""``longvt judge``, run as a process, offline and against a scripted server."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from longvt_plugins.judges.audit import read_verdicts
from longvt_plugins.judges.calibration import read_labels
from longvt_plugins.testing_server import ScriptedChatServer, assistant, failure

RECIPES = Path(__file__).resolve().parents[3] / "recipes" / "judge"
SILENT = {name: "" for name in ("LLM_AS_A_JUDGE_BASE", "OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL_NAME")}


def perfect(quotations):
    """A server that knows the labels."""
    known = {(label.question, label.answer): label.label for label in read_labels()}

    def script(request):
        quoted, _ = quotations(request)
        found = [
            score for (question, answer), score in known.items()
            if question == quoted["question"] and answer.strip() == quoted["answer under test"]
        ]  # fmt: skip
        return assistant(json.dumps({"reason": "known", "score": f"{found[0] if found else 0:g}"}))

    return script


def test_the_exact_judge_is_calibrated_offline(run, tmp_path):
    done = run("longvt", "judge", "calibrate", "--out", tmp_path / "out", "--show", "2", env=SILENT)
    assert "contradiction" in done.stdout
    assert "agreement 0.6" in done.stdout
    assert "paraphrase-01: 1, judged 0" in done.stdout
    assert len(read_verdicts(tmp_path / "out")) == len(read_labels())
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["fingerprint"], report["too_kind"], report["missing"]) == ("exact/2", 0, 0)


def test_a_language_model_is_calibrated_over_http(run, tmp_path, quotations):
    args = [
        "--judge",
        "llm",
        "--model",
        "m",
        "--json",
        "--option",
        "concurrency=8",
        "--option",
        f"cache_dir={tmp_path}",
    ]
    with ScriptedChatServer(perfect(quotations)) as server:
        args += ["--base-url", server.base_url, "--option", "prices={input: 1000, output: 0}"]
        first = json.loads(run("longvt", "judge", "calibrate", *args, env={**SILENT, "OPENAI_API_KEY": "sk-x"}).stdout)
        asked = len(server.requests)
        again = json.loads(run("longvt", "judge", "calibrate", *args, env=SILENT).stdout)
    assert first["agreement"] > 0.99
    assert first["categories"]["injection"]["too_kind"] == 0
    assert 0 < asked <= len(read_labels())
    assert first["cost"] == pytest.approx(asked * 0.007)
    assert len(server.requests) == asked
    assert (again["cost"], again["cached"]) == (0.0, asked)
    assert server.headers[0]["authorization"] == "Bearer sk-x"
    assert "sk-x" not in json.dumps(first)


def test_the_server_may_be_named_by_the_environment(run, quotations):
    with ScriptedChatServer(perfect(quotations)) as server:
        done = run(
            "longvt", "judge", "check", "--judge", "llm", env={**SILENT, "LLM_AS_A_JUDGE_BASE": server.base_url}, code=2
        )
        assert server.requests[0]["model"] == "judge"
    assert "cannot be trusted: it scores a right answer 0" in done.stderr, "it does not know the check's questions"


def test_a_check_that_passes_says_so(run):
    assert run("longvt", "judge", "check", env=SILENT).stdout == "the judge exact passes\n"


def test_a_judge_that_is_mostly_silent_is_an_error_after_its_report(run):
    with ScriptedChatServer(lambda request: failure(500, "no memory")) as server:
        args = ["--judge", "llm", "--model", "m", "--base-url", server.base_url, "--option", "max_retries=0"]
        done = run("longvt", "judge", "calibrate", *args, "--json", env=SILENT, code=2)
    assert json.loads(done.stdout)["missing"] == len(server.requests)
    assert "had a verdict on 1 of 341 answers: chat server" in done.stderr
    assert "no memory" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--judge", "llm"], "the judge 'llm' needs base_url"),
        (["--judge", "exakt"], "No judge named 'exakt'. Did you mean 'exact'?"),
        (["--option", "maths"], "--option needs NAME=VALUE, such as max_tokens=1024, not 'maths'"),
        (["--option", "maths=perhaps"], "maths must be true or false, not 'perhaps'"),
        (["--labels", "missing.jsonl"], "labels missing.jsonl: No such file"),
        (["--show", "-1"], "--show must not be negative"),
    ],
)
def test_faults_are_one_line(run, args, message):
    done = run("longvt", "judge", "calibrate", *args, env=SILENT, code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "program", "args", "said"),
    [
        ("vllm.sh", "vllm", [], "serve Qwen/Qwen2.5-72B-Instruct --served-model-name judge"),
        ("vllm.sh", "vllm", ["mine", "1", "--api-key", "k"], "serve mine --served-model-name judge"),
        ("sglang.sh", "python3", [], "-m sglang.launch_server --model-path Qwen/Qwen2.5-72B-Instruct"),
        ("sglang.sh", "python3", ["mine", "2", "--api-key", "k"], "-m sglang.launch_server --model-path mine"),
    ],
)
def test_the_recipes_start_a_server_named_judge(tmp_path, script, program, args, said):
    fake = tmp_path / program
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    bash = shutil.which("bash")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [bash, RECIPES / script, *args], env={"PATH": path}, capture_output=True, text=True, check=True
    )
    assert said in done.stdout
    assert "--served-model-name judge --host 127.0.0.1 --port 1234" in done.stdout
    assert done.stdout.rstrip().endswith(" ".join(args[2:]) or "")
    gpus = args[1] if args else "8"
    assert f"-size {gpus} " in done.stdout
