"""Models for lmms-eval that watch videos with tools: ``longvt`` asks a server, ``longvt_hf`` runs a checkpoint.

::

    --model longvt    --model_args base_url=http://localhost:8000/v1,model=longvt,overview_max_frames=512
    --model longvt_hf --model_args pretrained=checkpoints/sft,rollouts=runs/demo/traces --batch_size 16

Both are thin: :mod:`longvt_plugins.agent` runs the loop. They answer the tasks of this project, whose metadata
names a form; how long a turn may be and the temperature come from the task, or ``--gen_kwargs``
(``max_new_tokens``, ``temperature``). The keys of ``--model_args`` are the fields of :class:`ServerArguments`
and :class:`LocalArguments`; those of the sampling have the names that training recipes use.
"""

from __future__ import annotations

import asyncio
import difflib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn, TypeVar

from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms
from loguru import logger
from pydantic import ConfigDict, TypeAdapter, ValidationError

from eval_ext.outcome import write_outcome
from longvt_plugins.agent import AgentConfig, oracle_call, run_agents
from longvt_plugins.chat import ChatBackend, ChatClient
from longvt_plugins.errors import ConfigError, LongvtError
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.rollouts import Rollout, shard_path, write_rollouts
from longvt_plugins.rows import Row, parse_row
from longvt_plugins.synthetic import resolve_model
from longvt_plugins.synthetic.world import get_preset
from longvt_plugins.types import ToolCall
from longvt_plugins.video.config import CACHE_VARIABLE, VideoKeys
from longvt_plugins.video.library import VideoLibrary
from longvt_plugins.video.sampling import CROP, OVERVIEW, FrameSampling, Mode, Scaling

A = TypeVar("A", bound="AgentArguments")

_OWN_KEYS = ("fps", "min_frames", "max_frames", "min_pixels", "max_pixels")


