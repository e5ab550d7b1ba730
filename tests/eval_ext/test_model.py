"""Our models inside lmms-eval: against a scripted server, and with a tiny checkpoint."""

import asyncio

import pytest
from lmms_eval.models import get_model

from eval_ext.arguments import LocalArguments, parse_arguments
from eval_ext.model import LongvtLocal, LongvtServer
from longvt_plugins.errors import ConfigError, UnknownNameError
from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.testing_server import ScriptedChatServer, assistant, failure

SMALL = "model=scripted,max_retries=0,overview_max_frames=4,crop_max_frames=3,min_pixels=784,max_pixels=784"


@pytest.fixture
def ask(use_data, evaluate, tmp_path):
    """Evaluates a script; returns the results, the rollouts by task, and the server."""

    def ask(script, *tasks, more="", **options):
        with ScriptedChatServer(script) as server:
            arguments = f"base_url={server.base_url},{SMALL},rollouts={tmp_path / 'traces'}{more}"
            results = evaluate("longvt", tasks, arguments, **options)
        return results, {task: read_rollouts(tmp_path / "traces" / task) for task in tasks}, server

    return ask


def test_a_task_with_tools_is_scored_on_answer_form_and_window(ask, looks_and_says):
    script = looks_and_says(["red", "blue", "blue", "blue"], window=(8, 10))
    results, traces, server = ask(script, "longvt_synthetic_tool")
    numbers = results["results"]["longvt_synthetic_tool"]
    assert (numbers["accuracy,none"], numbers["accuracy/test/even,none"], numbers["accuracy/test/odd,none"]) == (
        0.5,
    ) * 3
    assert numbers["accuracy_ci_low,none"] < 0.5 < numbers["accuracy_ci_high,none"]
    assert (numbers["format,none"], numbers["iou,none"], numbers["calls,none"]) == (1.0, 0.5, 1.0)
    assert (numbers["frames,none"], numbers["tokens,none"]) == (4 + 2, 10)
    assert (numbers["scored,none"], numbers["failed,none"], numbers["cut_off,none"]) == (4, 0, 0.0)
    assert [rollout.row_id for rollout in traces["longvt_synthetic_tool"]] == ["q0", "q1", "q2", "q3"]
    assert {request["temperature"] for request in server.requests} == {0.0}


def test_several_tasks_run_in_one_command_each_in_its_own_form(ask, looks_and_says):
    tasks = [f"longvt_synthetic_{form}" for form in ("non_think", "tool", "oracle_window")]
    results, traces, server = ask(looks_and_says(["red", "blue", "green", "red"]), *tasks)
    assert {name: results["results"][name]["accuracy,none"] for name in tasks} == dict.fromkeys(tasks, 1.0)
    assert results["results"]["longvt_synthetic_oracle_window"]["iou,none"] == 1.0
    assert "iou,none" not in results["results"]["longvt_synthetic_non_think"]
    assert [len(traces[task][0].messages) for task in tasks] == [3, 5, 5]
    with_tools = sum("tools" in request for request in server.requests)
    assert with_tools == 4 * 2 + 4  # the oracle's first turn is not the model's
    assert len(server.requests) - with_tools == 4


def test_a_failed_request_is_excluded_and_counted(ask, looks_and_says, question_number):
    good = looks_and_says(["red", "blue", "green", "red"])
    results, traces, _ = ask(
        lambda request: failure(400, "too long") if question_number(request) == 2 else good(request),
        "longvt_synthetic_tool",
    )
    numbers = results["results"]["longvt_synthetic_tool"]
    assert (numbers["accuracy,none"], numbers["scored,none"], numbers["failed,none"]) == (1.0, 3, 1)
    reasons = [rollout.error for rollout in traces["longvt_synthetic_tool"]]
    assert reasons[:2] == [None, None]
    assert "too long" in reasons[2]


def test_the_cache_keeps_what_the_model_did_and_no_failure(
    use_data, evaluate, looks_and_says, question_number, tmp_path
):
    good = looks_and_says(["red", "blue", "green", "blue"])
    refused = []

    def script(request):
        if question_number(request) == 1 and not refused:
            refused.append(request)
            return failure(400, "out of memory")
        return good(request)

    with ScriptedChatServer(script) as server:
        arguments = f"base_url={server.base_url},{SMALL}"
        cached = {"use_cache": str(tmp_path / "cache")}
        first = evaluate("longvt", ["longvt_synthetic_tool"], arguments, **cached)
        assert len(server.requests) == 1 + 3 * 2
        second = evaluate("longvt", ["longvt_synthetic_tool"], arguments, **cached)
    assert len(server.requests) == 1 + 3 * 2 + 2  # only what had failed was asked again
    before, after = (results["results"]["longvt_synthetic_tool"] for results in (first, second))
    assert (before["accuracy,none"], before["scored,none"], before["failed,none"]) == (2 / 3, 3, 1)
    assert (after["accuracy,none"], after["scored,none"], after["failed,none"]) == (0.75, 4, 0)
    assert (after["iou,none"], after["format,none"], after["calls,none"]) == (1.0, 1.0, 1.0)


