"""How many tokens of a model's context frames take.

::

    counter = token_counter("qwen2_5_vl")         # or the folder of a checkpoint
    counter([0.0, 1.0, 2.0], (280, 168))          # 60 a frame, 2 around it, its label "0s": 192

Of the two families the numbers of the published checkpoints are known here; a checkpoint in a folder is asked for
its own, label and template included. The question and the prompt around the frames are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.video.sampling import FrameSampling, format_seconds

TokenCounter = Callable[[Sequence[float], tuple[int, int]], int]
"""Of frames at these seconds, of this width and height, each after its label: their tokens."""


@dataclass(frozen=True)
class _Family:
    """A token is a square of ``side`` pixels of a frame whose area the model's processor has brought into bounds."""

    side: int
    min_pixels: int
    max_pixels: int

    def count(self, times: Sequence[float], size: tuple[int, int]) -> int:
        processed = FrameSampling(min_pixels=self.min_pixels, max_pixels=self.max_pixels, factor=self.side)
        width, height = processed.size(*size)
        # Two tokens mark where a picture begins and ends. The tokenizer takes labels character by character: digits
        # never join, and the rest is one character each.
        around = sum(2 + len(f"{format_seconds(time)}s") for time in times)
        return len(times) * (width // self.side) * (height // self.side) + around


FAMILIES = {
    "qwen2_5_vl": _Family(28, 56 * 56, 16384 * 28 * 28),  # preprocessor_config.json of Qwen2.5-VL-7B-Instruct
    "qwen3_vl": _Family(32, 256 * 256, 16384 * 32 * 32),  # preprocessor_config.json of Qwen3-VL-8B-Instruct
}
"""By the ``model_type`` of their configuration."""


def token_counter(model: str) -> TokenCounter:
    """What counts for a model.

    Args:
        model: One of ``FAMILIES``, or the folder of a checkpoint with its processor.

    Raises:
        ConfigError: Neither, or a checkpoint whose processor cannot tell.
    """
    if model in FAMILIES:
        return FAMILIES[model].count
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"no model {model!r}: it must be {', '.join(FAMILIES)} or the folder of a checkpoint")
    return _Asked(load_processor(folder)).count


def load_processor(folder: Path) -> Any:
    """The processor of a checkpoint, one that can tell tokens: of pictures, and of conversations.

    Args:
        folder: Of the checkpoint; nothing is downloaded.

    Raises:
        ConfigError: There is none, or it cannot tell.
    """
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no processor of a model in {folder}: {str(error).splitlines()[0]}") from None
    if not hasattr(getattr(processor, "image_processor", None), "get_number_of_image_patches"):
        raise ConfigError(f"the processor in {folder} does not tell how many tokens a picture takes")
    if not getattr(processor, "chat_template", None):
        raise ConfigError(f"the processor in {folder} has no chat template")
    return processor


@dataclass(frozen=True)
class _Asked:
    """Counts with a checkpoint's own processor."""

    processor: Any

    def count(self, times: Sequence[float], size: tuple[int, int]) -> int:
        content: list[dict[str, str]] = []
        for time in times:
            content += [{"type": "text", "text": f"{format_seconds(time)}s"}, {"type": "image"}]
        images = self.processor.image_processor
        # In the template's text each picture is one token, which the processor multiplies.
        each = int(images.get_number_of_image_patches(size[1], size[0], {}) // images.merge_size**2) - 1
        return self._text_tokens(content) - self._text_tokens([]) + len(times) * each

    def _text_tokens(self, content: list[dict[str, str]]) -> int:
        text = self.processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
        return len(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])
