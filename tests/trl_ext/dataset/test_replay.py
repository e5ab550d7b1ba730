"""What is trained on in SFT: the tokens that the environment shows in RL, and those alone that the assistant writes."""

import json
from dataclasses import replace

import pytest

from longvt_plugins.chat_templates import FAMILIES
from longvt_plugins.conversation import system_message
from longvt_plugins.synthetic.tiny import build_processor
from longvt_plugins.testing import plugin_manager, read_stamp
from longvt_plugins.video.library import VideoLibrary
from trl_ext.dataset.blocks import image_blocks
from trl_ext.dataset.conversations import read_conversations
from trl_ext.dataset.faults import DataFault
from trl_ext.dataset.measure import BlankLibrary, Measure
from trl_ext.dataset.media import MediaFolder
from trl_ext.dataset.questions import read_questions
from trl_ext.dataset.replay import Replayer
from trl_ext.dataset.training_rows import rows_to_dataset
from trl_ext.environment import EnvironmentConfig, make_environment

from .conftest import thought, trace, verl_row, write_published

CONFIG = EnvironmentConfig(overview_max_frames=3, overview_max_pixels=28 * 28, crop_max_pixels=56 * 56)


@pytest.fixture(scope="module")
def plugins():
    return plugin_manager()


@pytest.fixture(scope="module")
def replayer(plugins):
    replayer = Replayer(CONFIG, plugins)
    yield replayer
    replayer.close()


@pytest.fixture(scope="module", params=FAMILIES)
def processor(request):
    return build_processor(request.param)


def conversation(folder, media, messages, **options):
    (found,) = read_conversations(write_published(folder / "own.parquet", [messages]), MediaFolder(media), **options)
    return found


def tokens(processor, messages, **options) -> list[int]:
    told = processor.apply_chat_template([messages], tokenize=True, return_dict=True, **options)
    return told["input_ids"][0]


def test_sft_and_rl_show_the_same_tokens_before_the_first_turn(tmp_path, media, replayer, plugins, processor):
    messages = replayer.messages(conversation(tmp_path, media, trace()))
    (tmp_path / "rl.jsonl").write_text(json.dumps(verl_row()) + "\n")
    (row,) = rows_to_dataset(read_questions(tmp_path / "rl.jsonl", MediaFolder(media)))
    environment = make_environment(CONFIG, plugins)()
    system, user = row["prompt"]
    asked = {**user, "content": [{"type": "text", "text": user["content"]}, *environment.reset(**row)]}
    schemas = [tool.schema for tool in plugins.select_tools(["crop_video"])]
    in_rl = tokens(processor, [system, asked], tools=schemas, add_generation_prompt=True)
    in_sft = tokens(processor, messages[:2], add_generation_prompt=True)
    assert in_sft == in_rl
    assert in_sft.count(processor.image_token_id) == 3
    assert tokens(processor, messages)[: len(in_sft)] == in_sft


def test_the_tool_replies_as_it_does_in_rl(tmp_path, media, replayer, plugins, row):
    messages = replayer.messages(conversation(tmp_path, media, trace()))
    environment = make_environment(CONFIG, plugins)()
    environment.reset(**row)
    reply = environment.crop_video(video_path="video_1.mp4", start_time=8, end_time=11)
    assert [block.get("text") for block in messages[3]["content"]] == [block.get("text") for block in reply]
    assert [read_stamp(block["image"]) for block in image_blocks(messages[3:4])] == [32, 36, 40]


