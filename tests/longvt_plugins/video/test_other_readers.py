"""The readers on decord and torchcodec: chosen by name, the same errors as the built-in one, nothing left behind."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from longvt_plugins import FrameSampling, TimeSpan, Video, VideoConfig, VideoLibrary
from longvt_plugins.errors import DamagedVideoError, NotAVideoError, NoVideoStreamError, VideoError, VideoNotFoundError
from longvt_plugins.testing import plugin_manager, read_stamp, write_stamped_video
from longvt_plugins.video.readers.decord import DecordReader
from longvt_plugins.video.readers.pyav import PyavReader
from longvt_plugins.video.readers.torchcodec import TorchcodecReader

INSTALL = "pip install 'longvt-plugins[readers]'"

READERS = {"decord": DecordReader, "torchcodec": TorchcodecReader}


@pytest.fixture(params=READERS)
def name(request):
    pytest.importorskip(request.param, reason=INSTALL, exc_type=ImportError)
    return request.param


@pytest.fixture
def reader(name):
    return READERS[name]


def stamps(frames):
    return [read_stamp(frame.image) for frame in frames]


def in_a_process(code, *args, **environment):
    """Runs Python that must not touch this process; gives what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Chosen by name


def test_a_library_reads_with_the_reader_that_its_configuration_names(tmp_path, name):
    write_stamped_video(tmp_path / "a.mp4", 20)
    with (
        VideoLibrary(VideoConfig(reader=name), plugin_manager()) as library,
        library.open(tmp_path / "a.mp4") as video,
    ):
        assert stamps(video.clip(TimeSpan(10, 13))) == [40, 44, 48]
        assert (video.duration, video.codec) == (20, "h264")


def test_qwen_sampling_counts_by_the_reader_that_is_named(tmp_path, name):
    write_stamped_video(tmp_path / "a.mp4", 60, fps=10, variable=True)
    with (
        VideoLibrary(VideoConfig(reader=name), plugin_manager()) as library,
        library.open(tmp_path / "a.mp4") as video,
    ):
        # The header's 9.99 frames a second, and 10.01 from the first frame to the start of the last.
        assert (video.timetable.fps < 10) == (name == "decord")


def test_decord_works_in_a_process_of_its_own_in_a_library():
    assert DecordReader.isolate
    assert not getattr(TorchcodecReader, "isolate", False)


@pytest.mark.parametrize(("missing", "reader_name"), [("decord", "decord"), ("torchcodec", "torchcodec")])
def test_without_its_package_a_reader_says_how_to_install_it(tmp_path, missing, reader_name):
    write_stamped_video(tmp_path / "a.mp4", 2)
    told = in_a_process(
        """
        import sys
        sys.modules[sys.argv[1]] = None
        from longvt_plugins import Video
        from longvt_plugins.errors import MissingExtraError
        from longvt_plugins.plugins import create_plugin_manager
        try:
            Video.open(sys.argv[3], reader=create_plugin_manager().video_readers.get(sys.argv[2]))
        except MissingExtraError as error:
            print(error)
        """,
        missing,
        reader_name,
        tmp_path / "a.mp4",
    )
    assert told == f"{missing} is needed for the video reader '{reader_name}': {INSTALL}"


def test_without_ffmpeg_torchcodec_says_what_to_install(tmp_path):
    pytest.importorskip("torchcodec", reason=INSTALL, exc_type=ImportError)
    write_stamped_video(tmp_path / "a.mp4", 2)
    # Found before the true ones, and no libraries at all.
    for major in range(58, 64):
        (tmp_path / f"libavcodec.so.{major}").touch()
    told = in_a_process(
        """
        import sys
        from longvt_plugins import Video
        from longvt_plugins.errors import ConfigError
        from longvt_plugins.video.readers.torchcodec import TorchcodecReader
        try:
            Video.open(sys.argv[1], reader=TorchcodecReader)
        except ConfigError as error:
            print(error)
        """,
        tmp_path / "a.mp4",
        LD_LIBRARY_PATH=str(tmp_path),
    )
    assert told == (
        "torchcodec cannot be used (Could not load libtorchcodec): it needs the shared libraries of FFmpeg 4 to 9 "
        "(`apt install ffmpeg` on Debian and Ubuntu, `conda install ffmpeg` elsewhere) and torch 2.11 or newer"
    )