def test_a_run_in_which_nothing_worked_has_no_accuracy_and_loses_no_other_task(ask, looks_and_says):
    good = looks_and_says(["red"] * 4)
    results, traces, _ = ask(
        lambda request: failure(503) if "tools" in request else good(request),
        "longvt_synthetic_tool", "longvt_synthetic_non_think",
    )  # fmt: skip
    numbers = results["results"]["longvt_synthetic_tool"]
    assert (numbers["accuracy,none"], numbers["scored,none"], numbers["failed,none"]) == (None, 0, 4)
    assert "HTTP 503" in traces["longvt_synthetic_tool"][0].error
    assert results["results"]["longvt_synthetic_non_think"]["accuracy,none"] == 0.5


def test_length_and_temperature_come_from_the_tasks_generation(ask, looks_and_says):
    _, _, server = ask(
        looks_and_says(["red"] * 4), "longvt_synthetic_non_think", gen_kwargs="max_new_tokens=7,temperature=0.5"
    )
    assert {(request["max_tokens"], request["temperature"]) for request in server.requests} == {(7, 0.5)}


def test_only_the_first_questions_are_asked_under_a_limit(ask, looks_and_says):
    results, traces, _ = ask(looks_and_says(["red"] * 4), "longvt_synthetic_tool", limit=2)
    assert results["results"]["longvt_synthetic_tool"]["scored,none"] == 2
    assert len(traces["longvt_synthetic_tool"]) == 2


def test_a_model_that_only_calls_is_stopped_and_scored_wrong(ask):
    calls = {"video_path": "video_1.mp4", "start_time": 0, "end_time": 2}
    results, _, server = ask(
        lambda request: assistant("<think>x</think>", [("", "crop_video", calls)]),
        "longvt_synthetic_tool", more=",max_calls=1", limit=1,
    )  # fmt: skip
    numbers = results["results"]["longvt_synthetic_tool"]
    assert (numbers["accuracy,none"], numbers["cut_off,none"], len(server.requests)) == (0.0, 1.0, 3)


def test_a_task_that_is_not_ours_is_refused(tmp_path):
    class Request:
        task_name, doc_id, metadata, arguments = "mme", 0, {"split": "test"}, ("", None, {})

    model = LongvtServer(base_url="http://localhost/v1", model="m")
    with pytest.raises(ConfigError, match="task 'mme' is not one of longvt-plugins"):
        model.generate_until([Request()])


def test_padding_of_distributed_runs_is_not_answered():
    class Request:
        task_name, metadata = "longvt_synthetic_tool", {"__padding_only__": True}

    assert [result.text for result in LongvtServer(base_url="http://x", model="m").generate_until([Request()])] == [""]


def test_what_is_missing_is_asked_for(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(
        ConfigError, match=r"^--model longvt: model is missing: .*; base_url is missing: give base_url="
    ):
        LongvtServer()
    with pytest.raises(ConfigError, match="--model longvt_hf: pretrained is missing"):
        LongvtLocal()


def test_a_tool_or_reader_that_is_not_installed_is_refused_at_once():
    with pytest.raises(UnknownNameError, match="Did you mean 'crop_video'"):
        LongvtServer(base_url="http://localhost/v1", model="m", tools="crop_vdeo")
    with pytest.raises(UnknownNameError, match="No video reader named 'vhs'"):
        LongvtServer(base_url="http://localhost/v1", model="m", video_reader="vhs")


def test_address_and_key_may_come_from_the_environment(monkeypatch):
    with ScriptedChatServer([assistant("hi")]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
        backend = LongvtServer(model="m")._backend
        asyncio.run(backend.complete([{"role": "user", "content": "?"}], max_tokens=1, temperature=0))
    assert server.headers[0]["authorization"] == "Bearer from-the-environment"


@pytest.mark.parametrize("batch_size", ["auto", 0, "-1"])
def test_a_batch_size_that_is_none_is_refused(batch_size, tmp_path):
    with pytest.raises(ConfigError, match="batch_size must be a whole number from 1"):
        LongvtLocal(batch_size=batch_size, pretrained=str(tmp_path))


def test_settings_of_vllm_are_only_those_that_were_given():
    given = {
        "pretrained": "m",
        "engine": "vllm",
        "max_model_len": 8192,
        "engine_args": '{"enforce_eager": true, "seed": 1}',
    }
    settings = parse_arguments(LocalArguments, given, "longvt_hf", {}).vllm_settings()
    assert settings == {"max_model_len": 8192, "enforce_eager": True, "seed": 1}
    assert parse_arguments(LocalArguments, {"pretrained": "m"}, "longvt_hf", {}).vllm_settings() == {}


def test_vllm_is_one_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="engine=vllm runs in one process; tensor_parallel_size gives it more GPUs"):
        LongvtLocal(pretrained="tiny", engine="vllm")


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no checkpoint in"):
        get_model("longvt_hf").create_from_arg_string(f"pretrained={tmp_path}", {"batch_size": 1, "device": None})


def test_several_processes_need_no_accelerator_that_lmms_eval_gives(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    model = LongvtServer(base_url="http://127.0.0.1:9/v1", model="m")
    assert not hasattr(model, "accelerator")
    assert str(model.device).startswith(("cpu", "cuda"))
