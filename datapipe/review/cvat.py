"""CVAT: the windows of one video as tracks over whole frames, in "CVAT for video 1.1".

::

    write_cvat([entry, ...], "talk.xml")        # to be uploaded as annotations of a task with this video

CVAT knows frames, not seconds, so each window becomes a track from its first frame to its last, with the question and
the answer as its attributes. :data:`LABEL` is the label that the task needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from datapipe.review.entries import Entry
from longvt_plugins.video.probe import VideoInfo, probe

NAME = "evidence"

ATTRIBUTES = ("id", "question", "answer", "decision", "note")

LABEL = [
    {
        "name": NAME,
        "attributes": [
            {"name": name, "mutable": False, "input_type": "text", "default_value": "", "values": [""]}
            for name in ATTRIBUTES
            if name != "decision"
        ]
        + [
            {
                "name": "decision",
                "mutable": False,
                "input_type": "select",
                "default_value": "undecided",
                "values": ["undecided", "accept", "reject", "edit"],
            }
        ],
    }
]
"""For the "raw" view of a task's labels."""


def write_cvat(entries: Sequence[Entry], path: str | Path) -> None:
    """Writes the annotations of one video.

    Args:
        entries: All of one video.
        path: The XML file.

    Raises:
        VideoError: The video cannot be read, so that its frames cannot be counted.
    """
    info = probe(entries[0].path)
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    for name, value in (("name", entries[0].video), ("size", str(info.frames)), ("mode", "interpolation")):
        ElementTree.SubElement(task, name).text = value
    for number, entry in enumerate(entries):
        _add_track(root, number, entry, info)
    ElementTree.indent(root)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _add_track(root: ElementTree.Element, number: int, entry: Entry, info: VideoInfo) -> None:
    first = min(info.frames - 1, max(0, math.floor(entry.start * info.average_fps)))
    last = min(info.frames - 1, max(first, math.ceil(entry.end * info.average_fps) - 1))
    track = ElementTree.SubElement(root, "track", id=str(number), label=NAME, source="auto")
    # Two key frames: where the window begins, and where the track has left the picture.
    for frame, outside in ((first, "0"), (min(last + 1, info.frames), "1")):
        place = {"frame": str(frame), "outside": outside, "occluded": "0", "keyframe": "1", "z_order": "0"}
        corners = {"xtl": "0.00", "ytl": "0.00", "xbr": f"{info.width:.2f}", "ybr": f"{info.height:.2f}"}
        box = ElementTree.SubElement(track, "box", {**place, **corners})
        told = {"id": entry.id, "question": entry.question, "answer": entry.answer, "decision": "undecided", "note": ""}
        for name in ATTRIBUTES:
            ElementTree.SubElement(box, "attribute", name=name).text = _xml_text(told[name])


def _xml_text(text: str) -> str:
    """Without characters that XML cannot hold, which a model may write."""
    return "".join(char for char in text if char in "\t\n\r" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd")
