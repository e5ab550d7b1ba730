"""A vision-language checkpoint in vLLM's offline engine, as a chat backend: no server, no port.

::

    model = VllmModel("checkpoints/sft", max_model_len=53_248)
    completion = await model.complete(messages, [tool.schema], max_tokens=64, temperature=0.0)
    model.close()

The engine batches whatever is asked at the same time, and goes on with others while one waits for its tools; with
``tensor_parallel_size`` it spans GPUs. Prompts, turns, seeds and forbidden tokens are those of
:mod:`longvt_plugins.local_model`; what is written may differ from it by the rounding of other kernels. vLLM computes
in processes of its own, whose start is slow (a minute for a large model).
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from longvt_plugins.chat import Completion, Hear
from longvt_plugins.chat_format import ChatFormat, Draws, TurnTeller, tell_in
from longvt_plugins.errors import ChatError, ChatRequestError, ChatUnavailableError, ConfigError, MissingExtraError
from longvt_plugins.types import Message

START_VARIABLE, START_METHOD = "VLLM_WORKER_MULTIPROC_METHOD", "spawn"
"""Of vLLM: how its processes are made. A fork of a process that has threads, as a host of this one has, may hang."""

PICTURES = {"image": 1 << 20, "video": 0}
"""Of one conversation: its length in tokens bounds the images, for whose number vLLM sets nothing aside. Frames are
images here, and room for a longest video is not needed."""


class VllmModel:
    """A :class:`~longvt_plugins.chat.ChatBackend` over vLLM. May be used from one event loop after another.

    Args:
        path: Folder of a checkpoint with its processor and chat template; nothing is downloaded.
        dtype: Such as ``"bfloat16"``; ``"auto"`` is that of the checkpoint.
        seed: Of sampling, where the temperature is not 0.
        engine: Further fields of vLLM's ``AsyncEngineArgs``, such as ``max_model_len``.

    Raises:
        MissingExtraError: vLLM is not installed.
        ConfigError: No checkpoint there, one whose processor has no chat template, or one that vLLM cannot start with.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        dtype: str = "auto",
        seed: int = 0,
        **engine: Any,
    ) -> None:
        require_vllm()
        self._chat = ChatFormat(path)
        self._draws = Draws(seed)
        self._numbers = itertools.count()
        self._engine: Any = None
        arguments = {
            "model": str(path),
            # vLLM's own "auto" computes checkpoints of float32 in a narrower type.
            "dtype": _own_dtype(self._chat.config) if dtype == "auto" else dtype,
            "seed": seed,
            "limit_mm_per_prompt": PICTURES,
            "disable_log_stats": True,
            **engine,
        }
        # vLLM's engine belongs to one event loop, and its callers come from several.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        try:
            self._engine = asyncio.run_coroutine_threadsafe(_start(arguments), self._loop).result()
        except (TypeError, ValueError, RuntimeError) as error:
            self.close()
            raise ConfigError(f"vLLM does not start with {path}: {' '.join(str(error).split())}") from error
        except BaseException:
            self.close()
            raise

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        max_tokens: int,
        temperature: float = 0.0,
    ) -> Completion:
        """Continues a conversation, beside those that are asked for at the same time.

        Raises:
            ChatRequestError: vLLM refuses it: it is too long, or the temperature is above 2.
            ChatUnavailableError: The engine broke.
        """
        return await self._ask(messages, tools, max_tokens, temperature, None)

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        max_tokens: int,
        temperature: float = 0.0,
        hear: Hear,
    ) -> Completion:
        """Continues a conversation as :meth:`complete` does, and tells each piece of text while it is written."""
        return await self._ask(messages, tools, max_tokens, temperature, hear)

    def close(self) -> None:
        """Ends vLLM's processes and frees what they held."""
        if self._loop.is_closed():
            return
        if self._engine is not None:
            # Else it would take the end of vLLM's processes for their death, and log it as an error.
            if self._engine.output_handler is not None:
                self._loop.call_soon_threadsafe(self._engine.output_handler.cancel)
            self._engine.shutdown()
            self._engine = None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _ask(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        max_tokens: int,
        temperature: float,
        hear: Hear | None,
    ) -> Completion:
        tell = tell_in(asyncio.get_running_loop(), hear)
        turn = self._write(list(messages), list(tools), max_tokens, temperature, tell)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(turn, self._loop))

    async def _write(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        max_tokens: int,
        temperature: float,
        tell: Callable[[str], object] | None,
    ) -> Completion:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        prompt = self._chat.prompt(messages, tools)
        asked = {
            "prompt_token_ids": self._chat.tokenizer(prompt.text)["input_ids"],
            "multi_modal_data": {"image": prompt.images} if prompt.images else {},
        }
        # All that the checkpoint says of sampling is left out, as a repetition penalty would not be that of training.
        settings = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": self._draws.next(prompt) if temperature > 0 else None,
            "stop_token_ids": sorted(self._chat.ends),
            "bad_words": self._chat.tokenizer.convert_ids_to_tokens(self._chat.hidden),
            "detokenize": False,
            "output_kind": RequestOutputKind.FINAL_ONLY if tell is None else RequestOutputKind.DELTA,
        }
        teller = None if tell is None else TurnTeller(self._chat, tell, max_tokens)
        tokens: list[int] = []
        read = 0
        try:
            sampling = SamplingParams(**settings)
            async for output in self._engine.generate(asked, sampling, str(next(self._numbers))):
                read = len(output.prompt_token_ids)
                for token in output.outputs[0].token_ids:
                    tokens.append(token)
                    if teller is not None:
                        teller.write(token)
        except Exception as error:
            told = _told(error)
            if told is None:
                raise
            raise told from error
        return self._chat.completion(tokens, messages, max_tokens=max_tokens, prompt_tokens=read)


def require_vllm() -> None:
    """Looks for vLLM without importing it.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError("vllm", "eval,vllm", "for engine=vllm")


async def _start(arguments: Mapping[str, Any]) -> Any:
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))


def _told(error: Exception) -> ChatError | None:
    """A failure of the engine as that of a server would be told; any other is a bug, for which there is None."""
    from vllm import exceptions

    reason = " ".join(str(error).split())
    # Before 0.31 a refused request was a ValueError alone.
    if isinstance(error, (ValueError, getattr(exceptions, "VLLMClientError", ValueError))):
        return ChatRequestError(f"vLLM refuses the request: {reason}")
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    if isinstance(error, (EngineDeadError, EngineGenerateError)):
        cause = f": {' '.join(str(error.__cause__).split())}" if error.__cause__ is not None else ""
        return ChatUnavailableError(f"vLLM's engine failed{cause or f': {reason}'}")
    return None


def _own_dtype(config: Any) -> str:
    found = getattr(config, "dtype", None)
    return "auto" if found is None else str(found).removeprefix("torch.")
