"""Nothing that a model reads holds the answer or the reference window, told by markers that occur nowhere else."""

import json

import pytest

from longvt_plugins.conversation import Form
from longvt_plugins.testing import plugin_manager
from trl_ext.dataset import load_training_rows
from trl_ext.environment import EnvironmentConfig, make_environment

ANSWER = "heliotrope-7731"
WINDOW = [6.28125, 9.40625]
SOURCE = "source-4417"
MARKERS = (ANSWER, "6.28", "9.40", "9.4", SOURCE, "row-5519")


@pytest.fixture
def marked_rows(tmp_path, row):
    path = tmp_path / "rows.jsonl"
    marked = {**row, "id": "row-5519", "answer": ANSWER, "video_segment": WINDOW, "source": SOURCE}
    path.write_text(json.dumps(marked) + "\n")
    return path


@pytest.mark.parametrize("form", ["tool", "reasoning", "non_think"])
def test_neither_the_prompt_nor_a_reply_holds_the_answer_or_the_window(marked_rows, form: Form):
    from longvt_plugins.synthetic.tiny import build_processor

    example = load_training_rows(marked_rows, form=form)[0]
    environment = make_environment(EnvironmentConfig(overview_max_frames=4, form=form), plugin_manager())()
    opening = environment.reset(**example)
    replies = environment.crop_video(video_path="video_1.mp4", start_time=1, end_time=3)
    refused = environment.crop_video(video_path="video_9.mp4", start_time=1, end_time=3)
    prompt = [*example["prompt"][:-1], {"role": "user", "content": opening}]
    prompt[0] = {"role": "system", "content": [{"type": "text", "text": prompt[0]["content"]}]}
    prompt += [{"role": "tool", "name": "crop_video", "content": content} for content in (replies, refused)]
    processor = build_processor("qwen2_5_vl")
    tools = [environment.crop_video]
    text = processor.apply_chat_template(prompt, tools=tools, tokenize=False, add_generation_prompt=True)
    ids = processor.apply_chat_template([prompt], tools=tools, tokenize=True, return_dict=True)["input_ids"][0]
    read = text + processor.tokenizer.decode(ids) + repr(opening) + repr(replies)
    assert "Which colour does the lamp flash?" in read
    assert [marker for marker in MARKERS if marker in read] == []


def test_the_markers_would_be_found(marked_rows):
    """The test above can fail: the dataset's columns hold every marker, for rewards to read."""
    columns = repr(load_training_rows(marked_rows)[0])
    assert all(marker in columns for marker in MARKERS)
