"""A damaged file gives right frames, or says of a frame that it is not exact, or is refused in one line. Nothing else.

Each file is read in a process of its own kind (``examiner``): a crash or a hang there fails the test here.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import wave
import zipfile
from pathlib import Path

import pytest

from longvt_plugins.testing import write_stamped_video

SECONDS, FPS = 8, 8

WHOLE = {
    "table-last.mp4": {},
    "table-first.mp4": {"container_options": {"movflags": "faststart"}},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov+default_base_moof"}},
    "hevc.mov": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none"}},
    "b-frames.mkv": {"sound": True},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "av1.mp4": {"codec": "libaom-av1", "options": {"cpu-used": "8", "lag-in-frames": "16"}},
    "sound.ts": {"sound": True},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"b": "2000000"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "fps": 25},
}

TYPED = {"VideoNotFoundError", "NotAVideoError", "NoVideoStreamError", "DamagedVideoError", "OutsideVideoError"}


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Writes each of them once: bytes and timetable, with grain so that packets are as large as in real footage."""
    made = {}

    def write(name):
        if name not in made:
            path = tmp_path_factory.mktemp("whole") / name
            settings = {"fps": FPS, "size": (80, 80), "gop": 16, "grain": 12} | WHOLE[name]
            made[name] = write_stamped_video(path, SECONDS, **settings), path.read_bytes(), path
        return made[name]

    return write


def sort_out(answer, times):
    """Numbers of the pictures by what came back for their moment; faults of the answer itself fail at once."""
    found = {"right": [], "wrong": [], "smeared": [], "marked": [], "refused": []}
    if "error" in answer:
        check_error(answer["error"])
        return found | {"refused": list(range(len(times)))}
    for wanted, frame in enumerate(answer["frames"]):
        if "error" in frame:
            check_error(frame["error"])
            found["refused"].append(wanted)
        elif not frame["exact"]:
            found["marked"].append(wanted)
        elif frame["number"] is None or frame["number"] >= len(times):  # One smear in 64 passes for some number.
            found["smeared"].append(wanted)
        else:
            right = frame["number"] == wanted and abs(frame["time"] - times[wanted]) < 0.0011
            found["right" if right else "wrong"].append(wanted if right else (wanted, frame["number"], frame["time"]))
    return found


def check_error(error):
    kind, message = error
    assert kind in TYPED
    assert "\n" not in message
    assert len(message) > 20


# Shares of the file that are kept. Fewer than one byte is the empty file.
CUTS = {"empty": 0.0, "a hundredth": 0.01, "a quarter": 0.25, "half": 0.5, "nine tenths": 0.9, "all but a bit": 0.9999}

LEAST_RIGHT = {"half": 0.25, "nine tenths": 0.7}
"""Share of the frames that must still be right where the file can be read at all."""

TABLE_AT_END = ("table-last.mp4", "hevc.mov", "av1.mp4")


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_short_gives_what_is_left(tmp_path, examiner, whole, name, cut):
    times, data, _ = whole(name)
    (tmp_path / name).write_bytes(data[: int(len(data) * CUTS[cut])])

    found = sort_out(examiner.look(tmp_path / name, times), times)

    assert not found["wrong"]
    assert not found["smeared"]
    if name not in TABLE_AT_END:
        assert len(found["right"]) >= LEAST_RIGHT.get(cut, 0) * len(times)
    elif cut != "all but a bit":
        assert len(found["refused"]) == len(times)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("name", WHOLE)
def test_a_file_may_be_cut_anywhere(tmp_path, examiner, whole, name, seed):
    times, data, _ = whole(name)
    # Not so short that nobody can say how far apart its frames should be.
    kept = random.Random(f"{name} {seed}").uniform(0.1, 1)
    (tmp_path / name).write_bytes(data[: int(len(data) * kept)])

    found = sort_out(examiner.look(tmp_path / name, times), times)

    assert not found["wrong"]
    assert not found["smeared"]


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 60))])
@pytest.mark.parametrize("name", WHOLE)
def test_flipped_bits_never_show_another_moment(tmp_path, examiner, whole, structure, name, seed):
    """One, ten or a hundred bits of the pictures are turned over.

    What decodes in spite of it may be smeared, or the picture before it over again: FFmpeg cannot tell, whoever asks
    it. Nobody but FFmpeg may put one picture in the place of another, though. Flips in tables are another matter
    (``test_index_against_demuxing``): a frame is shown when its file says so.
    """
    times, data, path = whole(name)
    broken, chance = bytearray(data), random.Random(f"{name} {seed}")
    places = sorted(set(range(len(data))).difference(structure(path)))
    for _ in range(10 ** (seed % 3)):
        broken[chance.choice(places)] ^= 1 << chance.randrange(8)
    (tmp_path / name).write_bytes(broken)

    wrong = sort_out(examiner.look(tmp_path / name, times), times)["wrong"]
    if wrong:
        frames = examiner.decode_plainly(tmp_path / name)["frames"]
        decoded = {(number, round(pts - frames[0][0], 2)) for pts, number in frames}
        wrong = [frame for frame in wrong if (frame[1], round(frame[2], 2)) not in decoded]
    assert not wrong


