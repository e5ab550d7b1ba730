"""The tool loop, against a scripted server over real HTTP and real videos."""

import asyncio
import json
import time

import pytest

from longvt_plugins.agent import AgentConfig, oracle_call, run_agent, run_agents
from longvt_plugins.chat import ChatClient
from longvt_plugins.errors import ConfigError, ToolError, UnknownNameError
from longvt_plugins.events import Called, Opened, Replied, TurnEnded, Wrote
from longvt_plugins.hookspecs import hookimpl
from longvt_plugins.testing import plugin_manager, read_stamp, write_stamped_video
from longvt_plugins.testing_server import ScriptedChatServer, assistant, failure
from longvt_plugins.transcript import parse_transcript
from longvt_plugins.video.sampling import FrameSampling

PIXELS = {"min_pixels": 56 * 56, "max_pixels": 84 * 84}
CONFIG = AgentConfig(
    overview=FrameSampling(max_frames=4, **PIXELS),
    crop=FrameSampling(max_frames=3, **PIXELS),
    run="test",
    model="scripted",
)
ANSWER = assistant("<think>It is red.</think><answer>red</answer>")


def crop(start, end, call_id="c1", video="video_1.mp4", **more):
    arguments = {"video_path": video, "start_time": start, "end_time": end, **more}
    return (call_id, "crop_video", arguments)


def look(*calls):
    return assistant("<think>I look closer.</think>", calls)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "secret-name.mp4"
    write_stamped_video(path, seconds=20, fps=4)
    return path


@pytest.fixture
def row(video):
    return {
        "id": "q1", "videos": {"video_1.mp4": str(video)}, "kind": "open", "question": "Which colour?",
        "answer": "crimson", "video_segment": [10.0, 12.5], "options": None, "source": "test",
    }  # fmt: skip


def play(script, row, config=CONFIG, plugins=None, **options):
    """Runs one agent against a script; returns the rollout and the server with what it was asked."""
    with ScriptedChatServer(script) as server:
        client = ChatClient(server.base_url, "scripted", max_retries=0)
        rollout = asyncio.run(run_agent(client, row, config, plugins or plugin_manager(), **options))
    return rollout, server


def replies(rollout):
    return [message for message in rollout.messages if message["role"] == "tool"]


def text(message):
    content = message["content"]
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


def test_a_model_looks_closer_and_answers(row):
    rollout, _ = play([look(crop(10, 12)), ANSWER], row)
    assert (rollout.answer, rollout.stop_reason, rollout.windows) == ("red", "answered", [[10.0, 12.0]])
    assert (rollout.row_id, rollout.model, rollout.reference, rollout.tokens) == ("q1", "scripted", [10.0, 12.5], 10)
    assert rollout.frames == 4 + 2
    assert parse_transcript(rollout.messages).format_ok
    assert [message["role"] for message in rollout.messages] == ["system", "user", "assistant", "tool", "assistant"]


def test_the_frames_that_the_model_gets_are_those_it_asked_for(row):
    rollout, _ = play([look(crop(10, 12)), ANSWER], row, AgentConfig(**vars(CONFIG) | {"keep_images": True}))
    shown = [block for block in replies(rollout)[0]["content"] if block["type"] == "image"]
    assert [read_stamp(block["image"]) for block in shown] == [40, 44]  # 4 frames a second
    assert [block["time"] for block in shown] == [10.0, 11.0]


def test_a_rollout_refers_to_frames_instead_of_holding_them(row):
    rollout, _ = play([ANSWER], row)
    images = [block["image"] for block in rollout.messages[1]["content"] if block["type"] == "image"]
    assert images[1] == {"video": "video_1.mp4", "time": 5.0, "width": 84, "height": 84}
    json.dumps(rollout.messages)


def test_the_whole_history_is_sent_with_ids(row):
    script = [look(crop(1, 2, "a")), look(crop(3, 4, "b")), ANSWER]
    _, server = play(script, row)
    sent = server.requests[2]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert [call["id"] for message in sent for call in message.get("tool_calls", [])] == ["a", "b"]
    assert [message["tool_call_id"] for message in sent if message["role"] == "tool"] == ["a", "b"]
    assert sent[: len(server.requests[1]["messages"])] == server.requests[1]["messages"]
    assert server.requests[0]["tools"][0]["function"]["name"] == "crop_video"


