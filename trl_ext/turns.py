"""Tells environments where the trainer is, and decodes ahead what a whole batch is about to look at.

::

    follow_turns(trainer)      # a GRPOTrainer with an environment of trl_ext.environment; spec.add_callbacks does it

An environment sees the arguments of calls and nothing else. From here it learns the step, from which the size of the
overview is drawn, and how many turns its rollout has written. And since TRL resets rollouts and runs their calls one
after another, the videos of a batch, and the windows that its turns ask for, are decoded side by side before: the
environment finds them in the library's memory. It is only asked for what fits into half of that memory; what is
wrong with a call or a video is left for the call itself to meet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from longvt_plugins.errors import LongvtError
from longvt_plugins.rows import parse_row
from longvt_plugins.transcript import parse_transcript
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.library import VideoLibrary
from longvt_plugins.video.sampling import FrameSampling
from trl_ext.environment import VideoEnvironment

_MOST_THREADS = 8

_TELLING = 256
"""Last tokens of a prompt, the question among them, by which it is known: what stands before are pictures."""


def follow_turns(trainer: Any) -> None:
    """Follows a trainer, from its next batch on; a second call, or one with environments of others, does nothing.

    Args:
        trainer: A ``GRPOTrainer``.
    """
    factories = (getattr(trainer, "environment_factories", None) or {}).values()
    ours = [factory for factory in factories if isinstance(factory, type) and issubclass(factory, VideoEnvironment)]
    for environment in ours:
        if not hasattr(trainer._generate_single_turn, "__longvt_turns__"):
            _follow(trainer, environment)


def _follow(trainer: Any, environment: type[VideoEnvironment]) -> None:
    start, generate = trainer._generate_and_score_completions, trainer._generate_single_turn
    ahead = Prefetcher(environment)

    def begin(inputs: Any, *positional: Any, **given: Any) -> Any:
        environment.progress.step, environment.progress.turn = trainer.state.global_step, 0
        ahead.open_batch(inputs)
        return start(inputs, *positional, **given)

    def take_turn(prompt_ids: Any, *positional: Any, **given: Any) -> Any:
        completions, log_probabilities = generate(prompt_ids, *positional, **given)
        environment.progress.turn = (environment.progress.turn or 0) + 1
        texts = trainer._tokenizer.batch_decode(completions)
        ahead.look_ahead(prompt_ids, texts, trainer.environments)
        return completions, log_probabilities

    take_turn.__longvt_turns__ = True  # type: ignore[attr-defined]
    trainer._generate_and_score_completions, trainer._generate_single_turn = begin, take_turn


class Prefetcher:
    """Decodes side by side what is going to be asked for one after another.

    Args:
        environment: The class whose library keeps the frames.
    """

    def __init__(self, environment: type[VideoEnvironment]) -> None:
        self._config, self._library = environment.config, environment.library
        self._progress = environment.progress
        self._crops = any(tool.name == "crop_video" for tool in environment._tools)
        self._openings: dict[tuple[int, tuple[int, ...]], VideoEnvironment] = {}

    def open_batch(self, rows: Iterable[Any]) -> None:
        """Decodes the overviews of a batch, if there is more than one.

        Args:
            rows: As TRL hands them to ``reset``.
        """
        self._openings.clear()
        jobs: dict[Any, Callable[[], Any]] = {}
        cost = 0
        for values in rows:
            if (row_id := values.get("id")) in jobs:
                continue
            try:
                row = parse_row(values)
            except LongvtError:
                continue  # reset tells of it, and names the row
            sampling = self._config.overview_for(row["id"], self._progress.step)
            cost += sampling.max_frames * sampling.max_pixels * 3 * len(row["videos"])
            if cost <= self._room:
                jobs[row_id] = _overviews(self._library, list(row["videos"].values()), sampling)
        self._run(list(jobs.values()))

    def look_ahead(
        self, prompts: Sequence[Sequence[int]], texts: Sequence[str], environments: Sequence[VideoEnvironment]
    ) -> None:
        """Decodes the windows that this turn's calls ask for, if there is more than one.

        Args:
            prompts: Tokens of each conversation up to this turn.
            texts: What the model wrote.
            environments: Of the batch. In the first turn they stand in the order of the prompts; later some are done.
        """
        if not self._openings:
            for prompt, environment in zip(prompts, environments, strict=False):
                self._openings.setdefault((len(prompt), tuple(prompt[-_TELLING:])), environment)
        if not self._crops:
            return
        jobs: dict[Any, Callable[[], Any]] = {}
        cost, crop = 0, self._config.crop
        for prompt, text in zip(prompts, texts, strict=True):
            asked = self._environment(prompt)
            if asked is None or asked.row is None:
                continue
            for call in parse_transcript(text).tool_calls[: self._config.calls_per_turn]:
                path = asked.row["videos"].get(str(call.arguments.get("video_path")))
                window = (call.arguments.get("start_time"), call.arguments.get("end_time"))
                if call.name != "crop_video" or path is None or (path, window) in jobs or not _is_window(window):
                    continue
                cost += crop.max_frames * crop.max_pixels * 3
                if cost <= self._room:
                    jobs[path, window] = _window(self._library, path, window, crop)
        self._run(list(jobs.values()))

    @property
    def _room(self) -> int:
        return self._config.video.memory_mb * 2**20 // 2

    def _environment(self, prompt: Sequence[int]) -> VideoEnvironment | None:
        """Whose conversation begins like this; all rollouts of a group begin alike and have one video."""
        for (length, end), environment in self._openings.items():
            if len(prompt) >= length and tuple(prompt[max(0, length - _TELLING) : length]) == end:
                return environment
        return None

    def _run(self, jobs: Sequence[Callable[[], Any]]) -> None:
        if len(jobs) < 2:
            return  # alone it would be no faster
        with ThreadPoolExecutor(min(_MOST_THREADS, len(jobs), os.cpu_count() or 1)) as pool:
            for done in [pool.submit(job) for job in jobs]:
                try:
                    done.result()
                except LongvtError:
                    continue  # the reset or the call meets it again, and knows whose fault it is


def _overviews(library: VideoLibrary, paths: Sequence[str], sampling: FrameSampling) -> Callable[[], None]:
    def decode() -> None:
        for path in paths:
            with library.open(path) as video:
                list(video.overview(sampling))

    return decode


def _window(library: VideoLibrary, path: str, window: tuple[Any, Any], crop: FrameSampling) -> Callable[[], None]:
    def decode() -> None:
        with library.open(path) as video:
            span = TimeSpan(window[0], min(window[1], video.duration))
            list(video.frames(crop.times(span, video=video), crop))

    return decode


def _is_window(window: tuple[Any, Any]) -> bool:
    numbers = all(type(time) in (int, float) for time in window)
    return numbers and 0 <= window[0] < window[1] < float("inf")
