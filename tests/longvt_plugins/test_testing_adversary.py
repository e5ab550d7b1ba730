"""The strict server: what it lets through, and what it refuses."""

import copy

import pytest

from longvt_plugins.testing_adversary import protocol_fault, strict
from longvt_plugins.testing_server import assistant

CALL = {"id": "c1", "type": "function", "function": {"name": "crop_video", "arguments": '{"start_time": 1}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
GOOD = {
    "messages": [
        {"role": "system", "content": "Think."},
        {"role": "user", "content": [IMAGE, {"type": "text", "text": "Which?"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "c2"}]},
        {"role": "tool", "tool_call_id": "c2", "content": [IMAGE]},
        {"role": "tool", "tool_call_id": "c1", "content": "Error: outside"},
    ],
    "tools": [{"type": "function", "function": {"name": "crop_video"}}],
    "tool_choice": "auto",
}


def test_a_conversation_of_the_protocol_is_let_through():
    assert protocol_fault(GOOD) is None
    assert strict([assistant("hi")])(GOOD).status == 200


def changed(change):
    request = copy.deepcopy(GOOD)
    change(request)
    return request


FAULTS = {
    "a reply without an id": (lambda r: r["messages"][3].pop("tool_call_id"), "answers no call"),
    "a call without a reply": (lambda r: r["messages"].pop(), "c1 have no reply"),
    "somebody else before the reply": (
        lambda r: r["messages"].insert(3, {"role": "user", "content": "?"}),
        "messages[3]: the calls c1, c2 have no reply",
    ),
    "a reply to a call of long ago": (
        lambda r: r["messages"].extend([{"role": "user", "content": "?"}, r["messages"][4]]),
        "answers no call",
    ),
    "arguments as an object": (
        lambda r: r["messages"][2]["tool_calls"][0]["function"].update(arguments={}),
        "JSON text",
    ),
    "arguments that are no JSON": (
        lambda r: r["messages"][2]["tool_calls"][0]["function"].update(arguments="{"),
        "not JSON",
    ),
    "nothing said": (lambda r: r["messages"][0].update(content=None), "must not be null"),
    "an image from the model": (lambda r: r["messages"][2].update(content=[IMAGE]), "cannot stand in a message"),
    "an unknown role": (lambda r: r["messages"][0].update(role="teacher"), "'teacher' is unknown"),
    "no tools to choose": (lambda r: r.pop("tools"), "tool_choice needs tools"),
    "no messages": (lambda r: r.update(messages=[]), "a list of messages"),
}


@pytest.mark.parametrize(("change", "told"), FAULTS.values(), ids=FAULTS)
def test_what_breaks_the_protocol_is_refused(change, told):
    request, heard = changed(change), []
    reply = strict([assistant("hi")], lambda request, fault: heard.append(fault))(request)
    assert reply.status == 400
    assert told in heard[0]