def test_neither_answer_nor_window_nor_path_reaches_the_model(row):
    _, server = play([look(crop(1, 2)), ANSWER], row)
    sent = json.dumps([request["messages"] for request in server.requests])
    assert "crimson" not in sent
    assert "12.5" not in sent
    assert "secret-name" not in sent


def test_several_calls_in_one_turn_are_each_answered(row):
    rollout, _ = play([look(crop(1, 2, "a"), crop(5, 7, "b")), ANSWER], row)
    assert [message["tool_call_id"] for message in replies(rollout)] == ["a", "b"]
    assert rollout.windows == [[1.0, 2.0], [5.0, 7.0]]


def test_ids_are_made_unique_where_a_server_repeats_or_leaves_them_out(row):
    rollout, _ = play([look(crop(1, 2, "x"), crop(3, 4, "x")), look(crop(5, 6, "x"), crop(7, 8, "")), ANSWER], row)
    ids = [message["tool_call_id"] for message in replies(rollout)]
    assert len(set(ids)) == 4
    assert rollout.windows == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]


def test_calls_in_the_text_of_a_server_without_a_tool_parser_are_run(row):
    call = json.dumps({"name": "crop_video", "arguments": crop(1, 2)[2]})
    rollout, server = play([assistant(f"<think>Hm.</think>\n<tool_call>\n{call}\n</tool_call>"), ANSWER], row)
    assert rollout.windows == [[1.0, 2.0]]
    assert server.requests[1]["messages"][2]["content"] == "<think>Hm.</think>"
    assert len(server.requests[1]["messages"][2]["tool_calls"]) == 1


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("c1", "zoom", {}), "there is no tool named 'zoom'; the tools are: crop_video"),
        (crop(1, 2, video="video_2.mp4"), "there is no video named 'video_2.mp4'; the videos are: video_1.mp4"),
        (crop(1, 2, fps=4), "unknown argument 'fps'"),
        (crop("1", 2), "'start_time'"),
        (crop(12, 10), "must be later than"),
        (crop(30, 40), "outside the video"),
        (("c1", "crop_video", {"video_path": "video_1.mp4"}), "'start_time' is missing"),
        (("c1", "crop_video", "not json"), "must be a JSON object"),
        (("c1", "crop_video", "[1]"), "must be a JSON object"),
    ],
)
def test_the_models_mistake_is_told_to_it_and_it_may_go_on(row, call, told):
    rollout, server = play([look(call), ANSWER], row)
    heard = server.requests[1]["messages"][-1]
    assert heard["role"] == "tool"
    assert heard["content"].startswith("Error: ")
    assert told in heard["content"]
    assert (rollout.stop_reason, rollout.windows) == ("answered", [])


def test_a_call_that_is_no_json_is_told_to_the_model(row):
    rollout, server = play([assistant("<think>Hm.</think><tool_call>{oops</tool_call>"), ANSWER], row)
    heard = server.requests[1]["messages"][-1]
    assert heard["role"] == "user"  # without an id no server takes it as a tool's reply
    assert "Error: a tool call must hold one JSON object" in heard["content"]
    assert (rollout.answer, rollout.windows) == ("red", [])


def test_a_malformed_call_does_not_take_the_reply_of_a_good_one(row):
    call = json.dumps({"name": "crop_video", "arguments": crop(1, 2)[2]})
    turn = f"<think>Hm.</think><tool_call>{{oops</tool_call><tool_call>{call}</tool_call>"
    rollout, _ = play([assistant(turn), ANSWER], row)
    assert rollout.windows == [[1.0, 2.0]]
    assert len(replies(rollout)) == 2


