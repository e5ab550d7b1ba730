"""The real ``lmms-eval`` command, as a user types it: no flag names our models' code or our tasks' folder."""

import json

import pytest
import yaml

from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.synthetic.tiny import build_tiny_model
from longvt_plugins.testing_server import ScriptedChatServer, assistant


def results_of(folder):
    (path,) = folder.rglob("*_results.json")
    return json.loads(path.read_text())


def test_a_tiny_checkpoint_is_evaluated_in_all_three_forms(data, lmms_eval_command, tmp_path):
    build_tiny_model("qwen2_5_vl", tmp_path / "model", seed=0)
    output = lmms_eval_command(
        "--model", "longvt_hf", "--batch_size", "4",
        "--model_args", f"pretrained={tmp_path / 'model'},preset=tiny,rollouts={tmp_path / 'traces'}",
        "--tasks", "longvt_synthetic", "--gen_kwargs", "max_new_tokens=8",
        "--output_path", tmp_path / "out", "--log_samples",
        env={"LONGVT_DATA": str(data)},
    )  # fmt: skip
    results = results_of(tmp_path / "out")
    tasks = {f"longvt_synthetic_{form}" for form in ("non_think", "tool", "oracle_window")}
    assert tasks <= set(results["results"]), output
    for task in tasks:
        assert results["results"][task]["scored,none"] == 4
        assert results["n-samples"][task]["effective"] == 4
        assert results["configs"][task]["metadata"]["longvt_data_fingerprint"]
        assert len(read_rollouts(tmp_path / "traces" / task)) == 4
    assert results["results"]["longvt_synthetic_oracle_window"]["iou,none"] == 1.0
    samples = list((tmp_path / "out").rglob("*_samples_longvt_synthetic_tool.jsonl"))
    logged = [json.loads(line) for line in samples[0].read_text().splitlines()]
    assert [sample["target"] for sample in logged] == ["red", "blue", "green", "red"]
    assert {"accuracy", "format", "iou", "calls"} <= set(logged[0])


@pytest.mark.slow
def test_several_evaluations_run_in_one_command_and_none_writes_the_key(
    data, lmms_eval_command, looks_and_says, tmp_path
):
    with ScriptedChatServer(looks_and_says(["red", "blue", "green", "blue"])) as server:
        one = {
            "model": "longvt",
            "model_args": f"base_url={server.base_url},model=scripted,preset=tiny",
            "tasks": "longvt_synthetic_tool",
            "use_cache": str(tmp_path / "cache"),
        }
        config = [{**one, "output_path": str(tmp_path / name)} for name in ("first", "second")]
        (tmp_path / "evaluations.yaml").write_text(yaml.safe_dump(config))
        output = lmms_eval_command(
            "--config", tmp_path / "evaluations.yaml", env={"LONGVT_DATA": str(data), "OPENAI_API_KEY": "sk-secret"}
        )
    for name in ("first", "second"):
        assert results_of(tmp_path / name)["results"]["longvt_synthetic_tool"]["accuracy,none"] == 0.75, output
    assert len(server.requests) == 4 * 2  # the second is served from the cache
    assert {headers["authorization"] for headers in server.headers} == {"Bearer sk-secret"}
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert "sk-secret" not in written + output


@pytest.mark.slow
def test_two_processes_a_limit_and_the_run_that_goes_on_from_it(data, longvt_eval_command, looks_and_says, tmp_path):
    def evaluate(server, *more):
        return longvt_eval_command(
            "--tasks", "longvt_synthetic_tool", "--model_args",
            f"base_url={server.base_url},model=scripted,preset=tiny,rollouts={tmp_path / 'traces'}",
            "--output_path", tmp_path / "out", "--use_cache", tmp_path / "cache", "--processes", "2",
            "--json", tmp_path / "numbers.json", *more,
            env={"LONGVT_DATA": str(data)},
        )  # fmt: skip

    def numbers():
        return json.loads((tmp_path / "numbers.json").read_text())["tasks"]["longvt_synthetic_tool"]

    probed = 3
    with ScriptedChatServer(probe_or(looks_and_says(["red", "blue", "green", "blue"]))) as server:
        code, output = evaluate(server, "--limit", "2")
        assert code == 0, output
        assert (numbers()["questions"], numbers()["accuracy"]) == (2, 1.0)
        assert len(server.requests) == 2 * 2 + probed
        code, output = evaluate(server)
        assert code == 0, output
    assert (numbers()["questions"], numbers()["scored"], numbers()["accuracy"]) == (4, 4, 0.75)
    assert len(server.requests) == 4 * 2 + 2 * probed  # what the first asked is not asked again
    traces = tmp_path / "traces" / "longvt_synthetic_tool"
    assert [len(path.read_text().splitlines()) for path in sorted(traces.glob("*.jsonl"))] == [2, 2]  # a file a process
    assert len(read_rollouts(traces)) == 4


def probe_or(script):
    """Answers the doctor, whose requests are about no question, with a call."""
    arguments = {"video_path": "video_1.mp4", "start_time": 0, "end_time": 1}

    def answer(request):
        is_question = request["messages"][0]["role"] == "system"
        return script(request) if is_question else assistant(None, [("c1", "crop_video", arguments)])

    return answer
