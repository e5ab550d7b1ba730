"""One step of GRPO and one of SFT on long videos: where do the seconds and the gigabytes go?

::

    python benchmarks/train_step.py --shape qwen2_5_vl_7b --json step.json    # one GPU with 141 GB
    python benchmarks/train_step.py --shape qwen2_5_vl_7b --train full
    accelerate launch --config_file benchmarks/fsdp2_two_gpus.yaml benchmarks/train_step.py \
        --shape qwen3_vl_2b --train full                                     # FSDP2, two GPUs
    python benchmarks/train_step.py --quick                                   # the tiny agent on a CPU

The model has the true shape and random weights, so it calls no tool of its own accord: the tokens of two
``crop_video`` calls and an answer are forced upon it. Everything else is the real thing: a video file, the
environment, TRL's trainer, the rewards, the update. Times are of the last step, each part without the parts
inside it, and the GPU is waited for at every boundary.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

# Searched first, this folder would hide the package datapipe behind the benchmark of its name.
sys.path.append(sys.path.pop(0))

from longvt_plugins.rows import Row
from longvt_plugins.synthetic import checkpoint
from longvt_plugins.synthetic.tiny import build_processor
from longvt_plugins.testing import write_stamped_video
from trl_ext.dataset import write_sft
from trl_ext.spec import VideoToolSpec
from trl_ext.vision_cache import VisionCache, share_vision

PARTS = ("decoding", "tools", "tokenizing", "generation", "rewards", "log-probabilities", "forward", "backward",
         "optimizer", "rest")  # fmt: skip

SHAPES: dict[str, dict[str, Any]] = {
    # Sizes of the published configurations of these checkpoints.
    "qwen2_5_vl_7b": {
        "text": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
                 "num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 128000,
                 "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
                 "tie_word_embeddings": False},
        "vision": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
                   "out_hidden_size": 3584, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31]},
        "tied": False,
    },
    "qwen3_vl_2b": {
        "text": {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16,
                 "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 262144,
                 "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20],
                                     "mrope_interleaved": True}, "tie_word_embeddings": True},
        "vision": {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 14,
                   "out_hidden_size": 2048, "deepstack_visual_indexes": [5, 11, 17], "num_position_embeddings": 2304},
        "tied": True,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """How much a step works on.

    Args:
        rollouts: Of one question.
        overview_frames: The rollout's opening shows.
        crop_frames: Each of the two tool replies shows.
        pixels: Area of a frame.
        video_seconds: Length of the video.
        video_size: Width and height of the video in pixels.
        completion_tokens: Room for the turns and the tools' replies.
        steps: Updates; the last one is reported.
    """

    rollouts: int = 8
    overview_frames: int = 512
    crop_frames: int = 64
    pixels: int = 224 * 224
    video_seconds: int = 600
    video_size: tuple[int, int] = (640, 360)
    completion_tokens: int = 16_384
    steps: int = 2


QUICK = Sizes(4, 16, 8, 28 * 28, 64, (96, 96), 512, 1)


class Clock:
    """Seconds by part; a part's time is without that of the parts inside it."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device
        self._inside: list[str] = []
        self._since = time.perf_counter()

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def _turn(self) -> None:
        now = self._now()
        if self._inside:
            self.seconds[self._inside[-1]] += now - self._since
        self._since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts the block's time under this name."""
        self._turn()
        self._inside.append(name)
        try:
            yield
        finally:
            self._turn()
            self._inside.pop()

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Counts every call of a method."""
        plain = getattr(owner, method)

        def timed(*positional: Any, **given: Any) -> Any:
            with self.part(name):
                return plain(*positional, **given)

        timed.__name__ = method
        setattr(owner, method, timed)


def make_model(shape: str, train: str, device: torch.device) -> tuple[Any, Any]:
    """A model of this shape with random weights, or the tiny agent, and its processor."""
    import transformers

    family = "qwen3_vl" if shape.startswith("qwen3") else "qwen2_5_vl"
    if shape == "tiny":
        model = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint("agent"), dtype=torch.float32)
        processor = transformers.AutoProcessor.from_pretrained(checkpoint("agent"), padding_side="left")
    else:
        processor = build_processor(family)
        processor.tokenizer.padding_side = "left"
        token = processor.tokenizer.convert_tokens_to_ids
        sizes = SHAPES[shape]
        kind = transformers.Qwen3VLConfig if family == "qwen3_vl" else transformers.Qwen2_5_VLConfig
        config = kind(
            text_config={**sizes["text"], "eos_token_id": token("<|im_end|>"), "pad_token_id": token("<|endoftext|>")},
            vision_config=sizes["vision"],
            tie_word_embeddings=sizes["tied"],
            image_token_id=token("<|image_pad|>"),
            video_token_id=token("<|video_pad|>"),
            vision_start_token_id=token("<|vision_start|>"),
            vision_end_token_id=token("<|vision_end|>"),
        )
        with device:
            model = transformers.AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
        model.generation_config.eos_token_id = token("<|im_end|>")
        model.generation_config.pad_token_id = token("<|endoftext|>")
    if train == "lora":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"]))
        model.enable_input_require_grads()
    else:
        inner = next(module for module in model.modules() if "visual" in dict(module.named_children()))
        inner.visual.requires_grad_(False)
    return model, processor


def turns(tokenizer: Any, seconds: float) -> list[list[int]]:
    """The tokens of two turns that crop and one that answers."""
    texts = [
        "<think>I look closer.</think>\n<tool_call>\n"
        + json.dumps({"name": "crop_video", "arguments": {"video_path": "video_1.mp4", "start_time": start,
                                                          "end_time": start + seconds}})
        + "\n</tool_call>"
        for start in (0, seconds)
    ]  # fmt: skip
    texts.append("<think>I have seen it.</think>\n<answer>red</answer>")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    return [[*tokenizer(text, add_special_tokens=False)["input_ids"], end] for text in texts]


def force(model: Any, forced: Sequence[Sequence[int]], clock: Clock) -> None:
    """Makes the model's n-th generation write the n-th turn, from the first again after the last."""
    plain: Callable[..., Any] = model.generate
    asked = 0

    def generate(*positional: Any, **given: Any) -> Any:
        nonlocal asked
        turn, prompt = forced[asked % len(forced)], given["input_ids"].shape[1]
        asked += 1

        def only(input_ids: Any, scores: Any) -> Any:
            place = input_ids.shape[1] - prompt
            token = turn[place] if place < len(turn) else turn[-1]
            alone = torch.full_like(scores, -torch.inf)
            alone[:, token] = 0
            return alone

        with clock.part("generation"):
            return plain(*positional, **given, logits_processor=[only])

    model.generate = generate


