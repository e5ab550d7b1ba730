"""A tiny Qwen2.5-VL and a tiny Qwen3-VL, with tokenizer and processor, from their own classes.

>>> build_tiny_model("qwen2_5_vl", "tiny", seed=0)      # random weights, 0.3 M parameters
>>> AutoModelForImageTextToText.from_pretrained("tiny") # as any other checkpoint

Only sizes differ from the published models, so what runs on these runs on those. A frame of 28x28 pixels is
one visual token. The tokenizer knows the numbers up to 240 and the sentences of our own prompts as
single tokens, which keeps a rollout at about 150 tokens; every other text falls back to bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins import prompts
from longvt_plugins.chat_templates import FAMILIES, apply_templates, render_tools_into_system
from longvt_plugins.errors import ConfigError
from longvt_plugins.synthetic.phrases import GLIMPSE, SIGHT
from longvt_plugins.synthetic.questions import question_texts
from longvt_plugins.synthetic.world import COLOURS
from longvt_plugins.tools.crop_video import crop_video
from longvt_plugins.tools.tool import Tool

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_TAGS = ("think", "tool_call", "tool_response", "answer")
_LARGEST_NUMBER = 240

# 0.02 learns nothing at this width; a head of 16 leaves M-RoPE too few low frequencies (both measured).
_TEXT = {
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.1,
}
_VISION = {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "initializer_range": 0.1}
_ROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}


def build_tiny_model(family: str, folder: str | Path, seed: int = 0) -> None:
    """Writes a checkpoint with random weights, its processor and its templates.

    Args:
        family: ``"qwen2_5_vl"`` or ``"qwen3_vl"``.
        folder: Where to.
        seed: Of the weights.

    Raises:
        ConfigError: No such family.
    """
    import torch

    if family not in FAMILIES:
        raise ConfigError(f"no tiny model of family {family!r}; there are: {', '.join(FAMILIES)}")
    processor = build_processor(family)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _build_model(family, processor)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def build_processor(family: str) -> ProcessorMixin:
    """Tokenizer, image and video processor of a tiny model, with chat and response templates set."""
    import transformers

    image = transformers.Qwen2VLImageProcessor(patch_size=14, min_pixels=28 * 28, max_pixels=28 * 28 * 64)
    size = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 64}
    tokenizer = _build_tokenizer(family)
    processor: Any
    if family == "qwen2_5_vl":
        video: Any = transformers.Qwen2VLVideoProcessor(patch_size=14, size=size)
        processor = transformers.Qwen2_5_VLProcessor(image_processor=image, tokenizer=tokenizer, video_processor=video)
    else:
        video = transformers.Qwen3VLVideoProcessor(patch_size=14, size=size)
        processor = transformers.Qwen3VLProcessor(image_processor=image, tokenizer=tokenizer, video_processor=video)
    apply_templates(processor, family)
    return processor


def _build_model(family: str, processor: Any) -> PreTrainedModel:
    import transformers

    token = processor.tokenizer.convert_tokens_to_ids
    ids = {
        "image_token_id": token("<|image_pad|>"),
        "video_token_id": token("<|video_pad|>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
    }
    text = _TEXT | {
        "vocab_size": len(processor.tokenizer),
        "bos_token_id": None,
        "eos_token_id": token("<|im_end|>"),
        "pad_token_id": token("<|endoftext|>"),
        "tie_word_embeddings": True,
    }
    vision = _VISION | {"out_hidden_size": _TEXT["hidden_size"], "patch_size": 14}
    config: Any
    model: Any
    if family == "qwen2_5_vl":
        config = transformers.Qwen2_5_VLConfig(
            text_config=text | {"rope_parameters": dict(_ROPE)},
            vision_config=vision | {"fullatt_block_indexes": [0], "window_size": 112},
            tie_word_embeddings=True,
            **ids,
        )
        model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    else:
        config = transformers.Qwen3VLConfig(
            text_config=text | {"head_dim": 32, "rope_parameters": _ROPE | {"mrope_interleaved": True}},
            vision_config=vision | {"depth": 2, "deepstack_visual_indexes": [0], "num_position_embeddings": 64},
            tie_word_embeddings=True,
            **ids,
        )
        model = transformers.Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = text["eos_token_id"]
    model.generation_config.pad_token_id = text["pad_token_id"]
    return model.eval()


def _build_tokenizer(family: str) -> Any:
    from tokenizers import AddedToken
    from transformers import Qwen2Tokenizer

    vocab, merges = _byte_pairs(family)
    tokenizer = Qwen2Tokenizer(
        vocab=vocab, merges=merges, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token="<|endoftext|>"
    )
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    tags = [f"<{end}{tag}>" for tag in _TAGS for end in ("", "/")]
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in (*tags, *_phrases(family))])
    tokenizer.add_tokens([AddedToken(str(n), special=False, normalized=False) for n in range(_LARGEST_NUMBER + 1)])
    tokenizer.add_tokens([AddedToken(c, special=False, normalized=False, single_word=True) for c in COLOURS])
    return tokenizer


def _phrases(family: str) -> list[str]:
    """The sentences of our prompts, tool description, replies and traces, cut where a number may stand."""
    schema = Tool.from_function(crop_video).schema
    systems = [prompts.render(f"system_{form}") for form in ("tool", "reasoning", "non_think")]
    systems.append(render_tools_into_system(systems[0], [schema], family=family))
    arguments = {"video_path": "video_1.mp4", "start_time": 0, "end_time": 0}
    call = json.dumps({"name": "crop_video", "arguments": arguments})
    phrases = [sentence for system in systems for sentence in _sentences(system)]
    phrases += re.split(r"(?<![_p])\d+", call)
    phrases += re.split(r"\{\w+\}", GLIMPSE) + re.split(r"\{\w+\}", SIGHT)
    phrases += [" frames from ", "s to ", "s:", "video_1.mp4 lasts ", " s. ", "\n", "user\n", "assistant\n", "system\n"]
    phrases += question_texts()
    wanted = {phrase for phrase in phrases if phrase and not phrase.isdigit()}
    return sorted(wanted, key=lambda text: (-len(text), text))


def _sentences(text: str) -> Iterable[str]:
    """Pieces that end with a full stop and a space, or a line; tags stay tokens of their own."""
    tags = "|".join(rf"</?{tag}>" for tag in _TAGS)
    for piece in re.split(rf"({tags}|(?<=\. )|(?<=\n))", text):
        if len(piece) > 3 and not re.fullmatch(tags, piece):
            yield piece


def _byte_pairs(family: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A small byte-level BPE, so that texts which are not phrases are still words rather than bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator([*_phrases(family), *COLOURS], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
    return model["vocab"], [(left, right) for left, right in merges]
