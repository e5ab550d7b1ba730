"""``engine=vllm``: a checkpoint in vLLM's offline engine writes what it writes with transformers."""

import subprocess

import pytest

from longvt_plugins.rollouts import read_rollouts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

QUESTIONS = 24


@pytest.fixture(scope="module")
def told(in_vllm, trained):
    return in_vllm("ask_offline.py", str(trained))


def test_both_engines_read_and_write_the_same(told):
    # The last digits of other kernels may turn a token where two are as likely, as with pictures nobody trained it on.
    same = [ours == theirs for ours, theirs in zip(told["vllm"], told["transformers"], strict=True)]
    assert sum(same) >= len(same) - 1
    assert [each[1] for each in told["vllm"]] == [each[1] for each in told["transformers"]]


def test_what_is_written_does_not_depend_on_who_asks_besides(told):
    assert told["alone"] == told["vllm"][:4]


def test_a_turn_is_told_while_it_is_written(told):
    heard, whole = told["streamed"]
    assert len(heard) > 4
    assert "".join(heard) == whole.rstrip("\ufffd")


def test_one_question_asked_four_times_is_answered_four_ways(told):
    assert len({content for content, *_ in told["sampled"]}) == 4


def test_image_tokens_are_never_written(told):
    text = "".join(content for content, *_ in told["hot"])
    assert len(text) > 1000
    assert not any(token in text for token in ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"))


def test_the_longest_turn_is_kept_to(told):
    ((_, _, written, reason),) = told["short"]
    assert (written, reason) == (3, "length")


def test_a_conversation_that_is_too_long_fails_alone(told):
    kind, reason = told["too_long"]
    assert kind == "ChatRequestError"
    assert reason.startswith("vLLM refuses the request: ") and "2048" in reason
    assert told["after"] == told["vllm"][:1]


def test_lmms_eval_finds_the_same_accuracy_with_both_engines(evaluate, trained, vllm_programs):
    python = vllm_programs / "python"
    if subprocess.run([python, "-c", "import lmms_eval"], capture_output=True, check=False).returncode:
        pytest.skip(
            "the environment of vLLM has no lmms-eval: tests/vllm/make_environment.sh installs it beside 0.29.0"
        )
    settings = 'max_model_len=4096,engine_args={"enforce_eager": true}'
    numbers, traces = evaluate("longvt_hf", f"pretrained={trained},engine=vllm,{settings}", python)
    here, _ = evaluate("longvt_hf", f"pretrained={trained}")
    assert (numbers["scored,none"], numbers["failed,none"]) == (QUESTIONS, 0)
    assert numbers["accuracy,none"] == pytest.approx(here["accuracy,none"], abs=1 / QUESTIONS)
    assert numbers["calls,none"] == pytest.approx(here["calls,none"], abs=1 / QUESTIONS)
    assert len(read_rollouts(traces)) == QUESTIONS