@dataclass(frozen=True, kw_only=True)
class AgentArguments(VideoKeys):
    """What both models take in ``--model_args``: these, and the ``video_...`` keys of :class:`VideoKeys`.

    Args:
        tools: Names of tools, joined by ``+``, since commas part the arguments.
        max_calls: Tool calls of one rollout.
        max_turns: Turns of the model; by default two more.
        max_frames: Frames that the tools of one rollout may return together.
        preset: Kind of synthetic videos, such as ``tiny``, whose sampling is taken where nothing else is said;
            without it that of LongVT.
        overview_fps: Overview: frames per second.
        overview_min_frames: Overview: never fewer frames.
        overview_max_frames: Overview: never more frames.
        overview_min_pixels: Overview: smallest area of a frame.
        overview_max_pixels: Overview: largest area of a frame.
        crop_fps: ``crop_video``: frames per second.
        crop_min_frames: ``crop_video``: never fewer frames.
        crop_max_frames: ``crop_video``: never more frames.
        crop_min_pixels: ``crop_video``: smallest area of a frame.
        crop_max_pixels: ``crop_video``: largest area of a frame.
        min_pixels: Both smallest areas at once.
        max_pixels: Both largest areas at once.
        frame_factor: Width and height of frames are multiples of this many pixels.
        sampling_mode: ``grid`` for evenly spaced seconds, ``qwen`` for the frames of qwen-vl-utils.
        scaling: ``fast`` goes straight to the size shown, ``exact`` scales as qwen-vl-utils does.
        labels: Whether each frame comes after its second as text.
        seed_thought: Thought before the look at the right window, in tasks that give it.
        prompts_dir: Folder with prompts of your own.
        concurrency: Rollouts under way at once; by default the model's own choice.
        rollouts: Folder for the conversations, a sub-folder for each task.
        run: Name of the run in them.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    tools: str = "crop_video"
    max_calls: int = AgentConfig.max_calls
    max_turns: int | None = None
    max_frames: int | None = None
    preset: str | None = None
    overview_fps: float | None = None
    overview_min_frames: int | None = None
    overview_max_frames: int | None = None
    overview_min_pixels: int | None = None
    overview_max_pixels: int | None = None
    crop_fps: float | None = None
    crop_min_frames: int | None = None
    crop_max_frames: int | None = None
    crop_min_pixels: int | None = None
    crop_max_pixels: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    frame_factor: int | None = None
    sampling_mode: Mode | None = None
    scaling: Scaling | None = None
    labels: Literal["seconds", "none"] | None = None
    seed_thought: str = AgentConfig.seed_thought
    prompts_dir: str | None = None
    concurrency: int | None = None
    rollouts: str | None = None
    run: str = "evaluation"

    def agent_config(self, **more: Any) -> AgentConfig:
        """The agent's settings.

        Args:
            more: What the task and the request say besides.

        Raises:
            ConfigError: A value that makes no sense.
        """
        return AgentConfig(
            tools=tuple(name.strip() for name in self.tools.split("+") if name.strip()),
            overview=self._sampling("overview"),
            crop=self._sampling("crop"),
            max_calls=self.max_calls,
            max_turns=self.max_turns,
            max_frames=self.max_frames,
            seed_thought=self.seed_thought,
            video=self.video,
            prompts_dir=self.prompts_dir,
            run=self.run,
            **more,
        )

    def _sampling(self, name: Literal["overview", "crop"]) -> FrameSampling:
        base = {"overview": OVERVIEW, "crop": CROP}[name]
        if self.preset is not None:
            base = getattr(get_preset(self.preset), name)
        # What is said of this sampling alone comes before what is said of both.
        common = {key: getattr(self, key) for key in ("min_pixels", "max_pixels", "labels", "scaling")}
        own = {key: getattr(self, f"{name}_{key}") for key in _OWN_KEYS}
        given = {**common, "factor": self.frame_factor, "mode": self.sampling_mode}
        given |= {key: value for key, value in own.items() if value is not None}
        return replace(base, **{key: value for key, value in given.items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class ServerArguments(AgentArguments):
    """What ``longvt`` takes besides.

    Args:
        model: The name that the server knows the model by.
        base_url: Address of an OpenAI-compatible API; without it ``OPENAI_BASE_URL``.
        api_key: Without it ``OPENAI_API_KEY``, which no result file can show.
        timeout: Seconds until a request counts as failed.
        max_retries: Tries after the first, where the server is overloaded.
        image_format: How frames are sent.
        tool_images: ``"user"`` for servers that refuse images in tool messages.
    """

    model: str
    base_url: str
    api_key: str = "EMPTY"
    timeout: float = 600.0
    max_retries: int = 5
    image_format: Literal["jpeg", "png"] = "jpeg"
    tool_images: Literal["tool", "user"] = "tool"


@dataclass(frozen=True, kw_only=True)
class LocalArguments(AgentArguments):
    """What ``longvt_hf`` takes besides.

    Args:
        pretrained: Folder of the checkpoint, or ``tiny`` for the agent that ships with the package.
        dtype: Such as ``bfloat16``; ``auto`` is the checkpoint's.
        seed: Of sampling.
    """

    pretrained: str
    dtype: str = "auto"
    seed: int = 0


class AgentModel(lmms):  # type: ignore[misc]
    """Answers the requests of lmms-eval with rollouts.

    Args:
        backend: The model.
        arguments: From ``--model_args``.
        name: Of the model, for the rollouts.
        concurrency: Rollouts under way at once, where the arguments do not say.
    """

    is_simple = False

    def __init__(self, backend: ChatBackend, arguments: AgentArguments, name: str, concurrency: int) -> None:
        super().__init__()
        arguments.agent_config()  # a value that makes no sense is told before any video is read
        self._plugins = create_plugin_manager()
        self._plugins.select_tools(arguments.agent_config().tools)
        # One for all tasks: they ask about the same videos.
        self._library = VideoLibrary(arguments.video, self._plugins)
        self._backend: ChatBackend | None = backend
        self._arguments = arguments
        self._name = name
        self._concurrency = arguments.concurrency or concurrency

    @property
    def device(self) -> Any:
        """Where lmms-eval gathers the results of several processes."""
        return self.accelerator.device

    def generate_until(self, requests: Sequence[Any]) -> list[GenerationResult]:
        """One rollout a request, in order; the empty text for one that failed.

        Raises:
            ConfigError: A request of a task that is not ours.
            LongvtError: Not one rollout of a task could be finished.
        """
        results = [GenerationResult("")] * len(requests)
        groups: dict[str, list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            if not request.metadata.get("__padding_only__"):
                groups[request.task_name].append(place)
        for task, places in groups.items():
            rollouts = self._answer(task, [requests[place] for place in places])
            for place, rollout in zip(places, rollouts, strict=True):
                results[place] = GenerationResult(write_outcome(rollout), TokenCounts(output_tokens=rollout.tokens))
        return results

    def loglikelihood(self, requests: Sequence[Any]) -> NoReturn:
        """Not what a model with tools can give."""
        raise ConfigError("models of longvt-plugins write answers; they give no log-likelihoods")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> NoReturn:
        """Not needed: the rounds are the model's own."""
        raise ConfigError("models of longvt-plugins run their own rounds; use a task of output_type generate_until")

    def clean(self) -> None:
        """Frees the model, once all is answered."""
        self._backend = None
        self._library.close()
        super().clean()

    def _answer(self, task: str, requests: Sequence[Any]) -> list[Rollout]:
        assert self._backend is not None, "lmms-eval asks nothing after clean()"
        form = requests[0].metadata.get("longvt_form")
        if form is None:
            raise ConfigError(
                f"task {task!r} is not one of longvt-plugins (its metadata has no longvt_form); "
                "the models longvt and longvt_hf answer no others"
            )
        config = self._arguments.agent_config(form=form, model=self._name, **_generation(requests[0].arguments[2]))
        rows = [self._row(request) for request in requests]
        oracle = requests[0].metadata.get("longvt_oracle", False)
        from tqdm import tqdm  # type: ignore[import-untyped]

        with tqdm(total=len(rows), desc=task, disable=self.rank != 0) as bar:
            rollouts = asyncio.run(
                run_agents(
                    self._backend,
                    rows,
                    config,
                    self._plugins,
                    concurrency=self._concurrency,
                    seed_calls=_oracle_calls if oracle else None,
                    progress=lambda done, total, rollout: bar.update(),
                    library=self._library,
                )
            )
        failed = [rollout for rollout in rollouts if rollout.stop_reason == "error"]
        for rollout in failed:
            logger.error(f"{task}, row {rollout.row_id}: not scored: {rollout.error}")
        if self._arguments.rollouts is not None:
            write_rollouts(rollouts, shard_path(Path(self._arguments.rollouts, task), 0, rank=self.rank))
        if len(failed) == len(rollouts):
            raise LongvtError(f"{task}: none of {len(rollouts)} questions could be answered; {failed[0].error}")
        return rollouts

    def _row(self, request: Any) -> Row:
        doc = self.task_dict[request.task_name][request.metadata["split"]][request.doc_id]
        return parse_row(doc, where=f"{request.task_name}, document {request.doc_id}")


