"""Damage is never silent: a frame is right, or says that it is not exact, or is refused."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from longvt_plugins import Video
from longvt_plugins.errors import DamagedVideoError, NotAVideoError, NoVideoStreamError, OutsideVideoError
from longvt_plugins.testing import read_stamp, write_stamped_video

SECONDS = 40


def remux_with_header_first(path: Path, target: Path) -> None:
    """Copies an MP4 so that it can be read, as far as it goes, when its end is missing."""
    import av

    with av.open(str(path)) as source, av.open(str(target), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)


def examine(path: Path, times: list[float]) -> dict[str, list[int]]:
    """Asks for every frame, and sorts their numbers by what came back."""
    found: dict[str, list[int]] = {"right": [], "wrong": [], "marked": [], "refused": []}
    with Video.open(path) as video:
        for number, time in enumerate(times):
            try:
                frame = video.frame_at(time)
            except (DamagedVideoError, OutsideVideoError):
                found["refused"].append(number)
                continue
            if not frame.exact:
                found["marked"].append(number)
                continue
            try:
                found["right" if read_stamp(frame.image) == number else "wrong"].append(number)
            except ValueError:
                found["wrong"].append(number)
    return found


def test_a_video_cut_short_gives_what_is_left_and_refuses_the_rest(tmp_path):
    times = write_stamped_video(tmp_path / "whole.mp4", SECONDS)
    remux_with_header_first(tmp_path / "whole.mp4", tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])

    with Video.open(tmp_path / "cut.mp4") as video:
        assert video.duration == pytest.approx(SECONDS)
        with pytest.raises(DamagedVideoError, match=r"cut short at \d.* of 40 s; 39 s is not in it") as told:
            video.frame_at(SECONDS - 1)
        assert 10 < told.value.readable_until < 30
        assert video.damage[0].startswith("truncated: nothing after ")
        with pytest.raises(DamagedVideoError):
            video.overview()
    found = examine(tmp_path / "cut.mp4", times)

    assert "\n" not in str(told.value)
    assert not found["wrong"]
    assert len(found["right"]) > 60
    assert found["refused"] == list(range(found["refused"][0], len(times)))
    assert len(found["marked"]) < 12


@pytest.mark.parametrize(("name", "promised"), [("a.mkv", True), ("a.ts", False), ("a.avi", False)])
def test_every_container_can_be_read_up_to_where_it_was_cut(tmp_path, name, promised):
    times = write_stamped_video(tmp_path / name, SECONDS)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])

    with Video.open(tmp_path / name) as video:
        # Where the header does not promise more, the video is as long as what is left of it.
        assert (video.duration > SECONDS - 1) == promised
    found = examine(tmp_path / name, times)

    assert not found["wrong"]
    assert len(found["right"]) > 60
    assert found["refused"][-1] == len(times) - 1


def test_an_mp4_without_its_header_is_called_damaged(tmp_path):
    write_stamped_video(tmp_path / "a.mp4", SECONDS)
    (tmp_path / "a.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:10_000])
    with pytest.raises(DamagedVideoError, match="damaged or cut short"):
        Video.open(tmp_path / "a.mp4")


HOLES = [
    ("a.mp4", "libx264", "blanked"),
    ("a.mp4", "mpeg4", "blanked"),
    *((name, "libx264", kind) for name in ("a.mkv", "a.ts", "a.avi") for kind in ("blanked", "removed")),
]


@pytest.mark.parametrize(("name", "codec", "kind"), HOLES)
def test_a_hole_in_the_data_is_marked_and_the_rest_is_right(tmp_path, name, codec, kind):
    times = write_stamped_video(tmp_path / name, SECONDS, codec=codec)
    data = bytearray((tmp_path / name).read_bytes())
    at = len(data) // 2
    if kind == "blanked":
        data[at : at + 1500] = bytes(1500)
    else:
        del data[at : at + 1500]
    (tmp_path / name).write_bytes(data)

    found = examine(tmp_path / name, times)

    assert not found["wrong"]
    assert found["marked"] or found["refused"]
    assert len(found["right"]) > 60


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bits_never_put_one_frame_in_the_place_of_another(tmp_path, seed):
    """A flip that happens to decode may smear a picture, which nobody can see; it must not show another moment."""
    times = write_stamped_video(tmp_path / "a.mp4", SECONDS)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    chance = random.Random(seed)
    for _ in range(8):
        data[chance.randrange(len(data) // 10, len(data) * 8 // 10)] ^= 1 << chance.randrange(8)
    (tmp_path / "a.mp4").write_bytes(data)

    with Video.open(tmp_path / "a.mp4") as video:
        for number, time in enumerate(times):
            frame = video.frame_at(time)
            if frame.exact:
                assert frame.time == pytest.approx(time)
                try:
                    assert read_stamp(frame.image) == number
                except ValueError:
                    continue
            else:
                assert abs(frame.time - time) <= 1.5


def test_damage_where_nobody_looks_changes_nothing(tmp_path):
    times = write_stamped_video(tmp_path / "a.mp4", SECONDS)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 500] = bytes(500)
    (tmp_path / "a.mp4").write_bytes(data)

    with Video.open(tmp_path / "a.mp4") as video:
        frames = video.frames([0, 1, 2, SECONDS - 2, SECONDS - 1])

    assert [read_stamp(frame.image) for frame in frames] == [0, 4, 8, len(times) - 8, len(times) - 4]
    assert all(frame.exact for frame in frames)


def test_where_nothing_can_be_decoded_the_error_counts_what_was_skipped(tmp_path):
    write_stamped_video(tmp_path / "a.mp4", SECONDS, gop=16)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    data[len(data) // 3 : len(data) * 2 // 3] = bytes(len(data) * 2 // 3 - len(data) // 3)
    (tmp_path / "a.mp4").write_bytes(data)

    with Video.open(tmp_path / "a.mp4") as video:
        with pytest.raises(DamagedVideoError, match=r"\d+ packets skipped; nothing within 1 s of 20 s") as told:
            video.frame_at(20)
        (finding,) = video.damage

    assert told.value.damaged_packets > 10
    assert told.value.readable_until is None
    assert finding.endswith("damaged packets skipped")
    assert "\n" not in str(told.value)


def test_a_video_of_which_nothing_can_be_decoded_is_refused(tmp_path):
    write_stamped_video(tmp_path / "a.mp4", 5)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    start, end = data.find(b"mdat") + 4, data.rfind(b"moov") - 4
    data[start:end] = bytes(end - start)
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(DamagedVideoError):
        Video.open(tmp_path / "a.mp4")


@pytest.mark.parametrize("content", [b"", b"hello\n" * 100, b"\x00" * 5000, random.Random(1).randbytes(50_000)])
def test_what_is_no_video_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(NotAVideoError, match="not a video file") as told:
        Video.open(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["sound.m4a", "sound.mp4", "sound.mkv"])
def test_sound_alone_is_no_video(tmp_path, name):
    import av
    import numpy as np

    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for number in range(20):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 16000, 1024 * number
            container.mux(stream.encode(silence))
        container.mux(stream.encode(None))

    with pytest.raises(NoVideoStreamError, match=r"no video stream.*audio"):
        Video.open(tmp_path / name)


def test_a_picture_is_no_video(tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(NotAVideoError):
        Video.open(tmp_path / "a.png")


PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{video}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{video}'\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{video}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("suffix", ["m3u8", "txt", "mp4", "sdp", "mpd"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_that_names_another_file_is_not_followed(tmp_path, kind, suffix):
    write_stamped_video(tmp_path / "secret.ts", 5)
    path = tmp_path / f"list.{suffix}"
    path.write_text(PLAYLISTS[kind].format(video=tmp_path / "secret.ts"))
    with pytest.raises(NotAVideoError):
        Video.open(path)


def test_numbered_pictures_are_not_read_as_a_sequence(tmp_path):
    from PIL import Image

    for number in range(3):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{number:03d}.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "%03d.png")
    with pytest.raises(NotAVideoError):
        Video.open(tmp_path / "%03d.png")


def test_reading_a_damaged_video_writes_nothing_to_the_terminal(tmp_path, capfd):
    times = write_stamped_video(tmp_path / "a.mp4", 10)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    data[len(data) // 3 : len(data) // 3 + 500] = bytes(500)
    (tmp_path / "a.mp4").write_bytes(data)
    capfd.readouterr()
    examine(tmp_path / "a.mp4", times)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_said_to_be_so(tmp_path):
    from longvt_plugins.errors import VideoNotFoundError

    write_stamped_video(tmp_path / "a.mp4", 2)
    (tmp_path / "a.mp4").chmod(0)
    with pytest.raises(VideoNotFoundError, match=r"[Pp]ermission"):
        Video.open(tmp_path / "a.mp4")