def test_registering_a_reader_does_not_import_its_library():
    loaded = in_a_process(
        """
        import sys
        from longvt_plugins.plugins import create_plugin_manager
        create_plugin_manager()
        print([name for name in ("decord", "torchcodec", "torch") if name in sys.modules])
        """
    )
    assert loaded == "[]"


def test_pyav_still_writes_vp9_after_decord_was_loaded(tmp_path):
    pytest.importorskip("decord", reason=INSTALL)
    write_stamped_video(tmp_path / "a.mp4", 2)
    in_a_process(
        """
        import sys
        from longvt_plugins import Video
        from longvt_plugins.video.readers.decord import DecordReader
        Video.open(sys.argv[1], reader=DecordReader).close()
        from longvt_plugins.testing import write_stamped_video
        write_stamped_video(sys.argv[2], 1, codec="libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"})
        """,
        tmp_path / "a.mp4",
        tmp_path / "b.webm",
    )
    assert (tmp_path / "b.webm").stat().st_size > 0


# The same errors


def text_file(path):
    path.write_text("no video at all, but some text that is long enough to be looked at\n" * 50)


def sound_alone(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.rate, frame.pts = 8000, 0
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def header_cut_away(path):
    write_stamped_video(path, 20)
    path.write_bytes(path.read_bytes()[:10_000])


def playlist(path):
    """Would have FFmpeg open other files."""
    write_stamped_video(path.with_name("part.ts"), 4)
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\npart.ts\n#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (text_file, NotAVideoError),
        (sound_alone, NoVideoStreamError),
        (header_cut_away, DamagedVideoError),
        (playlist, NotAVideoError),
        (Path.touch, NotAVideoError),
        (Path.mkdir, VideoNotFoundError),
        (lambda path: None, VideoNotFoundError),
    ],
)
def test_what_is_no_video_is_refused_in_the_words_of_the_built_in_reader(tmp_path, reader, make, kind):
    path = tmp_path / "a.mp4"
    make(path)
    with pytest.raises(kind) as told:
        Video.open(path, reader=reader)
    with pytest.raises(kind) as expected:
        Video.open(path, reader=PyavReader)
    assert str(told.value) == str(expected.value)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_video_cut_short_is_refused_or_read_up_to_there(tmp_path, name, reader, suffix):
    path = tmp_path / f"a.{suffix}"
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    write_stamped_video(path, 40, container_options=options, grain=4)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    try:
        video = Video.open(path, reader=reader)
    except VideoError as error:
        assert (name, suffix) == ("decord", "mp4")
        assert "use the reader 'pyav'" in str(error)
        return
    with video:
        assert video.duration == pytest.approx(40)
        assert video.damage[0].startswith("truncated: nothing after ")
        assert stamps(video.frames([0, 5, 10])) == [0, 20, 40]
        with pytest.raises(DamagedVideoError, match=r"cut short at .* of 40 s; 39 s is not in it") as told:
            video.frame_at(39)
        assert 10 < told.value.readable_until < 30


def test_after_a_hole_in_the_data_the_rest_is_right(tmp_path, reader):
    path = tmp_path / "a.mp4"
    times = write_stamped_video(path, 40, grain=4)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)

    right, refused = [], []
    with Video.open(path, reader=reader) as video:
        for number, time in enumerate(times):
            try:
                frame = video.frame_at(time)
            except DamagedVideoError as error:
                refused.append(str(error))
            else:
                right += [number] if read_stamp_or_none(frame.image) == number else []
    assert len(right) > 120
    assert not any("\n" in line for line in refused)


def read_stamp_or_none(image):
    try:
        return read_stamp(image)
    except ValueError:
        return None


def test_a_mirrored_video_is_refused(tmp_path, name, reader):
    path = tmp_path / "mirrored.mp4"
    write_stamped_video(path, 3, rotation=180)
    data = bytearray(path.read_bytes())
    struct.pack_into(">9i", data, data.rfind(b"tkhd") + 44, -(1 << 16), 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=f"{name} does not mirror its pictures as the file asks; use the reader"):
        Video.open(path, reader=reader)


