"""The base model's training takes a short cut through the model; what it computes must be what the model computes."""

import random

import numpy as np

from longvt_plugins.synthetic import base, checkpoint


def test_all_frames_at_once_give_the_hidden_states_of_frame_after_frame():
    import torch
    from transformers import AttentionInterface, AutoModelForImageTextToText, AutoProcessor

    AttentionInterface.register(base._EQUAL_FRAMES, base._attend_within_frames)
    processor = AutoProcessor.from_pretrained(checkpoint("base"))
    model = AutoModelForImageTextToText.from_pretrained(checkpoint("base"), dtype=torch.float32).eval()
    rng = np.random.default_rng(0)
    labels = np.arange(3 * len(base.LABELS)) % len(base.LABELS)
    pixels = base._bank_pixels(processor, rng.integers(0, 256, (len(labels), 28, 28, 3), dtype=np.uint8), "cpu")
    batches = base._Batches(processor, pixels, base.ExampleMaker(labels, random.Random(0)), "cpu")
    inputs, _ = batches.draw(3, 8)
    frames = int(inputs["mm_token_type_ids"].sum())
    with torch.no_grad():
        slow = model(**inputs, image_grid_thw=torch.tensor([[1, 2, 2]] * frames)).logits
        fast = model.lm_head(base.hidden_states(model, inputs))
    seen = inputs["attention_mask"].bool()
    torch.testing.assert_close(fast[seen], slow[seen], rtol=1e-4, atol=1e-4)
