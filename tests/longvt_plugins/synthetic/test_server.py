"""The reader as a server, asked over real HTTP."""

import asyncio
import http.client
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from longvt_plugins.agent import run_agent
from longvt_plugins.chat import ChatClient, to_wire
from longvt_plugins.conversation import opening_messages
from longvt_plugins.errors import ChatError
from longvt_plugins.synthetic.reader import OfflineReader
from longvt_plugins.synthetic.server import MODEL, ReaderServer
from longvt_plugins.synthetic.world import TINY
from longvt_plugins.tools import ToolContext

ASK = {"messages": [{"role": "user", "content": "Which colour does the square flash?"}]}


@pytest.fixture(scope="module")
def server():
    with ReaderServer(max_body=10_000_000) as server:
        yield server


def send(server, method="POST", path="/v1/chat/completions", body=b"", headers=None):
    connection = http.client.HTTPConnection(server.base_url.removeprefix("http://").removesuffix("/v1"), timeout=30)
    connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body), headers or {})
    reply = connection.getresponse()
    found = reply.status, json.loads(reply.read())
    connection.close()
    return found


def messages_of(row):
    with ToolContext(row["videos"]) as ctx:
        return to_wire(opening_messages(row["question"], ctx, options=row["options"], overview=TINY.overview))


@pytest.mark.parametrize("tool_images", ["tool", "user"])
def test_the_agent_answers_over_http_as_in_process(server, world, plugins, config, tool_images):
    async def answers(backend):
        return [await run_agent(backend, row, config(), plugins) for row in world.rows[:6]]

    far = asyncio.run(answers(ChatClient(server.base_url, MODEL, tool_images=tool_images)))
    near = asyncio.run(answers(OfflineReader()))
    assert [rollout.answer for rollout in far] == [rollout.answer for rollout in near]
    assert [rollout.windows for rollout in far] == [rollout.windows for rollout in near]
    assert all(rollout.stop_reason == "answered" and rollout.error is None for rollout in far)


def test_a_call_has_the_shape_of_the_protocol(server, world):
    tool = {"type": "function", "function": {"name": "crop_video", "parameters": {"type": "object"}}}
    request = {"model": MODEL, "messages": messages_of(world.rows[0]), "tools": [tool], "max_tokens": 500}
    (status, reply), (_, again) = send(server, body=request), send(server, body=request)
    assert status == 200
    assert reply["object"] == "chat.completion"
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert set(json.loads(call["function"]["arguments"])) == {"video_path", "start_time", "end_time"}
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert call["id"] != again["choices"][0]["message"]["tool_calls"][0]["id"]
    assert reply["id"] != again["id"]


def test_without_tools_it_stops_with_an_answer(server, world):
    status, reply = send(server, body={"messages": messages_of(world.rows[0]), "tools": None, "max_tokens": None})
    assert status == 200
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert "tool_calls" not in reply["choices"][0]["message"]


def test_the_limit_on_tokens_is_kept(server):
    for name in ("max_tokens", "max_completion_tokens"):
        _, reply = send(server, body={**ASK, name: 2})
        assert reply["choices"][0]["finish_reason"] == "length"
        assert reply["usage"]["completion_tokens"] == 2


def test_models_are_listed(server):
    status, reply = send(server, "GET", "/v1/models")
    assert (status, reply["object"], [model["id"] for model in reply["data"]]) == (200, "list", [MODEL])


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        ([], "must be a JSON object"),
        ({}, "'messages' must be a list"),
        ({"messages": []}, "'messages' must be a list"),
        ({"messages": "hello"}, "'messages' must be a list"),
        ({"messages": ["hello"]}, "a message must be an object"),
        ({"messages": [{"role": "user", "content": 7}]}, "content must be text or a list"),
        ({"messages": [{"role": "assistant", "content": [{"type": "text"}]}]}, "a block of content must be"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/"}}]}
                ]
            },
            "must be a data URL",
        ),
        ({**ASK, "tools": "crop_video"}, "'tools' must be a list"),
        ({**ASK, "tools": ["crop_video"]}, "'tools' must be a list"),
        ({**ASK, "max_tokens": 0}, "'max_tokens' must be"),
        ({**ASK, "max_tokens": True}, "'max_tokens' must be"),
        ({**ASK, "max_completion_tokens": "9"}, "'max_completion_tokens' must be"),
        ({**ASK, "temperature": -1}, "'temperature' must be"),
        ({**ASK, "temperature": float("nan")}, "'temperature' must be"),
        ({**ASK, "stream": True}, "streaming is not supported"),
        ({**ASK, "n": 2}, "'n' must be 1"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong_with_it(server, body, fault):
    status, reply = send(server, body=body)
    assert status == 400
    assert fault in reply["error"]["message"]
    assert reply["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/v1/chat/completions"), ("POST", "/v1/completions"), ("POST", "/etc")]
)
def test_other_paths_do_not_exist(server, method, path):
    status, reply = send(server, method, path, body=ASK if method == "POST" else b"")
    assert status == 404
    assert "there is /v1/" in reply["error"]["message"]


def test_a_request_that_is_too_large_is_refused_unread(server):
    status, reply = send(server, body=b"", headers={"content-length": "99999999999"})
    assert status == 413
    assert "at most 10000000 are read" in reply["error"]["message"]


@pytest.mark.parametrize("headers", [{"content-length": "many"}, {"transfer-encoding": "chunked"}])
def test_a_request_without_a_length_is_refused(server, headers):
    assert send(server, body=b"", headers=headers)[0] == 411


def test_a_refusal_reaches_our_client_as_an_error(server):
    async def ask():
        client = ChatClient(server.base_url, MODEL)
        await client.complete([], [], max_tokens=5)

    with pytest.raises(ChatError, match=r"HTTP 400: .*'messages' must be a list"):
        asyncio.run(ask())


def test_a_bug_is_a_500_with_its_traceback_in_the_log(caplog):
    class Broken(OfflineReader):
        async def complete(self, *args, **kwargs):
            raise ZeroDivisionError("a bug")

    with caplog.at_level(logging.ERROR), ReaderServer(Broken()) as server:
        status, reply = send(server, body=ASK)
    assert status == 500
    assert "a bug" not in json.dumps(reply)
    assert "ZeroDivisionError: a bug" in caplog.text


def test_many_clients_are_answered_at_once(server, world):
    request = {"messages": messages_of(world.rows[0])}
    with ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda _: send(server, body=request), range(64)))
    assert {status for status, _ in replies} == {200}
    assert len({reply["choices"][0]["message"]["content"] for _, reply in replies}) == 1


def test_it_listens_on_loopback_only(server):
    assert server.base_url.startswith("http://127.0.0.1:")
