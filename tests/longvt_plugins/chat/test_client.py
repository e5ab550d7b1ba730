"""The chat client speaks real HTTP to a scripted server."""

import asyncio
import base64
import io
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate

import pytest
from PIL import Image

from longvt_plugins.chat import ChatClient, ChatConfig
from longvt_plugins.chat.bounded import MAX_REPLY_BYTES
from longvt_plugins.chat.limits import SYSTEM_CLOCK
from longvt_plugins.errors import ChatReplyError, ChatRequestError, ChatUnavailableError
from longvt_plugins.testing_server import (
    Reply,
    ScriptedChatServer,
    assistant,
    cut_off,
    failure,
    hang,
    no_choices,
    null_content,
    rate_limited,
    reset,
    truncated,
    unreadable,
)

QUESTION = [{"role": "user", "content": "Which colour?"}]
TOOL = {"type": "function", "function": {"name": "crop_video", "description": "", "parameters": {}}}
CALL = {"video_path": "video_1.mp4", "start_time": 1, "end_time": 2}


def ask(server, messages=QUESTION, tools=(), max_tokens=16, temperature=0.0, clock=SYSTEM_CLOCK, seed=None, **settings):
    settings = {"base_url": server.base_url, "model": "scripted", "backoff": 0.001, **settings}
    client = ChatClient.from_config(ChatConfig(**settings), clock=clock)

    async def once():
        try:
            return await client.complete(messages, tools, max_tokens=max_tokens, temperature=temperature, seed=seed)
        finally:
            await client.aclose()

    return asyncio.run(once())


def image_of(part):
    return Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].split(",", 1)[1])))


def test_a_reply_is_read_with_its_tokens():
    with ScriptedChatServer([assistant("<think>I see.</think><answer>red</answer>")]) as server:
        completion = ask(server, tools=[TOOL], max_tokens=9, temperature=0.5)
    assert completion.message == {"role": "assistant", "content": "<think>I see.</think><answer>red</answer>"}
    assert (completion.stop_reason, completion.prompt_tokens, completion.completion_tokens) == ("stop", 7, 5)
    request = server.requests[0]
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("scripted", 9, 0.5)
    assert request["tools"] == [TOOL]


def test_the_key_travels_as_a_bearer_token():
    with ScriptedChatServer([assistant("hi")]) as server:
        ask(server, api_key="secret-key")
    assert server.headers[0]["authorization"] == "Bearer secret-key"


def test_tool_calls_without_content_are_a_good_reply():
    with ScriptedChatServer([assistant(None, [("c1", "crop_video", CALL)])]) as server:
        completion = ask(server)
    assert completion.stop_reason == "tool_calls"
    assert completion.message["content"] == ""
    assert completion.message["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "crop_video", "arguments": CALL}}
    ]


