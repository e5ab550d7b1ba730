"""The cascade asks the language model only where spelling does not decide, and says what both said."""

import asyncio

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges import JudgeConfig, close_judge, health_of
from longvt_plugins.judges.cascade import cascade_judge
from longvt_plugins.testing_server import ScriptedChatServer, assistant, failure

COLOURS = ["red", "blue"]


@pytest.fixture
def server():
    with ScriptedChatServer(lambda request: assistant('{"reason": "", "score": "0.5"}')) as server:
        yield server


def ask(server, *texts, **more):
    async def ask():
        judge = cascade_judge(JudgeConfig("cascade", {"base_url": server.base_url, "model": "m", "max_retries": 0}))
        judgement = await judge(*texts, **more)
        await close_judge(judge)
        return judgement, judge

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("texts", "more", "score"),
    [
        (("What colour?", "red", "Red."), {}, 1.0),
        (("How far?", "5 km", "5000 m"), {}, 1.0),
        (("What colour?", "red", "B"), {"options": COLOURS, "kind": "choice"}, 0.0),
        (("What colour?", "A", "red"), {"options": COLOURS, "kind": "choice"}, 1.0),
        (("When?", "[10, 20]", "[15, 20]"), {"kind": "grounding"}, 0.5),
        (("When?", "[10, 20]", "at noon"), {"kind": "grounding"}, 0.0),
        (("What colour?", "red", "  "), {}, 0.0),
    ],
)
def test_what_spelling_decides_is_asked_of_nobody(server, texts, more, score):
    judgement, judge = ask(server, *texts, **more)
    assert judgement.score == judgement.scores["exact"] == score
    assert "llm" not in judgement.scores
    assert server.requests == []
    assert judgement.fingerprint == judge.fingerprint


@pytest.mark.parametrize(
    ("texts", "more"),
    [
        (("What colour?", "red", "crimson"), {}),
        (("How far?", "5 km", "some 5 km"), {}),
        (("What colour?", "red", "the colour of blood"), {"options": COLOURS, "kind": "choice"}),
    ],
)
def test_about_all_else_the_language_model_decides_and_both_are_told(server, texts, more):
    judgement, judge = ask(server, *texts, **more)
    assert judgement.score == 0.5
    assert judgement.verdict == "partly"
    assert (judgement.scores["exact"], judgement.scores["llm"]) == (0.0, 0.5)
    assert len(server.requests) == 1
    assert judgement.fingerprint == judge.fingerprint


def test_no_verdict_of_the_language_model_is_no_verdict():
    with ScriptedChatServer(lambda request: failure(500)) as server:
        judgement, judge = ask(server, "What colour?", "red", "crimson")
    assert (judgement.score, judgement.scores["exact"], judgement.scores["llm"]) == (None, 0.0, None)
    assert health_of(judge).consecutive_failures == 1


def test_the_fingerprint_names_both():
    made = cascade_judge(JudgeConfig("cascade", {"base_url": "http://x/v1", "model": "m"}))
    assert made.fingerprint.startswith("cascade/1 exact/2 llm/1 model:m rubric:graded-")
    assert made.scale == (1.0, 0.5, 0.0)


def test_its_options_are_those_of_both():
    made = cascade_judge(
        JudgeConfig("cascade", {"base_url": "http://x/v1", "model": "m", "maths": True, "rubric": "binary"})
    )
    assert "math-verify/" in made.fingerprint
    assert "rubric:binary-" in made.fingerprint
    with pytest.raises(ConfigError, match=r"the judge 'cascade' has no option 'math'\. Did you mean 'maths'\?"):
        cascade_judge(JudgeConfig("cascade", {"base_url": "http://x/v1", "model": "m", "math": True}))
    with pytest.raises(ConfigError, match="the judge 'cascade' needs base_url"):
        cascade_judge(JudgeConfig("cascade"))
