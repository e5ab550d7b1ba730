"""The scripted server fails in the ways that real ones do."""

import asyncio
import http.client
import json
import socket
import threading
import urllib.error
import urllib.request

import pytest

from longvt_plugins.testing_server import (
    ScriptedChatServer,
    asked_text,
    assistant,
    cut_off,
    failure,
    hang,
    no_choices,
    null_content,
    rate_limited,
    reasoning,
    refusing_response_format,
    reset,
    slow,
    truncated,
    unreadable,
)

BROKEN = (ConnectionError, urllib.error.URLError)


def post(server, timeout=10.0, **fields):
    body = json.dumps({"messages": [{"role": "user", "content": "Which colour?"}], **fields}).encode()
    request = urllib.request.Request(f"{server.base_url}/chat/completions", body)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.loads(response.read())


def choice(body):
    return body["choices"][0]


def test_it_serves_turns_in_order_and_keeps_what_it_was_asked():
    with ScriptedChatServer([assistant("one"), assistant("two", usage=(3, 1))]) as server:
        bodies = [post(server, seed=n) for n in (1, 2)]
    assert [choice(body)["message"]["content"] for body in bodies] == ["one", "two"]
    assert bodies[1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    assert [request["seed"] for request in server.requests] == [1, 2]


def test_a_script_that_has_run_out_says_so():
    with ScriptedChatServer([]) as server, pytest.raises(urllib.error.HTTPError) as caught:
        post(server)
    assert caught.value.code == 500
    assert "run out" in caught.value.read().decode()


def test_turns_of_every_shape():
    script = [truncated("so f"), reasoning("I see.", "red"), null_content(), no_choices()]
    with ScriptedChatServer(script) as server:
        cut, thought, null, none = (post(server) for _ in range(4))
    assert choice(cut)["finish_reason"] == "length"
    assert choice(thought)["message"]["reasoning_content"] == "I see."
    assert choice(null)["message"]["content"] is None
    assert none["choices"] == []


def test_a_rate_limit_states_its_wait_or_leaves_it_open():
    waits = []
    with ScriptedChatServer([rate_limited(1.5), rate_limited()]) as server:
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError) as caught:
                post(server)
            assert caught.value.code == 429
            waits.append(caught.value.headers["retry-after"])
    assert waits == ["1.5", None]


def test_a_proxy_page_is_no_json():
    with ScriptedChatServer([unreadable()]) as server, pytest.raises(json.JSONDecodeError):
        post(server)


@pytest.mark.parametrize("reply", [reset(), cut_off(assistant("red")), cut_off(assistant("red"), after=0)])
def test_a_connection_can_break_before_or_in_the_middle_of_the_body(reply):
    with ScriptedChatServer([reply, assistant("well again")]) as server:
        with pytest.raises((*BROKEN, http.client.IncompleteRead)):
            post(server)
        assert choice(post(server))["message"]["content"] == "well again"


def test_a_server_that_hangs_says_nothing_and_does_not_keep_the_test_from_ending():
    with ScriptedChatServer([hang()]) as server, pytest.raises(TimeoutError):
        post(server, timeout=0.2)


def test_slow_replies_are_in_flight_together():
    everybody = threading.Barrier(4)

    def script(request):
        everybody.wait(10)
        return slow(assistant("red"), 0.05)

    with ScriptedChatServer(script) as server:

        async def crowd():
            await asyncio.gather(*(asyncio.to_thread(post, server) for _ in range(4)))

        asyncio.run(crowd())
    assert server.largest_crowd == 4


def test_structured_output_can_be_refused():
    with ScriptedChatServer(refusing_response_format([assistant("plain")])) as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(server, response_format={"type": "json_object"})
        assert "response_format" in caught.value.read().decode()
        assert choice(post(server))["message"]["content"] == "plain"


def test_a_function_decides_by_the_text_that_was_asked():
    blocks = [{"type": "text", "text": "red?"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    with ScriptedChatServer(lambda request: assistant(asked_text(request))) as server:
        heard = post(server, messages=[{"role": "system", "content": "Judge."}, {"role": "user", "content": blocks}])
    assert choice(heard)["message"]["content"] == "Judge.\nred?"


def test_a_server_that_is_stopped_refuses_connections_and_comes_back_on_its_port():
    with ScriptedChatServer(lambda request: assistant("here")) as server:
        address = server.base_url
        post(server)
        server.stop()
        with pytest.raises(urllib.error.URLError) as caught:
            post(server)
        assert isinstance(caught.value.reason, ConnectionRefusedError)
        server.start()
        assert server.base_url == address
        assert choice(post(server))["message"]["content"] == "here"
    assert len(server.requests) == 2


def test_a_server_that_is_stopped_breaks_the_requests_under_way():
    arrived = threading.Event()

    def script(request):
        arrived.set()
        return hang()

    with ScriptedChatServer(script) as server:

        def kill():
            arrived.wait(10)
            server.stop()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises((*BROKEN, http.client.HTTPException)):
            post(server)
        killer.join()


def test_a_connection_that_is_kept_open_breaks_with_the_server():
    with ScriptedChatServer(lambda request: assistant("here")) as server:
        host, port = server.base_url.removeprefix("http://").removesuffix("/v1").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert connection.recv(65536)
            server.stop()
            try:
                left = b"more"
                while left:
                    left = connection.recv(65536)
            except ConnectionError:
                left = b""
        assert left == b""


def test_an_error_carries_its_headers():
    with ScriptedChatServer([failure(503, "loading", x_reason="start")]) as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(server)
        assert caught.value.headers["x-reason"] == "start"
