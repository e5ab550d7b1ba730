"""Turns that are heard while they are written, over real HTTP."""

import asyncio
import json
import threading

import pytest

from longvt_plugins.chat import ChatClient
from longvt_plugins.chat.stream import ReplyStream
from longvt_plugins.chat.wire import UnreadableReply, read_reply
from longvt_plugins.errors import ChatReplyError, ChatRequestError
from longvt_plugins.testing_server import Reply, ScriptedChatServer, assistant, failure, reasoning, streamed

ASKED = [{"role": "user", "content": "Which colour?"}]
CALL = ("c1", "crop_video", {"video_path": "video_1.mp4", "start_time": 10, "end_time": 12.5})
TURN = assistant("<think>It is red, nearly crimson.</think><answer>red</answer>")


def hear(script, *, stream=True, **settings):
    """The completion, what was heard of it, and the server."""
    heard = []
    with ScriptedChatServer(script) as server:
        client = ChatClient(server.base_url, "scripted", backoff=0.0, **settings)
        told = {"hear": heard.append} if stream else {}
        work = (client.stream if stream else client.complete)(ASKED, max_tokens=64, **told)
        return asyncio.run(work), heard, server


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "turn", [TURN, assistant("Look.", [CALL, ("c2", "crop_video", "not json")]), reasoning("Hm, é…", "red")]
)
def test_a_streamed_turn_is_the_turn_that_would_have_come_whole(turn, size):
    whole, _, _ = hear([turn], stream=False)
    completion, heard, server = hear([streamed(turn, size=size)])
    assert completion.message == whole.message
    assert (completion.stop_reason, completion.prompt_tokens, completion.completion_tokens) == (whole.stop_reason, 7, 5)
    assert "".join(heard) == whole.message["content"]
    assert server.requests[0]["stream_options"] == {"include_usage": True}


def test_the_first_words_are_heard_before_the_last_are_written():
    first = threading.Event()
    script = [streamed(TURN, pause=lambda: first.wait(20))]  # without the first piece heard, the rest never comes
    heard = []

    async def ask(server):
        def note(piece):
            heard.append(piece)
            first.set()

        return await ChatClient(server.base_url, "scripted").stream(ASKED, max_tokens=64, hear=note)

    with ScriptedChatServer(script) as server:
        completion = asyncio.run(ask(server))
    assert len(heard) > 3
    assert "".join(heard) == completion.message["content"]


def test_a_server_that_does_not_stream_is_heard_at_once():
    assert hear([TURN])[1] == ["<think>It is red, nearly crimson.</think><answer>red</answer>"]


@pytest.mark.parametrize(
    ("refusal", "left_out"),
    [
        ("streaming is not supported: leave 'stream' out", {"stream", "stream_options"}),
        ("Extra inputs are not permitted: stream_options", {"stream_options"}),
    ],
)
def test_a_server_that_refuses_is_asked_without(refusal, left_out):
    completion, heard, server = hear([failure(400, refusal), TURN])
    assert "".join(heard) == completion.message["content"]
    assert {"stream", "stream_options"} - set(server.requests[1]) == left_out


def broken(*events):
    return Reply({}, events=events)


def part(text, finish=None):
    return json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": finish}]})


@pytest.mark.parametrize(
    "first",
    [
        broken(part("It is gr")),
        broken(part("It is gr"), "{"),
        broken(part("It is gr"), "[1]"),
        broken(part("It is gr"), json.dumps({"error": {"message": "out of memory"}})),
    ],
)
def test_a_stream_that_breaks_off_is_void_and_asked_for_again(first):
    completion, heard, _ = hear([first, streamed(TURN, size=1000)])
    assert heard == ["It is gr", None, completion.message["content"]]
    assert completion.retries == 1


def test_a_stream_that_always_breaks_off_ends_with_its_reason():
    with pytest.raises(ChatReplyError, match="broke off before the turn's end"):
        hear([broken(part("a")), broken(part("b"))], max_retries=1)
    with pytest.raises(ChatRequestError, match="no images"):
        hear([failure(400, "this model takes no images")])


def test_a_turn_from_the_cache_is_heard_too_whoever_put_it_there(tmp_path):
    with ScriptedChatServer([TURN]) as server:
        client = ChatClient(server.base_url, "scripted", cache_dir=str(tmp_path))
        heard = []

        async def twice():
            whole = await client.complete(ASKED, max_tokens=64)
            return whole, await client.stream(ASKED, max_tokens=64, hear=heard.append)

        whole, again = asyncio.run(twice())
    assert (again.cached, again.message) == (True, whole.message)
    assert heard == [whole.message["content"]]


@pytest.mark.parametrize(
    "event",
    [
        '{"choices": [{"delta": {"tool_calls": [{"index": 1000000000, "function": {"name": "a"}}]}}]}',
        '{"choices": [{"delta": {"tool_calls": [{"index": -1, "function": 3}, 4]}}]}',
        '{"choices": [{"delta": {"content": ["a"], "reasoning": 3}}]}',
        '{"choices": [{"delta": {"content": "\\ud83d"}}]}',
        '{"choices": [{"delta": 3}], "usage": []}',
        '{"choices": {}, "usage": {"prompt_tokens": 1e400}}',
        "[" * 100_000,
        "null",
    ],
)
def test_whatever_a_server_streams_is_read_or_refused(event):
    heard = []
    stream = ReplyStream(heard.append)
    stream.feed(f"data: {event}\n\n".encode())
    stream.feed(b'data: {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}\n')
    try:
        read_reply(stream.body()).message["content"].encode()
    except UnreadableReply as error:
        assert len(error.reason) < 400
    "".join(heard).encode()
