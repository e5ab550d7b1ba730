"""The chat templates against the real processors, TRL's own checks, its collator and transformers' parser."""

import json
from pathlib import Path

import pytest
from PIL import Image

from longvt_plugins.chat_templates import (
    FAMILIES,
    apply_templates,
    chat_template_path,
    load_chat_template,
    render_tools_into_system,
    response_template,
)
from longvt_plugins.errors import ConfigError

pytest.importorskip("trl")

SCHEMA = {
    "type": "function",
    "function": {
        "name": "crop_video",
        "description": 'Look closer, "é" <b>.',
        "parameters": {
            "type": "object",
            "properties": {"video_path": {"type": "string", "description": "Name."}, "start_time": {"type": "number"}},
            "required": ["video_path"],
        },
    },
}


def crop_call(start: float = 46) -> dict:
    arguments = {"video_path": "video_1.mp4", "start_time": start, "end_time": start + 6.5}
    return {"type": "function", "function": {"name": "crop_video", "arguments": arguments}}


def frame(colour: str = "red") -> dict:
    return {"type": "image", "image": Image.new("RGB", (28, 28), colour), "time": 1.0, "video": "video_1.mp4"}


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def trace() -> list[dict]:
    """Two calls in one turn, then one more, then the answer."""
    return [
        {"role": "system", "content": [text("Answer questions about videos.")]},
        {"role": "user", "content": [text("0s"), frame(), text("4s"), frame("gray"), text("What colour?")]},
        {
            "role": "assistant",
            "content": "<think>A flash.</think>",
            "tool_calls": [crop_call(46), crop_call(2)],
        },
        {"role": "tool", "name": "crop_video", "content": [text("1 frames from 46s to 52.5s:"), frame("blue")]},
        {"role": "tool", "name": "crop_video", "content": "Error: start_time 2 is outside"},
        {"role": "assistant", "content": "<think>Closer.</think>", "tool_calls": [crop_call(47)]},
        {"role": "tool", "name": "crop_video", "content": [frame("blue"), text("seen")]},
        {"role": "assistant", "content": "<think>It is blue.</think>\n<answer>blue</answer>"},
    ]


def in_blocks(messages: list[dict]) -> list[dict]:
    """Content as block lists, which processors of vision-language models ask for."""
    return [
        {
            **message,
            "content": [text(message["content"])] if isinstance(message["content"], str) else message["content"],
        }
        for message in messages
    ]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def processor(family):
    from longvt_plugins.synthetic.tiny import build_processor

    return build_processor(family)


def render(processor, messages, **options) -> str:
    return processor.apply_chat_template(messages, tokenize=False, **options)


def test_a_whole_trace_renders_byte_for_byte(processor):
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    first, second, third = (
        f'<tool_call>\n{{"name": "crop_video", "arguments": {{"video_path": "video_1.mp4", "start_time": {start}, '
        f'"end_time": {end}}}}}\n</tool_call>'
        for start, end in ((46, 52.5), (2, 8.5), (47, 53.5))
    )
    assert render(processor, trace()) == (
        "<|im_start|>system\nAnswer questions about videos.<|im_end|>\n"
        f"<|im_start|>user\n0s{image}4s{image}What colour?<|im_end|>\n"
        f"<|im_start|>assistant\n<think>A flash.</think>\n{first}\n{second}<|im_end|>\n"
        f"<|im_start|>user\n<tool_response>\n1 frames from 46s to 52.5s:{image}\n</tool_response>\n"
        "<tool_response>\nError: start_time 2 is outside\n</tool_response><|im_end|>\n"
        f"<|im_start|>assistant\n<think>Closer.</think>\n{third}<|im_end|>\n"
        f"<|im_start|>user\n<tool_response>\n{image}seen\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<think>It is blue.</think>\n<answer>blue</answer><|im_end|>\n"
    )


def test_trl_finds_tools_prefixes_and_stop_tokens_in_order(processor):
    from trl.chat_template_utils import (
        get_training_chat_template,
        is_chat_template_prefix_preserving,
        is_chat_template_stop_token_trained,
        supports_tool_calling,
    )

    assert supports_tool_calling(processor)
    assert is_chat_template_prefix_preserving(processor)
    assert is_chat_template_stop_token_trained(processor)
    assert get_training_chat_template(processor) is None