def test_only_what_the_assistant_wrote_is_trained_on(tmp_path, media, replayer, processor):
    """Through TRL's own collator: the labels of a trace with pictures in the user's and the tool's turn, decoded."""
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    traces = [replayer.messages(conversation(tmp_path, media, messages)) for messages in (trace(), thought())]
    collator = DataCollatorForVisionLanguageModeling(processor, assistant_only_loss=True)
    batch = collator([{"messages": messages, "images": []} for messages in traces])
    trained = []
    for labels in batch["labels"].tolist():
        runs: list[list[int]] = []
        for before, label in zip([-100, *labels], labels, strict=False):
            if label != -100:
                if before == -100:
                    runs.append([])
                runs[-1].append(label)
        trained.append([processor.tokenizer.decode(run) for run in runs])
    call = '{"name": "crop_video", "arguments": {"video_path": "video_1.mp4", "start_time": 8, "end_time": 11}}'
    assert trained == [
        [
            f"<think>Something near 8 s of video_1.mp4.</think>\n<tool_call>\n{call}\n</tool_call><|im_end|>",
            "<think>It is red.</think><answer>red</answer><|im_end|>",
        ],
        ["<think>I count.</think><answer>4</answer><|im_end|>"],
    ]
    shown = batch["input_ids"]
    assert (shown == processor.image_token_id).sum().item() == 3 + 3 * 4 + 1
    assert batch["labels"][shown == batch["labels"]].ne(processor.image_token_id).all()


def test_a_conversation_without_calls_is_not_told_of_tools(tmp_path, media, replayer):
    messages = trace()
    told = [messages[1], {"role": "assistant", "content": [{"type": "text", "text": "<think>Red.</think>"}]}]
    assert replayer.messages(conversation(tmp_path, media, told))[0] == system_message("reasoning")
    told[1]["content"][0]["text"] = "red"
    assert replayer.messages(conversation(tmp_path, media, told))[0] == system_message("non_think")


def test_as_recorded_the_overview_stands_where_the_video_stood(tmp_path, media, replayer):
    messages = replayer.messages(conversation(tmp_path, media, trace(), replay=False))
    assert messages[0]["content"].startswith("You are a helpful assistant.")
    stamps = [read_stamp(block["image"]) for block in image_blocks(messages[1:2])]
    assert len(stamps) == 3 and stamps[0] == 0
    assert [block["image"][-7:] for block in image_blocks(messages[3:4])] == ["1_0.jpg", "1_2.jpg", "_10.jpg"]


def test_a_call_that_the_tool_refuses_today_is_a_fault(tmp_path, media, replayer):
    with pytest.raises(DataFault, match="start_time 900 is outside the video") as caught:
        replayer.messages(conversation(tmp_path, media, trace(start=900, end=910)))
    assert caught.value.kind == "refused call"


@pytest.mark.parametrize(
    ("limit", "told"), [({"max_turns": 2}, "answer now"), ({"max_calls": 0}, "all 0 tool calls are used")]
)
def test_calls_beyond_the_limits_of_rl_are_faults(tmp_path, media, plugins, limit, told):
    found = conversation(tmp_path, media, trace())
    with pytest.raises(DataFault, match=f"(?i){told}") as caught:
        Replayer(replace(CONFIG, **limit), plugins).messages(found)
    assert caught.value.kind == "refused call"
    enough = Replayer(replace(CONFIG, max_turns=3, max_calls=1), plugins)
    # One conversation after another: the turns of the first are not counted for the second.
    assert [len(enough.messages(found)) for _ in range(2)] == [5, 5]


def test_a_call_of_a_tool_that_is_not_there_is_a_fault(tmp_path, media, plugins):
    with pytest.raises(DataFault, match="a call of 'crop_video'; the tools are none"):
        Replayer(EnvironmentConfig(tools=[]), plugins).messages(conversation(tmp_path, media, trace()))


def test_sizes_counted_without_decoding_are_those_of_what_is_trained_on(tmp_path, media, replayer, plugins, processor):
    found = conversation(tmp_path, media, trace())
    blank = Replayer(CONFIG, plugins, library=BlankLibrary(CONFIG.video, plugins))
    size = Measure(processor).of(blank.messages(found))
    assert isinstance(blank.messages(found), list) and isinstance(blank._class.library, VideoLibrary)
    assert blank._class.library.stats().misses == 0
    messages = replayer.messages(found)
    assert Measure(processor).of(messages) == size
    assert size.tokens == len(tokens(processor, messages))
    assert (size.frames, 0 < size.trained < size.tokens) == (6, True)
