"""Tokens of frames: as many as the model's own processor makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import longvt_plugins.synthetic
from longvt_plugins.errors import ConfigError
from longvt_plugins.tools.context import frame_blocks
from longvt_plugins.video import Frame
from longvt_plugins.video.tokens import FAMILIES, token_counter

CHECKPOINTS = Path(longvt_plugins.synthetic.__file__).parent / "checkpoints"


@pytest.mark.parametrize("name", ["agent", "qwen3_vl"])
@pytest.mark.parametrize("size", [(28, 28), (280, 168), (64, 200), (640, 360)])
def test_a_checkpoint_counts_as_many_as_its_processor_makes(name, size):
    transformers = pytest.importorskip("transformers", reason="pip install 'longvt-plugins[train]'")
    from PIL import Image

    folder = CHECKPOINTS / name
    processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
    times = [0.0, 1.5, 99.0, 3599.5]
    blocks = frame_blocks([Frame(Image.new("RGB", size), time) for time in times], video="video_1.mp4")

    def tokens(content):
        text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
        images = [block["image"] for block in content if block["type"] == "image"]
        return len(processor(text=[text], images=images or None)["input_ids"][0])

    assert token_counter(str(folder))(times, size) == tokens(blocks) - tokens([])


def test_a_family_counts_squares_of_its_grid_marks_and_labels():
    """280x168 is 10x6 squares of 28 pixels; Qwen3-VL enlarges it to 352x224, 11x7 squares of 32."""
    label = len("12.5s")
    assert token_counter("qwen2_5_vl")([12.5], (280, 168)) == 60 + 2 + label
    assert token_counter("qwen3_vl")([12.5], (280, 168)) == 77 + 2 + label
    assert token_counter("qwen2_5_vl")([], (280, 168)) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_sizes_pictures_as_its_image_processor_does(family):
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_qwen2_vl")
    known = FAMILIES[family]
    for width, height in [(28, 28), (280, 168), (224, 224), (1920, 1080), (64, 600), (5000, 4000)]:
        resized = module.smart_resize(
            height, width, factor=known.side, min_pixels=known.min_pixels, max_pixels=known.max_pixels
        )
        squares = resized[0] * resized[1] // known.side**2
        assert known.count([0.0], (width, height)) == squares + 2 + len("0s")


def test_what_is_no_model_is_told_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"no model 'qwen9': it must be qwen2_5_vl, qwen3_vl or the folder"):
        token_counter("qwen9")
    with pytest.raises(ConfigError, match="no processor of a model in") as told:
        token_counter(str(tmp_path))
    assert "\n" not in str(told.value)