def test_every_prefix_of_a_conversation_is_a_prefix_of_its_text(processor):
    whole = render(processor, trace(), tools=[SCHEMA])
    for end, message in enumerate(trace()):
        if message["role"] == "assistant":
            prompt = render(processor, trace()[:end], tools=[SCHEMA], add_generation_prompt=True)
            assert whole.startswith(prompt)
            assert whole.startswith(render(processor, trace()[: end + 1], tools=[SCHEMA]))


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "<think>Look.</think>", "tool_calls": [crop_call()]},
        {"role": "assistant", "content": "<think>Look.</think>\n", "tool_calls": [crop_call(), crop_call(1)]},
        {"role": "assistant", "content": "", "tool_calls": [crop_call()]},
        {"role": "assistant", "content": "<think>é\n\n <b></think> <answer> red </answer>"},
    ],
)
def test_what_is_rendered_is_read_back_and_rendered_alike(processor, message):
    from trl.chat_template_utils import parse_response

    question = [{"role": "user", "content": [text("Hi")]}]
    prompt = render(processor, question, add_generation_prompt=True)
    written = render(processor, [*question, message]).removeprefix(prompt).removesuffix("\n")
    tokenizer = processor.tokenizer
    prompt_ids, ids = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (prompt, written))
    read = parse_response(tokenizer, ids, prefix=prompt_ids, tools=[SCHEMA])
    assert "reasoning_content" not in read
    assert read["content"] == message["content"].removesuffix("\n")
    assert read.get("tool_calls", []) == message.get("tool_calls", [])
    assert render(processor, [*question, read]) == prompt + written + "\n"


@pytest.mark.parametrize(
    "written",
    [
        '<think>a</think>\n<tool_call>\n{"name": "crop_video", "arguments": {\n</tool_call><|im_end|>',
        '<think>a</think>\n<tool_call>\n{"name": "crop_video"}\n</tool_call><|im_end|>',
        '<think>a</think>\n<tool_call>\n["crop_video"]\n</tool_call><|im_end|>',
        '<think>a</think>\n<tool_call>\n{"name": "crop_video", "argu<|im_end|>',
    ],
)
def test_a_malformed_call_stays_text(processor, written):
    from trl.chat_template_utils import parse_response

    ids = processor.tokenizer(written)["input_ids"]
    read = parse_response(processor.tokenizer, ids, prefix=[], tools=[SCHEMA])
    assert read == {"role": "assistant", "content": written.removesuffix("<|im_end|>")}


def test_text_after_a_call_does_not_replace_the_thought_before_it(processor):
    call = json.dumps(crop_call()["function"])
    written = f"<think>a</think>\n<tool_call>\n{call}\n</tool_call>\nLet us see.<|im_end|>"
    read = processor.tokenizer.parse_response(written, prefix="")
    assert read["content"] == "<think>a</think>Let us see."
    assert read["tool_calls"] == [crop_call()]


def test_the_call_is_what_a_hermes_parser_looks_for(processor):
    """vLLM's parser: between the tags stands one JSON object with a name and arguments."""
    import re

    found = re.findall(r"<tool_call>(.*?)</tool_call>", render(processor, trace()[2:3]), re.DOTALL)
    assert [json.loads(call)["arguments"]["start_time"] for call in found] == [46, 2]
    assert all(set(json.loads(call)) == {"name", "arguments"} for call in found)


def test_arguments_may_be_json_text_and_content_may_be_missing(processor):
    wire = {"type": "function", "function": {"name": "crop_video", "arguments": '{"start_time": 1}'}}
    memory = {"type": "function", "function": {"name": "crop_video", "arguments": {"start_time": 1}}}
    assert render(processor, [{"role": "assistant", "content": None, "tool_calls": [wire]}]) == render(
        processor, [{"role": "assistant", "content": "", "tool_calls": [memory]}]
    )


