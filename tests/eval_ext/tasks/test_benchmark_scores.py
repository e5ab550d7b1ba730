"""How answers to the benchmarks are scored: strictly, and by a judge beside it."""

import pytest

pytest.importorskip("lmms_eval")

from lmms_eval.evaluator import simple_evaluate
from lmms_eval.tasks import TaskManager

from longvt_plugins.testing_server import ScriptedChatServer, asked_text, assistant, failure


@pytest.fixture
def answer(use_copies):
    """Answers tasks with a server; gives the numbers of each."""

    def answer(script, *tasks):
        with ScriptedChatServer(script) as server:
            results = simple_evaluate(
                model="longvt",
                model_args=f"base_url={server.base_url},model=scripted,preset=tiny",
                tasks=list(tasks),
                task_manager=TaskManager("WARNING", include_defaults=False),
                verbosity="WARNING",
            )
        return results["results"]

    return answer


def says(text):
    return lambda request: assistant(text)


def judged_by(server, monkeypatch):
    monkeypatch.setenv("LLM_AS_A_JUDGE_BASE", server.base_url)
    monkeypatch.setenv(
        "LONGVT_JUDGE", "{judge: cascade, judge_options: {model: judge, rubric: binary, max_retries: 0}}"
    )


def test_the_judge_stands_beside_the_strict_score_with_its_fingerprint(answer, monkeypatch):
    with ScriptedChatServer(says('{"reason": "the same colour", "verdict": "correct"}')) as judge:
        judged_by(judge, monkeypatch)
        numbers = answer(says("crimson"), "videosiah_eval_non_think")["videosiah_eval_non_think"]
    assert numbers["accuracy,none"] == 0.0
    assert (numbers["judged_accuracy,none"], numbers["no_verdict,none"]) == (1.0, 0)
    assert numbers["judge,none"].startswith("cascade/")
    assert "What colour is the lamp?" in asked_text(judge.requests[0])
    assert "short answer or phrase" not in asked_text(judge.requests[0])  # that is for the model


def test_a_judge_that_is_down_leaves_the_strict_score_and_is_counted(answer, monkeypatch):
    with ScriptedChatServer(lambda request: failure(500)) as judge:
        judged_by(judge, monkeypatch)
        numbers = answer(says("red"), "videosiah_eval_non_think")["videosiah_eval_non_think"]
    assert numbers["accuracy,none"] == 0.5
    # The cascade asks only about what is not exactly right.
    assert (numbers["judged_accuracy,none"], numbers["no_verdict,none"]) == (1.0, 1)


def test_the_interval_that_a_sentence_names_is_scored(answer):
    task = "charades_sta_non_think"
    numbers = answer(says("The event happens in the 8 - 10 seconds."), task)[task]
    assert (numbers["miou,none"], numbers["r@0.3,none"], numbers["r@0.7,none"]) == (0.25, 0.5, 0.0)
    assert numbers["miou,none"] == numbers["accuracy,none"]


def test_a_model_without_pictures_is_shown_none_and_still_asked(answer):
    shown = []

    def script(request):
        shown.append(str(request["messages"]))
        return assistant("<think>A guess.</think><answer>D</answer>")

    numbers = answer(script, "lvbench_reasoning_no_visual")["lvbench_reasoning_no_visual"]
    assert (numbers["accuracy,none"], numbers["frames,none"], numbers["failed,none"]) == (0.5, 0.0, 0)
    assert not any("image_url" in messages for messages in shown)
    assert all("(A) 1636" in messages for messages in shown)


def test_a_limit_asks_that_many_and_the_next_run_asks_the_rest(use_copies, tmp_path):
    asked = []
    with ScriptedChatServer(says("<think>Hm.</think><answer>D</answer>")) as server:
        for limit in (1, None):
            results = simple_evaluate(
                model="longvt",
                model_args=f"base_url={server.base_url},model=scripted,preset=tiny",
                tasks=["lvbench_tool"],
                task_manager=TaskManager("WARNING", include_defaults=False),
                verbosity="WARNING",
                use_cache=str(tmp_path / "cache"),
                limit=limit,
            )
            asked.append(len(server.requests))
    assert asked == [1, 2]
    assert results["results"]["lvbench_tool"]["accuracy,none"] == 0.5
