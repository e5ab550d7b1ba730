"""How the tiny base model learnt to read frames and time; run it to make the shipped checkpoint again.

::

    python -m longvt_plugins.synthetic.base bank --out bank.npz            # frames from real video files, labelled
    python -m longvt_plugins.synthetic.base train --bank bank.npz --out DIR [--device cuda]

An example puts frames of the bank in a row, each after its second, and states facts about them in random
order: "It changes from 36 to 54." (the seconds around the frames that show the square) and "I see red."
Only what a fact says is trained. No example holds a tool call or an answer: the protocol
is left to supervised fine-tuning.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins import prompts
from longvt_plugins.chat_templates import render_tools_into_system
from longvt_plugins.synthetic.phrases import GLIMPSE, NOTHING, SIGHT
from longvt_plugins.synthetic.questions import question_texts
from longvt_plugins.synthetic.world import COLOURS, TINY, Script
from longvt_plugins.tools.crop_video import crop_video
from longvt_plugins.tools.tool import Tool
from longvt_plugins.video.sampling import format_seconds

if TYPE_CHECKING:
    import numpy as np
    import torch

EMPTY, SHOWN, DISTRACTED = "empty", "square", "disc"
_PATCHES = 4
# transformers hands an attention whose name holds "flash" all frames at once; any other is called frame by frame.
_EQUAL_FRAMES = "longvt_flash_equal_frames"
LABELS = (EMPTY, SHOWN, DISTRACTED, *COLOURS)
"""What a frame of the bank shows: nothing, the square, a flash of something else, or the square's flash."""


@dataclass(frozen=True)
class BaseConfig:
    """Settings of the base training.

    Args:
        steps: Optimizer steps.
        batch_size: Examples a step.
        learning_rate: Highest learning rate; cosine to 5 % after ``warmup_steps``.
        warmup_steps: Linear warm-up.
        easy_steps: In the first of them an example has at most four frames.
        weight_decay: Of AdamW.
        seed: Of examples and order. Of 0, 1 and 2 the last two learnt to read every window, the first one half of them.
    """

    steps: int = 4500
    batch_size: int = 48
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    easy_steps: int = 300
    weight_decay: float = 0.01
    seed: int = 1


def label_of(script: Script, moment: float) -> str:
    """What a script shows at a moment."""
    for event in script.events:
        for flash in event.flashes:
            if moment in flash.span:
                return flash.colour
        if moment in event.hint:
            return SHOWN
    return DISTRACTED if any(moment in each.flash.span for each in script.distractors) else EMPTY


