"""One set of keys, nested or flat, and where commands keep what they decode."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from longvt_plugins import VideoConfig
from longvt_plugins.errors import ConfigError
from longvt_plugins.video.config import VideoKeys, default_cache_dir


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"reader": ""}, "reader must be the name of a video reader, not ''"),
        ({"cache_dir": 3}, "cache_dir must be a folder or null, not 3"),
        ({"memory_mb": -1}, "memory_mb must be a whole number from 0, not -1"),
        ({"memory_mb": 1.5}, "memory_mb must be a whole number from 0, not 1.5"),
        ({"max_open_files": 0}, "max_open_files must be a whole number from 1, not 0"),
        ({"disk_gb": 0}, "disk_gb must be a positive number, not 0"),
        ({"disk_gb": float("nan")}, "disk_gb must be a positive number, not nan"),
        ({"decode_timeout": float("inf")}, "decode_timeout must be a positive number, not inf"),
        ({"decode_timeout": "60"}, "decode_timeout must be a positive number, not '60'"),
        ({"cache_format": "webp"}, "cache_format must be 'lossless' or 'jpeg', not 'webp'"),
        ({"isolate": "yes"}, "isolate must be true or false, not 'yes'"),
    ],
)
def test_a_faulty_value_is_told_by_its_key_nested_or_flat(values, told):
    with pytest.raises(ConfigError) as raised:
        VideoConfig(**values)
    assert str(raised.value) == told
    with pytest.raises(ConfigError) as raised:
        _ = VideoKeys(**{f"video_{name}": value for name, value in values.items()}).video
    assert str(raised.value) == f"video_{told}"


def test_every_field_has_its_flat_key_with_the_same_default_and_a_help_text():
    flat = {field.name: field for field in fields(VideoKeys)}
    assert list(flat) == [f"video_{field.name}" for field in fields(VideoConfig)]
    for field in fields(VideoConfig):
        assert flat[f"video_{field.name}"].default == field.default
        assert flat[f"video_{field.name}"].type == field.type
        assert flat[f"video_{field.name}"].metadata["help"].endswith(".")
    assert VideoKeys().video == VideoConfig()


def test_a_host_inherits_the_keys():
    @dataclass(frozen=True, kw_only=True)
    class HostConfig(VideoKeys):
        own: int = 1

    config = HostConfig(own=2, video_cache_dir="/scratch", video_isolate=True)
    assert config.video == VideoConfig(cache_dir="/scratch", isolate=True)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"LONGVT_CACHE": "/scratch/longvt", "XDG_CACHE_HOME": "/xdg"}, "/scratch/longvt"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/longvt"),
        ({"XDG_CACHE_HOME": "relative", "LONGVT_CACHE": ""}, str(Path.home() / ".cache" / "longvt")),
        ({}, str(Path.home() / ".cache" / "longvt")),
    ],
)
def test_commands_keep_frames_in_the_folder_of_the_environment(environment, folder):
    assert default_cache_dir(environment) == Path(folder)
