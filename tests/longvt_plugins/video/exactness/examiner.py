"""Looks at videos in a process of its own, so that a crash, a hang or a flood of memory is seen and ends nothing else.

Reads one JSON object a line, answers with one a line::

    {"path": "a.mp4", "times": [0]}     {"frames": [{"number": 0, "time": 0.0, "exact": true}], "timetable": [0.0, 0.1]}
    {"path": "b.mp4", "times": [0]}     {"error": ["NotAVideoError", "b.mp4: not a video file"]}
    {"path": "a.mp4", "plain": true}    {"frames": [[0.0, 0], [0.1, 1]], "packets": [0.0, 0.1], "stopped": null}

``plain`` decodes the whole file with PyAV from its first packet to its last, as nobody can do wrongly. Packets that
fail give no frame.
"""

from __future__ import annotations

import json
import resource
import sys
import traceback
from typing import Any

MEMORY = 4 << 30
"""Bytes: no damaged file of a few kilobytes is worth more."""


def look(path: str, times: list[float]) -> dict[str, Any]:
    from longvt_plugins import Video
    from longvt_plugins.errors import LongvtError

    try:
        with Video.open(path) as video:
            answers = []
            for time in times:
                try:
                    frame = video.frame_at(time)
                except LongvtError as error:
                    answers.append({"error": [type(error).__name__, str(error)]})
                else:
                    answers.append({"number": number(frame.image), "time": frame.time, "exact": frame.exact})
            return {"frames": answers, "timetable": video.timetable.times}
    except LongvtError as error:
        return {"error": [type(error).__name__, str(error)]}


def decode_plainly(path: str) -> dict[str, Any]:
    import av
    from av.error import FFmpegError

    frames: list[tuple[float, int | None]] = []
    packets: list[float] = []
    try:
        with av.open(path, metadata_errors="replace") as container:
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise IndexError("no decoder for it")
            stream.codec_context.options = {"err_detect": "explode"}
            stream.codec_context.thread_count = 1
            tick = float(stream.time_base)
            demuxed = container.demux(stream)
            while True:
                try:
                    packet = next(demuxed)
                except StopIteration:
                    break
                if packet.size and packet.pts is not None and not packet.is_discard:
                    packets.append(packet.pts * tick)
                try:
                    decoded = stream.decode(packet)
                except FFmpegError:
                    continue
                frames += [(frame.pts * tick, number(frame.to_image())) for frame in decoded if frame.pts is not None]
    except (FFmpegError, IndexError) as error:
        return {"frames": frames, "packets": packets, "stopped": f"{type(error).__name__}: {error}"}
    return {"frames": frames, "packets": packets, "stopped": None}


def number(image: Any) -> int | None:
    from longvt_plugins.testing import read_stamp

    try:
        return read_stamp(image)
    except ValueError:
        return None


def main() -> None:
    from longvt_plugins.video import packets

    # Only large files are opened by their own tables; here every file is, so that they are put to the test.
    packets._WORTH_A_TABLE = 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = decode_plainly(asked["path"]) if asked.get("plain") else look(asked["path"], asked["times"])
        except BaseException:  # noqa: BLE001 - whatever it is, the test reads it
            answer = {"bug": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