def test_fields_filled_with_null_draw_no_phantom_images(processor):
    """`'image' in block` is true for a text block whose missing fields were filled with None."""
    filled = {"type": "text", "text": "Hi", "image": None, "time": None, "video": None}
    rendered = render(processor, [{"role": "user", "content": [filled], "tool_calls": None}])
    assert "image_pad" not in rendered
    assert "video_pad" not in rendered


def test_the_content_of_a_server_that_keeps_the_line_break_renders_the_same(processor):
    """vLLM leaves the line break before a call in the content; our parser does not."""
    turn = {"role": "assistant", "content": "<think>a</think>", "tool_calls": [crop_call()]}
    assert render(processor, [turn]) == render(processor, [{**turn, "content": "<think>a</think>\n"}])


def test_an_unknown_role_or_block_is_refused(processor):
    from jinja2 import TemplateError

    with pytest.raises(TemplateError, match="not narrator"):
        render(processor, [{"role": "narrator", "content": "Once"}])
    with pytest.raises(TemplateError, match="not hologram"):
        render(processor, [{"role": "user", "content": [{"type": "hologram"}]}])


def test_tools_written_into_the_system_text_give_the_tokens_of_tools(processor, family):
    """TRL's SFT drops `tools` where there are images, RL renders them: the model must read the same."""
    system = "Answer questions about videos."
    question = trace()[1:2]
    rl = processor.apply_chat_template(
        [in_blocks([{"role": "system", "content": system}, *question])],
        tools=[SCHEMA],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
    )["input_ids"]
    written = render_tools_into_system(system, [SCHEMA], family)
    sft = processor.apply_chat_template(
        [in_blocks([{"role": "system", "content": written}, *question])],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
    )["input_ids"]
    assert rl == sft
    assert json.dumps(SCHEMA, ensure_ascii=False) in written


def test_both_families_describe_tools_alike():
    assert len({render_tools_into_system("Hello.", [SCHEMA], family) for family in FAMILIES}) == 1


def test_without_a_system_message_each_family_does_as_its_makers_do():
    from longvt_plugins.synthetic.tiny import build_processor

    question = [{"role": "user", "content": [text("Hi")]}]
    assert render(build_processor("qwen3_vl"), question) == "<|im_start|>user\nHi<|im_end|>\n"
    assert render(build_processor("qwen2_5_vl"), question).startswith(
        "<|im_start|>system\nYou are a helpful assistant."
    )


def test_the_loss_is_on_what_the_model_writes_and_on_nothing_else(processor):
    """Through TRL's own collator, images and their many tokens included."""
    import transformers
    from packaging.version import Version
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    if Version(transformers.__version__) < Version("5.18"):
        pytest.skip("masking the loss of vision data needs transformers 5.18")
    collator = DataCollatorForVisionLanguageModeling(processor, assistant_only_loss=True)
    batch = collator([{"messages": trace(), "images": []}])
    labels, ids = batch["labels"][0].tolist(), batch["input_ids"][0].tolist()
    assert all(label in (-100, token) for label, token in zip(labels, ids, strict=True))
    spans, start = [], None
    for position, label in enumerate([*labels, -100]):
        if label != -100 and start is None:
            start = position
        elif label == -100 and start is not None:
            spans.append(processor.tokenizer.decode(ids[start:position]))
            start = None
    calls = [json.dumps(crop_call(at)["function"]) for at in (46, 2, 47)]
    assert spans == [
        f"<think>A flash.</think>\n<tool_call>\n{calls[0]}\n</tool_call>\n"
        f"<tool_call>\n{calls[1]}\n</tool_call><|im_end|>",
        f"<think>Closer.</think>\n<tool_call>\n{calls[2]}\n</tool_call><|im_end|>",
        "<think>It is blue.</think>\n<answer>blue</answer><|im_end|>",
    ]


def test_the_templates_survive_saving(processor, family, tmp_path: Path):
    from transformers import AutoProcessor

    apply_templates(processor, family)
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert loaded.chat_template == loaded.tokenizer.chat_template == load_chat_template(family)
    assert loaded.tokenizer.response_template == response_template(family)


def test_an_unknown_family_is_named_with_those_that_exist():
    with pytest.raises(ConfigError, match="'llava'; there are: qwen2_5_vl, qwen3_vl"):
        chat_template_path("llava")
