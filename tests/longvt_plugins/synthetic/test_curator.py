"""The offline reader where JSON is asked for: it replies from pixels and from the texts it is sent, over HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest

from longvt_plugins.chat import ChatClient
from longvt_plugins.synthetic.curator import fill_schema
from longvt_plugins.synthetic.make import plan_split
from longvt_plugins.synthetic.reader import OfflineReader
from longvt_plugins.synthetic.render import Renderer
from longvt_plugins.synthetic.server import MODEL, ReaderServer
from longvt_plugins.synthetic.world import TINY
from longvt_plugins.types import text_block, text_of


def schema(*names):
    return {"type": "object", "properties": {name: {} for name in names}, "required": list(names)}


def fill(names, text):
    return fill_schema(schema(*names), [{"role": "user", "content": text}], OfflineReader())


QUESTION = ("question", "answer", "start", "end", "question_type")
SHOWN = (
    'Event 1, from 30 s to 40 s: "10 frames from 30s to 39s. A square is shown from 37s to 39s."\n'
    'Event 2, from 40 s to 50 s: "10 frames from 40s to 49s. A square is shown from 40s to 49s. '
    'A square flashes red from 44s to 45s. A disc flashes blue at 46s."'
)


@pytest.fixture(scope="module")
def clip():
    """Frames around the flash of a square, as content blocks."""
    from PIL import Image

    script = plan_split(TINY, "train", 1, 3, ("what",))[0].script
    event = script.events[0]
    seconds = [event.hint.start + step for step in range(int(event.hint.seconds))]
    renderer = Renderer(script)
    blocks = []
    for second in [event.hint.start - 3, *seconds]:
        blocks += [text_block(f"{second:.1f}s"), {"type": "image", "image": Image.fromarray(renderer.frame(second))}]
    return blocks, event


def test_a_captioner_says_what_the_pixels_show(clip):
    blocks, event = clip
    told = fill_schema(schema("caption"), [{"role": "user", "content": blocks}], OfflineReader())["caption"]
    assert "A square is shown from" in told
    assert f"flashes {event.flashes[0].colour}" in told


def test_a_question_writer_asks_about_what_was_described():
    assert fill(QUESTION, SHOWN) == {
        "question": "Which colour does the square flash?",
        "answer": "red",
        "start": 36.5,
        "end": 49.5,
        "question_type": "attribute",
    }


def test_it_asks_something_else_when_told_what_was_asked():
    again = fill(QUESTION, f"{SHOWN}\n- Which colour does the square flash?")
    assert (again["question"], again["answer"]) == ("How many times does the square flash?", "1")


def test_where_nothing_happens_it_still_replies():
    reply = fill(QUESTION, 'Event 1, from 0 s to 10 s: "10 frames from 0s to 9s. The picture is gray and dark."')
    assert (reply["answer"], reply["start"], reply["end"]) == ("gray", 0.0, 10.0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("A square is shown from 1s to 2s.", "A square is shown at 3s.", True),
        ("A square is shown from 1s to 2s.", "The picture is gray and dark.", False),
        ("The picture is gray and dark.", "The picture is gray and bright.", True),
        ("A square is shown at 1s.", "A disc flashes blue at 3s.", False),
    ],
)
def test_two_captions_are_of_one_event_when_they_tell_of_one_shape(one, other, same):
    assert fill(("same_event",), f'Part 1: "{one}"\nPart 2: "{other}"') == {"same_event": same}


def test_a_summary_keeps_every_sentence_about_a_shape_once():
    told = fill(("summary",), f'{SHOWN}\n"A disc flashes blue at 46s."')["summary"]
    assert told.count("A disc flashes blue at 46s.") == 1
    assert "A square flashes red from 44s to 45s." in told
    assert "frames from" not in told


def test_somebody_who_has_not_looked_does_not_know():
    assert fill(("knows", "answer"), "Which colour does the square flash?") == {"knows": False, "answer": ""}


def test_a_clip_is_judged_by_its_frames(clip):
    blocks, event = clip
    names = ("relevance", "evidence", "clarity", "timing", "reason")

    def judged(answer):
        start, end = event.hint.start, event.hint.end
        asked = f'from {start} s to {end} s shows\nQuestion: "Which colour does the square flash?"\nAnswer: "{answer}"'
        messages = [{"role": "user", "content": [*blocks, text_block(asked)]}]
        return fill_schema(schema(*names), messages, OfflineReader())

    right = judged(event.flashes[0].colour)
    assert right["evidence"] == 1.0
    assert right["timing"] > 0.8
    assert judged("mauve")["evidence"] == 0.0


def test_fields_that_it_does_not_know_are_not_filled():
    assert fill(("mood",), "How is it?") is None
    assert fill_schema({}, [], OfflineReader()) is None


def test_it_does_so_over_http():
    async def ask(server):
        client = ChatClient(server.base_url, MODEL)
        try:
            return await client.complete(
                [{"role": "user", "content": SHOWN}], max_tokens=200, response_schema=schema(*QUESTION)
            )
        finally:
            await client.aclose()

    with ReaderServer() as server:
        completion = asyncio.run(ask(server))
    assert json.loads(text_of(completion.message))["answer"] == "red"
    assert completion.prompt_tokens > 20
    assert completion.completion_tokens > 5
