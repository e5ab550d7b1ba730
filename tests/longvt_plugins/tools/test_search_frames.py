"""search_frames with tiny random models: it finds what the model finds, and keeps what it encoded."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from longvt_plugins import FrameSampling, ToolContext, ToolError, Video, VideoConfig, VideoLibrary
from longvt_plugins.budget import Budget
from longvt_plugins.errors import ConfigError
from longvt_plugins.testing import plugin_manager, seconds_shown
from longvt_plugins.tools import frame_index
from longvt_plugins.types import TimeSpan

NAME = "video_1.mp4"
WORDS = ["<pad>", "<eos>", "<unk>", "red", "blue", "a", "lamp"]
SIDE = 32


@pytest.fixture(scope="module", params=["clip", pytest.param("siglip", marks=pytest.mark.slow)])
def model(request, tmp_path_factory):
    """A folder with a model of random weights, as transformers saves one."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        PreTrainedTokenizerFast,
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
        SiglipProcessor,
    )

    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=16, **special)
    small = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 4}
    text = {**small, "vocab_size": len(WORDS), "max_position_embeddings": 16}
    text |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    vision = {**small, "image_size": SIDE, "patch_size": 8}
    torch.manual_seed(0)
    if request.param == "clip":
        loaded = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
        pictures = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
        processor = CLIPProcessor(pictures, tokenizer)
    else:
        loaded = SiglipModel(SiglipConfig(text_config={**text, "projection_size": 32}, vision_config=vision))
        processor = SiglipProcessor(SiglipImageProcessor(size={"height": SIDE, "width": SIDE}), tokenizer)
    folder = tmp_path_factory.mktemp(request.param)
    loaded.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _nothing_in_memory():
    frame_index._kept.clear()


def search(model, video, query, options="", budget=None, cache=None, progress=None):
    plugins = plugin_manager()
    (tool,) = plugins.select_tools([f"search_frames:model={model}{options}"])
    with VideoLibrary(VideoConfig(cache_dir=str(cache) if cache else None), plugins) as library:
        with ToolContext({NAME: video}, library=library, budget=budget, progress=progress) as ctx:
            reply = tool(ctx, {"video_path": NAME, "query": query})
        return reply, library.stats().misses


def test_the_frames_shown_are_those_that_the_model_finds_likest(model, stamped):
    reply, _ = search(model, stamped, "a red lamp", ":frames=3")

    encoder = frame_index.load_encoder(str(model), "cpu")
    sampling = FrameSampling(min_pixels=1, max_pixels=384 * 384, factor=2)
    with Video.open(stamped) as video:
        frames = video.clip(TimeSpan(0, video.duration), sampling)
    likeness = encoder.images([frame.image for frame in frames]) @ encoder.text("a red lamp")
    expected: list[float] = []
    for place in np.argsort(-likeness, kind="stable"):
        if all(abs(place - other) > 1 for other in expected):
            expected.append(float(place))
    assert seconds_shown(reply) == sorted(expected[:3])
    assert reply[0]["text"] == "3 frames of 20 that look most like the query, in order of time:"


def test_a_video_is_encoded_once_and_its_index_kept_on_disk(model, stamped, tmp_path):
    first, decoded = search(model, stamped, "blue", f":frames=2:index={tmp_path}")
    frame_index._kept.clear()  # as in another process
    again, later = search(model, stamped, "blue", f":frames=2:index={tmp_path}")

    assert seconds_shown(again) == seconds_shown(first)
    assert (decoded, later) == (22, 2)
    (kept,) = (tmp_path / "search_frames").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    frame_index._kept.clear()
    third, after_damage = search(model, stamped, "blue", f":frames=2:index={tmp_path}")
    assert (seconds_shown(third), after_damage) == (seconds_shown(first), 22)


def test_without_a_folder_it_is_kept_in_memory(model, stamped):
    assert [search(model, stamped, "blue", ":frames=2")[1] for _ in range(2)] == [22, 2]
    assert len(frame_index._kept) == 1


def test_another_file_or_step_has_an_index_of_its_own(model, stamped, tmp_path):
    other = shutil.copy(stamped, tmp_path / "other.mp4")
    for video, options in ((stamped, ""), (other, ""), (other, ":step=4")):
        search(model, video, "red", f":frames=1:index={tmp_path}{options}")
    assert len(list((tmp_path / "search_frames").iterdir())) == 3


def test_the_cache_of_the_host_is_used_where_no_folder_is_named(model, stamped, tmp_path):
    search(model, stamped, "red", ":frames=1", cache=tmp_path)
    assert len(list((tmp_path / "search_frames").iterdir())) == 1


@pytest.mark.slow
def test_the_folder_of_indexes_is_bounded(model, stamped, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_index, "MAX_FOLDER_BYTES", 2500)
    for step in (1, 2, 3, 4):
        search(model, stamped, "red", f":frames=1:index={tmp_path}:step={step}")
    kept = list((tmp_path / "search_frames").iterdir())
    assert 0 < len(kept) < 4
    assert sum(file.stat().st_size for file in kept) <= 2500


def test_the_budget_is_kept_and_the_progress_told(model, stamped):
    told = []
    budget = Budget(max_frames=2)
    reply, _ = search(model, stamped, "red", budget=budget, progress=lambda done, total: told.append((done, total)))
    assert len(seconds_shown(reply)) == budget.frames == 2
    assert told == [(0, 20)]


def test_a_mistake_is_told(model, stamped, tmp_path):
    with pytest.raises(ToolError, match="query is empty"):
        search(model, stamped, " ")
    with pytest.raises(ConfigError, match=r"no model in .* \(it has no config\.json\); nothing is downloaded"):
        search(tmp_path, stamped, "red")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        search(tmp_path, stamped, "red")
