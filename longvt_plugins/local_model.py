"""A vision-language checkpoint in this process, as a chat backend.

::

    model = LocalModel("checkpoints/sft", batch_size=16)
    completion = await model.complete(messages, [tool.schema], max_tokens=64, temperature=0.0)

Conversations that wait together are continued together, so that many agents are as fast as one large
batch. What is written for a conversation depends on it and on the seed alone, not on its neighbours in the
batch, up to the rounding of the arithmetic. It does not split a model over GPUs: serve a large one with
vLLM and ask it through :mod:`longvt_plugins.chat`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.chat import Completion, Hear
from longvt_plugins.errors import ConfigError
from longvt_plugins.transcript import parse_turn
from longvt_plugins.types import Message

if TYPE_CHECKING:
    import torch
    from PIL import Image

QUIET_SECONDS = 0.02
"""A batch that is not full is started when nobody has joined it for this long."""

_HIDDEN_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


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
        if not Path(path, "config.json").is_file():
            raise ConfigError(f"no checkpoint in {path}: it has no config.json")
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {batch_size}")
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

        self._torch = torch
        self.device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
        self.processor = AutoProcessor.from_pretrained(path, local_files_only=True)
        if not getattr(self.processor, "chat_template", None):
            raise ConfigError(f"the processor in {path} has no chat template")
        self.tokenizer = self.processor.tokenizer
        self.model = AutoModelForImageTextToText.from_pretrained(path, dtype=dtype, local_files_only=True)
        self.model.to(self.device).eval()
        self._ends = _end_tokens(self.model, self.tokenizer)
        hidden = {getattr(self.model.config, name, None) for name in _HIDDEN_TOKENS}
        # A fresh configuration: a repetition penalty in the checkpoint's own would not be that of training.
        self.model.generation_config = GenerationConfig(
            eos_token_id=sorted(self._ends),
            pad_token_id=self.tokenizer.pad_token_id,
            do_sample=False,
            # An image token without an image breaks the positions of all that follows.
            suppress_tokens=sorted(token for token in hidden if token is not None),
        )
        self._batch_size = batch_size
        self._seed = seed
        self._asked: Counter[bytes] = Counter()
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
        tell = None if hear is None else _from_thread(loop, hear)
        request = _Request(list(messages), list(tools), max_tokens, temperature, loop.create_future(), tell)
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
        texts = [
            self.processor.apply_chat_template(
                request.messages, tools=request.tools or None, add_generation_prompt=True, tokenize=False
            )
            for request in batch
        ]
        images = [_images(request.messages) for request in batch]
        inputs = self.processor(
            text=texts,
            images=[image for shown in images for image in shown] or None,
            padding=True,
            padding_side="left",
            return_tensors="pt",
        ).to(self.device)
        noise = [
            self._noise(text, shown) if request.temperature > 0 else None
            for request, text, shown in zip(batch, texts, images, strict=True)
        ]
        with self._torch.inference_mode():
            written = self.model.generate(
                **inputs,
                max_new_tokens=max(request.max_tokens for request in batch),
                logits_processor=[_Sampler(noise, [request.temperature for request in batch])],
                stopping_criteria=[_Teller(self.tokenizer, self._ends, batch)],
            )
        written = written[:, inputs["input_ids"].shape[1] :].tolist()
        prompt_tokens = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            self._read(request, tokens[: request.max_tokens], read)
            for request, tokens, read in zip(batch, written, prompt_tokens, strict=True)
        ]

    def _read(self, request: _Request, tokens: list[int], prompt_tokens: int) -> Completion:
        end = next((place for place, token in enumerate(tokens) if token in self._ends), None)
        # Special tokens are kept: the tags of thoughts and calls are special in some tokenizers.
        text = self.tokenizer.decode(tokens[:end], skip_special_tokens=False)
        earlier = sum(len(message.get("tool_calls", ())) for message in request.messages)
        content, calls, _ = parse_turn(text, first_call=earlier + 1)
        message: Message = {"role": "assistant", "content": content}
        if calls:
            message["tool_calls"] = [call.to_message_entry() for call in calls]
        return Completion(
            message=message,
            stop_reason="length" if end is None else "tool_calls" if calls else "stop",
            prompt_tokens=prompt_tokens,
            completion_tokens=len(tokens) if end is None else end + 1,
        )

    def _noise(self, text: str, images: Sequence[Image.Image]) -> torch.Generator:
        """The random numbers of one conversation: its own, wherever in a batch it stands.

        The same conversation asked again gets others, in turn; copies of it are alike, so their order is free.
        """
        key = hashlib.blake2b(text.encode(), digest_size=16)
        for image in images:
            key.update(image.tobytes())
        number = self._asked[key.digest()]
        self._asked[key.digest()] += 1
        own = hashlib.blake2b(f"{self._seed} {number} ".encode() + key.digest(), digest_size=8)
        generator = self._torch.Generator(device=self.device)
        return generator.manual_seed(int.from_bytes(own.digest(), "little") >> 1)


@dataclass
class _Request:
    """A conversation that waits for its next turn."""

    messages: list[Message]
    tools: list[Mapping[str, Any]]
    max_tokens: int
    temperature: float
    completion: asyncio.Future[Completion]
    tell: Callable[[str], object] | None = None


def _from_thread(loop: asyncio.AbstractEventLoop, hear: Hear) -> Callable[[str], object]:
    return lambda piece: loop.call_soon_threadsafe(hear, piece)


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
        tokenizer: One that can decode token by token, as fast tokenizers can.
        ends: Tokens that end a turn, and are not told.
        batch: Those who may want to be told.
    """

    def __init__(self, tokenizer: Any, ends: set[int], batch: Sequence[_Request]) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer.backend_tokenizer
        self._ends = ends
        self._rows = {
            row: (request.tell, DecodeStream(skip_special_tokens=False), request.max_tokens)
            for row, request in enumerate(batch)
            if request.tell is not None
        }
        self._steps = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **unused: Any) -> torch.Tensor:
        self._steps += 1
        for row, (tell, text, most) in tuple(self._rows.items()):
            token = int(input_ids[row, -1])
            if token in self._ends or self._steps > most:
                del self._rows[row]
            elif piece := text.step(self._tokenizer, token):
                tell(piece)
        return input_ids.new_zeros(input_ids.shape[0]).bool()


def _images(messages: Sequence[Message]) -> list[Image.Image]:
    shown: list[Image.Image] = []
    for message in messages:
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            if block["type"] == "image":
                if isinstance(block["image"], dict):
                    raise TypeError("a frame reference cannot be shown: read the frame from its video first")
                shown.append(block["image"])
    return shown


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a turn: the tokenizer's, and what the checkpoint names besides."""
    named = model.generation_config.eos_token_id
    ends = {*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id}
    return {int(token) for token in ends if token is not None}
