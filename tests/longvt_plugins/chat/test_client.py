"""The chat client speaks real HTTP to a scripted server."""

import asyncio
import base64
import io
import json
import threading
import time
from email.utils import formatdate

import pytest
from PIL import Image

from longvt_plugins.chat import ChatClient, to_wire
from longvt_plugins.errors import ChatError, ConfigError
from longvt_plugins.testing_server import Reply, ScriptedChatServer, assistant, failure

QUESTION = [{"role": "user", "content": "Which colour?"}]
TOOL = {"type": "function", "function": {"name": "crop_video", "description": "", "parameters": {}}}
CALL = {"video_path": "video_1.mp4", "start_time": 1, "end_time": 2}


def ask(server, messages=QUESTION, tools=(), max_tokens=16, temperature=0.0, **options):
    client = ChatClient(server.base_url, "scripted", **{"backoff": 0.001, **options})

    async def once():
        try:
            return await client.complete(messages, tools, max_tokens=max_tokens, temperature=temperature)
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
    with ScriptedChatServer([assistant("<think>Let me", finish_reason="length")]) as server:
        assert ask(server).stop_reason == "length"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_overloaded_server_is_asked_again(status):
    with ScriptedChatServer([failure(status), failure(status), assistant("done")]) as server:
        assert ask(server).message["content"] == "done"
    assert len(server.requests) == 3


def test_retry_after_is_honoured_in_seconds_and_as_a_date():
    arrivals = []

    def script(request):
        arrivals.append(time.monotonic())
        dated = formatdate(time.time() + 2, usegmt=True)
        return [failure(429, retry_after="0.2"), failure(503, retry_after=dated), assistant("done")][len(arrivals) - 1]

    with ScriptedChatServer(script) as server:
        assert ask(server, backoff=0.0).message["content"] == "done"
    # Without the header the pause would be 0 s; a date has whole seconds.
    assert arrivals[1] - arrivals[0] >= 0.2
    assert arrivals[2] - arrivals[1] >= 0.5


def test_a_server_that_stays_down_is_an_error_that_says_what_where_and_how_often():
    with (
        ScriptedChatServer(lambda request: failure(503, "out of\nmemory")) as server,
        pytest.raises(
            ChatError, match=r"^chat server .*/v1, model 'scripted': HTTP 503: .*out of.*memory.* \(3 tries\)$"
        ) as caught,
    ):
        ask(server, max_retries=2)
    assert "\n" not in str(caught.value)
    assert server.base_url in str(caught.value)


def test_a_refusal_is_not_tried_again():
    with (
        ScriptedChatServer([failure(400, "context too long")]) as server,
        pytest.raises(ChatError, match=r"HTTP 400.*1 try"),
    ):
        ask(server)
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_an_error_of_one_line():
    with ScriptedChatServer([]) as server:
        pass
    with pytest.raises(ChatError, match=r"no connection.*2 tries") as caught:
        ask(server, max_retries=1)
    assert "\n" not in str(caught.value)


def test_a_silent_server_times_out():
    wake = threading.Event()

    def script(request):
        wake.wait(10)
        return assistant("too late")

    with ScriptedChatServer(script) as server:
        with pytest.raises(ChatError, match=r"no reply within 0.2 s \(1 try\)"):
            ask(server, timeout=0.2, max_retries=0)
        wake.set()


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"id": "x", "object": "chat.completion", "choices": []}),
        Reply({"error": "something"}),
        Reply("<html>proxy page</html>"),
        Reply("{broken", headers={"content-type": "application/json"}),
        Reply({"id": "x", "choices": [{"index": 0, "message": None, "finish_reason": "stop"}]}),
    ],
    ids=["no choices", "another body", "a web page", "broken JSON", "no message"],
)
def test_a_reply_without_a_message_is_an_error(reply):
    with ScriptedChatServer([reply]) as server, pytest.raises(ChatError, match="chat server"):
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


def test_one_client_serves_one_event_loop_after_another():
    with ScriptedChatServer([assistant("one"), assistant("two")]) as server:
        client = ChatClient(server.base_url, "scripted")
        heard = [asyncio.run(client.complete(QUESTION, max_tokens=1)).message["content"] for _ in range(2)]
    assert heard == ["one", "two"]


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


HISTORY = [
    {"role": "assistant", "content": "", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "crop_video", "arguments": CALL}},
        {"id": "c2", "type": "function", "function": {"name": "crop_video", "arguments": '{"start'}},
    ]},
    {"role": "tool", "tool_call_id": "c1", "name": "crop_video", "content": [
        {"type": "text", "text": "1 frames:"}, {"type": "image", "image": Image.new("RGB", (28, 28)), "time": 1.0},
    ]},
    {"role": "tool", "tool_call_id": "c2", "name": "crop_video", "content": "Error: no JSON"},
]  # fmt: skip


def test_the_history_goes_with_ids_and_json_text_even_where_a_call_was_malformed():
    wire = to_wire(HISTORY)
    assert [message["role"] for message in wire] == ["assistant", "tool", "tool"]
    assert [call["id"] for call in wire[0]["tool_calls"]] == ["c1", "c2"]
    assert json.loads(wire[0]["tool_calls"][0]["function"]["arguments"]) == CALL
    assert json.loads(wire[0]["tool_calls"][1]["function"]["arguments"]) == {"malformed": '{"start'}
    assert [message["tool_call_id"] for message in wire[1:]] == ["c1", "c2"]
    assert wire[1]["content"][1]["type"] == "image_url"


def test_images_of_tools_move_behind_all_replies_where_a_server_refuses_them_there():
    wire = to_wire([*HISTORY, {"role": "assistant", "content": "x"}], tool_images="user")
    assert [message["role"] for message in wire] == ["assistant", "tool", "tool", "user", "assistant"]
    assert isinstance(wire[1]["content"], str)
    assert [part["type"] for part in wire[3]["content"]] == ["text", "image_url"]


def test_a_reply_to_a_call_without_an_id_is_sent_as_the_templates_write_it():
    assert to_wire([{"role": "tool", "content": "Error: no JSON"}]) == [
        {"role": "user", "content": "<tool_response>\nError: no JSON\n</tool_response>"}
    ]


@pytest.mark.parametrize(
    "options",
    [{"base_url": "localhost:8000"}, {"image_format": "gif"}, {"tool_images": "system"}, {"concurrency": 0}],
)
def test_settings_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError):
        ChatClient(**{"base_url": "http://localhost", "model": "m", **options})
