"""What happens in a synthetic video keeps the promises that make its questions hard and fair."""

from dataclasses import replace

import numpy as np
import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.synthetic.questions import FAMILIES, SEEN, draw_flashes
from longvt_plugins.synthetic.world import COLOURS, LONG, SHAPES, TINY, derive_seed, draw_script, get_preset
from longvt_plugins.types import TimeSpan

CASES = [(TINY, family, seed) for family in FAMILIES for seed in range(300)]
CASES += [(LONG, family, seed) for family in FAMILIES for seed in range(5)]


def script_of(preset, family, seed):
    rng = np.random.default_rng(seed)
    flashes = tuple(draw_flashes(family, seed + number, rng) for number in range(preset.events))
    return draw_script(preset, seed, flashes, SEEN[family])


def every_script():
    for preset, family, seed in CASES:
        script = script_of(preset, family, seed)
        times = preset.overview.times(TimeSpan(0, script.duration))
        yield preset, family, script, times, times[1] - times[0]


def flashes_of(script):
    return [flash for event in script.events for flash in event.flashes] + [each.flash for each in script.distractors]


def on_screen(time, fps):
    """When the frame came that is shown at a moment."""
    return np.floor(time * fps + 1e-9) / fps


def test_every_event_is_seen_in_the_overview_as_often_as_its_family_says():
    for preset, family, script, times, _ in every_script():
        for event in script.events:
            seen = sum(on_screen(time, preset.fps) in event.hint for time in times)
            assert seen in SEEN[family]


def test_every_hint_is_longer_than_a_gap_of_the_overview_and_inside_the_video():
    for _, _, script, _, gap in every_script():
        for event in script.events:
            assert event.hint.seconds > gap
            assert event.hint.start >= 0
            assert event.hint.end <= script.duration


def test_no_flash_is_on_screen_at_any_moment_of_the_overview():
    for preset, _, script, times, _ in every_script():
        for flash in flashes_of(script):
            assert not any(on_screen(time, preset.fps) in flash.span for time in times)
            # The frame before and the one after are free too, so that rounding of a reader cannot show it.
            assert not any(time in flash.span for time in times)


def test_every_flash_is_shorter_than_a_gap_and_longer_than_a_second():
    for _, _, script, _, gap in every_script():
        for flash in flashes_of(script):
            assert 1.0 <= flash.span.seconds < gap


def test_flashes_of_an_event_lie_inside_its_hint_in_order_and_in_gaps_of_their_own():
    for _, _, script, _, gap in every_script():
        for event in script.events:
            spans = [flash.span for flash in event.flashes]
            assert all(event.hint.start < span.start and span.end < event.hint.end for span in spans)
            assert spans == sorted(spans)
            gaps = [int(span.start // gap) for span in spans]
            assert len(set(gaps)) == len(gaps)
            assert gaps == [int((span.end - 1e-6) // gap) for span in spans]


def test_distractors_are_another_shape_and_stay_away_from_every_hint():
    for _, _, script, _, gap in every_script():
        assert script.distractors
        for distractor in script.distractors:
            assert distractor.shape not in [event.shape for event in script.events]
            span = distractor.flash.span
            for event in script.events:
                assert span.end <= event.hint.start - gap or span.start >= event.hint.end + gap


def test_events_of_the_long_preset_are_of_different_shapes_and_do_not_touch():
    for seed in range(20):
        script = script_of(LONG, "what", seed)
        assert [event.shape for event in script.events] == list(SHAPES)
        for before, after in zip(script.events, script.events[1:], strict=False):
            assert before.hint.end <= after.hint.start


def test_everything_but_the_colours_is_drawn_from_the_seed_alone():
    one, other = (draw_script(TINY, 5, ((colour,),)) for colour in ("red", "blue"))
    assert one != other
    flash = replace(other.events[0].flashes[0], colour="red")
    assert one == replace(other, events=(replace(other.events[0], flashes=(flash,)),))


def test_the_same_seed_draws_the_same_script_and_another_one_another():
    assert script_of(TINY, "after", 3) == script_of(TINY, "after", 3)
    assert script_of(TINY, "after", 3) != script_of(TINY, "after", 4)


def test_times_fall_on_frames():
    for preset, _, script, _, _ in every_script():
        for flash in flashes_of(script):
            for moment in (flash.span.start, flash.span.end):
                assert abs(moment * preset.fps - round(moment * preset.fps)) < 1e-6


def test_a_derived_seed_depends_on_every_part_and_on_no_process():
    assert derive_seed("tiny", 7, "train", 3) == 9296165113844312814
    parts = [("tiny", 7, "train", 3), ("tiny", 7, "dev", 3), ("tiny", 8, "train", 3), ("long", 7, "train", 3)]
    assert len({derive_seed(*each) for each in parts}) == 4


def test_colours_are_far_apart_and_far_from_gray():
    values = [np.array(rgb) for rgb in COLOURS.values()]
    for number, one in enumerate(values):
        assert np.ptp(one) >= 100
        assert all(np.linalg.norm(one - other) > 90 for other in values[:number])


def test_an_unknown_preset_is_refused_with_those_that_exist():
    with pytest.raises(ConfigError, match=r"no preset 'huge'; there are: tiny, long"):
        get_preset("huge")