@pytest.mark.parametrize(
    "written", ['{"start_time": 1', "[1, 2]", "null", "__import__('os').system('touch evaluated')", "{'start_time': 1}"]
)
def test_arguments_that_are_no_json_object_stay_text_and_are_never_evaluated(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ScriptedChatServer([assistant(None, [("c1", "crop_video", written)])]) as server:
        completion = ask(server)
    assert completion.message["tool_calls"][0]["function"]["arguments"] == written
    assert list(tmp_path.iterdir()) == []


def test_json_true_and_null_in_arguments_are_read_as_json():
    with ScriptedChatServer([assistant(None, [("c1", "crop_video", '{"a": true, "b": null}')])]) as server:
        completion = ask(server)
    assert completion.message["tool_calls"][0]["function"]["arguments"] == {"a": True, "b": None}


def test_a_thought_that_the_server_took_out_is_put_back():
    with ScriptedChatServer([assistant("<answer>red</answer>", reasoning_content="I see red.")]) as server:
        completion = ask(server)
    assert completion.message["content"] == "<think>I see red.</think><answer>red</answer>"


def test_a_turn_that_was_cut_off_says_so():
    with ScriptedChatServer([truncated("<think>Let me"), truncated(None)]) as server:
        completions = [ask(server) for _ in range(2)]
    assert [completion.stop_reason for completion in completions] == ["length", "length"]
    assert [completion.message["content"] for completion in completions] == ["<think>Let me", ""]


def test_a_thought_that_was_cut_off_is_not_closed():
    reply = assistant(None, reasoning_content="Let me", finish_reason="length")
    with ScriptedChatServer([reply]) as server:
        assert ask(server).message["content"] == "<think>Let me"


def test_a_reply_says_how_long_it_took_and_how_often_it_was_asked_for(jumps):
    with ScriptedChatServer([rate_limited(2.5), assistant("done")]) as server:
        completion = ask(server, clock=jumps.clock)
    assert (completion.retries, completion.seconds, completion.cached) == (1, pytest.approx(2.5), False)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_overloaded_server_is_asked_again(status):
    with ScriptedChatServer([failure(status), failure(status), assistant("done")]) as server:
        assert ask(server).message["content"] == "done"
    assert len(server.requests) == 3


def test_retry_after_is_honoured_in_seconds_in_milliseconds_as_a_date_and_as_gemini_has_it(jumps):
    dated = formatdate(jumps.clock.wall() + 20, usegmt=True)
    gemini = Reply([{"error": {"message": "quota", "details": [{"@type": "RetryInfo", "retryDelay": "3.5s"}]}}], 429)
    script = [rate_limited(0.2), failure(429, retry_after_ms="70"), failure(503, retry_after=dated), gemini]
    with ScriptedChatServer([*script, assistant("done")]) as server:
        assert ask(server, clock=jumps.clock).message["content"] == "done"
    assert jumps.slept == pytest.approx([0.2, 0.07, 20, 3.5], abs=1)


@pytest.mark.parametrize("header", ["soon", "nan", "inf", "-5", "Thu, 99 Foo 2026 99:99:99 GMT", ""])
def test_a_retry_after_that_makes_no_sense_is_no_wait_for_ever(header, jumps):
    with ScriptedChatServer([failure(429, retry_after=header), assistant("done")]) as server:
        ask(server, clock=jumps.clock)
    assert sum(jumps.slept) < 2


def test_waits_double_with_jitter_up_to_a_bound(jumps):
    with ScriptedChatServer(lambda request: failure(500)) as server, pytest.raises(ChatUnavailableError):
        ask(server, clock=jumps.clock, backoff=1.0, max_retries=9)
    ideal = [min(2.0**n, 60) for n in range(9)]
    assert all(0.5 * one <= slept <= 1.5 * one for slept, one in zip(jumps.slept, ideal, strict=True))
    assert len({slept / one for slept, one in zip(jumps.slept, ideal, strict=True)}) > 1


def test_all_tries_together_have_a_bound(jumps):
    with (
        ScriptedChatServer(lambda request: failure(500)) as server,
        pytest.raises(ChatUnavailableError, match=r"HTTP 500.*would pass total_timeout \(100 s\)"),
    ):
        ask(server, clock=jumps.clock, backoff=1.0, max_retries=10**6, total_timeout=100)
    assert 40 < sum(jumps.slept) < 100


def test_a_server_that_asks_for_more_time_than_there_is_fails_at_once(jumps):
    with (
        ScriptedChatServer([rate_limited(3600)]) as server,
        pytest.raises(ChatUnavailableError, match=r"HTTP 429: rate limit reached; to wait 3600 s more .* \(1 try\)$"),
    ):
        ask(server, clock=jumps.clock)
    assert jumps.slept == []


def test_a_long_wait_is_told_once_and_a_short_one_to_who_asks(jumps, caplog):
    caplog.set_level("INFO", "longvt_plugins.chat")
    with ScriptedChatServer([rate_limited(1), rate_limited(90), assistant("done")]) as server:
        ask(server, clock=jumps.clock)
    told = [(record.levelname, record.getMessage()) for record in caplog.records if "overloaded" in record.getMessage()]
    assert [level for level, _ in told] == ["INFO", "WARNING"]
    assert told[1][1].endswith("(HTTP 429): at most 1 requests at once from now on, after a wait of 90 s")


def test_an_empty_account_is_not_asked_again():
    body = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    with ScriptedChatServer([Reply(body, 429)]) as server, pytest.raises(ChatUnavailableError, match=r"\(1 try\)"):
        ask(server)


def test_a_server_that_stays_down_is_an_error_that_says_what_where_and_how_often():
    with (
        ScriptedChatServer(lambda request: failure(503, "out of\nmemory")) as server,
        pytest.raises(
            ChatUnavailableError,
            match=r"^chat server .*/v1, model 'scripted': HTTP 503: .*out of.*memory.* \(3 tries\)$",
        ) as caught,
    ):
        ask(server, max_retries=2)
    assert "\n" not in str(caught.value)
    assert server.base_url in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 307])
