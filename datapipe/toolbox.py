"""What all records of a run share: models, videos, prompts, plugins, worker threads and the one limit of requests.

::

    with Toolbox({"default": ChatConfig(base_url=url, model="qwen")}, concurrency=64) as toolbox:
        for outcome in Caption()(segments, toolbox): ...

It opens nothing until it is asked to, and decides nothing about records.
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from longvt_plugins import prompts
from longvt_plugins.chat import ChatClient, ChatConfig, CostBudget
from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from longvt_plugins.plugins import PluginManager
    from longvt_plugins.video.config import VideoConfig
    from longvt_plugins.video.library import VideoLibrary

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_MODEL = "default"
"""The model of a step that names none."""

PROMPTS = Path(__file__).parent / "prompts"
"""The prompts of the built-in steps."""


@dataclass(frozen=True)
class Model:
    """Somebody to ask.

    Attributes:
        name: In the recipe.
        config: How it is asked.
        client: Asks it.
    """

    name: str
    config: ChatConfig
    client: ChatClient


class Toolbox:
    """What all records of a run share; a context manager.

    Args:
        models: Settings by name; a step that names none gets ``"default"``, or the only one.
        seed: Of the run.
        concurrency: Requests of the whole run in flight at once; None is the largest ``concurrency`` of the models.
        workers: Threads for work that computes; None is one for each core.
        budget: What may be spent by all models together.
        prompts_dir: Folder with the user's own prompts, which come before all others.
        video: How videos are opened.
        plugins: Tools, judges and readers; None finds the installed ones.
        temp_dir: Where temporary folders are made; None is the system's place.

    Attributes:
        budget: What may be spent by all models together, and by judges.
        dearest: US dollars of the dearest verdict of a judge so far.

    Raises:
        ConfigError: A model's cache that cannot be opened, or a budget for a model without prices.
    """

    def __init__(
        self,
        models: Mapping[str, ChatConfig] | None = None,
        *,
        seed: int = 0,
        concurrency: int | None = None,
        workers: int | None = None,
        budget: CostBudget | None = None,
        prompts_dir: str | Path | None = None,
        video: VideoConfig | None = None,
        plugins: PluginManager | None = None,
        temp_dir: str | Path | None = None,
    ) -> None:
        self.seed = seed
        self.models = {
            name: Model(name, config, ChatClient.from_config(config, budget=budget, gate=self._one_more_request))
            for name, config in (models or {}).items()
        }
        largest = max((model.config.concurrency for model in self.models.values()), default=1)
        self.concurrency = largest if concurrency is None else concurrency
        self.workers = workers or len(os.sched_getaffinity(0))
        if self.concurrency < 1 or self.workers < 1:
            raise ConfigError(f"concurrency and workers must be at least 1, not {concurrency}, {workers}")
        self.budget = budget or CostBudget(None)
        self.dearest = 0.0
        self._prompts_dir = prompts_dir
        self._video = video
        self._plugins = plugins
        self._temp_dir = temp_dir
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="datapipe")
        # One limit for each event loop: a semaphore belongs to the loop that waits on it.
        self._limits: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )
        self._limits_lock = threading.Lock()

    def __enter__(self) -> Toolbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads and closes the videos. Connections are closed by the loop that made them."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        if "videos" in self.__dict__:
            self.videos.close()

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        for model in self.models.values():
            await model.client.aclose()

    @functools.cached_property
    def plugins(self) -> PluginManager:
        """Tools, judges and readers."""
        from longvt_plugins.plugins import create_plugin_manager

        return self._plugins or create_plugin_manager()

    @functools.cached_property
    def videos(self) -> VideoLibrary:
        """Opens videos."""
        from longvt_plugins.video.config import VideoConfig
        from longvt_plugins.video.library import VideoLibrary

        return VideoLibrary(self._video or VideoConfig(), self.plugins)

    def model(self, name: str | None) -> Model:
        """A model of this run.

        Args:
            name: None is ``"default"``, or the only one.

        Raises:
            ConfigError: There is none of that name.
        """
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        wanted = name or DEFAULT_MODEL
        if wanted not in self.models:
            raise ConfigError(f"no model {wanted!r}; there are: {', '.join(self.models) or 'none'}")
        return self.models[wanted]

    def render(self, name: str, folder: Path | None, **values: Any) -> str:
        """A prompt, filled.

        Args:
            name: Without ``.jinja``.
            folder: The step's own prompts.
            values: What the template asks for.

        Raises:
            ConfigError: No such prompt, a faulty one, or one with a name left unfilled.
        """
        return prompts.render(name, folder=self._prompt_folders(folder), **values)

    def prompt_digest(self, name: str, folder: Path | None) -> str:
        """What tells one text of a prompt from another.

        Raises:
            ConfigError: No such prompt.
        """
        return prompts.text_digest(name, folder=self._prompt_folders(folder))

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a function in one of the worker threads."""
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _one_more_request(self) -> asyncio.Semaphore:
        """What is held while one more request of the run is in flight."""
        loop = asyncio.get_running_loop()
        with self._limits_lock:
            return self._limits.setdefault(loop, asyncio.Semaphore(self.concurrency))

    @contextmanager
    def temp_folder(self) -> Iterator[Callable[[], Path]]:
        """Gives a function that makes a temporary folder when it is first called; the folder goes with the block."""
        made: list[Path] = []

        def make() -> Path:
            if not made:
                made.append(Path(tempfile.mkdtemp(prefix="datapipe-", dir=self._temp_dir)))
            return made[0]

        try:
            yield make
        finally:
            for folder in made:
                shutil.rmtree(folder, ignore_errors=True)

    def _prompt_folders(self, folder: Path | None) -> list[str | Path]:
        own = [] if self._prompts_dir is None else [self._prompts_dir]
        return [*own, folder or PROMPTS]
