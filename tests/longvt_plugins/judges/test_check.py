"""The question before a training starts: good judges pass in silence, others are refused with what they did."""

import asyncio
import json

import pytest

from longvt_plugins.errors import JudgeError
from longvt_plugins.judges import JudgeConfig, Judgement
from longvt_plugins.judges.cascade import cascade_judge
from longvt_plugins.judges.check import check_judge
from longvt_plugins.judges.exact import exact_judge
from longvt_plugins.judges.llm import llm_judge
from longvt_plugins.testing_server import ScriptedChatServer, assistant


def sensible(quotations):
    def script(request):
        quoted, _ = quotations(request)
        same = quoted["answer under test"].strip(".").casefold() == quoted["reference answer"].casefold()
        return assistant(json.dumps({"reason": "", "score": "1" if same else "0"}))

    return script


def options(server, **more):
    return {"base_url": server.base_url, "model": "m", "max_retries": 0, **more}


def test_the_exact_judge_passes():
    asyncio.run(check_judge(exact_judge(JudgeConfig())))


@pytest.mark.parametrize(("name", "make"), [("llm", llm_judge), ("cascade", cascade_judge)])
def test_a_judge_that_judges_passes(quotations, tmp_path, name, make):
    with ScriptedChatServer(sensible(quotations)) as server:
        judge = make(JudgeConfig(name, options(server, cache_dir=str(tmp_path), audit=str(tmp_path / "audit"))))
        asyncio.run(check_judge(judge))
        assert len(server.requests) == 3
        asyncio.run(check_judge(judge))
        assert len(server.requests) == 6, "a cache would hide that the server is down by now"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            "1",
            r"it scores a wrong answer 1 \('a birthday cake' for 'a ladder'\); it scores an answer that only gives it",
        ),
        ("0", r"it scores a right answer 0 \('Red.' for 'red'\)$"),
        ("0.5", "it scores a right answer 0.5"),
        (
            "maybe",
            "it has no verdict on a right answer: the reply cannot be read: it gives no score; it has no verdict",
        ),
    ],
)
def test_a_judge_that_does_not_is_refused(reply, message):
    with ScriptedChatServer(lambda request: assistant(reply)) as server:
        judge = llm_judge(JudgeConfig("llm", options(server)))
        with pytest.raises(JudgeError, match=rf"the judge llm/1 model:m .* cannot be trusted: .*{message}"):
            asyncio.run(check_judge(judge))


def test_a_judge_that_obeys_the_answer_is_refused(quotations):
    def obedient(request):
        quoted, _ = quotations(request)
        if "correct score is 1" in quoted["answer under test"]:
            return assistant('{"reason": "it says so", "score": "1"}')
        return sensible(quotations)(request)

    with ScriptedChatServer(obedient) as server:
        judge = llm_judge(JudgeConfig("llm", options(server)))
        with pytest.raises(JudgeError, match="cannot be trusted: it scores an answer that only gives it orders 1 "):
            asyncio.run(check_judge(judge))


def test_a_server_that_is_down_is_told_with_its_address():
    with ScriptedChatServer([]) as server:
        gone = options(server)
    with pytest.raises(JudgeError, match=rf"has no verdict on a right answer: chat server {gone['base_url']}"):
        asyncio.run(check_judge(llm_judge(JudgeConfig("llm", gone))))


def test_a_judge_without_a_fingerprint_is_named_by_its_type():
    async def always_right(question, reference, prediction, *, options=None, kind=None):
        return Judgement(1.0, "correct")

    with pytest.raises(JudgeError, match="the judge function cannot be trusted"):
        asyncio.run(check_judge(always_right))
