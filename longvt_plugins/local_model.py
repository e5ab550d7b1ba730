"""A vision-language checkpoint in this process, as a chat backend.

::

    model = LocalModel("checkpoints/sft", batch_size=16)
    completion = await model.complete(messages, [tool.schema], max_tokens=64, temperature=0.0)

Conversations that wait together are continued together, so that many agents are as fast as one large
batch. What is written for a conversation depends on it and on the seed alone, not on its neighbours in the
batch, up to the rounding of the arithmetic. It does not split a model over GPUs: :mod:`longvt_plugins.vllm_model`
does, and so does a server, asked through :mod:`longvt_plugins.chat`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.chat import Completion, Hear
from longvt_plugins.chat_format import ChatFormat, Draws, TurnTeller, tell_in
from longvt_plugins.errors import ConfigError
from longvt_plugins.types import Message

if TYPE_CHECKING:
    import torch

QUIET_SECONDS = 0.02
"""A batch that is not full is started when nobody has joined it for this long."""


class LocalModel:
    """A :class:`~longvt_plugins.chat.ChatBackend` over transformers. May be used from one event loop after another.

    Args:
        path: Folder of a checkpoint with its processor and chat template; nothing is downloaded.
        device: Such as ``"cuda:0"``; None is the first GPU, or the CPU.
        dtype: Such as ``"bfloat16"``; ``"auto"`` is that of the checkpoint.
        batch_size: Most conversations continued at once.
        seed: Of sampling, where the temperature is not 0.

    Raises:
        ConfigError: No checkpoint there, or one whose processor has no chat template.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {batch_size}")
        self._chat = ChatFormat(path)
        import torch
        from transformers import AutoModelForImageTextToText, GenerationConfig

        self._torch = torch
        self.device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
        self.processor, self.tokenizer = self._chat.processor, self._chat.tokenizer
        self.model = AutoModelForImageTextToText.from_pretrained(path, dtype=dtype, local_files_only=True)
        self.model.to(self.device).eval()
        # A fresh configuration: a repetition penalty in the checkpoint's own would not be that of training.
        self.model.generation_config = GenerationConfig(
            eos_token_id=sorted(self._chat.ends),
            pad_token_id=self.tokenizer.pad_token_id,
            do_sample=False,
            suppress_tokens=self._chat.hidden,
        )
        self._batch_size = batch_size
        self._draws = Draws(seed)
        self._waiting: list[_Request] = []
        self._worker: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        max_tokens: int,
        temperature: float = 0.0,
    ) -> Completion:
        """Continues a conversation, together with those that wait at the same time."""
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

    async def _ask(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        max_tokens: int,
        temperature: float,
        hear: Hear | None,
    ) -> Completion:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # What waited in a loop that is gone has nobody left to hear it.
            self._loop, self._worker, self._waiting = loop, None, []
        request = _Request(
            list(messages), list(tools), max_tokens, temperature, loop.create_future(), tell_in(loop, hear)
        )
        self._waiting.append(request)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return await request.completion

    async def _work(self) -> None:
        while self._waiting:
            await self._gather()
            batch, self._waiting = self._waiting[: self._batch_size], self._waiting[self._batch_size :]
            batch = [request for request in batch if not request.completion.done()]
            if not batch:
                continue
            # As a value: everybody who waits hears of a failure, and the next batch goes on.
            (outcome,) = await asyncio.gather(asyncio.to_thread(self.generate, batch), return_exceptions=True)
            for place, request in enumerate(batch):
                if request.completion.done():
                    continue
                if isinstance(outcome, BaseException):
                    request.completion.set_exception(outcome)
                else:
                    request.completion.set_result(outcome[place])

    async def _gather(self) -> None:
        """Waits until the batch is full, or nobody joins any more."""
        waiting = 0
        while waiting < len(self._waiting) < self._batch_size:
            waiting = len(self._waiting)
            await asyncio.sleep(QUIET_SECONDS)

    def generate(self, batch: Sequence[_Request]) -> list[Completion]:
        """Continues a batch of conversations, in order."""
        prompts = [self._chat.prompt(request.messages, request.tools) for request in batch]
        inputs = self.processor(
            text=[prompt.text for prompt in prompts],
            images=[image for prompt in prompts for image in prompt.images] or None,
            padding=True,
            padding_side="left",
            return_tensors="pt",
        ).to(self.device)
        noise = [
            self._torch.Generator(device=self.device).manual_seed(self._draws.next(prompt))
            if request.temperature > 0
            else None
            for request, prompt in zip(batch, prompts, strict=True)
        ]
        with self._torch.inference_mode():
            written = self.model.generate(
                **inputs,
                max_new_tokens=max(request.max_tokens for request in batch),
                logits_processor=[_Sampler(noise, [request.temperature for request in batch])],
                stopping_criteria=[_Teller(self._chat, batch)],
            )
        written = written[:, inputs["input_ids"].shape[1] :].tolist()
        prompt_tokens = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            self._chat.completion(tokens, request.messages, max_tokens=request.max_tokens, prompt_tokens=read)
            for request, tokens, read in zip(batch, written, prompt_tokens, strict=True)
        ]


@dataclass
class _Request:
    """A conversation that waits for its next turn."""

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]]
    max_tokens: int
    temperature: float
    completion: asyncio.Future[Completion]
    tell: Callable[[str], object] | None = None


class _Sampler:
    """Samples row by row: the likeliest token after adding Gumbel noise is a draw from the softmax.

    Args:
        noise: A row's random numbers; None where the likeliest token is taken as it is.
        temperatures: Of the rows.
    """

    def __init__(self, noise: Sequence[torch.Generator | None], temperatures: Sequence[float]) -> None:
        self._noise = noise
        self._temperatures = temperatures

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for row, (generator, temperature) in enumerate(zip(self._noise, self._temperatures, strict=True)):
            if generator is not None:
                exponential = scores.new_empty(scores.shape[1]).exponential_(generator=generator)
                scores[row] = scores[row] / temperature - exponential.clamp_min(1e-30).log()
        return scores


class _Teller:
    """Tells what is written, row by row; as a criterion that never stops anything, since these see each token.

    Args:
        chat: Whose tokens.
        batch: Those who may want to be told.
    """

    def __init__(self, chat: ChatFormat, batch: Sequence[_Request]) -> None:
        self._rows = {
            row: TurnTeller(chat, request.tell, request.max_tokens)
            for row, request in enumerate(batch)
            if request.tell is not None
        }

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **unused: Any) -> torch.Tensor:
        for row, turn in tuple(self._rows.items()):
            if not turn.write(int(input_ids[row, -1])):
                del self._rows[row]
        return input_ids.new_zeros(input_ids.shape[0]).bool()
