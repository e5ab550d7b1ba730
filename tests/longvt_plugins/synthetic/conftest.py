"""One small synthetic world for all tests of this folder: real files, short ones, made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from longvt_plugins.agent import AgentConfig
from longvt_plugins.conversation import Form
from longvt_plugins.plugins import PluginManager, create_plugin_manager
from longvt_plugins.rows import Row, read_rows
from longvt_plugins.synthetic.make import Item, make_world, plan_split
from longvt_plugins.synthetic.render import write_video
from longvt_plugins.synthetic.world import LONG, TINY, Distractor, Flash, Preset
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.video import Video

SHORT = replace(TINY, durations=(64, 80, 96))
"""The tiny preset, its longest videos left out."""

WIDE = replace(LONG, durations=(112,), overview=replace(LONG.overview, max_frames=16))
"""The long preset with a short video; its gaps are as long as those of an hour seen in 512 frames."""


@dataclass(frozen=True)
class World:
    """A folder made by ``make_world``, and what was drawn."""

    folder: Path
    preset: Preset
    rows: list[Row]
    items: list[Item]

    def family(self, name: str) -> list[Row]:
        return [row for row in self.rows if row["source"].endswith(f"/{name}")]

    def item(self, row: Row) -> Item:
        return next(item for item in self.items if row["id"] in [own["id"] for own in item.rows])


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, SHORT, {"train": 96}, seed=11, processes=1)
    return World(folder, SHORT, read_rows(folder / "train.parquet"), plan_split(SHORT, "train", 96, seed=11))


@pytest.fixture(scope="session")
def wide_video(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Item, Video]]:
    """A 640x360 video with all four shapes."""
    (item,) = plan_split(WIDE, "train", 1, seed=11)
    # So short a video has no room for distractors of its own.
    distractor = Distractor("bar", Flash("green", TimeSpan(107, 110)))
    item = replace(item, script=replace(item.script, distractors=(distractor,)))
    path = tmp_path_factory.mktemp("wide") / "video.mp4"
    write_video(item.script, path)
    video = Video.open(path)
    yield item, video
    video.close()


@pytest.fixture(scope="session")
def plugins() -> PluginManager:
    return create_plugin_manager(entry_points=False)


@pytest.fixture(scope="session")
def config() -> Callable[..., AgentConfig]:
    def config(form: Form = "tool", **more: object) -> AgentConfig:
        return AgentConfig(form=form, overview=SHORT.overview, crop=SHORT.crop, **more)

    return config
