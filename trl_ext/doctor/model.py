"""The checkpoint: its template, whether pictures become the tokens that were counted, and whether all of it fits.

::

    loaded = load(recipe)                                     # processor and configuration; no weights
    check_template(recipe, loaded), check_images(recipe, loaded), check_context(recipe, loaded)

Nothing here needs a GPU or the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longvt_plugins.chat_templates import FAMILIES
from longvt_plugins.conversation import system_message
from longvt_plugins.errors import ConfigError
from longvt_plugins.finding import Finding, blocker, ok, warning
from longvt_plugins.ledger import Ledger
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.types import Message, text_block
from longvt_plugins.video.sampling import FrameSampling, format_seconds
from trl_ext.doctor.recipe import Recipe
from trl_ext.model_setup import load_processor

_VLLM_IMAGES = 999
"""Pictures of one request that vLLM 0.22 to 0.31 takes unless it is told otherwise; TRL's colocated one is not told."""

_CALL = {"name": "crop_video", "arguments": {"video_path": "video_1.mp4", "start_time": 1, "end_time": 2.5}}
_TURN = (
    "<think>I look closer.</think>\n<tool_call>\n"
    '{"name": "crop_video", "arguments": {"video_path": "video_1.mp4", "start_time": 1, "end_time": 2.5}}\n</tool_call>'
)


@dataclass(frozen=True)
class Loaded:
    """A checkpoint without its weights.

    Attributes:
        processor: With the templates that the training would use.
        config: Its configuration.
    """

    processor: Any
    config: Any

    @property
    def positions(self) -> int | None:
        """Tokens that the model was made for."""
        text = getattr(self.config, "text_config", self.config)
        found: int | None = getattr(text, "max_position_embeddings", None)
        return found


class UnusableModelError(ConfigError):
    """A checkpoint that cannot be trained.

    Args:
        what: Is wrong with it.
        cure: What to do.
    """

    def __init__(self, what: str, cure: str = "the checkpoint of the stage before, or a name on the Hub") -> None:
        super().__init__(f"{what}; {cure}")
        self.what = what
        self.cure = cure


