"""What was asked once is not asked again: from disk, from another process, and while it is on its way."""

import asyncio
import subprocess
import sys
import threading

import pytest
from PIL import Image

from longvt_plugins.chat import ChatClient, ChatConfig
from longvt_plugins.errors import ChatError
from longvt_plugins.testing_server import (
    ScriptedChatServer,
    asked_text,
    assistant,
    failure,
    null_content,
    truncated,
)

QUESTION = [{"role": "user", "content": "Which colour?"}]
CALL = {"video_path": "video_1.mp4", "start_time": 1, "end_time": 2}
SECRET = "sk-verysecret123"


@pytest.fixture
def client(tmp_path):
    """Makes clients of a server that share a cache."""

    def make(server, **settings):
        settings = {"base_url": server.base_url, "model": "judge", "backoff": 0.001, **settings}
        return ChatClient.from_config(ChatConfig(cache_dir=str(tmp_path / "cache"), **settings))

    return make


def ask(client, messages=QUESTION, **options):
    return asyncio.run(client.complete(messages, **({"max_tokens": 16} | options)))


def test_an_equal_request_is_not_sent_again_not_even_by_another_client(client):
    with ScriptedChatServer([assistant("red", [("c1", "crop_video", CALL)])]) as server:
        first = client(server)
        sent = ask(first)
        kept = [ask(first), ask(client(server))]
    assert len(server.requests) == 1
    assert sent.cached is False
    for completion in kept:
        assert completion.cached is True
        assert completion.message == sent.message
        assert (completion.stop_reason, completion.prompt_tokens, completion.completion_tokens) == ("tool_calls", 7, 5)
        assert (completion.cost, completion.retries) == (0.0, 0)
    assert (first.usage.completions, first.usage.cached, first.usage.requests) == (2, 1, 1)
    assert first.usage.prompt_tokens == 7  # what was not sent is not counted


def test_requests_that_may_be_answered_differently_are_all_sent(client):
    frame = {"type": "image", "image": Image.new("RGB", (28, 28), "red")}
    other = {"type": "image", "image": Image.new("RGB", (28, 28), "blue")}
    asks = [
        ({}, {}),
        ({}, {"max_tokens": 17}),
        ({}, {"seed": 1}),
        ({}, {"seed": 2}),
        ({}, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ({}, {"response_schema": {"type": "object"}}),
        ({}, {"messages": [{"role": "user", "content": [frame]}]}),
        ({}, {"messages": [{"role": "user", "content": [other]}]}),
        ({"model": "other"}, {}),
        ({"extra_body": {"top_p": 0.5}}, {}),
        ({"image_format": "png"}, {}),
        ({"cache_name": "judge of May"}, {}),
    ]
    with ScriptedChatServer(lambda request: assistant("red")) as server:
        for _ in range(2):
            for settings, options in asks:
                ask(client(server, **settings), **options)
    assert len(server.requests) == len(asks)


def test_two_servers_are_two_unless_they_are_said_to_be_one(client):
    with ScriptedChatServer([assistant("a")] * 2) as one, ScriptedChatServer([assistant("b")] * 2) as other:
        heard = [ask(client(server)).message["content"] for server in (one, other)]
        named = [ask(client(server, cache_name="judge of May")).message["content"] for server in (one, other)]
    assert heard == ["a", "b"]
    assert named == ["a", "a"]


def test_samples_are_drawn_anew_unless_a_seed_makes_them_repeatable_or_all_is_kept(client):
    with ScriptedChatServer(lambda request: assistant("red")) as server:
        for settings, options, requests in (
            ({}, {"temperature": 0.7}, 2),
            ({}, {"temperature": 0.7, "seed": 3}, 1),
            ({"cache": "always"}, {"temperature": 0.9}, 1),
            ({}, {"temperature": 0.0}, 1),
        ):
            before = len(server.requests)
            asker = client(server, **settings)
            assert [ask(asker, **options).message["content"] for _ in range(2)] == ["red", "red"]
            assert len(server.requests) - before == requests


@pytest.mark.parametrize("reply", [failure(500), failure(400), null_content()], ids=["down", "refused", "no turn"])
def test_failures_are_never_kept(client, reply):
    with ScriptedChatServer([reply, assistant("red")]) as server:
        asker = client(server, max_retries=0)
        with pytest.raises(ChatError):
            ask(asker)
        completion = ask(asker)
    assert (completion.message["content"], completion.cached) == ("red", False)


def test_a_turn_that_was_cut_off_is_kept_as_such(client):
    with ScriptedChatServer([truncated("so f")]) as server:
        assert [ask(client(server)).stop_reason for _ in range(2)] == ["length", "length"]


def test_the_file_holds_no_key(client, tmp_path):
    with ScriptedChatServer([assistant("red")]) as server:
        asker = client(server, api_key=SECRET)
        ask(asker)
        ask(client(server, api_key="another"))  # who asks makes no difference
    assert len(server.requests) == 1
    assert all(SECRET.encode() not in file.read_bytes() for file in (tmp_path / "cache").iterdir())


def test_equal_requests_on_their_way_are_sent_once(client):
    release = threading.Event()

    def script(request):
        release.wait(10)
        return assistant(asked_text(request))

    async def crowd(asker):
        other = [{"role": "user", "content": "Which shape?"}]
        tasks = [asyncio.create_task(asker.complete(QUESTION, max_tokens=16)) for _ in range(20)]
        tasks += [asyncio.create_task(asker.complete(other, max_tokens=16)) for _ in range(20)]
        while len(server.requests) < 2:
            await asyncio.sleep(0.01)
        release.set()
        return await asyncio.gather(*tasks)

    with ScriptedChatServer(script) as server:
        asker = client(server)
        completions = asyncio.run(crowd(asker))
    assert len(server.requests) == 2
    heard = [completion.message["content"] for completion in completions]
    assert heard == ["Which colour?"] * 20 + ["Which shape?"] * 20
    assert sum(not completion.cached for completion in completions) == 2
    assert (asker.usage.completions, asker.usage.cached) == (40, 38)


def test_who_waits_for_an_equal_request_is_not_cancelled_with_the_one_who_sent_it(client):
    release = threading.Event()

    def script(request):
        release.wait(10)
        return assistant("red")

    async def cancel_first(asker):
        first, second = (asyncio.create_task(asker.complete(QUESTION, max_tokens=16)) for _ in range(2))
        while not server.requests:
            await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0)
        release.set()
        return await asyncio.gather(first, second, return_exceptions=True)

    with ScriptedChatServer(script) as server:
        cancelled, heard = asyncio.run(cancel_first(client(server)))
    assert isinstance(cancelled, asyncio.CancelledError)
    assert heard.message["content"] == "red"
    assert len(server.requests) == 1


