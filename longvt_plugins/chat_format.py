"""How a checkpoint is spoken to: what it reads for a conversation, and the turn in the tokens that it wrote.

::

    chat = ChatFormat("checkpoints/sft")
    prompt = chat.prompt(messages, [tool.schema])            # prompt.text, prompt.images
    chat.completion(tokens, messages, max_tokens=64, prompt_tokens=812)

Whatever computes the tokens, transformers (:mod:`longvt_plugins.local_model`) or vLLM
(:mod:`longvt_plugins.vllm_model`), reads the same prompt, may not write the same tokens, and is read the same
way. It needs the checkpoint's processor and configuration, not its weights, and computes nothing.
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
    from PIL import Image

_HIDDEN_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


@dataclass(frozen=True)
class Prompt:
    """What is read for a conversation.

    Attributes:
        text: With one image token for each picture.
        images: The pictures, in their order.
    """

    text: str
    images: list[Image.Image]


class ChatFormat:
    """Prompts and turns of a checkpoint.

    Args:
        path: Its folder, with a processor and a chat template; nothing is downloaded.

    Attributes:
        processor: Of transformers.
        tokenizer: Likewise.
        config: Of the model.
        ends: Tokens that end a turn.
        hidden: Tokens that must not be written: an image token without an image breaks the positions of all that
            follows.

    Raises:
        ConfigError: No checkpoint there, or one whose processor has no chat template.
    """

    def __init__(self, path: str | Path) -> None:
        if not Path(path, "config.json").is_file():
            raise ConfigError(f"no checkpoint in {path}: it has no config.json")
        from transformers import AutoConfig, AutoProcessor

        self.processor = AutoProcessor.from_pretrained(path, local_files_only=True)
        if not getattr(self.processor, "chat_template", None):
            raise ConfigError(f"the processor in {path} has no chat template")
        self.tokenizer = self.processor.tokenizer
        self.config = AutoConfig.from_pretrained(path, local_files_only=True)
        self.ends = _end_tokens(path, self.config, self.tokenizer)
        hidden = {getattr(self.config, name, None) for name in _HIDDEN_TOKENS}
        self.hidden = sorted(token for token in hidden if token is not None)

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Prompt:
        """What the model reads before its next turn.

        Raises:
            TypeError: A picture is a reference to a frame that nobody has read from its video.
        """
        text = self.processor.apply_chat_template(
            list(messages), tools=list(tools) or None, add_generation_prompt=True, tokenize=False
        )
        return Prompt(text, _images(messages))

    def completion(
        self, tokens: Sequence[int], messages: Sequence[Message], *, max_tokens: int, prompt_tokens: int
    ) -> Completion:
        """The turn that was written.

        Args:
            tokens: As they were written; those after the end of the turn, or after the longest, are left out.
            messages: The conversation that they continue.
            max_tokens: Longest turn.
            prompt_tokens: That were read, those of pictures among them.
        """
        tokens = tokens[:max_tokens]
        end = next((place for place, token in enumerate(tokens) if token in self.ends), None)
        # Special tokens are kept: the tags of thoughts and calls are special in some tokenizers.
        text = self.tokenizer.decode(tokens[:end], skip_special_tokens=False)
        earlier = sum(len(message.get("tool_calls", ())) for message in messages)
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


class TurnTeller:
    """Tells one turn while it is written, token by token.

    Args:
        chat: Whose tokens; its tokenizer must be a fast one.
        tell: Told each piece of text.
        max_tokens: Longest turn.
    """

    def __init__(self, chat: ChatFormat, tell: Callable[[str], object], max_tokens: int) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = chat.tokenizer.backend_tokenizer
        self._ends = chat.ends
        self._text = DecodeStream(skip_special_tokens=False)
        self._tell = tell
        self._left = max_tokens

    def write(self, token: int) -> bool:
        """Tells what the next token adds; returns whether more may follow."""
        if self._left == 0 or token in self._ends:
            self._left = 0
            return False
        self._left -= 1
        if piece := self._text.step(self._tokenizer, token):
            self._tell(piece)
        return True


class Draws:
    """Seeds of sampling: each conversation has its own, wherever and beside whom it is continued.

    The same conversation asked again gets another, in turn; copies of it are alike, so their order is free.

    Args:
        seed: Of all of them.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked: Counter[bytes] = Counter()

    def next(self, prompt: Prompt) -> int:
        """The seed for this conversation's next turn, of 63 bits."""
        key = hashlib.blake2b(prompt.text.encode(), digest_size=16)
        for image in prompt.images:
            key.update(image.tobytes())
        number = self._asked[key.digest()]
        self._asked[key.digest()] += 1
        own = hashlib.blake2b(f"{self._seed} {number} ".encode() + key.digest(), digest_size=8)
        return int.from_bytes(own.digest(), "little") >> 1


def tell_in(loop: asyncio.AbstractEventLoop, hear: Hear | None) -> Callable[[str], object] | None:
    """What another thread calls so that ``hear`` is told in its own event loop; None where nobody hears."""
    return None if hear is None else lambda piece: loop.call_soon_threadsafe(hear, piece)


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


def _end_tokens(path: str | Path, config: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a turn: the tokenizer's, and what the checkpoint names besides."""
    from transformers import GenerationConfig

    if Path(path, "generation_config.json").is_file():
        named = GenerationConfig.from_pretrained(path, local_files_only=True).eos_token_id
    else:
        named = GenerationConfig.from_model_config(config).eos_token_id
    ends = {*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id}
    return {int(token) for token in ends if token is not None}