def load(recipe: Recipe) -> Loaded:
    """Loads processor and configuration.

    Raises:
        UnusableModelError: There is no such checkpoint, it is no vision-language model, or we have no template for it.
    """
    from transformers import AutoConfig, AutoProcessor

    name, model, training = recipe.checkpoint, recipe.model, recipe.training
    folder = Path(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise UnusableModelError(f"{name} holds no whole model, only an adapter", "recipes/merge_lora.py merges it")
        raise UnusableModelError(f"{name} holds no whole model")
    options = {"revision": model.model_revision, "trust_remote_code": training.trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(name, **options)
        ours = recipe.arguments or recipe.lazy
        if ours is not None:
            processor = load_processor(name, chat_template=ours.chat_template, **options)
        else:
            processor = AutoProcessor.from_pretrained(name, **options)
    except ConfigError as error:
        raise UnusableModelError(str(error), "chat_template: model, if its own template describes tools") from None
    except (OSError, ValueError) as error:
        raise UnusableModelError(f"{name} cannot be loaded: {str(error).strip().splitlines()[0]}") from None
    if not hasattr(processor, "image_processor"):
        raise UnusableModelError(f"{name} has no image processor: it is no vision-language model")
    if recipe.kind == "sft" and training.chat_template_path is not None:
        path = Path(training.chat_template_path)
        if not path.is_file():
            raise UnusableModelError(
                f"chat_template_path {path} is not there", f"`longvt template {config.model_type} > {path}`"
            )
        processor.chat_template = processor.tokenizer.chat_template = path.read_text(encoding="utf-8")
    return Loaded(processor, config)


def check_template(recipe: Recipe, loaded: Loaded) -> Iterator[Finding]:
    """Renders a call and its reply, and reads the call back as TRL does."""
    found = [*_rendering(recipe, loaded), *_reading(recipe, loaded)]
    yield from found
    if not found:
        yield ok("template", "a tool call and its reply are rendered, and the call is read back")


def _rendering(recipe: Recipe, loaded: Loaded) -> Iterator[Finding]:
    family = loaded.config.model_type
    cure = (
        f"chat_template_path: a file that `longvt template {family}` writes"
        if recipe.kind == "sft"
        else "chat_template: ours"
    )
    if family not in FAMILIES:
        cure = f"a template with tools; ours are for {', '.join(FAMILIES)}"
    schemas = [tool.schema for tool in create_plugin_manager().select_tools(recipe.environment.tools)]
    call = {"type": "function", "function": _CALL}
    asked: list[Any] = [
        system_message(recipe.environment.form),
        {"role": "user", "content": [text_block("?")]},
        {"role": "assistant", "content": [text_block("<think>a</think>")], "tool_calls": [call]},
    ]
    reply = {"role": "tool", "name": "crop_video", "content": [{"type": "image"}, text_block("a-reply")]}
    render = loaded.processor.apply_chat_template
    try:
        before = render(asked, tools=schemas, tokenize=False)
        after = render([*asked, reply], tools=schemas, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # noqa: BLE001 - a template may raise anything; the training would end with it
        yield blocker("template", f"the chat template breaks on a tool call: {' '.join(str(error).split())}", cure)
        return
    opening = before.partition("<|im_start|>user")[0]
    if schemas and recipe.kind == "rl" and schemas[0]["function"]["name"] not in opening:
        yield blocker("template", "the chat template does not describe the tools", cure)
    if "crop_video" not in before.rpartition("<think>a</think>")[2]:
        yield blocker("template", "the chat template leaves tool calls out", cure)
    if "a-reply" not in after or loaded.processor.image_token not in after:
        yield blocker("template", "the chat template leaves the text or the pictures of tool replies out", cure)
    if not after.startswith(before.rstrip("\n")):
        yield blocker("template", "the chat template changes a conversation's beginning when a reply is added", cure)
    if recipe.kind == "sft" and recipe.training.assistant_only_loss:
        from trl.chat_template_utils import has_generation_markers

        if not has_generation_markers(loaded.processor.chat_template):
            yield blocker("template", "assistant_only_loss needs generation markers, which the template has not", cure)


def _reading(recipe: Recipe, loaded: Loaded) -> Iterator[Finding]:
    if recipe.kind == "sft":
        return
    from trl.chat_template_utils import parse_response

    tokenizer = loaded.processor.tokenizer
    ids = tokenizer(_TURN, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    try:
        read: Any = parse_response(tokenizer, ids, prefix=[])
    except Exception as error:  # noqa: BLE001 - whatever it is, no call would be read
        read = {"error": str(error)}
    calls = [call["function"] for call in read.get("tool_calls") or ()]
    if calls != [_CALL] or "<think>" not in str(read.get("content")):
        yield blocker(
            "template",
            f"a tool call that the model writes is not read back, but as {str(read)[:200]}",
            "chat_template: ours, and a checkpoint whose end of turn is <|im_end|>",
        )


def check_images(recipe: Recipe, loaded: Loaded) -> Iterator[Finding]:
    """Sends frames of the sizes at hand through the processor and counts what becomes of them."""
    from PIL import Image

    environment, processor = recipe.environment, loaded.processor
    for name in ("overview", "crop"):
        sampling: FrameSampling = getattr(environment, name)
        size = sampling.size(1920, 1080)
        message: Message = {"role": "user", "content": [{"type": "image", "image": Image.new("RGB", size)}]}
        text = processor.apply_chat_template([message], tokenize=False)
        inputs = processor(text=[text], images=[Image.new("RGB", size)], return_tensors="pt")
        tokens = int((inputs["input_ids"] == processor.tokenizer.convert_tokens_to_ids(processor.image_token)).sum())
        expected = int(inputs["image_grid_thw"].prod()) // loaded.config.vision_config.spatial_merge_size**2
        counted = Ledger(processor, 0, 0).image_tokens(*size)
        if not tokens == expected == counted:
            yield blocker(
                "images",
                f"a frame of {size[0]}x{size[1]} is {tokens} tokens, {expected} features, and was counted as {counted}",
                "a processor that belongs to the model: its config.json and preprocessor_config.json disagree",
            )
        side = processor.image_processor.patch_size * processor.image_processor.merge_size
        resized = tokens * side * side
        if abs(resized - size[0] * size[1]) > side * side:
            yield warning(
                "images",
                f"the processor makes {resized} pixels of {name} frames of {size[0]}x{size[1]}: {tokens} tokens each",
                f"set {name}_min_pixels and {name}_max_pixels to what it takes, and frame_factor to {side}",
            )
        else:
            yield ok("images", f"{name}: a 1920x1080 video is shown at {size[0]}x{size[1]}, {tokens} tokens a frame")


def check_context(recipe: Recipe, loaded: Loaded, longest: float | None) -> Iterator[Finding]:
    """Adds up the longest prompt and the room for the rollout.

    Args:
        recipe: Says the room.
        loaded: Counts.
        longest: Seconds of the longest video that was looked at; None takes the largest overview.
    """
    if recipe.arguments is None:
        return
    arguments, training = recipe.arguments, recipe.training
    overview = arguments.overview
    if arguments.overview_frame_choices is not None:
        overview = arguments.overview_of(max(arguments.overview_frame_choices))
    frames = overview.max_frames
    if longest is not None and arguments.sampling_mode == "grid":
        frames = min(frames, max(overview.min_frames, int(longest * overview.fps) + 1))
    prompt = _prompt_tokens(recipe, loaded, frames, overview, longest or frames / overview.fps)
    room = training.max_completion_length
    total = prompt + room
    told = f"{frames} overview frames: a prompt of {prompt:,} tokens, with max_completion_length {room:,}: {total:,}"
    cure = "fewer overview_max_frames or overview_max_pixels, or a shorter max_completion_length"
    found = []
    if loaded.positions is not None and total > loaded.positions:
        found.append(blocker("context", f"{told}, more than the model's {loaded.positions:,}", cure))
    if training.use_vllm and training.vllm_mode == "colocate":
        limit = training.vllm_max_model_length
        if limit is None:
            found.append(
                warning(
                    "context",
                    f"no vllm_max_model_length: vLLM sets aside room for {loaded.positions} tokens",
                    f"vllm_max_model_length: {_round_up(total)}",
                )
            )
        elif total > limit:
            found.append(
                blocker(
                    "context",
                    f"{told}, more than vllm_max_model_length {limit:,}",
                    f"{cure}, or vllm_max_model_length: {_round_up(total)}",
                )
            )
        crop = min(
            (arguments.max_calls or 0) * arguments.crop.max_frames,
            room // max(1, _frame_tokens(loaded, arguments.crop)),
        )
        if frames + crop > _VLLM_IMAGES:
            found.append(
                blocker(
                    "context",
                    f"a conversation may show {frames + crop} pictures, vLLM takes {_VLLM_IMAGES}",
                    "fewer overview_max_frames or crop_max_frames",
                )
            )
    yield from found
    if not any(finding.level == "blocker" for finding in found):
        yield ok("context", told)


def _prompt_tokens(recipe: Recipe, loaded: Loaded, frames: int, overview: FrameSampling, longest: float) -> int:
    labels = overview.labels == "seconds"
    content: list[Any] = []
    for number in range(frames):
        if labels:
            content.append(text_block(f"{format_seconds(longest * number / frames)}s"))
        content.append({"type": "image"})
    # Questions differ; 200 words are more than the published ones have.
    content.append(text_block("word " * 200))
    schemas = [tool.schema for tool in create_plugin_manager().select_tools(recipe.environment.tools)]
    messages: list[Any] = [system_message(recipe.environment.form), {"role": "user", "content": content}]
    text = loaded.processor.apply_chat_template(messages, tools=schemas, tokenize=False, add_generation_prompt=True)
    tokens = len(loaded.processor.tokenizer(text, add_special_tokens=False)["input_ids"])
    return tokens + frames * (_frame_tokens(loaded, overview) - 1)


def _frame_tokens(loaded: Loaded, sampling: FrameSampling) -> int:
    """Of the largest frame that the sampling gives."""
    ledger = Ledger(loaded.processor, 0, 0)
    return max(ledger.image_tokens(*sampling.size(*size)) for size in ((1920, 1080), (1080, 1080), (1080, 1920)))


def _round_up(tokens: int) -> int:
    return -(-tokens // 1024) * 1024