def test_a_request_that_everybody_gave_up_is_asked_anew(client):
    release = threading.Event()

    def script(request):
        if len(server.requests) == 1:
            release.wait(10)
        return assistant("red")

    async def cancel_all(asker):
        tasks = [asyncio.create_task(asker.complete(QUESTION, max_tokens=16)) for _ in range(2)]
        while not server.requests:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return await asker.complete(QUESTION, max_tokens=16)

    with ScriptedChatServer(script) as server:
        assert asyncio.run(cancel_all(client(server))).message["content"] == "red"
        release.set()
    assert len(server.requests) == 2


def test_all_who_wait_for_an_equal_request_hear_of_its_failure(client):
    async def crowd(asker):
        tasks = [asker.complete(QUESTION, max_tokens=16) for _ in range(5)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    with ScriptedChatServer([failure(400, "too long")]) as server:
        asker = client(server)
        faults = asyncio.run(crowd(asker))
    assert all(isinstance(fault, ChatError) for fault in faults)
    assert len(server.requests) == 1
    assert asker.usage.failures == 5


def test_a_cache_that_breaks_costs_money_and_no_replies(client, tmp_path, caplog):
    with ScriptedChatServer(lambda request: assistant("red")) as server:
        asker = client(server)
        ask(asker)
        asyncio.run(asker.aclose())
        for file in (tmp_path / "cache").iterdir():
            file.write_bytes(b"garbage" * 5000)
        heard = [ask(asker).message["content"] for _ in range(2)]
    assert heard == ["red", "red"]
    assert len(server.requests) == 3
    assert asker.usage.cache_faults == 4  # each time read and written
    assert sum("the response cache fails" in line for line in caplog.messages) == 1


ASKER = """
import asyncio, sys
from longvt_plugins.chat import ChatClient, ChatConfig
client = ChatClient.from_config(ChatConfig(base_url=sys.argv[1], model="judge", cache_dir=sys.argv[2]))
async def main():
    questions = [[{"role": "user", "content": f"Question {n}"}] for n in range(30)]
    heard = await asyncio.gather(*(client.complete(question, max_tokens=16) for question in questions))
    assert [one.message["content"] for one in heard] == [question[0]["content"] for question in questions]
    print(sum(one.cached for one in heard))
asyncio.run(main())
"""


def test_another_process_asks_nothing_again(tmp_path):
    with ScriptedChatServer(lambda request: assistant(asked_text(request))) as server:
        command = [sys.executable, "-c", ASKER, server.base_url, str(tmp_path / "cache")]
        cached = [
            subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout for _ in range(2)
        ]
    assert cached == ["0\n", "30\n"]
    assert len(server.requests) == 30


def test_two_processes_at_once_both_get_all_their_replies(tmp_path):
    with ScriptedChatServer(lambda request: assistant(asked_text(request))) as server:
        command = [sys.executable, "-c", ASKER, server.base_url, str(tmp_path / "cache")]
        asked = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
        assert [process.wait(60) for process in asked] == [0, 0]
    assert 30 <= len(server.requests) <= 60
