"""The keys of ``--model_args``: flat, typed, unknown ones refused.

>>> parse_arguments(ServerArguments, {"base_url": "http://localhost/v1", "modle": "m"}, "longvt", {})
Traceback (most recent call last):
longvt_plugins.errors.ConfigError: --model longvt: model is missing: ...; unknown argument modle (did you mean model?)

Commas part the arguments, so names in a list are joined by ``+``. Names and meanings of what is shared with
recipes and pipelines are the same there. Keys of servers are not among them: they come from the environment.
"""

from __future__ import annotations

import difflib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from longvt_plugins.agent import AgentConfig
from longvt_plugins.chat import ChatConfig
from longvt_plugins.chat.config import NO_KEY, CachePolicy, ImageFormat, ToolImages
from longvt_plugins.errors import ConfigError
from longvt_plugins.ledger import Ledger
from longvt_plugins.synthetic import resolve_model
from longvt_plugins.synthetic.world import get_preset
from longvt_plugins.video.config import CACHE_VARIABLE, VideoKeys
from longvt_plugins.video.sampling import CROP, OVERVIEW, FrameSampling, Mode, Scaling
from longvt_plugins.video.tokens import load_processor

A = TypeVar("A", bound="AgentArguments")

ADDRESS_VARIABLE, KEY_VARIABLE = "OPENAI_BASE_URL", "OPENAI_API_KEY"
"""Environment variables, as OpenAI's own client has them."""

_OWN_KEYS = ("fps", "min_frames", "max_frames", "min_pixels", "max_pixels")
_VLLM_KEYS = ("max_model_len", "gpu_memory_utilization", "tensor_parallel_size", "engine_args")
_JSON_KEYS = ("extra_body", "engine_args")


