"""The vision tower sees every picture once, and nothing else changes."""

from __future__ import annotations

import pytest
import torch

from longvt_plugins.errors import ConfigError
from longvt_plugins.synthetic import checkpoint
from trl_ext.vision_cache import VisionCache, picture_keys, share_vision


def load(name: str):
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    return AutoModelForImageTextToText.from_pretrained(checkpoint(name), dtype=torch.float32).eval()


@pytest.fixture(params=["agent", "qwen3_vl"])
def model(request):
    return load(request.param)


def inputs(model, pictures: list[int]):
    """A conversation for each picture, one picture each; equal numbers are equal pictures."""
    vision = model.config.vision_config
    channels = 3 * vision.temporal_patch_size * vision.patch_size**2
    merge = vision.spatial_merge_size
    height, width = 2 * merge, 2 * merge
    parts = []
    for picture in pictures:
        generator = torch.Generator().manual_seed(picture)
        parts.append(torch.randn(height * width, channels, generator=generator))
    tokens = height * width // merge**2
    row = [model.config.vision_start_token_id, *[model.config.image_token_id] * tokens, 5, 6, 7]
    ids = torch.tensor([row] * len(pictures))
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == model.config.image_token_id).int(),
        "pixel_values": torch.cat(parts),
        "image_grid_thw": torch.tensor([[1, height, width]] * len(pictures)),
    }


def count_pictures(model) -> list[int]:
    """How many pictures each run of the tower got; grows as it runs."""
    seen: list[int] = []
    tower = model.model.visual
    tower.register_forward_pre_hook(lambda module, args, kwargs: seen.append(len(kwargs["grid_thw"])), with_kwargs=True)
    return seen


def test_equal_pictures_of_one_call_go_through_the_tower_once_with_the_same_logits(model):
    batch = inputs(model, [1, 2, 1, 1])
    with torch.no_grad():
        before = model(**batch).logits
        share_vision(model, max_mb=0)
        seen = count_pictures(model)
        after = model(**batch).logits
    assert seen == [2]
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_a_frozen_tower_is_not_asked_again_about_a_picture_it_knows(model):
    model.model.visual.requires_grad_(False)
    cache = share_vision(model, max_mb=64)
    seen = count_pictures(model)
    with torch.no_grad():
        first = model(**inputs(model, [1, 2])).logits
        again = model(**inputs(model, [2, 3, 1])).logits
    assert seen == [2, 1]
    assert (cache.hits, cache.misses) == (2, 3)
    torch.testing.assert_close(again[0], first[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again[2], first[0], rtol=1e-4, atol=1e-5)


def test_features_from_generation_can_be_trained_on(model):
    model.model.visual.requires_grad_(False)
    share_vision(model, max_mb=64)
    with torch.inference_mode():
        model(**inputs(model, [1]))
    model(**inputs(model, [1])).logits.sum().backward()
    assert model.get_input_embeddings().weight.grad is not None


def test_a_tower_that_learns_keeps_nothing_and_gets_the_gradient_of_every_copy(model):
    batch = inputs(model, [1, 1])
    model(**batch).logits.square().sum().backward()
    parameter = next(model.model.visual.parameters())
    expected, parameter.grad = parameter.grad.clone(), None
    model.zero_grad()
    cache = share_vision(model, max_mb=64)
    seen = count_pictures(model)
    model(**batch).logits.square().sum().backward()
    torch.testing.assert_close(parameter.grad, expected, rtol=1e-2, atol=1e-2 * float(expected.abs().max()))
    model(**batch)
    assert seen == [1, 1] and cache.hits == 2


def test_a_model_that_may_not_keep_features_runs_its_tower_in_every_call(model):
    model.model.visual.requires_grad_(False)
    share_vision(model, max_mb=64, keep=False)
    seen = count_pictures(model)
    with torch.no_grad():
        model(**inputs(model, [1]))
        model(**inputs(model, [1]))
    assert seen == [1, 1]


def test_a_model_under_lora_shares_too(model):
    from peft import LoraConfig, get_peft_model

    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    cache = share_vision(wrapped, max_mb=64)
    with torch.no_grad():
        wrapped(**inputs(model, [1]))
        wrapped(**inputs(model, [1]))
    assert cache.hits == 1


def test_pictures_that_differ_in_one_value_or_in_shape_alone_are_told_apart():
    pixels = torch.zeros(8, 6)
    changed = pixels.clone()
    changed[7, 5] = 1e-6
    swapped = pixels.clone()
    swapped[0, 0] = 1e-6
    grid = torch.tensor([[1, 2, 4]])
    keys = {picture_keys(values, grid)[0] for values in (pixels, changed, swapped)}
    keys.add(picture_keys(pixels, torch.tensor([[1, 4, 2]]))[0])
    keys.add(picture_keys(pixels.to(torch.bfloat16), grid)[0])
    assert len(keys) == 5


def test_the_longest_unused_features_go_when_there_is_no_room():
    cache = VisionCache(max_bytes=2 * 4)
    for name in ("a", "b"):
        cache.put((name,), (torch.zeros(1),))
    cache.get(("a",))
    cache.put(("c",), (torch.zeros(1),))
    assert cache.get(("b",)) is None and cache.get(("a",)) is not None and cache.get(("c",)) is not None
    cache.put(("large",), (torch.zeros(100),))
    assert cache.get(("large",)) is None and cache.get(("a",)) is not None


def test_a_model_without_a_tower_is_refused_and_so_is_a_second_cache(model):
    with pytest.raises(ConfigError, match="no vision tower"):
        share_vision(torch.nn.Linear(1, 1), max_mb=1)
    share_vision(model, max_mb=1)
    with pytest.raises(ConfigError, match="already"):
        share_vision(model, max_mb=1)
