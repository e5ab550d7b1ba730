"""Where shots end: cuts, fades and dissolves are found, flashes and movement are not; segments cover the film."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from datapipe import Dropped, Failed, Kept, VideoFile
from datapipe.steps.probe_video import ProbeVideo
from datapipe.steps.scenes.cuts import find_cuts
from datapipe.steps.scenes.named import detect_cuts
from datapipe.steps.scenes.signals import read_signals
from datapipe.steps.scenes.spans import merge_short, spans_between, split_long
from datapipe.steps.segment import SegmentVideo
from longvt_plugins.errors import ConfigError, NotAVideoError, VideoNotFoundError, VideoTimeoutError
from longvt_plugins.types import TimeSpan
from longvt_plugins.video import FrameSampling

FPS, SIZE = 10, (128, 72)


def texture(seed: int) -> np.ndarray:
    """A picture of coarse blocks in colours of its own."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, size=(9, 16, 3))
    return np.kron(blocks, np.ones((8, 8, 1))).astype(np.uint8)


def write(path: Path, pictures: list[np.ndarray], codec: str = "libx264") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options={"g": "50", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.bit_rate = 2_000_000
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def still(seed: int, seconds: float) -> list[np.ndarray]:
    return [texture(seed)] * round(seconds * FPS)


def dissolve(one: int, other: int, seconds: float) -> list[np.ndarray]:
    steps = round(seconds * FPS)
    shares = [(step + 1) / (steps + 1) for step in range(steps)]
    return [(texture(one) * (1 - share) + texture(other) * share).astype(np.uint8) for share in shares]


def cuts_of(path: Path) -> list[float]:
    return find_cuts(read_signals(path))


@pytest.fixture(scope="module")
def cut_film(tmp_path_factory) -> Path:
    """Shots of 12, 8 and 10.3 seconds: the length is not a whole number of seconds."""
    pictures = [*still(1, 12), *still(2, 8), *still(3, 10.3)]
    return write(tmp_path_factory.mktemp("cuts") / "cut.mp4", pictures)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_hard_cuts_are_found_where_they_are(tmp_path, codec):
    path = write(tmp_path / "film.mp4", [*still(1, 4), *still(2, 3), *still(3, 5)], codec)
    assert cuts_of(path) == pytest.approx([4.0, 7.0], abs=0.25)


def test_a_dissolve_is_one_cut_in_its_middle(tmp_path):
    path = write(tmp_path / "film.mp4", [*still(1, 8), *dissolve(1, 2, 1.2), *still(2, 8)])
    assert cuts_of(path) == pytest.approx([8.6], abs=0.6)


def test_a_fade_through_black_is_one_cut(tmp_path):
    down = [(texture(1) * share).astype(np.uint8) for share in np.linspace(1, 0, 6)]
    up = [(texture(2) * share).astype(np.uint8) for share in np.linspace(0, 1, 6)]
    path = write(tmp_path / "film.mp4", [*still(1, 8), *down, *up, *still(2, 8)])
    assert cuts_of(path) == pytest.approx([8.6], abs=0.6)


def test_a_flash_is_no_cut(tmp_path):
    bright = np.clip(texture(1).astype(int) + 150, 0, 255).astype(np.uint8)
    path = write(tmp_path / "film.mp4", [*still(1, 6), bright, *still(1, 6)])
    assert cuts_of(path) == []


def test_a_moving_camera_is_no_cut(tmp_path):
    pictures = [np.roll(texture(1), 3 * number, axis=1) for number in range(12 * FPS)]
    assert cuts_of(write(tmp_path / "film.mp4", pictures)) == []


def test_a_film_of_one_frame_has_no_cut(tmp_path):
    assert cuts_of(write(tmp_path / "film.mp4", [texture(1)])) == []


def test_the_pass_keeps_overview_frames_on_its_way(cut_film):
    sampling = FrameSampling(fps=1.0, max_frames=16, max_pixels=64 * 36, min_pixels=4, factor=2)
    signals = read_signals(cut_film, duration=30.3, overview=sampling)
    wanted = sampling.times(TimeSpan(0, 30.3))
    assert len(signals.overview) == 16
    assert [frame.time for frame in signals.overview] == pytest.approx(wanted, abs=0.3)
    assert {frame.image.size for frame in signals.overview} == {(64, 36)}
    first = np.asarray(signals.overview[0].image.resize(SIZE)).astype(int)
    assert np.abs(first - texture(1)).mean() < 40 < np.abs(first - texture(2)).mean()


def test_of_a_film_that_is_cut_short_what_is_there_is_used(tmp_path, cut_film):
    data = cut_film.read_bytes()
    # Its header stands at the end: as MPEG-TS, what is cut away is the end of the film alone.
    whole = tmp_path / "whole.ts"
    with av.open(str(cut_film)) as source, av.open(str(whole), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = whole.read_bytes()
    (tmp_path / "short.ts").write_bytes(data[: len(data) * 2 // 3])
    assert cuts_of(tmp_path / "short.ts")[:1] == pytest.approx([12.0], abs=0.25)


def test_what_is_no_film_is_said_to_be_none(tmp_path):
    (tmp_path / "notes.mp4").write_text("no film")
    with pytest.raises(NotAVideoError):
        read_signals(tmp_path / "notes.mp4")
    with pytest.raises(VideoNotFoundError):
        read_signals(tmp_path / "gone.mp4")


def test_the_pass_can_be_held_to_a_time(cut_film):
    with pytest.raises(VideoTimeoutError, match="reading took longer than 1e-06 s"):
        read_signals(cut_film, time_limit=1e-6)


def test_detectors_of_pyscenedetect_are_chosen_by_name(cut_film):
    pytest.importorskip("scenedetect")
    for name in ("content", "adaptive", "histogram"):
        assert detect_cuts(cut_film, name) == pytest.approx([12.0, 20.0], abs=0.2), name
    assert detect_cuts(cut_film, "content", {"threshold": 255.0}) == []


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"detector": "motion"}, "detector: input should be"),
        ({"detector": "content", "settings": {"treshold": 3}}, "detector 'content' has no treshold; it has: threshold"),
        ({"settings": {"threshold": 3}}, "settings are those of a PySceneDetect detector"),
        ({"overview_dir": "frames"}, "overview and overview_dir belong together"),
    ],
)
def test_settings_are_checked_before_any_film_is_opened(config, complaint):
    pytest.importorskip("scenedetect")
    with pytest.raises(ConfigError, match=complaint):
        SegmentVideo.from_config(config)