@dataclass(frozen=True, kw_only=True)
class AgentArguments(VideoKeys, ABC):
    """What both models take in ``--model_args``: these, and the ``video_...`` keys of :class:`VideoKeys`.

    Args:
        tools: Names of tools, joined by ``+``, since commas part the arguments.
        max_calls: Tool calls of one rollout.
        max_turns: Turns of the model; by default two more.
        max_frames: Frames that the tools of one rollout may return together.
        calls_per_turn: Tool calls of one turn that are run; further ones are not read.
        turn_tokens: Longest turn, where the task's is longer; with ``max_completion_length``, as in a training.
        max_completion_length: Tokens of all turns and replies of a rollout: replies are shortened to what is left.
        tell_left: Whether replies end with the calls and tokens left.
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
        mcp: Address of an MCP server, or the command that starts one; of the tools named, those that it has are its.
        rollouts: Folder for the conversations, a sub-folder for each task.
        run: Name of the run in them.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    tools: str = "crop_video"
    max_calls: int = AgentConfig.max_calls
    max_turns: int | None = None
    max_frames: int | None = None
    calls_per_turn: int = AgentConfig.calls_per_turn
    turn_tokens: int | None = None
    max_completion_length: int | None = None
    tell_left: bool = False
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
    mcp: str | None = None
    rollouts: str | None = None
    run: str = "evaluation"

    def agent_config(self, **more: Any) -> AgentConfig:
        """The agent's settings.

        Args:
            more: What the task and the request say besides.

        Raises:
            ConfigError: A value that makes no sense.
        """
        config = AgentConfig(
            tools=tuple(name.strip() for name in self.tools.split("+") if name.strip()),
            overview=self._sampling("overview"),
            crop=self._sampling("crop"),
            max_calls=self.max_calls,
            max_turns=self.max_turns,
            max_frames=self.max_frames,
            calls_per_turn=self.calls_per_turn,
            seed_thought=self.seed_thought,
            video=self.video,
            prompts_dir=self.prompts_dir,
            run=self.run,
            **more,
        )
        if self._bounds is not None:
            # Told before a checkpoint is read: nothing to count with, or too little room for the turns.
            _ = self.counts_with
            config.room_of_replies(Ledger(None, *self._bounds))
        return config

    def ledger(self) -> Ledger | None:
        """What a conversation has room for; None without ``turn_tokens``. Loads the processor of the checkpoint.

        Raises:
            ConfigError: There is no checkpoint to count with.
        """
        if self._bounds is None:
            return None
        folder = Path(resolve_model(self.counts_with)).expanduser()
        return Ledger(load_processor(folder), *self._bounds, tell=self.tell_left)

    @property
    @abstractmethod
    def counts_with(self) -> str:
        """The checkpoint whose processor counts tokens."""

    @property
    def _bounds(self) -> tuple[int, int] | None:
        """Tokens of a rollout and of a turn; None where neither is bounded.

        Raises:
            ConfigError: One of them is missing, or makes no sense.
        """
        if self.turn_tokens is None and self.max_completion_length is None:
            if self.tell_left:
                raise ConfigError("tell_left needs turn_tokens: without it nobody counts what is left")
            return None
        if self.turn_tokens is None or self.max_completion_length is None:
            raise ConfigError("turn_tokens and max_completion_length go together: turns and replies share the room")
        if self.turn_tokens < 1:
            raise ConfigError(f"turn_tokens must be at least 1, not {self.turn_tokens}")
        return self.max_completion_length, self.turn_tokens

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
    """What ``longvt`` takes besides: the fields of :class:`~longvt_plugins.chat.ChatConfig`, under their names.

    Two are spelt otherwise, so that each is one word: ``prices``, and ``concurrency``, which is that of the rollouts,
    since a rollout has one request in flight. The key is no argument.

    Args:
        model: The name that the server knows the model by.
        base_url: Address of an OpenAI-compatible API; without it ``OPENAI_BASE_URL``.
        processor: Folder with the processor of the served checkpoint, which counts tokens for ``turn_tokens``.
        timeout: Seconds until one try of a request counts as failed.
        total_timeout: Seconds for all tries of one request.
        max_retries: Tries after the first, where another one may help.
        backoff: Seconds before the first of them, doubled each time.
        requests_per_minute: Of this process.
        tokens_per_minute: Likewise, read and written ones together.
        cache_dir: Folder for the replies of the server, which outlive this run.
        cache_gb: Size of it in gigabytes.
        cache: Which replies are kept, ``deterministic`` or ``always``.
        cache_name: Stands for ``base_url`` in it.
        price_input: US dollars per million tokens read.
        price_output: US dollars per million tokens written.
        max_cost: US dollars after which nothing more is sent.
        image_format: How frames are sent.
        tool_images: ``"user"`` for servers that refuse images in tool messages.
        extra_body: Further fields of every request, as JSON: ``extra_body={"top_k": 20}``. No place for secrets.
    """

    model: str
    base_url: str
    processor: str | None = None
    timeout: float = ChatConfig.timeout
    total_timeout: float = ChatConfig.total_timeout
    max_retries: int = ChatConfig.max_retries
    backoff: float = ChatConfig.backoff
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    cache_dir: str | None = None
    cache_gb: float = ChatConfig.cache_gb
    cache: CachePolicy = ChatConfig.cache
    cache_name: str | None = None
    price_input: float | None = None
    price_output: float | None = None
    max_cost: float | None = None
    image_format: ImageFormat = ChatConfig.image_format
    tool_images: ToolImages = ChatConfig.tool_images
    extra_body: dict[str, Any] | None = None

    @property
    def counts_with(self) -> str:
        """The checkpoint whose processor counts tokens.

        Raises:
            ConfigError: A server does not tell how long a reply will be, and no processor is named.
        """
        if self.processor is None:
            raise ConfigError(
                "turn_tokens needs processor=FOLDER, that of the served checkpoint: a server tells only afterwards how "
                "long a reply was"
            )
        return self.processor

    def chat_config(self, api_key: str | None, concurrency: int) -> ChatConfig:
        """How the server is asked.

        Args:
            api_key: None for a server that wants none.
            concurrency: Requests in flight at once.

        Raises:
            ConfigError: A value that makes no sense.
        """
        shared = {known.name for known in fields(ChatConfig)} & {known.name for known in fields(ServerArguments)}
        given = {name: getattr(self, name) for name in shared - {"concurrency"}}
        prices = None
        if self.price_input is not None or self.price_output is not None:
            # Of a model that bills one side alone the other one is free.
            prices = {"input": self.price_input or 0.0, "output": self.price_output or 0.0}
        return ChatConfig(**given, api_key=api_key or NO_KEY, concurrency=concurrency, prices=prices)


@dataclass(frozen=True, kw_only=True)
class LocalArguments(AgentArguments):
    """What ``longvt_hf`` takes besides.

    Args:
        pretrained: Folder of the checkpoint, or ``tiny`` for the agent that ships with the package.
        engine: ``transformers``, or ``vllm`` for its offline engine.
        dtype: Such as ``bfloat16``; ``auto`` is the checkpoint's.
        seed: Of sampling.
        max_model_len: Tokens of the longest conversation; of vLLM, as all that follow.
        gpu_memory_utilization: Share of each GPU's memory that vLLM may take.
        tensor_parallel_size: GPUs that share the model out.
        engine_args: Further settings of vLLM's engine, as JSON: ``engine_args={"enforce_eager": true}``.
    """

    pretrained: str
    engine: Literal["transformers", "vllm"] = "transformers"
    dtype: str = "auto"
    seed: int = 0
    max_model_len: int | None = None
    gpu_memory_utilization: float | None = None
    tensor_parallel_size: int | None = None
    engine_args: dict[str, Any] | None = None

    @property
    def counts_with(self) -> str:
        """The checkpoint whose processor counts tokens."""
        return self.pretrained

    def vllm_settings(self) -> dict[str, Any]:
        """What vLLM is told besides: only what was given.

        Raises:
            ConfigError: Something was, and the engine is another.
        """
        given = {name: getattr(self, name) for name in _VLLM_KEYS if getattr(self, name) is not None}
        if given and self.engine != "vllm":
            raise ConfigError(f"--model longvt_hf: {', '.join(given)} goes with engine=vllm, not engine={self.engine}")
        return {**(self.engine_args or {}), **{name: value for name, value in given.items() if name != "engine_args"}}


def split_arguments(text: str) -> dict[str, str]:
    """Parts ``--model_args`` as lmms-eval does, whose own function takes seconds to import.

    >>> split_arguments('model=m,extra_body={"top_k": 20, "seed": 1}')
    {'model': 'm', 'extra_body': '{"top_k": 20, "seed": 1}'}
    """
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if letter in "\"'" and quote in ("", letter):
            quote = "" if quote else letter
        elif not quote:
            depth += (letter in "{[") - (letter in "}]")
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return {name: value for name, _, value in (part.strip().partition("=") for part in parts) if name}


def parse_arguments(kind: type[A], given: Mapping[str, Any], model: str, environ: Mapping[str, str]) -> A:
    """The arguments, typed; lmms-eval gives numbers and text as they were typed.

    Args:
        kind: Of which model.
        given: From ``--model_args``.
        model: Its name, for errors.
        environ: ``os.environ``, at the edge: it names an address and a cache where the arguments do not.

    Raises:
        ConfigError: Every fault, in one line.
    """
    values = dict(given)
    known = [name.name for name in fields(kind)]
    if "api_key" in values:
        # lmms-eval writes the arguments into its result files.
        raise ConfigError(f"--model {model}: the key is no argument: give it in the variable {KEY_VARIABLE}")
    for name, variable in (("video_cache_dir", CACHE_VARIABLE), ("base_url", ADDRESS_VARIABLE)):
        if name in known and name not in values and environ.get(variable):
            values[name] = environ[variable]
    for name in _JSON_KEYS:
        if isinstance(values.get(name), str):
            values[name] = _json_object(name, values[name], model)
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise ConfigError(f"--model {model}: {'; '.join(_fault(fault, known) for fault in error.errors())}") from None


def _json_object(name: str, text: str, model: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ConfigError(f'--model {model}: {name} must be a JSON object, such as {{"top_k": 20}}, not {text[:80]!r}')
    return value


def _fault(fault: Any, known: Sequence[str]) -> str:
    name = str(fault["loc"][0])
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return f"unknown argument {name} ({hint})"
    if fault["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{name} is missing: give {name}=... in --model_args"
    return f"{name}: {fault['msg'][0].lower()}{fault['msg'][1:]}, not {fault['input']!r}"
