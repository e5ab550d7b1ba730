"""A trained tiny checkpoint behind a real ``vllm serve``: calls are parsed there, answers are as in the process."""

import pytest

from longvt_plugins.rollouts import read_rollouts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

QUESTIONS = 24
IDS_OF_VLLM = "chatcmpl-tool-"
"""How vLLM names the calls that its parser found; calls that we read from a turn's text are ``call_1``, ``call_2``."""


@pytest.fixture(scope="module")
def url(serve, trained, vllm_programs):
    command = [
        vllm_programs / "vllm", "serve", trained, "--served-model-name", "longvt", "--host", "127.0.0.1",
        "--enforce-eager", "--max-model-len", 4096, "--enable-auto-tool-choice", "--tool-call-parser", "hermes",
    ]  # fmt: skip
    with serve(command) as url:
        yield url


@pytest.fixture(scope="module")
def served(evaluate, url):
    return evaluate("longvt", f"base_url={url}/v1,model=longvt")


def test_no_request_fails_and_every_call_was_parsed_by_the_server(served):
    numbers, traces = served
    assert (numbers["scored,none"], numbers["failed,none"]) == (QUESTIONS, 0)
    turns = [message for rollout in read_rollouts(traces) for message in rollout.messages]
    calls = [call for turn in turns for call in turn.get("tool_calls", ())]
    assert len(calls) >= QUESTIONS / 2
    assert all(call["id"].startswith(IDS_OF_VLLM) for call in calls)
    assert not any("<tool_call>" in str(turn["content"]) for turn in turns if turn["role"] == "assistant")


def test_a_model_is_as_good_served_as_in_the_process(served, evaluate, trained):
    numbers, _ = served
    here, _ = evaluate("longvt_hf", f"pretrained={trained}")
    # vLLM computes with other kernels and in bfloat16: a question or two may come out differently.
    assert numbers["accuracy,none"] == pytest.approx(here["accuracy,none"], abs=2 / QUESTIONS)
    assert numbers["calls,none"] == pytest.approx(here["calls,none"], abs=2 / QUESTIONS)
    assert numbers["accuracy,none"] > 0.2  # of six kinds of questions, of which it was trained on one
