"""Every way to read that is measured, in the order of the tables.

A new one is a file with its class and one entry here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DECORD = "'decord>=0.6'"
TORCHCODEC = "'torchcodec>=0.5'"
QWEN = "'qwen-vl-utils>=0.0.14' torch torchvision"
OPENCV = "opencv-python-headless"
MCP = "'mcp<2'"


@dataclass(frozen=True)
class Entry:
    """One way to read.

    Attributes:
        name: In the figures.
        title: In the tables.
        module: Of this package.
        made_by: The class there.
        jobs: ``overview``, ``crops`` or ``group``.
        needs: Modules that must be there, with what installs each.
        environment: Variables of its process.
        ours: Runs in this interpreter, not in that of the peers.
        servers: Works through servers that it starts, which are measured with it. They warm up by themselves, or, if
            they are started for each call, not at all; all others read a short film before they are measured.
    """

    name: str
    title: str
    module: str
    made_by: str
    jobs: tuple[str, ...]
    needs: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    ours: bool = False
    servers: bool = False


_QWEN_ON_DECORD = {"qwen_vl_utils": QWEN, "decord": DECORD}
_QWEN_ON_TORCHCODEC = {"qwen_vl_utils": QWEN, "torchcodec": TORCHCODEC}
_OVER_MCP = {**_QWEN_ON_DECORD, "mcp": MCP}
_DECORD = {"FORCE_QWENVL_VIDEO_READER": "decord"}
_TORCHCODEC = {"FORCE_QWENVL_VIDEO_READER": "torchcodec", "TORCHCODEC_NUM_THREADS": "1"}
_BOTH, _CROPS = ("overview", "crops"), ("crops",)

CATALOGUE = (
    Entry("ours_fast", "ours, fast", "ours", "Fast", _BOTH, ours=True),
    Entry("ours_exact", "ours, exact", "ours", "Exact", _BOTH, ours=True),
    Entry("ours_fast_jpeg", "ours, fast, as JPEG", "ours", "FastAsJpeg", _CROPS, ours=True),
    Entry("demux", "floor: packets alone", "floor", "Demux", ("overview",), ours=True),
    Entry("floor", "floor: decoding what is needed", "floor", "Floor", _BOTH, ours=True),
    Entry(
        "torchcodec", "torchcodec, exact + resize", "torchcodec_reader", "TorchCodec", _BOTH, {"torchcodec": TORCHCODEC}
    ),
    Entry("decord_resizing", "decord, resizing as it decodes", "decord_reader", "Decord", _BOTH, {"decord": DECORD}),
    Entry("decord_plain", "decord, then Pillow's bicubic", "decord_reader", "DecordPlain", _BOTH, {"decord": DECORD}),
    Entry("opencv", "OpenCV", "opencv_reader", "OpenCV", _BOTH, {"cv2": OPENCV}),
    Entry(
        "qwen_torchcodec", "qwen-vl-utils on torchcodec", "qwen_reader", "Qwen", _BOTH, _QWEN_ON_TORCHCODEC, _TORCHCODEC
    ),
    Entry("qwen_decord", "qwen-vl-utils on decord", "qwen_reader", "Qwen", _BOTH, _QWEN_ON_DECORD, _DECORD),
    Entry("longvt_in_process", "LongVT, in process", "longvt_tool", "InProcess", _CROPS, _QWEN_ON_DECORD, _DECORD),
    Entry(
        "longvt_session",
        "LongVT, one MCP server",
        "longvt_client",
        "McpSession",
        _CROPS,
        _OVER_MCP,
        _DECORD,
        servers=True,
    ),
    Entry(
        "longvt_per_call",
        "LongVT, server per call",
        "longvt_client",
        "McpPerCall",
        _CROPS,
        _OVER_MCP,
        _DECORD,
        servers=True,
    ),
)

GROUP = (
    Entry("one", "one rollout", "group", "One", ("group",), ours=True),
    Entry("sixteen", "16 rollouts, overlapping windows", "group", "Sixteen", ("group",), ours=True),
    Entry("sixteen_same_window", "16 rollouts, one window", "group", "SixteenSameWindow", ("group",), ours=True),
    Entry("sixteen_anywhere", "16 rollouts, windows anywhere", "group", "SixteenAnywhere", ("group",), ours=True),
)
"""Rollouts through our library; they have no peers."""

EVERYTHING = (*CATALOGUE, *GROUP)