def make_bank(videos: int, seed: int, per_label: int = 900) -> tuple[np.ndarray, np.ndarray]:
    """Frames as training will see them: rendered, compressed, decoded and resized.

    Args:
        videos: Files that are made, read, and deleted again.
        seed: Of their world; no other world uses the split name ``bank``.
        per_label: About as many frames of each label are kept, four times as many empty ones.

    Returns:
        Frames, uint8 ``[n, 28, 28, 3]``, and their labels as places in :data:`LABELS`, ``[n]``.
    """
    import numpy as np

    from longvt_plugins.synthetic.make import plan_split
    from longvt_plugins.synthetic.render import write_video
    from longvt_plugins.video.video import Video

    rng = np.random.default_rng(seed)
    frames: dict[str, list[np.ndarray]] = {label: [] for label in LABELS}
    with tempfile.TemporaryDirectory() as folder:
        for item in plan_split(TINY, "bank", videos, seed):
            path = Path(folder, "video.mp4")
            write_video(item.script, path)
            times = [float(t) for t in np.arange(0, item.script.duration, 0.5)]
            by_label: dict[str, list[float]] = {}
            for moment in times:
                by_label.setdefault(label_of(item.script, moment), []).append(moment)
            chosen = sorted(
                float(t) for found in by_label.values() for t in rng.permutation(found)[: max(4, len(found) // 12)]
            )
            with Video.open(path) as video:
                for moment, frame in zip(chosen, video.frames(chosen, TINY.overview), strict=True):
                    frames[label_of(item.script, moment)].append(np.asarray(frame.image))
    kept, labels = [], []
    for number, label in enumerate(LABELS):
        limit = per_label * (4 if label == EMPTY else 2 if label in (SHOWN, DISTRACTED) else 1)
        found = [frames[label][i] for i in rng.permutation(len(frames[label]))[:limit]]
        kept += found
        labels += [number] * len(found)
    return np.stack(kept), np.array(labels, dtype=np.int64)


class ExampleMaker:
    """Draws examples from a bank.

    Args:
        labels: Label of each frame of the bank.
        rng: Draws everything.
    """

    def __init__(self, labels: np.ndarray, rng: random.Random) -> None:
        self._places = {label: [int(i) for i in (labels == n).nonzero()[0]] for n, label in enumerate(LABELS)}
        self._rng = rng

    def draw(self, longest: int) -> tuple[list[int], list[str], list[tuple[str, str]]]:
        """One example.

        Args:
            longest: Most frames.

        Returns:
            Frames of the bank, their seconds as text, and facts as pairs of a beginning and an end: ends are trained.
        """
        rng = self._rng
        count = longest if rng.random() < 0.7 else rng.randint(1, longest)
        # Overviews have whole seconds, and only they are asked for a change; the frames of a crop need not.
        whole = rng.random() < 0.85
        step = rng.randint(1, 15) if whole else rng.randint(1, 60) / 10
        start = rng.uniform(0, max(0.0, 240 - step * (count - 1)))
        start = float(round(start)) if whole else round(start, 1)
        seconds = [format_seconds(start + step * i) for i in range(count)]
        shown = self._draw_labels(count)
        facts = self._facts(shown, seconds)
        rng.shuffle(facts)
        return [rng.choice(self._places[label]) for label in shown], seconds, facts

    def draw_prompt(self, openings: Sequence[str]) -> tuple[str, str]:
        """A system text, and a question after the frames; what is asked changes nothing."""
        videos = [("video_1.mp4", str(self._rng.randint(64, 240)))]
        question = prompts.render("question", question=self._rng.choice(question_texts()), videos=videos, options=None)
        return self._rng.choice(openings), question

    def chance(self, share: float) -> bool:
        """True as often as ``share`` says."""
        return self._rng.random() < share

    def _draw_labels(self, count: int) -> list[str]:
        rng = self._rng
        shown = [DISTRACTED if rng.random() < 0.05 else EMPTY for _ in range(count)]
        if rng.random() < 0.9:
            first = rng.randrange(count)
            last = min(count - 1, first + rng.choice([0, 0, 1, 1, 2, 3, 5]))
            colour = rng.choice(list(COLOURS))
            flashing = rng.random() < 0.5
            for place in range(first, last + 1):
                shown[place] = colour if flashing and rng.random() < 0.5 else SHOWN
        return shown

    def _facts(self, shown: Sequence[str], seconds: Sequence[str]) -> list[tuple[str, str]]:
        facts = []
        seen = [place for place, label in enumerate(shown) if label not in (EMPTY, DISTRACTED)]
        colours = [label for label in shown if label in COLOURS]
        whole = all("." not in second for second in seconds)
        if whole and seen and seen[0] > 0 and seen[-1] < len(shown) - 1:
            told = GLIMPSE.format(start=seconds[seen[0] - 1], end=seconds[seen[-1] + 1])
            facts.append(_split_fact(GLIMPSE, told))
        facts.append(_split_fact(SIGHT, SIGHT.format(colour=colours[0] if colours else NOTHING)))
        return facts


def _split_fact(template: str, told: str) -> tuple[str, str]:
    head = template.partition("{")[0]
    return head, told[len(head) :]


def train(bank: Path, start: Path, out: Path, config: BaseConfig, device: str) -> dict[str, Any]:
    """Trains a tiny model on examples from a bank and saves it with its log.

    Args:
        bank: File that ``bank`` wrote.
        start: Checkpoint to start from, see :func:`longvt_plugins.synthetic.tiny.build_tiny_model`.
        out: Where the trained checkpoint goes.
        config: Settings.
        device: Torch device.

    Returns:
        The log: settings, losses, and the share of facts read right on fresh examples.
    """
    import numpy as np
    import torch
    from transformers import AttentionInterface, AutoModelForImageTextToText, AutoProcessor

    AttentionInterface.register(_EQUAL_FRAMES, _attend_within_frames)
    random_source = random.Random(config.seed)
    torch.manual_seed(config.seed)
    data = np.load(bank)
    processor: Any = AutoProcessor.from_pretrained(start)
    model: Any = AutoModelForImageTextToText.from_pretrained(start, dtype=torch.float32).to(device).train()
    pixels = _bank_pixels(processor, data["frames"], device)
    batches = _Batches(processor, pixels, ExampleMaker(data["labels"], random_source), device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _schedule(step, config))
    log: dict[str, Any] = {"config": asdict(config), "losses": []}
    began = time.perf_counter()
    total = 0.0
    for step in range(1, config.steps + 1):
        inputs, labels = batches.draw(config.batch_size, 4 if step <= config.easy_steps else 16)
        loss = _loss(model, inputs, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        total += float(loss.detach()) if step % 20 == 0 else 0.0
        if step % 500 == 0:
            log["losses"].append([step, round(total / 25, 4)])
            seconds = time.perf_counter() - began
            sys.stderr.write(f"step {step}/{config.steps}  loss {total / 25:.4f}  {seconds:.0f} s\n")
            total = 0.0
    model.eval()
    log["read_right"] = batches.read_right(model, 400)
    log["parameters"] = sum(weight.numel() for weight in model.parameters())
    model.save_pretrained(out)
    processor.save_pretrained(out)
    log["sha256"] = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    (out / "training_log.json").write_text(json.dumps(log, indent=1), encoding="utf-8")
    return log


def _openings() -> list[str]:
    """System texts as the conversations of training have them."""
    tool = prompts.render("system_tool")
    described = render_tools_into_system(tool, [Tool.from_function(crop_video).schema])
    return [described, described, prompts.render("system_non_think"), prompts.render("system_reasoning")]


def _schedule(step: int, config: BaseConfig) -> float:
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress))


def _loss(model: Any, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    import torch

    wanted = labels[:, 1:]
    trained = wanted != -100
    logits = model.lm_head(hidden_states(model, inputs)[:, :-1][trained])
    return torch.nn.functional.cross_entropy(logits, wanted[trained])


def hidden_states(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The last hidden states of the model, ``[batch, tokens, width]``, computed without a loop over frames.

    The model's own forward handles frame after frame, since frames may differ in size; here each is one token, so
    that its position is that of a text token, and all pass through the vision tower as one clip.
    """
    import torch

    pixels, ids = inputs["pixel_values"], inputs["input_ids"]
    visual = model.model.visual
    visual.config._attn_implementation = _EQUAL_FRAMES
    clip = torch.tensor([[len(pixels) // _PATCHES, 2, 2]], device=pixels.device)
    frames = visual(pixels, grid_thw=clip).pooler_output
    embedded = model.get_input_embeddings()(ids)
    embedded = embedded.masked_scatter((inputs["mm_token_type_ids"] == 1)[..., None], frames.to(embedded.dtype))
    places = torch.arange(ids.shape[1], device=ids.device).expand(3, *ids.shape)
    # Examples are padded on the right and attention is causal: no token of an example sees the padding.
    return model.model.language_model(inputs_embeds=embedded, position_ids=places, use_cache=False).last_hidden_state


def _attend_within_frames(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **settings: Any
) -> tuple[torch.Tensor, None]:
    """Attention among the patches of each frame, all frames at once; shapes ``[1, heads, frames x patches, width]``."""
    import torch

    heads, tokens, width = query.shape[1:]
    split = [x.reshape(heads, -1, _PATCHES, width).transpose(0, 1) for x in (query, key, value)]
    out = torch.nn.functional.scaled_dot_product_attention(*split, scale=settings["scaling"])
    return out.transpose(1, 2).reshape(1, tokens, heads, width), None


def _bank_pixels(processor: Any, frames: np.ndarray, device: str) -> torch.Tensor:
    """Patches of every frame as the image processor makes them, ``[n, 4, 1176]``, half precision to save memory."""
    import torch
    from PIL import Image

    parts = []
    for begin in range(0, len(frames), 512):
        images = [Image.fromarray(frame) for frame in frames[begin : begin + 512]]
        values = processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
        parts.append(values.reshape(len(images), _PATCHES, -1).half())
    return torch.cat(parts).to(device)


class _Batches:
    """Examples as tensors."""

    def __init__(self, processor: Any, pixels: torch.Tensor, maker: ExampleMaker, device: str) -> None:
        self._tokenizer = processor.tokenizer
        self._pixels = pixels
        self._maker = maker
        self._device = device
        self._image = self._tokenizer.convert_tokens_to_ids("<|image_pad|>")
        self._pad = self._tokenizer.pad_token_id
        self._openings = _openings()
        self._cache: dict[str, list[int]] = {}

    def _ids(self, text: str) -> list[int]:
        if text not in self._cache:
            self._cache[text] = self._tokenizer(text)["input_ids"]
        return self._cache[text]

    def _example(self, longest: int) -> tuple[list[int], list[int], list[int], list[tuple[int, int]]]:
        """Token ids, labels, frames, and where the ends of facts lie."""
        frames, seconds, facts = self._maker.draw(longest)
        opening, question = self._maker.draw_prompt(self._openings)
        ids = list(self._ids(f"<|im_start|>system\n{opening}<|im_end|>\n<|im_start|>user\n"))
        # A few prompts are trained too, so that their words are likely where they stand and nowhere else.
        labels = list(ids) if self._maker.chance(0.1) else [-100] * len(ids)
        for second in seconds:
            ids += self._ids(f"{second}s<|vision_start|><|image_pad|><|vision_end|>")
        ids += self._ids(question) + self._ids("<|im_end|>\n<|im_start|>assistant\n")
        labels += [-100] * (len(ids) - len(labels))
        ends = []
        for head, end in facts:
            head_ids, end_ids = self._ids(head), self._ids(end)
            ends.append((len(ids) + len(head_ids), len(ids) + len(head_ids) + len(end_ids)))
            ids += head_ids + end_ids
            labels += [-100] * len(head_ids) + end_ids
        return ids, labels, frames, ends

    def _collate(self, examples: list[tuple[list[int], list[int], list[int], list[tuple[int, int]]]]) -> Any:
        import torch

        longest = max(len(ids) for ids, *_ in examples)
        ids = torch.full((len(examples), longest), self._pad)
        labels = torch.full((len(examples), longest), -100)
        mask = torch.zeros((len(examples), longest), dtype=torch.long)
        for row, (tokens, wanted, _, _) in enumerate(examples):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            labels[row, : len(tokens)] = torch.tensor(wanted)
            mask[row, : len(tokens)] = 1
        frames = torch.tensor([frame for _, _, found, _ in examples for frame in found])
        inputs = {
            "input_ids": ids.to(self._device),
            "attention_mask": mask.to(self._device),
            "mm_token_type_ids": (ids == self._image).long().to(self._device),
            "pixel_values": self._pixels[frames.to(self._device)].float().flatten(0, 1),
        }
        return inputs, labels.to(self._device)

    def draw(self, size: int, longest: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Model inputs and labels, -100 where nothing is trained."""
        inputs, labels = self._collate([self._example(longest) for _ in range(size)])
        return inputs, labels

    def read_right(self, model: Any, examples: int) -> dict[str, float]:
        """Share of facts whose every token is the likeliest one, by the fact's first words."""
        import torch

        right: dict[str, list[bool]] = {}
        for _ in range(examples // 20):
            drawn = [self._example(16) for _ in range(20)]
            inputs, _ = self._collate(drawn)
            with torch.no_grad():
                likeliest = model.lm_head(hidden_states(model, inputs)).argmax(-1).cpu()
            for row, (ids, _, _, ends) in enumerate(drawn):
                for begin, end in ends:
                    head = self._tokenizer.decode(ids[begin - 1 : begin]).strip()
                    same = likeliest[row, begin - 1 : end - 1].tolist() == ids[begin:end]
                    right.setdefault(head, []).append(same)
        return {head: round(sum(found) / len(found), 4) for head, found in sorted(right.items())}


def main(argv: Sequence[str] | None = None) -> int:
    """The two commands of this file."""
    parser = argparse.ArgumentParser(prog="python -m longvt_plugins.synthetic.base", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    bank = commands.add_parser("bank", help="make labelled frames from real video files")
    bank.add_argument("--out", type=Path, required=True)
    bank.add_argument("--videos", type=int, default=600)
    bank.add_argument("--seed", type=int, default=1000)
    training = commands.add_parser("train", help="train a tiny model on a bank")
    training.add_argument("--bank", type=Path, required=True)
    training.add_argument("--start", type=Path, help="checkpoint to start from; random weights by default")
    training.add_argument("--out", type=Path, required=True)
    training.add_argument("--steps", type=int, default=BaseConfig.steps)
    training.add_argument("--batch-size", type=int, default=BaseConfig.batch_size)
    training.add_argument("--learning-rate", type=float, default=BaseConfig.learning_rate)
    training.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    if args.command == "bank":
        import numpy as np

        frames, labels = make_bank(args.videos, args.seed)
        np.savez_compressed(args.out, frames=frames, labels=labels)
        sys.stdout.write(f"{len(frames)} frames in {args.out}\n")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        start = args.start
        if start is None:
            from longvt_plugins.synthetic.tiny import build_tiny_model

            start = Path(folder)
            build_tiny_model("qwen2_5_vl", start)
        config = BaseConfig(steps=args.steps, batch_size=args.batch_size, learning_rate=args.learning_rate)
        read_right = train(args.bank, start, args.out, config, args.device)["read_right"]
        sys.stdout.write(f"{json.dumps(read_right)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
