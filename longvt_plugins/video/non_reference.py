"""Which packets hold pictures that no other picture is made from, so that they need not be decoded to see another.

::

    test = non_reference_test("h264", codec_context.extradata)
    if test is not None and test(memoryview(packet)):
        ...                                     # a B-frame that nothing refers to: the decoder need not see it

It is read from the first bytes of the coded data, not from the container, whose marks get lost in copying.
Where anything is unclear the answer is no, and the packet is decoded. Between a third and two thirds of the
frames of H.264 and HEVC are such; of VP8, VP9 and AV1 it cannot be told this cheaply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Test = Callable[[memoryview], bool]
"""Whether the coded picture in these bytes is one that no other refers to."""

_LOOKED_AT = 4096
"""Bytes in which the start of the picture is looked for, where start codes must be searched."""

_MOST_UNITS = 64
"""Units (parameter sets, messages, slices) before the first slice, at most."""

_START = b"\0\0\1"


def non_reference_test(codec: str, extradata: bytes | None) -> Test | None:
    """How to tell such packets of a codec.

    Args:
        codec: FFmpeg's name of it, such as ``"h264"``.
        extradata: What the container says of the stream to its decoder.

    Returns:
        None where it cannot be told.
    """
    known: dict[str, Callable[[bytes], Test]] = {
        "h264": _h264_test,
        "hevc": _hevc_test,
        "mpeg2video": lambda _: _is_mpeg2_b,
        "mpeg1video": lambda _: _is_mpeg2_b,
        "mpeg4": lambda _: _is_mpeg4_b,
    }
    return known[codec](extradata or b"") if codec in known else None


def _units(data: memoryview, length_size: int) -> Iterator[memoryview]:
    """The units of a packet: each after its length, or, for a length size of 0, each after a start code."""
    if length_size:
        at = 0
        for _ in range(_MOST_UNITS):
            start = at + length_size
            at = start + int.from_bytes(data[start - length_size : start])
            if start >= len(data) or at > len(data):
                return
            yield data[start:at]
        return
    head = bytes(data[:_LOOKED_AT])
    at = head.find(_START)
    for _ in range(_MOST_UNITS):
        if at < 0:
            return
        yield data[at + len(_START) :]
        at = head.find(_START, at + len(_START))


def _h264_test(extradata: bytes) -> Test:
    """ITU-T H.264, 7.4.1: a slice whose nal_ref_idc is 0 belongs to a picture that is no reference."""
    length_size = (extradata[4] & 3) + 1 if extradata[:1] == b"\1" and len(extradata) > 4 else 0

    def is_non_reference(data: memoryview) -> bool:
        for unit in _units(data, length_size):
            if not len(unit):
                return False
            kind = unit[0] & 31
            if 1 <= kind <= 5:
                return unit[0] >> 5 == 0
            if kind in (7, 8, 13, 15):  # Parameter sets, which the pictures after it need.
                return False
        return False

    return is_non_reference


def _hevc_test(extradata: bytes) -> Test:
    """ITU-T H.265, 7.4.2.2: even kinds below 16 are not referred to within their temporal layer.

    Higher layers may refer to them, so only those of the highest layer count.
    """
    length_size = (extradata[21] & 3) + 1 if extradata[:1] == b"\1" and len(extradata) > 22 else 0
    units = _hvcc_units(extradata) if length_size else _units(memoryview(extradata), 0)
    highest = max((_highest_layer(unit) for unit in units), default=-1)

    def is_non_reference(data: memoryview) -> bool:
        nonlocal highest
        for unit in _units(data, length_size):
            if len(unit) < 2:
                return False
            kind, layer = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1] >> 3
            if kind < 32 and layer == 0:
                return kind < 16 and kind % 2 == 0 and (unit[1] & 7) - 1 == highest
            if kind in (32, 33, 34):  # Parameter sets; the first of them says how many layers there are.
                highest = max(highest, _highest_layer(unit))
                return False
        return False

    return is_non_reference


def _hvcc_units(extradata: bytes) -> Iterator[memoryview]:
    """The parameter sets in a decoder configuration record (ISO/IEC 14496-15, 8.3.3.1)."""
    data, at = memoryview(extradata), 23
    for _ in range(data[22] if len(data) > 22 else 0):
        count = int.from_bytes(data[at + 1 : at + 3])
        at += 3
        for _ in range(min(count, _MOST_UNITS)):
            end = at + 2 + int.from_bytes(data[at : at + 2])
            yield data[at + 2 : end]
            at = end


def _highest_layer(unit: memoryview) -> int:
    """The highest temporal layer that a video parameter set allows; -1 for any other unit."""
    return unit[3] >> 1 & 7 if len(unit) > 3 and unit[0] >> 1 & 63 == 32 else -1


def _is_mpeg2_b(data: memoryview) -> bool:
    """ISO/IEC 13818-2, 6.3.9: the kind of a picture follows 10 bits of its number; 3 is B."""
    head = bytes(data[:_LOOKED_AT])
    at = head.find(b"\0\0\1\0")
    return 0 <= at < len(head) - 5 and head.find(b"\0\0\1\xb3", 0, at) < 0 and head[at + 5] >> 3 & 7 == 3


def _is_mpeg4_b(data: memoryview) -> bool:
    """ISO/IEC 14496-2, 6.3.5: the kind of a picture is its first two bits; 2 is B."""
    head = bytes(data[:_LOOKED_AT])
    at = head.find(b"\0\0\1\xb6")
    return 0 <= at < len(head) - 4 and head[at + 4] >> 6 == 2