def grpo_step(
    model: Any, processor: Any, sizes: Sizes, folder: Path, clock: Clock, options: argparse.Namespace
) -> dict[str, Any]:
    """Trains for the steps and gives back the times of the last."""
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    seconds = sizes.crop_frames
    rows = folder / "rows.jsonl"
    write_row(rows, folder, seconds)
    spec = VideoToolSpec(
        rows,
        overview_max_frames=sizes.overview_frames, overview_max_pixels=sizes.pixels, overview_min_pixels=sizes.pixels,
        crop_max_frames=sizes.crop_frames, crop_max_pixels=sizes.pixels, crop_min_pixels=sizes.pixels,
    )  # fmt: skip
    cache: VisionCache | None = None
    if options.vision_cache_mb:
        cache = share_vision(model, max_mb=options.vision_cache_mb, keep=not options.fsdp)
    on_gpu = clock._device.type == "cuda"
    args = GRPOConfig(
        output_dir=str(folder / "grpo"), max_steps=sizes.steps, per_device_train_batch_size=1,
        gradient_accumulation_steps=sizes.rollouts // options.processes, num_generations=sizes.rollouts,
        max_completion_length=sizes.completion_tokens, max_tool_calling_iterations=3, temperature=1.0, beta=0.0,
        learning_rate=1e-6, bf16=on_gpu, use_cpu=not on_gpu, gradient_checkpointing=on_gpu,
        gradient_checkpointing_kwargs={"use_reentrant": False} if on_gpu else None, report_to="none",
        save_strategy="no", logging_steps=1, log_completions=False,
    )  # fmt: skip
    clock.watch(spec.environment_factory, "reset", "decoding")
    clock.watch(spec.environment_factory, "_run_tool", "tools")
    trainer = GRPOTrainer(
        model=model, args=args, processing_class=processor, train_dataset=spec.train_dataset,
        environment_factory=spec.environment_factory, reward_funcs=spec.reward_funcs,
    )  # fmt: skip
    force(trainer.model, turns(processor.tokenizer, seconds), clock)
    for method, name in (("_tokenize_prompts", "tokenizing"), ("_calculate_rewards", "rewards"),
                         ("_generate_and_score_completions", "log-probabilities"), ("_generate", "tokenizing"),
                         ("compute_loss", "forward")):  # fmt: skip
        clock.watch(trainer, method, name)
    clock.watch(trainer.accelerator, "backward", "backward")
    found: dict[str, Any] = {}

    class Step(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *positional: Any, **given: Any) -> None:
            clock.seconds.clear()
            if on_gpu:
                torch.cuda.reset_peak_memory_stats()
            found["began"] = clock._now()

        def on_pre_optimizer_step(self, *positional: Any, **given: Any) -> None:
            found["optimizing"] = clock._now()

        def on_step_end(self, *positional: Any, **given: Any) -> None:
            now = clock._now()
            clock.seconds["optimizer"] = now - found["optimizing"]
            found["seconds"] = now - found["began"]
            found["parts"] = dict(clock.seconds)
            found["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **given: Any) -> None:
            found["logs"] = {**found.get("logs", {}), **(logs or {})}

    trainer.add_callback(Step())
    trainer.train()
    parts = {name: found["parts"].get(name, 0.0) for name in PARTS}
    parts["rest"] = max(0.0, found["seconds"] - sum(parts.values()))
    logs = found["logs"]
    if not logs.get("tools/call_frequency"):
        raise RuntimeError(f"the forced tool calls were not made: {logs}")
    return {
        "seconds": found["seconds"],
        "parts": parts,
        "peak_gb": found["peak_gb"],
        "env_reward_share": (parts["decoding"] + parts["tools"] + parts["rewards"]) / found["seconds"],
        "pictures_computed": cache.misses if cache is not None else None,
        "pictures_shared": cache.hits if cache is not None else None,
        "completion_tokens": logs.get("completions/mean_length"),
        "tool_calls_per_rollout": logs.get("tools/call_frequency"),
    }


def write_row(rows: Path, folder: Path, seconds: float) -> Row:
    """One question about the video."""
    row: Row = {
        "id": "row", "videos": {"video_1.mp4": str(folder / "video.mp4")}, "kind": "open",
        "question": "What colour is the flash?", "answer": "red", "video_segment": [0.0, float(seconds)],
        "options": None, "source": "benchmark",
    }  # fmt: skip
    rows.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return row


def sft_step(
    model: Any, processor: Any, sizes: Sizes, folder: Path, clock: Clock, options: argparse.Namespace
) -> dict[str, Any]:
    """Trains on one conversation with the overview and two crops, twice; the second time is reported."""
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    from longvt_plugins.conversation import system_message
    from longvt_plugins.tools.crop_video import crop_video
    from longvt_plugins.tools.tool import Tool
    from trl_ext.dataset import messages_to_sft

    row = write_row(folder / "rows.jsonl", folder, sizes.crop_frames)
    spec = VideoToolSpec(
        folder / "rows.jsonl",
        overview_max_frames=sizes.overview_frames, overview_max_pixels=sizes.pixels, overview_min_pixels=sizes.pixels,
        crop_max_frames=sizes.crop_frames, crop_max_pixels=sizes.pixels, crop_min_pixels=sizes.pixels,
    )  # fmt: skip
    environment: Any = spec.environment_factory()
    messages: list[Any] = [system_message(), {"role": "user", "content": environment.reset(**row)}]
    for number in range(2):
        arguments = {
            "video_path": "video_1.mp4", "start_time": number * sizes.crop_frames,
            "end_time": (number + 1) * sizes.crop_frames,
        }  # fmt: skip
        call = {"id": f"call_{number}", "type": "function", "function": {"name": "crop_video", "arguments": arguments}}
        messages.append({"role": "assistant", "content": "<think>I look closer.</think>", "tool_calls": [call]})
        reply = environment.crop_video(**arguments)
        messages.append({"role": "tool", "name": "crop_video", "tool_call_id": f"call_{number}", "content": reply})
    messages.append({"role": "assistant", "content": "<think>I have seen it.</think>\n<answer>red</answer>"})
    schemas = [Tool.from_function(crop_video).schema]
    write_sft(
        folder / "sft.parquet",
        [{"id": str(n), "source": "benchmark", "messages": messages_to_sft(messages, schemas)} for n in range(2)],
    )
    dataset = load_dataset("parquet", data_files=str(folder / "sft.parquet"), split="train")
    on_gpu = clock._device.type == "cuda"
    args = SFTConfig(
        output_dir=str(folder / "sft"), max_steps=2, per_device_train_batch_size=1, max_length=None,
        assistant_only_loss=True, bf16=on_gpu, use_cpu=not on_gpu, gradient_checkpointing=on_gpu,
        gradient_checkpointing_kwargs={"use_reentrant": False} if on_gpu else None, report_to="none",
        save_strategy="no", logging_steps=1, learning_rate=5e-5,
    )  # fmt: skip
    if options.vision_cache_mb:
        share_vision(model, max_mb=options.vision_cache_mb, keep=not options.fsdp)
    processor.tokenizer.padding_side = "right"
    trainer = SFTTrainer(model=model, args=args, processing_class=processor, train_dataset=dataset)
    clock.watch(trainer, "compute_loss", "forward")
    clock.watch(trainer.accelerator, "backward", "backward")
    clock.watch(trainer, "get_batch_samples", "loading")
    times: list[dict[str, float]] = []
    plain = trainer.training_step

    def step(*positional: Any, **given: Any) -> Any:
        clock.seconds.clear()
        began = clock._now()
        loss = plain(*positional, **given)
        times.append({"seconds": clock._now() - began, **clock.seconds})
        return loss

    trainer.training_step = step
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    result = trainer.train()
    return {**times[-1], "loss": result.training_loss,
            "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--shape", choices=["tiny", *SHAPES], default="qwen2_5_vl_7b")
    parser.add_argument("--train", choices=["lora", "full"], default="lora", help="full: all but the vision tower")
    parser.add_argument("--stages", nargs="+", choices=["grpo", "sft"], default=["grpo", "sft"])
    parser.add_argument("--vision-cache-mb", type=int, default=2048, help="0: every rollout has its own pictures")
    parser.add_argument("--rollouts", type=int, help="of the question")
    parser.add_argument("--overview-frames", type=int)
    parser.add_argument("--crop-frames", type=int)
    parser.add_argument("--steps", type=int, help="updates; the last one is reported")
    parser.add_argument("--quick", action="store_true", help="the tiny agent, few frames, a CPU will do")
    parser.add_argument("--json", type=Path, help="file for every figure")
    options = parser.parse_args(argv)
    options.processes = int(os.environ.get("WORLD_SIZE", "1"))
    options.fsdp = os.environ.get("ACCELERATE_USE_FSDP") == "true"  # as accelerate launch says
    if options.quick:
        options.shape = "tiny"
    if not options.quick and not torch.cuda.is_available():
        parser.error("no GPU here; --quick runs the tiny agent on a CPU")
    device = torch.device("cpu" if options.quick else f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
    base = QUICK if options.quick else Sizes()
    sizes = Sizes(
        options.rollouts or base.rollouts, options.overview_frames or base.overview_frames,
        options.crop_frames or base.crop_frames, base.pixels, base.video_seconds, base.video_size,
        base.completion_tokens, options.steps or base.steps,
    )  # fmt: skip
    figures: dict[str, Any] = {
        "shape": options.shape, "train": options.train, "weights": "the tiny agent" if options.quick else "random",
        "tool calls": "forced", "rollouts": sizes.rollouts, "overview_frames": sizes.overview_frames,
        "crop_frames": sizes.crop_frames, "vision_cache_mb": options.vision_cache_mb, "processes": options.processes,
        "sharding": "FSDP2" if options.fsdp else None,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu", "torch": torch.__version__,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="train-step-") as name:
        folder = Path(name)
        write_stamped_video(folder / "video.mp4", sizes.video_seconds, fps=4, size=sizes.video_size, gop=100)
        for stage in options.stages:
            torch.manual_seed(0)  # every process makes the same weights
            model, processor = make_model(options.shape, options.train, device)
            figures["parameters"] = sum(parameter.numel() for parameter in model.parameters())
            run = grpo_step if stage == "grpo" else sft_step
            figures[stage] = run(model, processor, sizes, folder, Clock(device), options)
            del model
            if device.type == "cuda":
                torch.cuda.empty_cache()
    if "grpo" in figures:
        figures |= {key: figures["grpo"][key] for key in ("env_reward_share", "peak_gb")}
    if options.json is not None and os.environ.get("RANK", "0") == "0":
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    _print(figures)
    return 0


def _print(figures: dict[str, Any]) -> None:
    console = Console()
    for stage in ("grpo", "sft"):
        if stage not in figures:
            continue
        found = figures[stage]
        table = Table("part", "seconds", "share", title=f"{stage}: {figures['shape']}, {figures['train']}")
        parts = found.get("parts") or {name: found[name] for name in ("forward", "backward") if name in found}
        for name, seconds in parts.items():
            table.add_row(name, f"{seconds:.2f}", f"{seconds / found['seconds']:.0%}")
        table.add_row("all", f"{found['seconds']:.2f}", "")
        console.print(table)
        console.print({key: value for key, value in found.items() if key != "parts"})


if __name__ == "__main__":
    sys.exit(main())