def test_short_segments_are_merged_with_what_follows():
    spans = spans_between([4.0, 12.0, 40.0], 60.0)
    assert merge_short(spans, 10.0) == [TimeSpan(0, 12), TimeSpan(12, 40), TimeSpan(40, 60)]


def test_a_short_rest_at_the_end_joins_the_segment_before_it():
    assert merge_short(spans_between([20.0, 55.0], 60.0), 10.0) == [TimeSpan(0, 20), TimeSpan(20, 60)]
    assert merge_short(spans_between([], 3.0), 10.0) == [TimeSpan(0, 3)]


def test_pieces_are_no_longer_than_allowed_and_end_with_their_segment():
    assert split_long(TimeSpan(12, 36), 10) == [TimeSpan(12, 20), TimeSpan(20, 28), TimeSpan(28, 36)]
    assert split_long(TimeSpan(0, 20), 10) == [TimeSpan(0, 10), TimeSpan(10, 20)]
    assert split_long(TimeSpan(3, 7), 10) == [TimeSpan(3, 7)]
    pieces = split_long(TimeSpan(0.3, 20.9), 10)
    assert pieces[-1].end == 20.9
    assert all(0 < piece.seconds <= 10 for piece in pieces)


def test_segments_cover_the_film_to_its_last_fraction_of_a_second(cut_film):
    (probed,) = ProbeVideo()([VideoFile(str(cut_film), "cut.mp4")])
    segments = [outcome.record for outcome in SegmentVideo(min_seconds=5)([probed.record])]
    assert [segment.start for segment in segments] == pytest.approx([0, 12, 20], abs=0.25)
    assert segments[0].start == 0
    assert segments[-1].end == probed.record.duration == pytest.approx(30.3)
    assert all(one.end == other.start for one, other in itertools.pairwise(segments))


def test_lengths_and_scenes_stay_with_their_own_video_in_whatever_order_and_one_bad_video_ends_nothing(tmp_path):
    """LongVT paired results with inputs by the order in which they ended, and one unreadable file ended the run."""
    lengths = {"a": (12, 14), "b": (20, 11), "c": (13, 13)}
    records = []
    for name, seconds in lengths.items():
        film = write(tmp_path / f"{name}.mp4", [*still(1, seconds[0]), *still(2, seconds[1])])
        (probed,) = ProbeVideo()([VideoFile(str(film), f"{name}.mp4")])
        records.append(probed.record)
    broken = replace(records[1], path=str(tmp_path / "gone.mp4"), id="gone-1")
    outcomes = list(SegmentVideo()([records[2], broken, records[0], records[1]]))
    assert [type(outcome) for outcome in outcomes] == [Kept, Kept, Failed, Kept, Kept, Kept, Kept]
    for record, (first, second) in zip(records, lengths.values(), strict=True):
        own = [
            outcome.record for outcome in outcomes if isinstance(outcome, Kept) and outcome.record.video == record.id
        ]
        assert [segment.end for segment in own] == pytest.approx([first, first + second], abs=0.25)
        assert {segment.duration for segment in own} == {record.duration}


def test_the_step_writes_its_overview_where_it_is_told(tmp_path, cut_film):
    (probed,) = ProbeVideo()([VideoFile(str(cut_film), "cut.mp4")])
    step = SegmentVideo.from_config(
        {"overview": {"fps": 1.0, "max_frames": 5}, "overview_dir": str(tmp_path / "overview")}
    )
    assert all(isinstance(outcome, Kept) for outcome in step([probed.record]))
    names = sorted(file.name for file in (tmp_path / "overview" / probed.record.id).iterdir())
    assert len(names) == 5
    assert "0.jpg" in names


def test_a_video_without_length_is_dropped(video):
    assert list(SegmentVideo()([replace(video, duration=0.0)])) == [Dropped("video without length")]
