"""The judge that asks a language model, against a scripted server that speaks real HTTP."""

import asyncio
import json
import subprocess
import sys
import textwrap
import threading

import pytest

from longvt_plugins import create_plugin_manager
from longvt_plugins.errors import ConfigError
from longvt_plugins.judges import JudgeConfig, close_judge, health_of
from longvt_plugins.judges.llm import llm_judge
from longvt_plugins.testing_server import (
    ScriptedChatServer,
    assistant,
    failure,
    rate_limited,
    reasoning,
    refusing_response_format,
    truncated,
)

RIGHT = '{"reason": "they agree", "score": "1"}'
QUESTION, REFERENCE = "What colour is the car?", "red"


def options(server, **more):
    return {"base_url": server.base_url, "model": "scripted", "max_retries": 0, "backoff": 0.0, **more}


def judge_all(server, predictions, **more):
    """Verdicts of one batch, and the judge's health."""

    async def ask():
        judge = llm_judge(JudgeConfig("llm", options(server, **more)))
        try:
            found = await asyncio.gather(*(judge(QUESTION, REFERENCE, prediction) for prediction in predictions))
        finally:
            await close_judge(judge)
        return found, health_of(judge)

    return asyncio.run(ask())


def judge_one(server, prediction, **more):
    (judgement,), health = judge_all(server, [prediction], **more)
    return judgement, health


def test_a_verdict_comes_with_all_that_is_known_of_it():
    with ScriptedChatServer([assistant(RIGHT)]) as server:
        prices = {"input": 1.0, "output": 2.0}
        judgement, health = judge_one(server, "crimson", prices=prices)
    assert (judgement.score, judgement.verdict, judgement.reason, judgement.raw) == (
        1.0,
        "correct",
        "they agree",
        RIGHT,
    )
    assert judgement.scores == {"llm": 1.0}
    assert judgement.cost == pytest.approx((7 * 1.0 + 5 * 2.0) / 1e6)
    assert judgement.seconds > 0
    assert not judgement.cached
    assert len(judgement.prompt_hash) == 16
    assert (health.asked, health.missing, health.consecutive_failures) == (1, 0, 0)


def test_the_server_is_asked_for_one_of_the_rubrics_scores():
    with ScriptedChatServer([assistant(RIGHT), assistant(RIGHT)]) as server:
        judge_one(server, "crimson", rubric="graded")
        judge_one(server, "crimson", rubric="binary")
    schemas = [request["response_format"]["json_schema"] for request in server.requests]
    assert [schema["schema"]["properties"]["score"]["enum"] for schema in schemas] == [["1", "0.5", "0"], ["1", "0"]]
    assert all(schema["strict"] for schema in schemas)
    assert [request["temperature"] for request in server.requests] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Judgement: 0.5", 0.5),
        ("1.", 1.0),
        ("**1**", 1.0),
        ("<think>Crimson is a red, so not 0.</think>\n\n1", 1.0),
        ("The colours differ.\n\nScore: 0", 0.0),
    ],
)
def test_a_server_without_structured_output_is_asked_without_and_its_text_is_read(reply, score):
    with ScriptedChatServer(refusing_response_format(lambda request: assistant(reply))) as server:
        judgement, health = judge_one(server, "crimson")
    assert judgement.score == score
    assert health.consecutive_failures == 0


def test_the_thought_of_a_reasoning_judge_is_not_its_verdict():
    with ScriptedChatServer([reasoning("The score could be 0. Score: 0", RIGHT)]) as server:
        judgement, _ = judge_one(server, "crimson")
    assert judgement.score == 1.0
    assert "<think>" in judgement.raw


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (assistant("I cannot say."), "the reply cannot be read: it gives no score"),
        (assistant("0.2 out of 1"), "the reply cannot be read: '0.2' is not one of the scores 1, 0.5, 0"),
        (assistant(""), "the reply cannot be read: it is empty"),
        (truncated('{"reason": "'), "the reply was cut off after 4096 tokens (max_tokens)"),
        (failure(500, "out of memory"), "HTTP 500: out of memory"),
        (failure(404, "no such model"), "HTTP 404: no such model"),
    ],
)
def test_a_missing_verdict_has_no_score_and_says_why(reply, reason):
    with ScriptedChatServer(lambda request: reply) as server:
        judgement, health = judge_one(server, "crimson")
    assert (judgement.score, judgement.verdict, judgement.scores) == (None, "none", {"llm": None})
    assert reason in judgement.reason
    assert "\n" not in judgement.reason
    assert (health.asked, health.missing, health.consecutive_failures) == (1, 1, 1)
    assert health.last_error == judgement.reason
    assert health.down_seconds >= 0


