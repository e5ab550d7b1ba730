"""What was sampled with is what the update computes: over turns with calls, replies and pictures, in both families."""

import pytest
import torch

from longvt_plugins.synthetic.tiny import build_tiny_model
from trl_ext import VideoToolSpec
from trl_ext.model_setup import suppress_media_tokens
from trl_ext.vision_cache import share_vision

CALL = '<think>Look.</think>\n<tool_call>\n{{"name": "crop_video", "arguments": {{"video_path": "video_1.mp4", "start_time": {}, "end_time": {}}}}}\n</tool_call><|im_end|>'  # noqa: E501
ROLLOUTS = 4


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def model_folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / request.param
    build_tiny_model(request.param, folder, seed=0)
    return folder


class Listener:
    """Makes the first two turns of each rollout calls of its own; keeps the log-probabilities of all three turns."""

    def __init__(self, model, tokenizer) -> None:
        self.sampled: dict[tuple[int, ...], float] = {}
        self._plain, self._tokenizer, self._turn = model.generate, tokenizer, 0
        model.generate = self

    def __call__(self, *positional, **given):
        prompt = given["input_ids"].shape[1]
        forced = []
        if self._turn < 2:
            texts = [CALL.format(row, row + self._turn + 2) for row in range(len(given["input_ids"]))]
            forced = [self._tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        self._turn += 1

        def only(input_ids, scores):
            alone = torch.full_like(scores, -torch.inf)
            for row, turn in enumerate(forced):
                place = input_ids.shape[1] - prompt
                alone[row, turn[place] if place < len(turn) else turn[-1]] = 0
            return alone if forced else scores

        told = self._plain(
            *positional, **given, logits_processor=[only], output_logits=True, return_dict_in_generate=True
        )
        pad = self._tokenizer.pad_token_id
        for row, ids in enumerate(told.sequences.tolist()):
            before = [token for token, seen in zip(ids, given["attention_mask"][row].tolist(), strict=False) if seen]
            for place, logits in enumerate(told.logits):
                token = ids[prompt + place]
                if token == pad:
                    break
                before.append(token)
                self.sampled[tuple(before)] = float(torch.log_softmax(logits[row].double(), -1)[token])
        return told.sequences


def test_the_update_computes_the_log_probabilities_that_were_sampled_with(tmp_path, rows_file, model_folder):
    from trl import GRPOConfig, GRPOTrainer

    spec = VideoToolSpec(
        rows_file, overview_max_frames=3, overview_max_pixels=28 * 56, crop_max_frames=4, crop_max_pixels=28 * 56
    )
    processor = spec.load_processor(str(model_folder))
    args = GRPOConfig(
        output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=ROLLOUTS, num_generations=ROLLOUTS,
        max_completion_length=700, max_tool_calling_iterations=2, temperature=1.0, report_to="none", use_cpu=True,
        bf16=False, save_strategy="no", logging_steps=1, gradient_checkpointing=False,
        generation_kwargs={"max_new_tokens": 60},
    )  # fmt: skip
    suppress_media_tokens(args, processor)
    trainer = GRPOTrainer(
        model=str(model_folder), args=args, processing_class=processor, train_dataset=spec.train_dataset,
        environment_factory=spec.environment_factory, reward_funcs=spec.reward_funcs,
    )  # fmt: skip
    spec.add_callbacks(trainer)
    share_vision(trainer.model, max_mb=64)
    listener = Listener(trainer.model, processor.tokenizer)
    seen = []
    compute = trainer._get_per_token_logps_and_entropies
    inputs_of = trainer._compute_loss

    def remember(model, input_ids, attention_mask, logits_to_keep, *positional, **given):
        found = compute(model, input_ids, attention_mask, logits_to_keep, *positional, **given)
        seen.append((input_ids, attention_mask, logits_to_keep, found[0]))
        return found

    masks = []

    def remember_mask(model, inputs):
        masks.append(inputs["completion_mask"] * inputs["tool_mask"])
        return inputs_of(model, inputs)

    trainer._get_per_token_logps_and_entropies, trainer._compute_loss = remember, remember_mask
    trainer.train()
    ((ids, attention, kept, log_probabilities),), (written,) = seen, masks
    compared = []
    for row in range(ROLLOUTS):
        for place in range(kept):
            if written[row, place]:
                until = ids.shape[1] - kept + place + 1
                before = tuple(ids[row, :until][attention[row, :until].bool()].tolist())
                compared.append((listener.sampled[before], float(log_probabilities[row, place].detach())))
    # Each token of 3 turns of 4 rollouts, with 3 + 2 + 3 pictures or more before the last.
    assert len(compared) == int(written.sum()) > 4 * 80
    difference = max(abs(sampled - trained) for sampled, trained in compared)
    assert difference < 1e-4
    assert trainer.state.log_history[0]["tools/call_frequency"] == 2
