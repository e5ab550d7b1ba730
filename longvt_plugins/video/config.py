"""How videos are read and what is kept of them: one set of keys for recipes, ``--model_args``, pipelines and flags.

::

    VideoConfig(cache_dir="/scratch/longvt", memory_mb=2048)      # in Python; in a pipeline: video: {cache_dir: ...}
    video_cache_dir: /scratch/longvt                              # in a recipe, and in --model_args

Where a host's keys are flat, each has ``video_`` before its name (:class:`VideoKeys`). It opens nothing:
:class:`longvt_plugins.video.library.VideoLibrary` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from longvt_plugins.errors import ConfigError

CacheFormat = Literal["lossless", "jpeg"]
"""How frames lie on disk."""

CACHE_VARIABLE = "LONGVT_CACHE"
"""Environment variable that commands read for the folder of the cache."""

DECODE_TIMEOUT = 600.0
"""Seconds. A third of the 30 minutes (``ddp_timeout`` of transformers) after which the other ranks of a training
give up waiting. 512 frames of an hour with long groups of pictures took 31 s of one core at 640x360, so that 1080p
takes some five minutes."""


@dataclass(frozen=True)
class VideoConfig:
    """How videos are read and what is kept of them.

    Args:
        reader: Name of the reader that decodes.
        cache_dir: Folder for decoded frames and packet indexes, shared by all processes that name it; None keeps
            frames in memory alone.
        memory_mb: Megabytes of decoded frames that each process keeps; 0 keeps none.
        disk_gb: Gigabytes of decoded frames in ``cache_dir``; those used longest ago leave first.
        cache_format: ``"lossless"`` keeps the pixels as they are, 3 bytes each. ``"jpeg"`` (quality 95, 4:4:4)
            takes about a quarter of it; every frame then goes through JPEG, the first time too, so that a kept
            frame and a fresh one are the same.
        max_open_files: Videos that each process keeps open, the one used longest ago being closed for the next.
        decode_timeout: Seconds that opening a video, or one request for frames, may take.
        isolate: Decode in processes of their own, which the time limit kills and whose crash is an error of that
            video alone. Readers that are known to hang are isolated in any case.

    Raises:
        ConfigError: A value that makes no sense; the message begins with the name of its field.
    """

    reader: str = "pyav"
    cache_dir: str | None = None
    memory_mb: int = 1024
    disk_gb: float = 50.0
    cache_format: CacheFormat = "lossless"
    max_open_files: int = 16
    decode_timeout: float = DECODE_TIMEOUT
    isolate: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.reader, str) or not self.reader:
            raise ConfigError(f"reader must be the name of a video reader, not {self.reader!r}")
        if self.cache_dir is not None and (not isinstance(self.cache_dir, str) or not self.cache_dir):
            raise ConfigError(f"cache_dir must be a folder or null, not {self.cache_dir!r}")
        if type(self.memory_mb) is not int or self.memory_mb < 0:
            raise ConfigError(f"memory_mb must be a whole number from 0, not {self.memory_mb!r}")
        if type(self.max_open_files) is not int or self.max_open_files < 1:
            raise ConfigError(f"max_open_files must be a whole number from 1, not {self.max_open_files!r}")
        for name in ("disk_gb", "decode_timeout"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a positive number, not {value!r}")
        if self.cache_format not in get_args(CacheFormat):
            raise ConfigError(f"cache_format must be 'lossless' or 'jpeg', not {self.cache_format!r}")
        if not isinstance(self.isolate, bool):
            raise ConfigError(f"isolate must be true or false, not {self.isolate!r}")


def _key(default: Any, help: str) -> Any:
    """A field whose help text the command line shows."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class VideoKeys:
    """The fields of :class:`VideoConfig` as flat keys, for the configuration of a host to inherit."""

    video_reader: str = _key(VideoConfig.reader, "Video reader, by name.")
    video_cache_dir: str | None = _key(
        VideoConfig.cache_dir, "Folder for decoded frames, shared by all processes; null keeps them in memory alone."
    )
    video_memory_mb: int = _key(VideoConfig.memory_mb, "Megabytes of decoded frames that each process keeps.")
    video_disk_gb: float = _key(VideoConfig.disk_gb, "Gigabytes of decoded frames in video_cache_dir.")
    video_cache_format: CacheFormat = field(
        default=VideoConfig.cache_format,
        metadata={"help": "How frames lie in video_cache_dir; jpeg sends every frame through JPEG."},
    )
    video_max_open_files: int = _key(VideoConfig.max_open_files, "Videos that each process keeps open.")
    video_decode_timeout: float = _key(VideoConfig.decode_timeout, "Seconds that one request for frames may take.")
    video_isolate: bool = _key(VideoConfig.isolate, "Decode in processes of their own, killed at the time limit.")

    @property
    def video(self) -> VideoConfig:
        """How videos are read and what is kept of them.

        Raises:
            ConfigError: A value that makes no sense; the message begins with its key.
        """
        try:
            return VideoConfig(**{known.name: getattr(self, f"video_{known.name}") for known in fields(VideoConfig)})
        except ConfigError as error:
            raise ConfigError(f"video_{error}") from None


def default_cache_dir(environment: Mapping[str, str]) -> Path:
    """The folder that commands keep frames and indexes in when nobody names one.

    Args:
        environment: The command's environment variables.

    Returns:
        ``LONGVT_CACHE``, else ``longvt`` in the user's cache folder as XDG has it.
    """
    if environment.get(CACHE_VARIABLE):
        return Path(environment[CACHE_VARIABLE])
    # XDG: a relative path there is to be taken for unset.
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "longvt"