@pytest.mark.parametrize("place", ["name", "arguments", "content"])
def test_python_in_a_call_is_never_run(row, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "__import__('pathlib').Path('evaluated').touch()"
    turn = {
        "name": look(("c1", code, {})),
        "arguments": look(("c1", "crop_video", code), ("c2", "crop_video", {"video_path": code})),
        "content": assistant(f"<tool_call>{{'name': {code}, 'arguments': {code}}}</tool_call>{{{{ {code} }}}}"),
    }[place]
    rollout, _ = play([turn, ANSWER], row)
    assert all(text(message).startswith("Error: ") for message in replies(rollout))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["{path}", "../{name}", "file://{path}", "{folder}/../{name}"])
def test_a_path_instead_of_a_name_is_refused_even_if_the_file_exists(row, video, form):
    written = form.format(path=video, name=video.name, folder=video.parent)
    rollout, _ = play([look(crop(1, 2, video=written)), ANSWER], row)
    assert text(replies(rollout)[0]).startswith(f"Error: there is no video named {written!r}")
    assert rollout.windows == []


def test_endless_calls_end_at_the_limit(row):
    config = AgentConfig(**vars(CONFIG) | {"max_calls": 2})
    rollout, server = play(lambda request: look(crop(1, 2, "")), row, config)
    assert rollout.stop_reason == "max_turns"
    assert len(server.requests) == 4
    assert rollout.windows == [[1.0, 2.0], [1.0, 2.0]]
    assert "all 2 tool calls are used: answer now" in text(replies(rollout)[-1])
    assert rollout.answer is None


def no_json(call_id):
    return (call_id, "crop_video", '{"video_path"')


@pytest.mark.parametrize(
    "turn",
    [look(crop(1, 2)), look(no_json("c2")), assistant("<think>x</think><tool_call>{crop</tool_call>")],
    ids=["a call", "arguments that are no JSON", "a call that is no JSON"],
)
def test_the_last_turn_but_one_is_told_that_the_next_one_must_answer(row, turn):
    config = AgentConfig(**vars(CONFIG) | {"max_turns": 3})
    rollout, server = play([look(crop(1, 2)), turn, ANSWER], row, config)
    assert [
        text(reply).startswith("Error: no turn is left to look closer: answer now") for reply in replies(rollout)
    ] == [
        False,
        True,
    ]
    assert (rollout.answer, rollout.windows, len(server.requests)) == ("red", [[1.0, 2.0]], 3)


def test_an_answer_in_the_last_turn_counts_even_beside_a_call(row):
    config = AgentConfig(**vars(CONFIG) | {"max_turns": 1})
    both = assistant("<think>x</think><answer>red</answer>", [crop(1, 2)])
    rollout, _ = play([both], row, config)
    assert (rollout.answer, rollout.stop_reason, rollout.windows) == ("red", "max_turns", [])


def test_calls_beyond_the_limit_in_one_turn_are_refused_and_beyond_another_not_read(row):
    config = AgentConfig(**vars(CONFIG) | {"max_calls": 1, "calls_per_turn": 4})
    rollout, server = play([look(*(crop(1, 2, f"c{n}") for n in range(50))), ANSWER], row, config)
    assert rollout.windows == [[1.0, 2.0]]
    used_up = "Error: all 1 tool calls are used: answer now with what you have seen"
    assert [text(reply) for reply in replies(rollout)][1:] == [used_up, "Error: refused", "Error: refused"]
    assert (rollout.answer, len(server.requests[1]["messages"][2]["tool_calls"])) == ("red", 4)


def test_frames_beyond_the_budget_are_refused(row):
    config = AgentConfig(**vars(CONFIG) | {"max_frames": 4})
    rollout, _ = play([look(crop(0, 3, "a"), crop(3, 6, "b"), crop(6, 9, "c")), ANSWER], row, config)
    assert rollout.frames == 4 + 4
    assert "thinned: 1 frame left of the budget" in text(replies(rollout)[1])
    assert "all 4 frames are used" in text(replies(rollout)[2])


