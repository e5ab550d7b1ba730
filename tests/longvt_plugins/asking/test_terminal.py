"""What a terminal is shown."""

import doctest
import io

import pytest
from PIL import Image
from rich.console import Console

from longvt_plugins.asking import parts, terminal
from longvt_plugins.asking.looks import looked_at
from longvt_plugins.asking.parts import TurnParts
from longvt_plugins.asking.terminal import TerminalWatch, time_line
from longvt_plugins.asking.thumbnails import frame_strip
from longvt_plugins.events import AskedAgain, Opened, Replied, Wrote

TURN = "<think>It < red & </thinking>.</think>\n<tool_call>{}</tool_call><answer>a<b</answer>!"


@pytest.mark.parametrize("module", [parts, terminal])
def test_the_examples_are_true(module):
    failed, attempted = doctest.testmod(module)
    assert (failed, attempted > 0) == (0, True)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_turn_is_split_the_same_however_it_arrives(size):
    split = TurnParts()
    found = [part for place in range(0, len(TURN), size) for part in split.feed(TURN[place : place + size])]
    found += split.end()
    joined = {}
    for kind, text in found:
        joined[kind] = joined.get(kind, "") + text
    assert joined == {"thought": "It < red & </thinking>.", "call": "{}", "answer": "a<b", "text": "\n!"}


def test_an_unfinished_tag_is_shown_in_the_end():
    split = TurnParts()
    assert [*split.feed("<answer>2 </ans"), *split.end()] == [("answer", "2 "), ("answer", "</ans")]


@pytest.mark.parametrize(
    ("arguments", "marks"),
    [
        ({"start_time": 3, "end_time": 5}, [(3, 5)]),
        ({"start_time": "3", "end_time": 5}, [(7.0, 7.0)]),
        ({"start_time": float("nan"), "end_time": 5}, [(7.0, 7.0)]),
        ({"timestamp": 7}, [(7.0, 7.0)]),
        ("not parsed", [(7.0, 7.0)]),
    ],
)
def test_a_call_is_shown_where_it_looked(arguments, marks):
    assert looked_at(arguments, [7.0]) == marks


@pytest.mark.parametrize("mark", [(-5, 1e300), (1e9, 2e9), (0, 0), (100, 100)])
def test_a_window_far_outside_still_fits_the_line(mark):
    line = time_line([mark], 100, 20)
    assert len(line) == 20
    assert "█" in line


def frame(time):
    return {"type": "image", "image": Image.new("RGB", (160, 90), (200, 30, 30)), "time": time}


def shown(way, *events):
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system="truecolor", width=80)
    watch = TerminalWatch(console, way)
    for event in events:
        watch(event)
    return written.getvalue()


def test_thumbnails_are_drawn_in_half_blocks_or_sixels_or_not_at_all():
    opened = Opened(({"role": "user", "content": [frame(0.0), frame(5.0)]},), {"video_1.mp4": 10.0})
    assert "▀" not in shown("none", opened)
    assert "▀" in shown("blocks", opened)
    assert "38;2;200,30,30".replace(",", ";") in shown("blocks", opened)
    assert "\x1bP" in shown("sixel", opened)


def test_a_strip_holds_at_most_so_many_frames_each_over_its_second():
    strip = frame_strip([frame(float(time)) for time in range(100)], most=8)
    assert strip.size == (8 * (171 + 4), 96 + 16)
    assert frame_strip([{"type": "text", "text": "no frames"}], most=8) is None


def test_a_frame_without_a_second_and_an_error_are_shown():
    call = {"id": "c", "type": "function", "function": {"name": "zoom", "arguments": {"video_path": "video_1.mp4"}}}
    image = {"type": "image", "image": Image.new("L", (10, 300))}
    out = shown("blocks", Replied(call, [image], 0.5), Replied(call, "Error: no such region", 0.1))
    assert "(0.5 s)" in out
    assert "Error: no such region" in out


def test_a_turn_that_broke_off_is_said_to():
    out = shown("none", Wrote("<think>It is r"), AskedAgain(), Wrote("<think>It is blue."))
    assert out.index("It is r") < out.index("asked for again") < out.index("It is blue.")