def test_a_refusal_is_not_tried_again(status):
    with (
        ScriptedChatServer([failure(status, "context too long")]) as server,
        pytest.raises(ChatRequestError, match=rf"HTTP {status}: .* \(1 try\)$") as caught,
    ):
        ask(server)
    assert caught.value.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": {"message": "too\nlong"}}, "too long"),
        ([{"error": {"code": 400, "message": "Invalid JSON payload"}}], "Invalid JSON payload"),
        ({"object": "error", "message": "at most 4096 tokens"}, "at most 4096 tokens"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"error": "model not loaded"}, "model not loaded"),
        ("<html>\x1b[31mred\x07</html>", "<html>?[31mred?</html>"),
        ("", "no reason given"),
        ("x" * 100_000, "x" * 300 + "..."),
    ],
)
def test_the_reason_of_every_kind_of_server_is_told_in_one_line(body, reason):
    with ScriptedChatServer([Reply(body, 400)]) as server, pytest.raises(ChatRequestError) as caught:
        ask(server)
    assert f": HTTP 400: {reason} (1 try)" in str(caught.value)


def test_a_key_that_the_server_repeats_is_told_nowhere(caplog):
    caplog.set_level("DEBUG")
    script = [failure(500, "bad key sk-secret-1"), failure(401, "unknown key sk-secret-1")]
    with ScriptedChatServer(script) as server, pytest.raises(ChatRequestError) as caught:
        ask(server, api_key="sk-secret-1")
    assert "unknown key [api_key]" in str(caught.value)
    assert "sk-secret-1" not in caplog.text + repr(caught.value)
    assert "again in" in caplog.text


def test_a_server_that_is_not_there_is_an_error_of_one_line():
    with ScriptedChatServer([]) as server:
        pass
    with pytest.raises(ChatUnavailableError, match=r"no connection.*2 tries") as caught:
        ask(server, max_retries=1)
    assert "\n" not in str(caught.value)


def test_a_silent_server_times_out():
    with (
        ScriptedChatServer([hang()]) as server,
        pytest.raises(ChatUnavailableError, match=r"no reply within 0.2 s \(1 try\)"),
    ):
        ask(server, timeout=0.2, max_retries=0)


def test_a_server_that_hangs_once_is_asked_again():
    with ScriptedChatServer([hang(), assistant("well")]) as server:
        completion = ask(server, timeout=0.5)
    assert (completion.message["content"], completion.retries) == ("well", 1)


@pytest.mark.parametrize(
    "broken",
    [
        reset(),
        cut_off(assistant("red")),
        cut_off(assistant("red"), after=0),
        unreadable(),
        no_choices(),
        null_content(),
    ],
    ids=["reset", "cut off", "cut off at once", "a web page", "no choices", "no content"],
)
def test_a_reply_that_did_not_come_whole_is_asked_for_again(broken):
    with ScriptedChatServer([broken, assistant("well")]) as server:
        completion = ask(server)
    assert (completion.message["content"], completion.retries) == ("well", 1)