@pytest.mark.parametrize(
    ("turn", "stop_reason", "answer"),
    [
        (assistant("<think>I do not know.</think>"), "no_answer", None),
        (assistant("<think>Let me thi", finish_reason="length"), "length", None),
        (assistant("<think>x</think><answer>red</answer> and", finish_reason="length"), "answered", "red"),
        (assistant(""), "no_answer", None),
        (assistant(None), "error", None),
    ],
)
def test_how_a_rollout_ended_is_recorded(row, turn, stop_reason, answer):
    rollout, _ = play([turn], row)
    assert (rollout.stop_reason, rollout.answer) == (stop_reason, answer)


def test_without_tools_none_are_offered_and_the_whole_reply_is_the_answer(row):
    rollout, server = play([assistant(" red ")], row, AgentConfig(**vars(CONFIG) | {"form": "non_think"}))
    assert "tools" not in server.requests[0]
    assert (rollout.answer, rollout.stop_reason) == ("red", "answered")


def test_a_model_that_calls_a_tool_where_there_is_none_is_told(row):
    config = AgentConfig(**vars(CONFIG) | {"form": "reasoning"})
    rollout, _ = play([look(crop(1, 2)), ANSWER], row, config)
    assert text(replies(rollout)[0]) == "Error: there is no tool named 'crop_video'; the tools are: none"


def test_an_oracle_window_is_really_looked_at_before_the_models_first_turn(row):
    rollout, server = play([ANSWER], row, seed_calls=[oracle_call(row)])
    given, reply = server.requests[0]["messages"][2:]
    assert given["content"] == f"<think>{CONFIG.seed_thought}</think>"
    expected = {"video_path": "video_1.mp4", "start_time": 10, "end_time": 12.5}
    assert given["tool_calls"][0]["function"]["arguments"] == json.dumps(expected)
    assert (reply["role"], reply["tool_call_id"]) == ("tool", given["tool_calls"][0]["id"])
    assert [part["type"] for part in reply["content"]].count("image_url") == 2
    assert rollout.windows == [[10.0, 12.5]]
    assert parse_transcript(rollout.messages).format_ok
    assert len(server.requests) == 1


def test_a_row_without_a_window_has_no_oracle(row):
    with pytest.raises(ConfigError, match="'q1' has no video_segment"):
        oracle_call({**row, "video_segment": None})


def test_a_video_that_cannot_be_read_ends_the_rollout_with_its_reason(row, tmp_path):
    rollout, server = play([ANSWER], {**row, "videos": {"video_1.mp4": str(tmp_path / "gone.mp4")}})
    assert (rollout.stop_reason, rollout.answer) == ("error", None)
    assert "gone.mp4" in rollout.error
    assert server.requests == []