def test_decord_is_not_asked_for_one_of_two_video_streams(tmp_path):
    import av

    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=4) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for stream in streams:
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
            container.mux(stream.encode(None))
    pytest.importorskip("decord", reason=INSTALL)
    with pytest.raises(VideoError, match="decord cannot be told which of 2 video streams to read"):
        Video.open(path, reader=DecordReader)


# Pixels


def test_colours_and_shapes_are_those_of_the_built_in_reader(tmp_path, reader):
    import numpy as np

    path = tmp_path / "a.mp4"
    write_stamped_video(path, 5, size=(320, 180), grain=8)
    sampling = {scaling: FrameSampling(max_pixels=112 * 112, scaling=scaling) for scaling in ("fast", "exact")}
    with Video.open(path, reader=reader) as video, Video.open(path) as expected:
        for given in (None, *sampling.values()):
            ours, other = expected.frames([1, 2], given), video.frames([1, 2], given)
            for one, two in zip(ours, other, strict=True):
                assert one.image.size == two.image.size
                off = np.abs(np.asarray(one.image, np.float32) - np.asarray(two.image, np.float32))
                # Other scalers, other last bits; `exact` has the same in all readers.
                assert off.mean() < (6 if given is sampling["fast"] else 1)


def test_decord_may_be_told_to_return_tensors(tmp_path):
    decord = pytest.importorskip("decord", reason=INSTALL)
    write_stamped_video(tmp_path / "a.mp4", 5)
    decord.bridge.set_bridge("torch")
    try:
        with Video.open(tmp_path / "a.mp4", reader=DecordReader) as video:
            assert stamps(video.frames([2])) == [8]
    finally:
        decord.bridge.reset_bridge()


# Nothing left behind


def test_closing_lets_go_of_files_and_threads(tmp_path, reader):
    write_stamped_video(tmp_path / "a.mp4", 20)
    sampling = FrameSampling(max_pixels=56 * 56)

    def read():
        with Video.open(tmp_path / "a.mp4", reader=reader) as video:
            assert stamps(video.frames([10, 11], sampling)) == [40, 44]
            video.frame_at(3)
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))  # noqa: PTH208 - as it is

    first = read()
    assert [read() for _ in range(10)] == [first] * 10


def test_many_sizes_take_no_more_than_two_open_files(tmp_path, name, reader):
    write_stamped_video(tmp_path / "a.mp4", 20)
    with Video.open(tmp_path / "a.mp4", reader=reader) as video:
        counts = []
        for side in (28, 56, 84, 112):
            frames = video.frames([4, 5], FrameSampling(max_pixels=side * side))
            assert stamps(frames) == [16, 20]
            counts.append([entry.resolve() for entry in Path("/proc/self/fd").iterdir()].count(tmp_path / "a.mp4"))
    assert counts == [2 if name == "decord" else 1] * 4


def test_decord_does_not_fill_the_memory_with_frames_that_nobody_asked_for(tmp_path):
    pytest.importorskip("decord", reason=INSTALL)
    path = tmp_path / "a.mp4"
    # One group of pictures of 600 frames: left alone, decord decodes all of it ahead, 200 MB.
    write_stamped_video(path, 24, fps=25, size=(640, 360), gop=600, b_frames=0)
    grown = in_a_process(
        """
        import sys, time
        from longvt_plugins import Video
        from longvt_plugins.video.readers.decord import DecordReader

        def resident():
            return int(open("/proc/self/statm").read().split()[1]) * 4096 // 2**20

        with Video.open(sys.argv[1], reader=DecordReader) as video:
            before = resident()
            for _ in range(4):
                video.frame_at(0)
                time.sleep(0.5)
            print(resident() - before)
        """,
        path,
    )
    assert int(grown) < 60


def test_threads_take_turns_at_one_video(tmp_path, reader):
    write_stamped_video(tmp_path / "a.mp4", 20)
    found: dict[int, list[int]] = {}
    with Video.open(tmp_path / "a.mp4", reader=reader) as video:

        def look(place):
            found[place] = stamps(video.frames([place, place + 1, place + 10]))

        threads = [threading.Thread(target=look, args=(place,)) for place in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {place: [4 * place, 4 * place + 4, 4 * place + 40] for place in range(6)}