def test_a_server_that_is_killed_and_comes_back_is_asked_until_it_does(jumps):
    with ScriptedChatServer(lambda request: assistant("back")) as server:
        server.stop()

        async def sleep(seconds):
            await jumps.sleep(seconds)
            if len(jumps.slept) == 3:
                server.start()

        clock = replace(jumps.clock, sleep=sleep)
        completion = ask(server, clock=clock)
    assert (completion.message["content"], completion.retries) == ("back", 3)


def test_a_server_that_is_killed_under_a_request_is_no_connection():
    with ScriptedChatServer([hang()]) as server:

        async def kill():
            client = ChatClient(server.base_url, "scripted", max_retries=0)
            asked = asyncio.create_task(client.complete(QUESTION, max_tokens=1))
            while not server.requests:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.stop)
            return await asked

        with pytest.raises(ChatUnavailableError, match="no connection"):
            asyncio.run(kill())


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (no_choices(), "a reply without choices"),
        (Reply({"error": {"message": "upstream gone"}}), "a reply without choices: upstream gone"),
        (unreadable(), "unreadable reply"),
        (Reply("{broken", headers={"content-type": "application/json"}), "unreadable reply"),
        (Reply("[" * 100_000), "unreadable reply"),
        (Reply("1" * 10_000), "unreadable reply"),
        (Reply({"choices": [{"index": 0, "message": None, "finish_reason": "stop"}]}), "a reply without choices"),
        (null_content(), "a reply without content"),
        (assistant(None, refusal="I cannot.\nSorry."), "the model refused: I cannot. Sorry."),
        (assistant("x", finish_reason="content_filter"), "the server's filter held the reply back"),
        (Reply("x" * (MAX_REPLY_BYTES + 1)), "longer than"),
        (replace(assistant("hi"), headers={"content-encoding": "gzip"}), "packed, though that was not asked for"),
    ],
)
def test_a_reply_without_a_turn_is_an_error_of_its_own_kind(reply, reason):
    with (
        ScriptedChatServer(lambda request: reply) as server,
        pytest.raises(ChatReplyError, match=rf"chat server .*: .*{re.escape(reason)}.* \(\d tr"),
    ):
        ask(server, max_retries=1)


@pytest.mark.parametrize(
    "reply", [assistant(None, refusal="No."), assistant("x", finish_reason="content_filter")], ids=["refusal", "filter"]
)
def test_a_model_that_refuses_is_not_asked_again(reply):
    with ScriptedChatServer([reply]) as server, pytest.raises(ChatReplyError, match=r"\(1 try\)"):
        ask(server)


def test_no_more_requests_are_in_flight_than_allowed():
    async def crowd(client):
        await asyncio.gather(*(client.complete(QUESTION, max_tokens=1) for _ in range(12)))
        await client.aclose()

    def script(request):
        time.sleep(0.02)
        return assistant("hi")

    with ScriptedChatServer(script) as server:
        asyncio.run(crowd(ChatClient(server.base_url, "scripted", concurrency=3)))
    assert server.largest_crowd == 3
    assert len(server.requests) == 12


def test_clients_of_one_server_share_their_limits():
    everybody = threading.Barrier(4)

    async def crowd(clients):
        await asyncio.gather(*(client.complete(QUESTION, max_tokens=1) for client in clients for _ in range(8)))

    def script(request):
        everybody.wait(10)  # four at once, or nobody ever
        return assistant("hi")

    with ScriptedChatServer(script) as server:
        asyncio.run(crowd([ChatClient(f"{server.base_url}{end}", "scripted", concurrency=4) for end in ("", "/")]))
    assert server.largest_crowd == 4


def test_one_client_serves_one_event_loop_after_another():
    with ScriptedChatServer([assistant("one"), assistant("two")]) as server:
        client = ChatClient(server.base_url, "scripted")
        heard = [asyncio.run(client.complete(QUESTION, max_tokens=1)).message["content"] for _ in range(2)]
    assert heard == ["one", "two"]
    assert len(client._loops) == 1  # nothing of the first is kept