def test_a_video_that_breaks_under_a_call_ends_the_rollout(row, video, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(video.read_bytes())

    def script(request):
        broken.unlink(missing_ok=True)
        return look(("c1", "reopen", {"video_path": "video_1.mp4"}))

    rollout, _ = play(
        script,
        {**row, "videos": {"video_1.mp4": str(broken)}},
        AgentConfig(**vars(CONFIG) | {"tools": ("reopen",)}),
        plugin_manager(Reopens),
    )
    assert rollout.stop_reason == "error"
    assert "broken.mp4" in rollout.error
    assert len(rollout.messages) == 3  # what was said so far is kept


def test_a_server_that_fails_ends_the_rollout_with_its_reason(row):
    rollout, _ = play([look(crop(1, 2)), failure(400, "too long")], row)
    assert (rollout.stop_reason, rollout.windows) == ("error", [[1.0, 2.0]])
    assert "HTTP 400" in rollout.error


def test_our_own_bug_is_raised(row):
    with pytest.raises(ZeroDivisionError):
        play([look(("c1", "divide", {"by": 0})), ANSWER], row, AgentConfig(tools=("divide",)), plugin_manager(Divides))


def test_a_tool_that_is_not_installed_is_refused_before_anything_runs(row):
    with pytest.raises(UnknownNameError, match="Did you mean 'crop_video'"):
        play([ANSWER], row, AgentConfig(tools=("crop_vdeo",)))


def test_many_rollouts_come_back_in_order_with_their_own_key(row):
    rows = [{**row, "id": f"q{number}", "question": f"Question {number}?"} for number in range(12)]
    heard = []

    def script(request):
        question = request["messages"][1]["content"][-1]["text"]
        number = int(question.split("Question ")[1].split("?")[0])
        time.sleep(0.02 if number == 0 else 0.0)  # the first comes last
        return assistant(f"<think>x</think><answer>{number}</answer>")

    with ScriptedChatServer(script) as server:
        client = ChatClient(server.base_url, "scripted")
        rollouts = asyncio.run(
            run_agents(
                client, rows, CONFIG, plugin_manager(), concurrency=4,
                progress=lambda done, total, rollout: heard.append((done, total)),
            )
        )  # fmt: skip
    assert [rollout.row_id for rollout in rollouts] == [row["id"] for row in rows]
    assert [rollout.answer for rollout in rollouts] == [str(number) for number in range(12)]
    assert heard == [(done, 12) for done in range(1, 13)]
    assert 1 < server.largest_crowd <= 4


def test_one_row_asked_several_times_gives_rollouts_with_names_of_their_own(row):
    with ScriptedChatServer(lambda request: ANSWER) as server:
        client = ChatClient(server.base_url, "scripted")
        rollouts = asyncio.run(run_agents(client, [row] * 3, CONFIG, plugin_manager()))
    assert len({rollout.id for rollout in rollouts}) == 3
    assert {rollout.group for rollout in rollouts} == {rollouts[0].group}


def test_one_failed_video_leaves_the_other_rollouts_alone(row, tmp_path):
    gone = {**row, "id": "gone", "videos": {"video_1.mp4": str(tmp_path / "gone.mp4")}}
    with ScriptedChatServer(lambda request: ANSWER) as server:
        client = ChatClient(server.base_url, "scripted")
        rollouts = asyncio.run(run_agents(client, [gone, row], CONFIG, plugin_manager()))
    assert [rollout.stop_reason for rollout in rollouts] == ["error", "answered"]


@pytest.mark.parametrize(
    "options", [{"form": "tools"}, {"max_calls": -1}, {"max_turns": 0}, {"max_new_tokens": 0}, {"temperature": -1.0}]
)
def test_settings_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        AgentConfig(**options)


class Divides:
    """A plugin whose tool has a bug."""

    @staticmethod
    @hookimpl
    def register_tools(register):
        register(divide)


def divide(ctx, by: int) -> str:
    """Divides.

    Args:
        by: By what.
    """
    return str(1 / by)


class Reopens:
    """A plugin whose tool reads the file anew, as one with an index of its own would."""

    @staticmethod
    @hookimpl
    def register_tools(register):
        register(reopen)


def reopen(ctx, video_path: str) -> str:
    """Opens a video again.

    Args:
        video_path: Which.
    """
    from longvt_plugins.video import Video

    if video_path not in ctx.videos:
        raise ToolError("no such video")
    with Video.open(ctx.videos[video_path]) as video:
        return str(video.duration)


def test_who_watches_is_told_in_order_and_changes_nothing(row):
    events = []
    script = [look(crop(10, 12), crop(30, 40, "c2")), ANSWER]
    watched, _ = play(script, row, watch=events.append)
    unwatched, _ = play(script, row)
    assert watched.messages == unwatched.messages
    kinds = [type(event) for event in events]
    assert kinds == [Opened, Wrote, TurnEnded, Called, Replied, Called, Replied, Wrote, TurnEnded]
    assert events[0].durations == {"video_1.mp4": 20.0}
    assert [block["time"] for block in events[0].messages[1]["content"] if block["type"] == "image"][:2] == [0.0, 5.0]
    assert [read_stamp(block["image"]) for block in events[4].content if block["type"] == "image"] == [40, 44]
    assert events[6].content.startswith("Error: ")
    assert events[7].text == "<think>It is red.</think><answer>red</answer>"
    assert sum(event.completion.completion_tokens for event in events if isinstance(event, TurnEnded)) == watched.tokens


def test_what_a_watcher_raises_ends_the_rollout(row):
    def watch(event):
        raise KeyError(type(event).__name__)

    with pytest.raises(KeyError, match="Opened"):
        play([ANSWER], row, watch=watch)
