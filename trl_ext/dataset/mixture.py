"""A mixture of sources: which files of conversations are trained on, and how often each.

::

    videos: /data/longvt                       # where videos and pictures are, unless a source says
    seed: 0
    sources:
      - path: longvt_sft_tvg_6k3.parquet       # relative paths: beside this file
        videos: /data/longvt/tvg
      - path: longvt_sft_videor1_165k5.parquet
        weight: 0.25                           # a quarter of its conversations, the same ones on every run
      - path: own.jsonl
        weight: 2                              # each twice an epoch
        replay: false                          # prompts and replies as recorded

A weight says how often an epoch passes through a source; TRL's ``fraction`` is a share of the mixture instead. It
decodes nothing and orders nothing: the trainer shuffles.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.registry import did_you_mean
from trl_ext.dataset.conversations import Conversation, read_conversations
from trl_ext.dataset.faults import DataFault
from trl_ext.dataset.media import MediaFolder

MOST_PASSES = 100
"""A larger weight is a slip."""


@dataclass(frozen=True)
class Source:
    """One file of conversations.

    Args:
        path: ``.parquet`` or ``.jsonl``.
        weight: How often an epoch passes through it.
        videos: Folder of its videos and pictures; None is that of the mixture.
        replay: See :func:`~trl_ext.dataset.conversations.read_conversations`.
        name: Of the source; by default that which its records or its file name tell.

    Raises:
        ConfigError: A weight that makes no sense.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's own way to configure a dataclass

    path: str
    weight: float = 1.0
    videos: str | None = None
    replay: bool = True
    name: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and 0 < self.weight <= MOST_PASSES):
            raise ConfigError(f"{self.path}: weight must be above 0 and at most {MOST_PASSES}, not {self.weight:g}")


@dataclass(frozen=True)
class Mixture:
    """Sources, in the order in which their conversations come.

    Args:
        sources: At least one.
        videos: Folder of videos and pictures; None looks beside each source's file.
        seed: Another seed draws others where a weight takes a part.

    Raises:
        ConfigError: No source, or one file given twice.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - as above

    sources: list[Source]
    videos: str | None = None
    seed: int = 0
    folder: str = field(default=".", repr=False)

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigError("a mixture needs at least one source")
        paths = [source.path for source in self.sources]
        if twice := [path for path in paths if paths.count(path) > 1]:
            raise ConfigError(
                f"{twice[0]} is given twice: say `weight: 2` if each of its conversations is to count twice"
            )

    def file(self, source: Source) -> Path:
        """The file of a source."""
        return Path(self.folder) / Path(source.path).expanduser()

    def media(self, source: Source) -> MediaFolder:
        """Where the videos of a source are."""
        videos = source.videos or self.videos
        file = self.file(source)
        return MediaFolder(Path(self.folder) / Path(videos).expanduser() if videos is not None else file.parent)

    def conversations(self) -> Iterator[Conversation | DataFault]:
        """Every conversation as often as its source's weight says; a fault once."""
        for source in self.sources:
            yield from self._of(source)

    def _of(self, source: Source) -> Iterator[Conversation | DataFault]:
        file, media = self.file(source), self.media(source)
        passes, part = divmod(source.weight, 1)
        total = sum(1 for _ in read_conversations(file, media, source=source.name, replay=source.replay)) if part else 0
        drawn = set(sorted(range(total), key=lambda number: self._draw(file, number))[: round(part * total)])
        for number, item in enumerate(read_conversations(file, media, source=source.name, replay=source.replay)):
            if isinstance(item, DataFault):
                yield item
                continue
            for _ in range(int(passes) + (number in drawn)):
                yield item

    def _draw(self, file: Path, number: int) -> str:
        # Not hash(): Python salts it anew in every process.
        return hashlib.sha256(f"{self.seed} {file.name} {number}".encode()).hexdigest()


def read_mixture(path: str | Path) -> Mixture:
    """A mixture that a YAML file describes.

    Raises:
        ConfigError: No such file, unknown keys, or values that make no sense, each fault with its place.
    """
    import yaml

    path = Path(path)
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"no mixture {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(told, dict):
        raise ConfigError(f"{path} must hold a mapping with the key sources")
    return mixture_from(told, where=str(path), folder=path.absolute().parent)


def mixture_from(told: dict[str, Any], *, where: str, folder: Path) -> Mixture:
    """A mixture from what a user wrote.

    Args:
        told: As in YAML.
        where: Named in messages.
        folder: Relative paths lie in it.

    Raises:
        ConfigError: Unknown keys, or values that make no sense, each fault with its place.
    """
    from pydantic import TypeAdapter, ValidationError

    if "folder" in told:
        raise ConfigError(f"{where}: no key folder; relative paths lie beside this file")
    try:
        return replace(TypeAdapter(Mixture).validate_python(told), folder=str(folder))
    except ValidationError as error:
        faults = [_told(fault) for fault in error.errors(include_url=False)]
        raise ConfigError(f"{where}: {'; '.join(faults)}") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _told(fault: Any) -> str:
    *place, key = fault["loc"]
    if fault["type"] != "unexpected_keyword_argument":
        return f"{'.'.join(map(str, (*place, key)))}: {fault['msg']}"
    known = [one.name for one in fields(Source if place else Mixture) if one.name != "folder"]
    return f"no key {'.'.join(map(str, (*place, key)))}.{did_you_mean(str(key), known)} There are: {', '.join(known)}"