def test_one_client_serves_several_event_loops_at_once():
    everybody = threading.Barrier(3)

    def script(request):
        everybody.wait(10)
        return assistant("hi")

    with ScriptedChatServer(script) as server:
        client = ChatClient(server.base_url, "scripted")
        with ThreadPoolExecutor(3) as pool:
            heard = pool.map(lambda _: asyncio.run(client.complete(QUESTION, max_tokens=1)), range(3))
            assert [one.message["content"] for one in heard] == ["hi"] * 3
    assert client.usage.completions == 3


def test_a_conversation_that_is_cancelled_frees_its_place():
    async def cancel(client):
        asked = asyncio.create_task(client.complete(QUESTION, max_tokens=1))
        while not server.requests:
            await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        return await client.complete(QUESTION, max_tokens=1)

    with ScriptedChatServer([hang(), assistant("next")]) as server:
        client = ChatClient(server.base_url, "scripted", concurrency=1)
        assert asyncio.run(cancel(client)).message["content"] == "next"


def test_requests_start_evenly_over_the_minute(jumps):
    async def some(client):
        return [await client.complete(QUESTION, max_tokens=1) for _ in range(4)]

    with ScriptedChatServer(lambda request: assistant("hi")) as server:
        config = ChatConfig(base_url=server.base_url, model="scripted", requests_per_minute=20)
        asyncio.run(some(ChatClient.from_config(config, clock=jumps.clock)))
    assert jumps.slept == pytest.approx([3, 3, 3])


def test_tokens_are_limited_by_what_the_server_reports(jumps):
    async def some(client):
        return [await client.complete(QUESTION, max_tokens=10**6) for _ in range(3)]

    with ScriptedChatServer(lambda request: assistant("hi", usage=(500, 100))) as server:
        config = ChatConfig(base_url=server.base_url, model="scripted", tokens_per_minute=600)
        asyncio.run(some(ChatClient.from_config(config, clock=jumps.clock)))
    assert jumps.slept == pytest.approx([60, 60])


def test_the_seed_and_further_fields_are_sent():
    with ScriptedChatServer([assistant("hi")]) as server:
        ask(server, seed=7, temperature=1.0, extra_body={"skip_special_tokens": False})
    assert {"seed": 7, "skip_special_tokens": False}.items() <= server.requests[0].items()
    assert "response_format" not in server.requests[0]


def test_frames_travel_as_jpeg_of_full_colour_resolution_or_as_png():
    image = Image.effect_noise((56, 28), 90).convert("RGB")
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "0s"}, {"type": "image", "image": image, "time": 0.0}]}
    ]
    with ScriptedChatServer([assistant("hi"), assistant("hi")]) as server:
        ask(server, messages)
        ask(server, messages, image_format="png")
    jpeg, png = (image_of(request["messages"][0]["content"][1]) for request in server.requests)
    assert server.requests[0]["messages"][0]["content"][0] == {"type": "text", "text": "0s"}
    assert jpeg.format == "JPEG"
    assert {layer[1:3] for layer in jpeg.layer} == {(1, 1)}  # no component is subsampled
    assert png.format == "PNG"
    assert png.tobytes() == image.tobytes()


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    with ScriptedChatServer([assistant("red")]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.base_url.removesuffix("/v1"))
        client = ChatClient("http://chat.invalid/v1", "scripted", max_retries=0)

        async def once():
            try:
                return await client.complete(QUESTION, max_tokens=16)
            finally:
                await client.aclose()

        assert asyncio.run(once()).message["content"] == "red"
    assert len(proxy.requests) == 1


def test_what_carries_requests_is_imported_by_the_first_of_them_or_before_if_asked_for():
    code = (
        "import sys; from longvt_plugins.chat import ChatClient; ChatClient('http://127.0.0.1:1/v1', 'm');"
        "before = 'openai' in sys.modules; ChatClient.preload(); print(before, 'openai' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False", "True"]