@pytest.mark.parametrize("kind", ["blanked", "removed", "doubled"])
@pytest.mark.parametrize("name", ["fragments.mp4", "hevc.mov", "b-frames.mkv", "vp9.webm", "sound.ts", "mpeg4.avi"])
def test_a_stretch_that_is_not_itself_is_noticed(tmp_path, examiner, whole, name, kind):
    times, data, _ = whole(name)
    start, end = len(data) // 2, len(data) // 2 + 3000
    middle = {"blanked": bytes(end - start), "removed": b"", "doubled": 2 * data[start:end]}[kind]
    (tmp_path / name).write_bytes(data[:start] + middle + data[end:])

    found = sort_out(examiner.look(tmp_path / name, times), times)

    assert not found["wrong"]
    if name != "vp9.webm":  # Its decoder takes zeros for a picture.
        assert found["marked"] or found["refused"]


@pytest.mark.parametrize("name", ["table-last.mp4", "b-frames.mkv"])
def test_names_that_are_no_text_stop_nobody(tmp_path, examiner, whole, name):
    """A file may name its tracks in whatever bytes it likes."""
    times, data, _ = whole(name)
    known = b"VideoHandler" if name.endswith("mp4") else b"Lavf"
    assert known in data
    (tmp_path / name).write_bytes(data.replace(known, bytes([0xE1, 0xFF]) + known[2:]))

    found = sort_out(examiner.look(tmp_path / name, times), times)

    assert found["right"] == list(range(len(times)))


def write_socket(path):
    # By a short name: an address may have a hundred bytes.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def write_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello " * 1000)


def write_wave(path):
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))


def write_animation(path):
    from PIL import Image

    pictures = [Image.new("RGB", (32, 32), (shade, 0, 0)) for shade in (0, 100, 200)]
    pictures[0].save(path, "GIF", save_all=True, append_images=pictures[1:])


def write_without_frames(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9" if path.suffix == ".webm" else "libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()


def headed(head):
    """Says at its start that it is a container, and is not."""
    return lambda path: path.write_bytes(head + random.Random(1).randbytes(20_000))


NO_FILES = {
    "missing": lambda path: None,
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "socket": write_socket,
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to a folder": lambda path: path.symlink_to(path.parent),
    "device": lambda path: path.symlink_to("/dev/zero"),
}

NO_VIDEOS = {
    "empty": Path.touch,
    "one byte": lambda path: path.write_bytes(b"x"),
    "text": lambda path: path.write_text(__doc__ * 20),
    "garbage": headed(b""),
    "zeros": lambda path: path.write_bytes(bytes(100_000)),
    "ones": lambda path: path.write_bytes(b"\xff" * 100_000),
    "archive": write_archive,
    "sound": write_wave,
    "moving picture": write_animation,
    "headed as MP4": headed(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41"),
    "headed as an endless box": headed(b"\0\0\0\1moov" + b"\xff" * 8),
    "headed as Matroska": headed(bytes.fromhex("1a45dfa3 01000000 0000001f")),
    "headed as AVI": headed(b"RIFF\xff\xff\xff\xffAVI LIST"),
    "headed as a transport stream": lambda path: path.write_bytes((b"G\x1f\xff\x10" + bytes(184)) * 100),
    "headed as Flash": headed(b"FLV\1\5\0\0\0\x09"),
    "headed as Ogg": headed(b"OggS"),
    "headed as MPEG": headed(b"\0\0\1\xba"),
    "program": lambda path: path.symlink_to(sys.executable),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_not_found(tmp_path, examiner, kind):
    NO_FILES[kind](tmp_path / "a.mp4")

    answer = examiner.look(tmp_path / "a.mp4", [0])

    check_error(answer["error"])
    assert answer["error"][0] == "VideoNotFoundError"
    assert "a.mp4" in answer["error"][1]


@pytest.mark.parametrize("kind", NO_VIDEOS)
def test_what_is_no_video_is_refused(tmp_path, examiner, kind):
    NO_VIDEOS[kind](tmp_path / "a.mp4")

    answer = examiner.look(tmp_path / "a.mp4", [0])

    check_error(answer["error"])
    assert answer["error"][0] in ("NotAVideoError", "NoVideoStreamError", "DamagedVideoError")
    assert "a.mp4" in answer["error"][1]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "avi", "ts"])
def test_a_video_without_frames_is_refused(tmp_path, examiner, suffix):
    write_without_frames(tmp_path / f"a.{suffix}")

    check_error(examiner.look(tmp_path / f"a.{suffix}", [0])["error"])


def test_a_link_to_a_video_is_a_video(tmp_path, examiner, films):
    film = films["h264-short-gop-mp4"]
    (tmp_path / "a.mp4").symlink_to(film.path)

    assert sort_out(examiner.look(tmp_path / "a.mp4", film.times), film.times)["right"] == film.numbers
