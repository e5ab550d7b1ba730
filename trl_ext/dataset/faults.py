"""What may be wrong with a record of training data: one kind each, counted and shown by ``longvt data check``.

>>> raise DataFault("missing video", "tvg.parquet, row 12", "no videos/XNT6F.mp4")
Traceback (most recent call last):
DataFault: tvg.parquet, row 12: no videos/XNT6F.mp4
"""

from __future__ import annotations

from typing import Literal

from longvt_plugins.errors import ConfigError

Kind = Literal[
    "schema", "missing video", "missing image", "tool call", "special tokens", "unreadable video", "refused call",
    "over-long",
]  # fmt: skip
"""``refused call``: the tool, asked again, refuses what it granted when the conversation was recorded."""


class DataFault(ConfigError):
    """A record that cannot be trained on as it stands.

    Args:
        kind: What is wrong, in a word.
        where: File and row.
        what: What is wrong, in a sentence.
    """

    def __init__(self, kind: Kind, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.kind = kind
        self.where = where
        self.what = what
