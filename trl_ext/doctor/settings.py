"""Settings that contradict each other, or spoil a run in silence.

::

    check_settings(recipe)
"""

from __future__ import annotations

from collections.abc import Iterator

from longvt_plugins.errors import ConfigError
from longvt_plugins.finding import Finding, blocker, ok, warning
from trl_ext.dataset.files import KEPT
from trl_ext.doctor.recipe import Recipe
from trl_ext.unequal_turns import refuse_waiting_processes

_BF16_STEP = 1e-5
"""A weight in bfloat16 has 8 bits: an update of less than 0.4 % of it is lost. Adam's updates are about the rate."""


def check_settings(recipe: Recipe) -> Iterator[Finding]:
    """Looks at the settings alone, as they are for this number of processes."""
    found = [*_rl(recipe), *_weights(recipe), *_saving(recipe)]
    yield from found
    if not found:
        yield ok("settings", f"{recipe.kind} over {recipe.processes} processes ({recipe.distributed})")


def _rl(recipe: Recipe) -> Iterator[Finding]:
    training, arguments = recipe.training, recipe.arguments
    if arguments is None:
        return
    try:
        refuse_waiting_processes(
            training, processes=recipe.processes, sharded=recipe.sharded, tools=bool(arguments.tools)
        )
    except ConfigError as error:
        what, _, cure = str(error).rpartition(". ")
        yield blocker("settings", what, cure)
    rollouts = training.per_device_train_batch_size * recipe.processes * training.steps_per_generation
    if rollouts % training.num_generations:
        yield blocker(
            "settings",
            f"{recipe.processes} processes make {rollouts} rollouts, no multiple of num_generations "
            f"{training.num_generations}",
            "change gradient_accumulation_steps or the number of processes",
        )
    if recipe.processes % training.vllm_tensor_parallel_size:
        yield blocker(
            "settings",
            f"{recipe.processes} processes are no multiple of vllm_tensor_parallel_size "
            f"{training.vllm_tensor_parallel_size}",
            "--vllm_tensor_parallel_size 1",
        )
    if arguments.tools and arguments.turn_tokens is None:
        yield warning(
            "settings",
            "no turn_tokens: a reply that is too long is dropped with its pictures, and its rollout ends unanswered",
            "set turn_tokens to the longest turn, such as 1024",
        )


def _weights(recipe: Recipe) -> Iterator[Finding]:
    training, model = recipe.training, recipe.model
    low = str(model.dtype).removeprefix("torch.") in ("bfloat16", "float16")
    if low and not model.use_peft and training.learning_rate < _BF16_STEP:
        yield warning(
            "settings",
            f"all weights are trained in {model.dtype} at {training.learning_rate:g}: most updates are rounded away",
            "dtype: float32 with bf16: true keeps the arithmetic in bf16 and the weights exact",
        )
    if recipe.kind == "sft" and training.max_length is not None:
        yield warning(
            "settings",
            f"max_length {training.max_length} cuts a longer conversation among its pictures, which ends the training",
            "max_length: null, and leave long rows out of the data",
        )


def _saving(recipe: Recipe) -> Iterator[Finding]:
    training = recipe.training
    if recipe.kind == "sft" and recipe.lazy is None and training.resume_from_checkpoint == "last" and not _kept(recipe):
        yield warning(
            "settings",
            "resume_from_checkpoint last: `trl sft` takes it for a folder of that name",
            f"data_files: {KEPT}FILES, or `longvt sft`",
        )
    strategy = str(getattr(training.save_strategy, "value", training.save_strategy))
    if strategy == "no":
        yield warning("settings", "save_strategy no: a run that is stopped begins again", "save_strategy: steps")
    elif training.save_only_model:
        yield warning("settings", "save_only_model: its checkpoints cannot be gone on with", "save_only_model: false")
    elif strategy == "steps" and 0 < training.max_steps < training.save_steps:
        yield warning(
            "settings",
            f"save_steps {training.save_steps:g} is more than max_steps {training.max_steps}: saved at the end alone",
            "lower save_steps",
        )


def _kept(recipe: Recipe) -> bool:
    """Whether the stock command would keep a record, see :mod:`trl_ext.sft_bridge`."""
    named = [entry.data_files for entry in recipe.data.datasets]
    return any(
        str(file).startswith(KEPT) for files in named for file in (files if isinstance(files, list) else [files])
    )
