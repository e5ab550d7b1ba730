"""An answer as HTML: what was looked at can be clicked, what was written is never markup."""

from html.parser import HTMLParser

import pytest
from PIL import Image

from longvt_plugins.asking import Asker
from longvt_plugins.asking.models import OpenedModel
from longvt_plugins.errors import ConfigError
from longvt_plugins.events import AskedAgain, Called, Opened, Replied, TurnEnded, Wrote
from longvt_plugins.ui.app import offered_tools
from longvt_plugins.ui.conversation import MAX_FRAMES, MAX_LOOKS, Conversation
from longvt_plugins.ui.videos import VideoChoice

HOSTILE = '</section><script>owned()</script><img src=x onerror=owned()>" onclick=owned() ${owned()} {{owned}}'


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def frame(time):
    return {"type": "image", "image": Image.new("RGB", (8, 8)), "time": float(time)}


def call(name="crop_video", **arguments):
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}


def opened(*times):
    return Opened(({"role": "user", "content": [frame(time) for time in times]},), {"video_1.mp4": 100.0})


def conversation(*events):
    told = Conversation("with crop_video")
    for event in events:
        told(event)
    return told


CROP = call(video_path="video_1.mp4", start_time=25, end_time=50)


def test_a_look_is_a_window_on_the_line_that_leads_to_its_frames():
    reply = [{"type": "text", "text": "2 frames from 25s to 50s:"}, frame(25), frame(37.5)]
    told = conversation(opened(0, 50), Wrote("<think>Hm."), Called(CROP), Replied(CROP, reply, 0.1))
    assert [look.title for look in told.looks] == ["overview", "look 1"]
    assert [label for _, label in told.looks[1].frames] == ["25s", "37.5s"]
    (bar,) = [shown for tag, shown in Tags(told.html()).found if "style" in shown and tag == "button"]
    assert bar["data-look"] == "1"
    assert bar["style"] == "left:25.000%;width:25.000%"


@pytest.mark.parametrize(
    "event",
    [
        Wrote(f"<think>{HOSTILE}</think><answer>{HOSTILE}</answer>"),
        Called(call(HOSTILE, x=HOSTILE)),
        Replied(call(HOSTILE, video_path=HOSTILE, start_time=HOSTILE), HOSTILE, 0.1),
        Replied(CROP, f"Error: {HOSTILE}", 0.1),
        Replied(CROP, [{"type": "text", "text": HOSTILE}, frame(1)], 0.1),
    ],
)
def test_nothing_that_was_written_becomes_markup(event):
    tags = Tags(conversation(opened(0), event).html()).found
    assert {tag for tag, _ in tags} <= {"section", "h3", "div", "span", "button"}
    assert {name for _, shown in tags for name in shown} <= {"class", "style", "data-look", "title", "aria-label"}


def test_a_turn_that_broke_off_is_taken_back():
    told = conversation(opened(0), Wrote("<think>green"), AskedAgain(), Wrote("<think>blue"))
    assert "green" not in told.html()
    assert "blue" in told.html()


def test_turns_of_one_kind_are_kept_apart():
    end = TurnEnded({"role": "assistant", "content": ""}, None)
    told = conversation(opened(0), Wrote("<think>one"), end, Wrote("<think>two"), end)
    assert told.html().count('class="turn thought"') == 2


def test_much_is_bounded():
    reply = Replied(CROP, [frame(second) for second in range(300)], 0.1)
    told = conversation(opened(*range(500)), *[reply] * 100, Wrote("<answer>" + "x" * 100_000))
    assert len(told.looks) == MAX_LOOKS
    assert all(len(look.frames) <= MAX_FRAMES for look in told.looks)
    assert len(told.html()) < 200_000


def test_tools_are_offered_as_they_are_configured_and_none_that_lacks_its_configuration():
    with Asker(OpenedModel(None, "m"), tools=["crop_video:fps"]) as asker:
        offered = offered_tools(asker)
        assert offered[0] == "crop_video:fps"
        assert "crop_video" not in offered
        assert "get_frames" in offered
        for name in offered:
            asker.plugins.select_tools([name])


def test_only_videos_that_the_page_was_started_with_are_opened(tmp_path):
    (tmp_path / "films" / "in").mkdir(parents=True)
    for name in ("films/a.mp4", "films/in/b.MKV", "films/notes.txt", "secret.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "films" / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    choice = VideoChoice([tmp_path / "films"])
    assert [name.removeprefix(str(tmp_path)) for name in choice.names()] == ["/films/a.mp4", "/films/in/b.MKV"]
    assert choice.path(choice.names()[0]) == tmp_path / "films" / "a.mp4"
    for name in (
        str(tmp_path / "secret.mp4"),
        "../secret.mp4",
        f"{tmp_path}/films/../secret.mp4",
        "https://x/a.mp4",
        "",
    ):
        with pytest.raises(ConfigError, match="no video"):
            choice.path(name)
    with pytest.raises(ConfigError, match="no video file"):
        VideoChoice([tmp_path / "missing"])
