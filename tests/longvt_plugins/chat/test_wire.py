"""Conversations are written as servers want them, and replies are read as if an enemy had sent them."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from longvt_plugins.chat.wire import (
    UnreadableReply,
    error_text,
    estimate_tokens,
    fingerprint,
    one_line,
    read_reply,
    to_wire,
)

CALL = {"video_path": "video_1.mp4", "start_time": 1, "end_time": 2}

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


def reply_of(message, **fields):
    return json.dumps({"choices": [{"message": message, **fields}]}).encode()


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["content", "tool_calls", "function", "arguments", "name", "id", "refusal", "reasoning_content"]
)
SHAPED = st.recursive(ANY_JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))


@settings(deadline=None)
@given(st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_bytes_come_they_are_a_turn_or_unreadable(body):
    try:
        reply = read_reply(body)
    except UnreadableReply as error:
        assert "\n" not in error.reason
    else:
        assert isinstance(reply.message["content"], str)
    assert isinstance(error_text(body), str)


@settings(deadline=None)
@given(message=SHAPED, finish=ANY_JSON, usage=SHAPED)
@example({"tool_calls": [{"id": 7, "function": {"name": None, "arguments": [1]}}, {"function": "f"}, 3]}, 5, [])
@example({"content": 5, "tool_calls": {"function": {}}, "reasoning": {"a": 1}}, {}, {"prompt_tokens": [1]})
@example({"content": "\ud800", "tool_calls": [{"function": {"name": "\udfff", "arguments": "\ud800"}}]}, "stop", None)
def test_whatever_stands_in_the_fields_of_a_reply_the_turn_has_its_shape(message, finish, usage):
    body = json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": usage}).encode()
    try:
        reply = read_reply(body)
    except UnreadableReply as error:
        assert "\n" not in error.reason
        return
    assert isinstance(reply.message["content"], str)
    for call in reply.message.get("tool_calls", []):
        assert isinstance(call["id"], str)
        assert isinstance(call["function"]["name"], str)
        assert isinstance(call["function"]["arguments"], dict | str)
    # What was read can be sent again, and written down.
    json.dumps(to_wire([reply.message]), ensure_ascii=False).encode()
    assert 0 <= reply.prompt_tokens <= 10**9


def test_halves_of_characters_do_not_travel_on():
    arguments = '{"start_time": "\\ud83d"}'
    call = {"id": "\ud83d", "function": {"name": "f", "arguments": arguments}}
    reply = read_reply(reply_of({"content": "a\ud83db", "tool_calls": [call]}))
    assert reply.message["content"] == "a?b"
    assert reply.message["tool_calls"][0]["function"]["arguments"] == {"start_time": "?"}
    whole = read_reply(reply_of({"content": "\U0001f534 red"}))
    assert whole.message["content"] == "\U0001f534 red"


def test_text_in_blocks_is_text():
    reply = read_reply(reply_of({"content": [{"type": "text", "text": "re"}, {"type": "text", "text": "d"}, 7]}))
    assert reply.message["content"] == "red"


@pytest.mark.parametrize("tokens", [-1, 1e30, 10**30, "7", True, None, [], {}])
def test_token_counts_that_make_no_sense_are_none(tokens):
    body = {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": tokens, "completion_tokens": 3}}
    reply = read_reply(json.dumps(body).encode())
    assert (reply.prompt_tokens, reply.completion_tokens) == (0, 3)


def image_message(image):
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "What?"}]}]


def key(messages, request=None, tool_images="tool", where=("v1", "http://localhost", "jpeg")):
    return fingerprint(messages, tool_images, request or {"model": "m", "temperature": 0.0}, where)


def test_equal_requests_have_one_fingerprint_and_others_have_others():
    red, blue = (Image.new("RGB", (28, 28), colour) for colour in ("red", "blue"))
    same = {key(image_message(red)), key(image_message(red.copy()))}
    assert len(same) == 1
    others = [
        key(image_message(blue)),
        key(image_message(Image.new("RGB", (56, 14), "red"))),
        key(image_message(red), {"model": "other", "temperature": 0.0}),
        key(image_message(red), {"model": "m", "temperature": 0.0, "seed": 1}),
        key(image_message(red), {"model": "m", "temperature": 0.0, "tools": [{"a": 1, "b": 2}]}),
        key(image_message(red), {"model": "m", "temperature": 0.0, "tools": [{"b": 2, "a": 1}]}),
        key(image_message(red), where=("v1", "http://elsewhere", "jpeg")),
        key(image_message(red), where=("v1", "http://localhost", "png")),
        key([*image_message(red), {"role": "assistant", "content": ""}]),
        key([{"role": "user", "content": "What?"}]),
        key([{"role": "system", "content": "What?"}]),
    ]
    assert len({*same, *others}) == 1 + len(others)


def test_images_with_a_palette_differ_by_their_colours():
    images = [Image.new("P", (4, 4)) for _ in range(2)]
    images[0].putpalette([255, 0, 0])
    images[1].putpalette([0, 0, 255])
    assert len({key(image_message(image)) for image in images}) == 2


def test_tokens_are_estimated_from_text_calls_tools_and_pixels():
    assert estimate_tokens([{"role": "user", "content": "x" * 400}], []) == 100
    assert estimate_tokens(image_message(Image.new("RGB", (224, 224))), []) == 64 + 2
    assert estimate_tokens([{"role": "user", "content": "\u8f66" * 4}], []) == 3
    call = {"type": "function", "function": {"name": "f", "arguments": {"a": "x" * 100}}}
    assert estimate_tokens([{"role": "assistant", "content": None, "tool_calls": [call]}], []) > 25
    assert estimate_tokens([], [{"name": "x" * 100}]) > 25


def test_one_line_is_one_line_that_a_terminal_can_show():
    assert one_line("a\n\tb\x1b[2Jc") == "a b?[2Jc"
    assert len(one_line("x" * 10**6)) < 400
