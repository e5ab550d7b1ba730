"""The frames of a message as one small picture, for a terminal to show.

::

    strip = frame_strip(message["content"], most=8)       # a PIL image, each frame over its second; None without frames
    console.print(terminal_picture(strip, "auto", columns=80))

How a terminal shows pictures (kitty's protocol, sixel, which iTerm2 knows too, or half blocks in colour) is found out
by asking it; that is the work of the library textual-image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from longvt_plugins.asking.looks import images_of, label_of, spread
from longvt_plugins.types import Block

if TYPE_CHECKING:
    from PIL import Image
    from rich.console import RenderableType

Way = Literal["auto", "kitty", "sixel", "blocks", "none"]

HEIGHT = 96
"""Pixels of a thumbnail."""

_WIDEST = 2 * HEIGHT
_LABEL, _TEXT, _GAP = 16, 13, 4
_PIXELS_OF_A_COLUMN = 10
"""About as wide is a letter of a terminal."""


def frame_strip(content: list[Block] | str | None, most: int) -> Image.Image | None:
    """Draws the strip.

    Args:
        content: Of a message, images in memory.
        most: Frames at most, evenly spaced where there are more.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    shown = images_of(content)
    if not shown:
        return None
    shown = spread(shown, most)
    font = ImageFont.load_default(_TEXT)
    tiles = []
    for block in shown:
        picture = block["image"]
        assert isinstance(picture, Image.Image)
        tiles.append((ImageOps.contain(picture.convert("RGB"), (_WIDEST, HEIGHT)), label_of(block)))
    widths = [max(tile.width, math.ceil(font.getlength(label))) + _GAP for tile, label in tiles]
    strip = Image.new("RGB", (sum(widths), HEIGHT + _LABEL), "black")
    pen = ImageDraw.Draw(strip)
    left = 0
    for (tile, label), width in zip(tiles, widths, strict=True):
        strip.paste(tile, (left, (HEIGHT - tile.height) // 2))
        pen.text((left, HEIGHT), label, fill="white", font=font)
        left += width
    return strip


def terminal_picture(picture: Image.Image, way: Way, columns: int) -> RenderableType | None:
    """The picture as rich prints it; None where nothing is to be shown.

    Args:
        picture: What to show.
        way: How; ``"auto"`` asks the terminal.
        columns: Letters that a line has.
    """
    if way == "none":
        return None
    # Asks the terminal what it can when it is first imported.
    from textual_image import renderable

    kinds: dict[str, Any] = {
        "auto": renderable.Image,
        "kitty": renderable.TGPImage,
        "sixel": renderable.SixelImage,
        "blocks": renderable.HalfcellImage,
    }
    width = max(1, min(columns, math.ceil(picture.width / _PIXELS_OF_A_COLUMN)))
    shown: RenderableType = kinds[way](picture, width=width, height="auto")
    return shown
