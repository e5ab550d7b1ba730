"""What a checkpoint needs before GRPO can let it call tools: templates, and tokens that it must not write.

::

    processor = load_processor("Qwen/Qwen2.5-VL-7B-Instruct")      # with the chat template of its family
    suppress_media_tokens(training_args, processor)

The stock template of Qwen2.5-VL has no tools, and TRL refuses it; that of Qwen3-VL does not keep its prefix. The
templates are saved with the trained model, so that a server needs nothing of ours.
"""

from __future__ import annotations

import functools
import json
import logging
from typing import Any, Literal

from longvt_plugins.chat_templates import apply_templates
from longvt_plugins.ledger import CALLS_PER_TURN
from longvt_plugins.video.sampling import FrameSampling

logger = logging.getLogger(__name__)

ChatTemplateChoice = Literal["ours", "model"]


def load_processor(
    model: str,
    *,
    chat_template: ChatTemplateChoice = "ours",
    calls_per_turn: int = CALLS_PER_TURN,
    revision: str = "main",
    trust_remote_code: bool = False,
) -> Any:
    """The processor of a vision-language checkpoint.

    Args:
        model: A folder or a name on the Hub.
        chat_template: ``"ours"`` puts in the templates of the model's family, ``"model"`` keeps its own.
        calls_per_turn: Tool calls that are read of one turn of the model.
        revision: On the Hub.
        trust_remote_code: Run code that comes with the checkpoint.

    Raises:
        ConfigError: We have no template for this family.
    """
    from transformers import AutoConfig, AutoProcessor

    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    # TRL pads and truncates prompts on the left, and asks for it where it loads the processor itself.
    processor = AutoProcessor.from_pretrained(model, truncation_side="left", padding_side="left", **options)
    if chat_template == "ours":
        apply_templates(processor, AutoConfig.from_pretrained(model, **options).model_type)
    _guard_parsing(processor.tokenizer, calls_per_turn)
    return processor


def _guard_parsing(tokenizer: Any, calls_per_turn: int) -> None:
    """Makes any call that cannot be used a ValueError, upon which TRL takes the turn as text; bounds their number.

    Two kinds would end the training instead: brackets nested a thousand deep (RecursionError), and half of a
    surrogate pair, which is valid JSON but can be put into no prompt. Each call that is read gets a reply, so that a
    turn of a hundred of them would fill the conversation.
    """
    parse = tokenizer.parse_response

    @functools.wraps(parse)
    def parse_response(*positional: Any, **given: Any) -> Any:
        try:
            parsed = parse(*positional, **given)
            json.dumps(parsed, ensure_ascii=False).encode()
        except RecursionError:
            raise ValueError("a tool call is nested too deeply") from None
        if isinstance(parsed, dict) and len(parsed.get("tool_calls") or ()) > calls_per_turn:
            parsed["tool_calls"] = parsed["tool_calls"][:calls_per_turn]
        return parsed

    tokenizer.parse_response = parse_response


def suppress_media_tokens(args: Any, processor: Any) -> None:
    """Keeps the model from sampling image and video placeholders, which would count as images that nobody gave.

    A sampled ``<|video_pad|>`` ends a training of Qwen3-VL with an error of its position index.

    Args:
        args: A ``GRPOConfig``; its ``generation_kwargs`` are added to, and what they hold already stays.
        processor: Names the tokens.
    """
    names = [getattr(processor, name, None) for name in ("image_token", "video_token")]
    tokens = [processor.tokenizer.convert_tokens_to_ids(name) for name in names if name is not None]
    given: dict[str, Any] = dict(args.generation_kwargs or {})
    if args.use_vllm:
        # vLLM has no suppress_tokens; a bias of -100 is the strongest that it takes.
        given["logit_bias"] = {**dict.fromkeys(tokens, -100.0), **given.get("logit_bias", {})}
    else:
        given["suppress_tokens"] = sorted({*tokens, *given.get("suppress_tokens", ())})
    args.generation_kwargs = given


def warn_of_resizing(processor: Any, **samplings: FrameSampling) -> None:
    """Says so where the checkpoint's image processor enlarges or shrinks the frames that it is given.

    Args:
        processor: Its ``image_processor`` has bounds of its own, in pixels.
        samplings: By the name that the recipe has for them.
    """
    size = getattr(processor.image_processor, "size", None) or {}
    least, most = size.get("shortest_edge"), size.get("longest_edge")
    for name, sampling in samplings.items():
        if least is not None and sampling.max_pixels < least:
            logger.warning(
                "the image processor enlarges every %s frame to %d pixels or more, so frames take more tokens than "
                "%s_max_pixels (%d) says; the model's processor decides",
                name,
                least,
                name,
                sampling.max_pixels,
            )
        if most is not None and sampling.min_pixels > most:
            logger.warning("the image processor shrinks every %s frame to %d pixels or less", name, most)