def test_a_server_that_is_gone_is_a_missing_verdict_too():
    with ScriptedChatServer([]) as server:
        gone = options(server)
    judge = llm_judge(JudgeConfig("llm", gone))
    judgement = asyncio.run(judge(QUESTION, REFERENCE, "crimson"))
    assert judgement.score is None
    assert "no connection" in judgement.reason
    assert judge.health.down_since is not None


def test_health_counts_failures_in_a_row_and_forgets_them_at_the_next_verdict():
    replies = [assistant(RIGHT), failure(500), failure(500), assistant("what?"), assistant(RIGHT), failure(500)]
    with ScriptedChatServer(replies) as server:
        judge = llm_judge(JudgeConfig("llm", options(server)))
        rows = []
        for _ in replies:
            asyncio.run(judge(QUESTION, REFERENCE, "crimson"))
            rows.append((judge.health.consecutive_failures, judge.health.down_since is not None))
    assert rows == [(0, False), (1, True), (2, True), (3, True), (0, False), (1, True)]
    assert (judge.health.asked, judge.health.missing) == (6, 4)


def test_a_verdict_from_the_cache_says_nothing_about_the_server(tmp_path):
    with ScriptedChatServer([assistant(RIGHT)]) as server:
        judge = llm_judge(JudgeConfig("llm", options(server, cache_dir=str(tmp_path))))
        asyncio.run(judge(QUESTION, REFERENCE, "crimson"))
        server.stop()
        assert asyncio.run(judge(QUESTION, REFERENCE, "scarlet")).score is None
        cached = asyncio.run(judge(QUESTION, REFERENCE, "crimson"))
    assert (cached.score, cached.cached, cached.cost) == (1.0, True, 0.0)
    assert judge.health.consecutive_failures == 1


def test_a_batch_is_judged_at_once_and_never_twice(tmp_path, quotations):
    """16 x 16 completions, all different; then the same batch again, and by the judge of another process."""
    predictions = [f"answer {number}" for number in range(256)]
    limit = {"concurrency": 64, "cache_dir": str(tmp_path)}

    together = threading.Barrier(64)

    def script(request):
        together.wait(timeout=60)  # no reply before 64 questions are there
        number = int(quotations(request)[0]["answer under test"].removeprefix("answer "))
        return assistant(json.dumps({"reason": "", "score": ["1", "0.5", "0"][number % 3]}))

    with ScriptedChatServer(script) as server:
        first, _ = judge_all(server, predictions, **limit)
        assert [judgement.score for judgement in first] == [[1.0, 0.5, 0.0][number % 3] for number in range(256)]
        assert len(server.requests) == 256
        assert server.largest_crowd == 64
        again, _ = judge_all(server, predictions, **limit)
        assert [judgement.score for judgement in again] == [judgement.score for judgement in first]
        assert all(judgement.cached for judgement in again)
        script_of_another_process = textwrap.dedent(
            f"""
            import asyncio
            from longvt_plugins.judges import JudgeConfig
            from longvt_plugins.judges.llm import llm_judge
            judge = llm_judge(JudgeConfig("llm", {options(server, **limit)!r}))
            print(asyncio.run(judge({QUESTION!r}, {REFERENCE!r}, "answer 1")).score)
            """
        )
        other = subprocess.run(
            [sys.executable, "-c", script_of_another_process], capture_output=True, text=True, check=True
        )
        assert other.stdout == "0.5\n"
        assert len(server.requests) == 256, "nothing was asked again"


def test_equal_answers_of_one_batch_are_one_request(tmp_path):
    with ScriptedChatServer(lambda request: assistant(RIGHT)) as server:
        found, _ = judge_all(server, ["crimson"] * 16, cache_dir=str(tmp_path))
    assert [judgement.score for judgement in found] == [1.0] * 16
    assert len(server.requests) == 1


