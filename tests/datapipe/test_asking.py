"""Replies of a type: what counts as one, and how often another is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from datapipe.asking import ask, read_reply
from longvt_plugins.chat import ChatClient
from longvt_plugins.errors import ChatReplyError
from longvt_plugins.testing_server import ScriptedChatServer, asked_text, assistant, truncated

QUESTION = [{"role": "user", "content": "How relevant?"}]


@dataclass(frozen=True)
class Score:
    relevance: float
    reason: str = ""


@pytest.mark.parametrize(
    "text",
    [
        '{"relevance": 0.2, "reason": "dark"}',
        '<think>Perhaps {"relevance": 1.0}?</think>```json\n{"relevance": 0.2, "reason": "dark"}\n```',
        'Here it is: {"reason": "dark", "relevance": 0.2}. Good luck!',
        '{"relevance": 0.2, "reason": "dark"} and again {"relevance": 0.2, "reason": "dark"}',
    ],
)
def test_an_object_is_found_among_words_fences_and_thoughts(text):
    assert read_reply(text, Score) == Score(0.2, "dark")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("0.2 out of 1", "it holds no JSON object"),
        ('{"relevance": 0.2} or {"relevance": 0.9}', "it holds more than one JSON object"),
        ('{"relevance": 0.2, "reason": {"relevance": 0.9}', "it is not JSON"),
        ('[{"relevance": 0.2}, {"relevance": 0.3}]', "it holds more than one JSON object"),
        ('{"relevance": "0.2"}', 'relevance: input should be a valid number, not "0.2"'),
        ('{"relevance": true}', "relevance: input should be a valid number, not true"),
        ('{"relevance": NaN}', "NaN is not JSON"),
        ('{"reason": "dark"}', "relevance: field required"),
        ("<think>{}", "relevance: field required"),
        ("{" * 100_000, "it is not JSON"),
        ('{"a":' * 50_000, "it is longer than 200000 characters"),
        ('{"a":' * 30_000, "it is nested too deeply"),
    ],
)
def test_what_is_no_such_object_is_refused_in_one_line(text, fault):
    with pytest.raises(ValueError) as error:
        read_reply(text, Score)
    assert fault in str(error.value)
    assert "\n" not in str(error.value)


def test_the_model_reads_what_was_wrong_and_is_asked_again_with_a_bound():
    replies = [assistant("0.2 out of 1"), truncated('{"relevance": 0.'), assistant('{"relevance": 0.2}')]
    with ScriptedChatServer(replies) as server:
        client = ChatClient(server.base_url, "m")
        assert asyncio.run(ask(client, QUESTION, Score, max_tokens=20)) == Score(0.2)
        first, second, third = server.requests
    assert first["response_format"]["json_schema"]["schema"]["properties"].keys() == {"relevance", "reason"}
    assert "Try 1 of 4 cannot be used: it holds no JSON object." in asked_text(second)
    assert "Try 2 of 4 cannot be used: it was cut off at 20 tokens; write less." in asked_text(third)
    assert "0.2 out of 1" not in asked_text(third), "only the last reply is shown again"


def test_after_the_last_try_it_is_a_failure_that_says_why(tmp_path):
    with ScriptedChatServer(lambda request: assistant("I would rather not.")) as server:
        client = ChatClient(server.base_url, "m", cache_dir=str(tmp_path))
        with pytest.raises(ChatReplyError, match="no reply of 4 was a Score; the last: it holds no JSON object"):
            asyncio.run(ask(client, QUESTION, Score))
        assert len({asked_text(request) for request in server.requests}) == 4, "none is read from the cache"
