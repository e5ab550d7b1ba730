"""The budget of training in evaluation: the same calls get the same replies from the environment and the agent."""

import asyncio
import random
from dataclasses import replace

import pytest

pytest.importorskip("trl")

from longvt_plugins.agent import AgentConfig, run_agent
from longvt_plugins.chat import ChatClient
from longvt_plugins.ledger import Ledger
from longvt_plugins.synthetic.tiny import build_processor
from longvt_plugins.testing import plugin_manager, write_stamped_video
from longvt_plugins.testing_server import ScriptedChatServer, assistant
from trl_ext.environment import EnvironmentConfig, make_environment

ANSWER = assistant("<think>x</think><answer>red</answer>")
SMALL = {
    "overview_max_frames": 2, "overview_max_pixels": 784, "crop_max_pixels": 28 * 56, "crop_fps": 4.0,
    "labels": "seconds",
}  # fmt: skip
TURN = 50


@pytest.fixture(scope="module")
def processor():
    return build_processor("qwen2_5_vl")


@pytest.fixture(scope="module")
def row(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "v.mp4"
    write_stamped_video(path, seconds=20, fps=4, size=(56, 56))
    return {
        "id": "q1", "videos": {"video_1.mp4": str(path)}, "kind": "open", "question": "Which colour?",
        "answer": "red", "video_segment": [8.0, 12.0], "options": None, "source": "test",
    }  # fmt: skip


def crop(start, end, name="video_1.mp4"):
    return {"video_path": name, "start_time": start, "end_time": end}


def from_environment(turns, row, config, ledger):
    """The replies that TRL would put behind each turn; it reads no more calls of a turn than the recipe says."""
    made = make_environment(config, plugin_manager(), ledger)()
    made.reset(**row)
    replies = []
    for number, calls in enumerate(turns, start=1):
        made.progress.turn = number
        replies += [made.crop_video(**arguments) for arguments in calls[: config.calls_per_turn]]
    return replies


def from_agent(turns, row, config, ledger):
    """The replies in the history of a rollout against a server that says the turns, and then answers."""
    agent = AgentConfig(
        overview=config.overview, crop=config.crop, max_calls=config.max_calls, max_turns=config.max_turns,
        max_frames=config.max_frames, calls_per_turn=config.calls_per_turn, keep_images=True,
    )  # fmt: skip
    looks = [assistant("<think>x</think>", [("", "crop_video", arguments) for arguments in calls]) for calls in turns]
    with ScriptedChatServer([*looks, ANSWER]) as server:
        client = ChatClient(server.base_url, "scripted")
        rollout = asyncio.run(run_agent(client, row, agent, plugin_manager(), ledger=ledger))
    assert rollout.stop_reason == "answered"
    most = ledger.turn_tokens if ledger is not None else agent.max_new_tokens
    assert {request["max_tokens"] for request in server.requests} == {most}
    return [message["content"] for message in rollout.messages if message["role"] == "tool"]


def seen(replies):
    """What a model sees of replies: text, and pictures by their bytes."""
    blocks = [[{"type": "text", "text": reply}] if isinstance(reply, str) else reply for reply in replies]
    return [
        [block["text"] if block["type"] == "text" else block["image"].tobytes() for block in reply] for reply in blocks
    ]


def same(turns, row, config, ledger):
    in_training = seen(from_environment(turns, row, config, ledger))
    assert seen(from_agent(turns, row, config, ledger)) == in_training
    return in_training


def test_a_crop_is_thinned_alike_and_what_is_left_is_told_alike(row, processor):
    config = EnvironmentConfig(**SMALL, max_calls=3, calls_per_turn=1)
    ledger = Ledger(processor, TURN * 5 + 128 * 5 + 200, TURN, tell=True)
    turns = [[crop(0, 0.5)], [crop(0, 20)], [crop(9, 1)], [crop(5, 6)]]
    first, second, third, fourth = same(turns, row, config, ledger)
    assert first[-1].startswith("(2 calls and")
    assert "thinned" in second[0]
    assert "must be later" in third[0]
    assert "all 3 tool calls are used" in fourth[0]


def test_a_turn_of_many_calls_is_cut_alike_and_told_once(row, processor):
    config = EnvironmentConfig(**SMALL, max_calls=2, calls_per_turn=4)
    replies = same([[crop(1, 2)] * 9, [crop(3, 4)] * 2], row, config, Ledger(processor, 2000, TURN))
    assert len(replies) == 4 + 2
    assert [reply[0][:30] for reply in replies[2:]] == ["Error: all 2 tool calls are us", *["Error: refused"] * 3]


def test_the_last_turn_is_told_to_answer_alike(row, processor):
    config = EnvironmentConfig(**SMALL, max_calls=5, max_turns=3, calls_per_turn=2)
    replies = same([[crop(1, 2)], [crop(3, 4)] * 2], row, config, Ledger(processor, 3000, TURN))
    assert replies[1][0].startswith("Error: no turn is left") and replies[2] == ["Error: refused"]


@pytest.mark.parametrize("with_ledger", [True, False])
def test_whatever_is_asked_for_the_replies_are_the_same(row, processor, with_ledger):
    draw = random.Random(3)
    for _ in range(8):
        calls, at_once = draw.randint(1, 4), draw.randint(1, 3)
        config = EnvironmentConfig(**SMALL, max_calls=calls, calls_per_turn=at_once, max_frames=draw.choice([None, 6]))
        rounds = draw.randint(1, calls + 1)
        room = TURN * (calls + 2) + 128 * (calls + 2) + 24 * at_once * (calls + 1) + draw.randint(0, 600)
        ledger = Ledger(processor, room, TURN, tell=draw.random() < 0.5) if with_ledger else None
        turns = [
            [
                crop(start := draw.choice([0, 5, 10, 99]), start + draw.choice([0.5, 3, 10, -1]), name)
                for name in draw.choices(["video_1.mp4", "x" * 3000], weights=[4, 1], k=draw.randint(1, 4))
            ]
            for _ in range(rounds)
        ]
        same(turns, row, config, ledger)


def test_what_is_no_call_takes_no_room_that_calls_need(row, processor):
    """Only evaluation goes on after such a turn; a server's context must hold what it adds."""
    ledger = Ledger(processor, TURN * 4 + 128 * 4 + 24 * 8, TURN)
    config = replace(AgentConfig(max_calls=2, calls_per_turn=3), keep_images=True)
    faults = assistant("<think>x</think>", [("", "crop_video", "{"), ("", "x" * 2000, {}), ("", "crop_video", "[1]")])
    looks = assistant("<think>x</think>", [("", "crop_video", crop(0, 20))])
    with ScriptedChatServer([faults, looks, faults, ANSWER]) as server:
        client = ChatClient(server.base_url, "scripted")
        rollout = asyncio.run(run_agent(client, row, config, plugin_manager(), ledger=ledger))
    replies = [message["content"] for message in rollout.messages if message["role"] == "tool"]
    blocks = [[{"type": "text", "text": reply}] if isinstance(reply, str) else reply for reply in replies]
    assert len(replies) == 7
    assert sum(map(ledger.count, blocks)) + 4 * TURN <= ledger.max_completion_length


def test_the_keys_of_a_recipe_bound_the_rollouts_of_an_evaluation(use_data, evaluate):
    def script(request):
        if any(message["role"] == "tool" for message in request["messages"]):
            return ANSWER
        return assistant("<think>x</think>", [("c", "crop_video", crop(0, 16))])

    keys = "preset=tiny,crop_max_frames=64,crop_fps=4,max_calls=1,calls_per_turn=1,turn_tokens=40,tell_left=true"
    with ScriptedChatServer(script) as server:
        arguments = f"base_url={server.base_url},model=m,processor=tiny,max_completion_length=560,{keys}"
        results = evaluate("longvt", ["longvt_synthetic_tool"], arguments, limit=1)
    assert results["results"]["longvt_synthetic_tool"]["scored,none"] == 1
    assert {request["max_tokens"] for request in server.requests} == {40}
    assert "thinned" in str(server.requests[1]["messages"][-1]["content"][0])