def test_another_rubric_or_reference_is_another_question(tmp_path):
    with ScriptedChatServer(lambda request: assistant('{"reason": "", "score": "1"}')) as server:
        for rubric in ("graded", "binary"):
            judge_one(server, "crimson", rubric=rubric, cache_dir=str(tmp_path))
        judge = llm_judge(JudgeConfig("llm", options(server, cache_dir=str(tmp_path))))
        asyncio.run(judge(QUESTION, "blue", "crimson"))
    assert len(server.requests) == 3


def test_a_rate_limit_is_waited_for():
    with ScriptedChatServer([rate_limited(0.0), assistant(RIGHT)]) as server:
        judgement, health = judge_one(server, "crimson", max_retries=2)
    assert judgement.score == 1.0
    assert health.missing == 0


def test_nobody_is_asked_about_an_empty_answer_or_an_interval():
    with ScriptedChatServer([]) as server:
        judge = llm_judge(JudgeConfig("llm", options(server)))
        for empty in ("", "  \n", "\u200b\u202e"):
            judgement = asyncio.run(judge(QUESTION, REFERENCE, empty))
            assert (judgement.score, judgement.reason) == (0.0, "an empty answer")
        interval = asyncio.run(judge("When?", "[10, 20]", "[15, 20]", kind="grounding"))
        assert (interval.score, interval.fingerprint) == (0.5, judge.fingerprint)
        assert server.requests == []
        assert judge.health.asked == 0


def test_the_options_of_a_choice_are_shown_with_their_letters(quotations):
    with ScriptedChatServer(lambda request: assistant(RIGHT)) as server:
        judge = llm_judge(JudgeConfig("llm", options(server)))
        asyncio.run(judge(QUESTION, "B", "the second", options=["red", "blue"]))
        asyncio.run(judge(QUESTION, "B", "the second", options=["A. red", "B. blue"]))
    assert [quotations(request)[0]["options"] for request in server.requests] == ["A. red\nB. blue"] * 2


# What the answer says


def test_nothing_of_an_answer_stands_outside_its_quotation(quotations, injection):
    """A judge that heeds the text outside the quotations cannot see a difference between two answers."""
    with ScriptedChatServer(lambda request: assistant(RIGHT)) as server:
        judge = llm_judge(JudgeConfig("llm", options(server)))
        for prediction in ("crimson", injection):
            asyncio.run(judge(QUESTION, REFERENCE, prediction))
    (quoted, outside), (hostile, outside_hostile) = map(quotations, server.requests)
    assert outside_hostile == outside
    assert set(hostile) == set(quoted) == {"question", "reference answer", "answer under test"}
    assert (hostile["question"], hostile["reference answer"]) == (QUESTION, REFERENCE)
    assert not set("<>\x00\u202e") & set(hostile["answer under test"])
    assert server.requests[0]["messages"][0] == server.requests[1]["messages"][0]


@pytest.mark.parametrize("structured", [True, False])
def test_a_judge_that_quotes_the_answer_before_its_verdict_is_not_misread(quotations, injection, structured):
    def quoting(request):
        answer = quotations(request)[0]["answer under test"]
        return assistant(f"The answer says:\n{answer}\n\nThat is not the reference.\n\nScore: 0")

    with ScriptedChatServer(quoting) as server:
        judgement, _ = judge_one(server, injection, structured=structured)
    assert judgement.score in (0.0, None)


def test_a_judge_that_repeats_the_answer_and_nothing_else_gives_no_verdict(quotations, injection):
    with ScriptedChatServer(lambda request: assistant(quotations(request)[0]["answer under test"])) as server:
        judgement, _ = judge_one(server, injection)
    assert judgement.score is None


def test_a_judge_that_ends_with_a_quotation_gives_no_verdict(quotations, injection):
    def quoting(request):
        return assistant(f"It is wrong. The answer was: {quotations(request)[0]['answer under test']}")

    with ScriptedChatServer(quoting) as server:
        judgement, _ = judge_one(server, injection)
    assert judgement.score is None


def test_a_verdict_in_json_may_quote_the_answer_in_its_reason(quotations, injection):
    def quoting(request):
        return assistant(json.dumps({"reason": quotations(request)[0]["answer under test"], "score": "0"}))

    with ScriptedChatServer(quoting) as server:
        judgement, _ = judge_one(server, injection)
    assert judgement.score == 0.0


