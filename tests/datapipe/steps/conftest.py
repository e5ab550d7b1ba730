"""A video whose frames carry their number, records of it, and a toolbox that asks a scripted server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from datapipe import Caption, Event, Kept, QAPair, Toolbox, VideoFile, VideoRecord
from datapipe.steps.probe_video import ProbeVideo
from longvt_plugins.chat import ChatConfig
from longvt_plugins.testing import plugin_manager, write_stamped_video
from longvt_plugins.testing_server import Reply, ScriptedChatServer, assistant

FPS = 4


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty seconds, four frames a second; the n-th frame shows the number n."""
    path = tmp_path_factory.mktemp("film") / "talk.mp4"
    write_stamped_video(path, 40, fps=FPS)
    return path


@pytest.fixture(scope="session")
def video(film: Path) -> VideoRecord:
    """Its record."""
    (outcome,) = ProbeVideo()([VideoFile(str(film), "lectures/talk.mp4")])
    assert isinstance(outcome, Kept)
    return outcome.record


@pytest.fixture
def toolbox_at() -> Iterator[Callable[..., tuple[ScriptedChatServer, Toolbox]]]:
    """Starts a server with a script, and gives a toolbox that asks it."""
    with ExitStack() as stack:

        def start(script: Any, **settings: Any) -> tuple[ScriptedChatServer, Toolbox]:
            server = stack.enter_context(ScriptedChatServer(script))
            concurrency, plugins = settings.pop("concurrency", 4), settings.pop("plugins", ())
            config = ChatConfig(
                base_url=server.base_url,
                model="scripted",
                **{"max_retries": 0, "backoff": 0.01, "concurrency": concurrency, **settings},
            )
            toolbox = Toolbox({"default": config}, concurrency=concurrency, workers=2, plugins=plugin_manager(*plugins))
            return server, stack.enter_context(toolbox)

        yield start


def says(**fields: Any) -> Reply:
    """A reply that is a JSON object."""
    return assistant(json.dumps(fields))


def captions_of(video: VideoRecord, count: int, seconds: float = 5.0) -> list[Caption]:
    """Captions one after the other."""
    return [
        Caption.of(video, start=place * seconds, end=(place + 1) * seconds, text=f"Caption number {place}.")
        for place in range(count)
    ]


def events_of(video: VideoRecord, count: int, seconds: float = 2.0) -> list[Event]:
    """Events one after the other."""
    return [
        Event.of(video, start=place * seconds, end=(place + 1) * seconds, text=f"Event number {place}.")
        for place in range(count)
    ]


def pair_of(video: VideoRecord, **fields: Any) -> QAPair:
    """A question."""
    given = {"start": 10.0, "end": 14.0, "question": "Which number is shown?", "answer": "forty-one", **fields}
    return QAPair.of(video, **given)
