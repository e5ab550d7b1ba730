"""Nothing but the evidence tells the answer: not the text, the ids, the length of the hint, or the overview."""

import asyncio
import math
from collections import Counter, defaultdict

import pytest

from longvt_plugins.agent import run_agent
from longvt_plugins.conversation import opening_messages
from longvt_plugins.judges.exact import exact_score, read_interval
from longvt_plugins.synthetic.chance import best_interval, chance
from longvt_plugins.synthetic.make import plan_split
from longvt_plugins.synthetic.questions import FAMILIES
from longvt_plugins.synthetic.reader import OfflineReader
from longvt_plugins.synthetic.sight import read_frame
from longvt_plugins.synthetic.world import COLOURS, LONG, TINY
from longvt_plugins.temporal import iou
from longvt_plugins.tools import ToolContext
from longvt_plugins.transcript import parse_transcript
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.video import Video

OF_FLASHES = tuple(family for family in FAMILIES if family != "when")


def number_of(row):
    return int(row["id"].split("-")[3])


# All that is known of a row without its pixels. The model sees the first three; the others must not tell either.
CLUES = {
    "the question": lambda item, row: row["question"],
    "the length of the video": lambda item, row: item.script.duration,
    "which options stand where": lambda item, row: tuple(
        options.index(option) for options in [sorted(row["options"] or [])] for option in row["options"] or []
    ),
    "the video's number by eights": lambda item, row: number_of(row) % 8,
    "the video's number by threes": lambda item, row: number_of(row) % 3,
    "how long the hint is": lambda item, row: round(
        (row["video_segment"][1] - row["video_segment"][0]) / item.script.duration * 32
    ),
    "where the hint is": lambda item, row: round(row["video_segment"][0] / item.script.duration * 8),
    "how many distractors": lambda item, row: len(item.script.distractors),
    "the first distractor": lambda item, row: item.script.distractors[0].flash.colour,
    "the last distractor": lambda item, row: item.script.distractors[-1].flash.colour,
    "how many scenes": lambda item, row: len(item.script.cuts),
}


@pytest.fixture(scope="module")
def planned():
    """Questions to fit on and others to score on, by family; nothing is rendered."""
    found = {}
    for family in OF_FLASHES:
        found[family] = [
            [(item, row) for item in plan_split(TINY, split, 480, 1, (family,)) for row in item.rows]
            for split in ("train", "test")
        ]
    return found


def target(row):
    """What is predicted: the answer, or the place of the right option."""
    return row["options"].index(row["answer"]) if row["options"] else row["answer"]


@pytest.mark.parametrize("clue", CLUES)
@pytest.mark.parametrize("family", OF_FLASHES)
def test_the_best_reader_of_a_clue_stays_at_chance(planned, family, clue):
    fit, held_out = planned[family]
    seen = defaultdict(Counter)
    for item, row in fit:
        seen[CLUES[clue](item, row)][target(row)] += 1
    common = Counter(target(row) for _, row in fit)
    right = sum(
        target(row) == (seen.get(CLUES[clue](item, row)) or common).most_common(1)[0][0] for item, row in held_out
    )
    expected = chance([row for _, row in held_out])
    error = math.sqrt(expected * (1 - expected) / len(held_out))
    assert right / len(held_out) <= expected + 3 * error


@pytest.mark.parametrize("colour", COLOURS)
def test_no_colour_in_an_option_tells_whether_it_is_right(planned, colour):
    options = [(option, row) for _, row in planned["order"][0] for option in row["options"]]
    for place in (0, 1):
        holding = [option == row["answer"] for option, row in options if option.split(", ")[place] == colour]
        error = math.sqrt(0.25 * 0.75 / len(holding))
        assert abs(sum(holding) / len(holding) - 0.25) <= 3 * error


@pytest.mark.parametrize("preset", [TINY, LONG], ids=["tiny", "long"])
def test_each_count_has_the_same_hints(preset):
    frames = preset.overview.count(TimeSpan(0, preset.durations[0]))
    seen = defaultdict(set)
    for item in plan_split(preset, "train", 90, 1, ("how_many",)):
        gap = item.script.duration / frames
        for row in item.rows:
            start, end = row["video_segment"]
            seen[row["answer"]].add(math.ceil(end / gap) - math.floor(start / gap))
    assert seen == {"1": {3}, "2": {3}, "3": {3}}


def test_when_cannot_be_told_from_the_text():
    fit, held_out = (
        [(item.script.duration, row) for item in plan_split(TINY, split, 480, 1, ("when",)) for row in item.rows]
        for split in ("train", "test")
    )
    best = {length: best_interval([row for other, row in fit if other == length]) for length, _ in fit}
    score = sum(iou(best[length], read_interval(row["answer"])) for length, row in held_out) / len(held_out)
    assert score < 0.25


# The files themselves


def test_no_frame_of_the_overview_shows_a_flash(world):
    for row in world.rows:
        with Video.open(row["videos"]["video_1.mp4"]) as video:
            shown = [read_frame(frame.image) for frame in video.overview(TINY.overview)]
        assert set(shown) == {"nothing", "square"}


@pytest.fixture(scope="module")
def guesses(world):
    """Answers of readers that saw the overview alone, five a row."""
    found = defaultdict(list)
    for family in FAMILIES:
        for row in world.family(family):
            with ToolContext(row["videos"]) as ctx:
                messages = opening_messages(
                    row["question"], ctx, form="reasoning", options=row["options"], overview=TINY.overview
                )
            for seed in range(1 if family == "when" else 5):
                turn = OfflineReader(seed=seed).write(messages)
                found[family].append((row, parse_transcript([turn]).answer))
    return found


@pytest.mark.parametrize("family", OF_FLASHES)
def test_from_the_overview_alone_flashes_are_guessed_at_chance(guesses, family):
    right = [exact_score(row["answer"], answer, row["options"]).score for row, answer in guesses[family]]
    # A guess is one of the answers that occur, evenly: right as often as there are few of them.
    expected = {"how_many": 1 / 3, "order": 1 / 4}.get(family, 1 / 8)
    error = math.sqrt(expected * (1 - expected) / len(right))
    assert abs(sum(right) / len(right) - expected) <= 3 * error


def test_from_the_overview_alone_the_hint_is_found_but_only_roughly(world, guesses, plugins, config):
    rows = world.family("when")
    overview = [iou(read_interval(row["answer"]), read_interval(answer)) for row, answer in guesses["when"]]
    closer = [
        iou(
            read_interval(row["answer"]),
            read_interval(asyncio.run(run_agent(OfflineReader(), row, config(), plugins)).answer),
        )
        for row in rows
    ]
    overview_score, crop_score = sum(overview) / len(rows), sum(closer) / len(rows)
    assert chance(rows) + 0.2 < overview_score < crop_score - 0.2