def test_a_huge_answer_is_cut_and_the_prompt_stays_small():
    with ScriptedChatServer(lambda request: assistant(RIGHT)) as server:
        judge_one(server, "red " * 1_000_000)
    assert len(server.requests[0]["messages"][1]["content"]) < 8000
    assert "its first 4000 characters" in server.requests[0]["messages"][1]["content"]


# Which judge it was


def test_the_fingerprint_names_judge_model_rubric_and_prompt(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("scores: {right: 1, wrong: 0}\ncriteria: 1 (right), 0 (wrong)")
    where = {"base_url": "http://127.0.0.1:9/v1"}
    prints = [
        llm_judge(JudgeConfig("llm", {**where, **more})).fingerprint
        for more in (
            {"model": "a"},
            {"model": "b"},
            {"model": "a", "rubric": "binary"},
            {"model": "a", "rubric": str(own)},
            {"model": "a", "temperature": 0.5},
        )
    ]
    assert prints[0].startswith("llm/1 model:a rubric:graded-")
    assert len(set(prints)) == len(prints)
    elsewhere = llm_judge(JudgeConfig("llm", {"base_url": "http://other:9/v1", "model": "a", "api_key": "sk-secret"}))
    assert elsewhere.fingerprint == prints[0], "the same model on another server is the same judge"
    assert "secret" not in elsewhere.fingerprint


def test_a_rubric_that_is_a_whole_prompt_gets_quoted_texts_and_no_schema(tmp_path):
    own = tmp_path / "own.jinja"
    own.write_text("{# scores: {right: 1, wrong: 0} #}R: {{ reference }}\nA: {{ answer }}\nJudgement (1 or 0):")
    with ScriptedChatServer([assistant("Judgement: 1")]) as server:
        judgement, _ = judge_one(server, "crimson </answer>", rubric=str(own))
    assert judgement.score == 1.0
    (request,) = server.requests
    assert "response_format" not in request
    assert request["messages"][1]["content"].startswith("R: -----BEGIN reference answer ")
    assert "crimson ‹/answer›" in request["messages"][1]["content"]


# Settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "judge"}, "the judge 'llm' needs base_url, such as http://127.0.0.1:1234/v1"),
        ({"base_url": "http://x/v1"}, "the judge 'llm' needs model, such as judge"),
        ({"base_url": "http://x/v1", "model": "m", "rubrik": "graded"}, "no option 'rubrik'. Did you mean 'rubric'?"),
        ({"base_url": "http://x/v1", "model": "m", "concurency": 4}, "Did you mean 'concurrency'?"),
        ({"base_url": "http://x/v1", "model": "m", "audti": "x"}, "Did you mean 'audit'?"),
        ({"base_url": "http://x/v1", "model": "m", "rubric": "kind"}, "no rubric 'kind'"),
        ({"base_url": "http://x/v1", "model": "m", "max_tokens": "many"}, "the judge 'llm': max_tokens: "),
        ({"base_url": "http://x/v1", "model": "m", "max_tokens": 0}, "max_tokens must be at least 1"),
        ({"base_url": "http://x/v1", "model": "m", "timeout": -1}, "the judge 'llm': timeout must be"),
        ({"base_url": "ftp://x", "model": "m"}, "base_url must start with http"),
        ({"base_url": "http://x/v1", "model": "m", "audit": 3}, "the judge 'llm': audit must be a folder, not 3"),
    ],
)
def test_a_faulty_option_is_told(given, message):
    with pytest.raises(ConfigError) as error:
        llm_judge(JudgeConfig("llm", given))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_may_be_text_as_command_lines_have_them():
    judge = llm_judge(JudgeConfig("llm", {"base_url": "http://x/v1", "model": "m", "max_tokens": "64", "timeout": "5"}))
    assert judge.client.config.timeout == 5.0
    assert judge.client.config.total_timeout == 600.0


def test_a_key_is_never_shown():
    config = JudgeConfig("llm", {"base_url": "http://x/v1", "model": "m", "api_key": "sk-secret"})
    assert "secret" not in repr(config)
    assert config.record() == {"name": "llm", "options": {"base_url": "http://x/v1", "model": "m"}}
    assert "secret" not in repr(llm_judge(config).client)


def test_the_judge_comes_through_the_plugin_door():
    assert {"exact", "llm", "cascade"} <= set(create_plugin_manager(entry_points=False).judges)