class LongvtServer(AgentModel):
    """``--model longvt``: a model behind an OpenAI-compatible server.

    Args:
        batch_size: Taken because lmms-eval gives it; ``concurrency`` says how many requests are in flight.
        device: Likewise; the server has its own.
        max_batch_size: Likewise.
        given: The fields of :class:`ServerArguments`.

    Raises:
        ConfigError: An unknown, missing or faulty argument.
    """

    def __init__(
        self, batch_size: int | str = 1, device: str | None = None, max_batch_size: Any = None, **given: Any
    ) -> None:
        for key, variable in (("base_url", "OPENAI_BASE_URL"), ("api_key", "OPENAI_API_KEY")):
            if key not in given and os.environ.get(variable):
                given[key] = os.environ[variable]
        arguments = _parse(ServerArguments, given, "longvt")
        concurrency = arguments.concurrency or 16
        client = ChatClient(
            arguments.base_url,
            arguments.model,
            api_key=arguments.api_key,
            timeout=arguments.timeout,
            max_retries=arguments.max_retries,
            concurrency=concurrency,
            image_format=arguments.image_format,
            tool_images=arguments.tool_images,
        )
        super().__init__(client, arguments, arguments.model, concurrency)


class LongvtLocal(AgentModel):
    """``--model longvt_hf``: a checkpoint in this process.

    Args:
        batch_size: Conversations continued at once.
        device: Such as ``cuda:0``; without it this process's GPU, or the CPU.
        max_batch_size: Taken because lmms-eval gives it.
        given: The fields of :class:`LocalArguments`.

    Raises:
        ConfigError: An unknown, missing or faulty argument, or no checkpoint.
    """

    def __init__(
        self, batch_size: int | str = 1, device: str | None = None, max_batch_size: Any = None, **given: Any
    ) -> None:
        arguments = _parse(LocalArguments, given, "longvt_hf")
        if not str(batch_size).isdigit() or int(batch_size) < 1:
            raise ConfigError(f"longvt_hf: batch_size must be a whole number from 1, not {batch_size!r}")
        from longvt_plugins.local_model import LocalModel

        model = LocalModel(
            resolve_model(arguments.pretrained),
            device=device or _own_gpu(),
            dtype=arguments.dtype,
            batch_size=int(batch_size),
            seed=arguments.seed,
        )
        # Twice as many: while one batch is generated, the tools of the next one are run.
        super().__init__(model, arguments, arguments.pretrained, 2 * int(batch_size))


def _parse(kind: type[A], given: Mapping[str, Any], model: str) -> A:
    """The arguments, typed; lmms-eval gives numbers and text as they were typed.

    Raises:
        ConfigError: Every fault, in one line.
    """
    values = dict(given)
    # The command's edge: what is read from the environment is read here and in the constructors.
    if "video_cache_dir" not in values and os.environ.get(CACHE_VARIABLE):
        values["video_cache_dir"] = os.environ[CACHE_VARIABLE]
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        known = [name.name for name in fields(kind)]
        faults = [_fault(fault, known) for fault in error.errors()]
        raise ConfigError(f"--model {model}: {'; '.join(faults)}") from None


def _fault(fault: Any, known: Sequence[str]) -> str:
    name = str(fault["loc"][0])
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return f"unknown argument {name} ({hint})"
    if fault["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{name} is missing: give {name}=... in --model_args"
    return f"{name}: {fault['msg'][0].lower()}{fault['msg'][1:]}, not {fault['input']!r}"


def _generation(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the task, or ``--gen_kwargs``, says of the generation."""
    temperature = given.get("temperature")
    if temperature is None:
        temperature = 1.0 if given.get("do_sample") else 0.0
    generation: dict[str, Any] = {"temperature": float(temperature)}
    if given.get("max_new_tokens") is not None:
        generation["max_new_tokens"] = int(given["max_new_tokens"])
    return generation


def _oracle_calls(row: Row) -> list[ToolCall]:
    return [oracle_call(row)]


def _own_gpu() -> str | None:
    """One process, one GPU, where several were launched."""
    import torch

    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{rank}" if rank is not None and torch.cuda.is_available() else None
