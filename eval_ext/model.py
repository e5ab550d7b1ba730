"""Models for lmms-eval that watch videos with tools: ``longvt`` asks a server, ``longvt_hf`` runs a checkpoint.

::

    --model longvt    --model_args base_url=http://localhost:8000/v1,model=longvt,overview_max_frames=512
    --model longvt_hf --model_args pretrained=checkpoints/sft,rollouts=runs/demo/traces --batch_size 16
    --model longvt_hf --model_args pretrained=checkpoints/sft,engine=vllm,tensor_parallel_size=2

Both are thin: :mod:`longvt_plugins.agent` runs the loop. They answer the tasks of this project, whose metadata
names a form; how long a turn may be and the temperature come from the task, or ``--gen_kwargs``
(``max_new_tokens``, ``temperature``). The keys of ``--model_args`` are told in :mod:`eval_ext.arguments`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms
from loguru import logger

from eval_ext.arguments import KEY_VARIABLE, AgentArguments, LocalArguments, ServerArguments, parse_arguments
from eval_ext.asked import REPORT_VARIABLE, Asked, tell_asked
from eval_ext.mcp_tools import McpTools, offer_tools
from eval_ext.metering import Effort, MeteredBackend
from eval_ext.outcome import read_outcome, write_outcome
from eval_ext.rollout_files import TraceFile
from eval_ext.shown import last_words, rows_of, scorer_line, task_kind
from eval_ext.tasks.scoring import rollout_rewards
from longvt_plugins.agent import AgentConfig, oracle_call, run_agents
from longvt_plugins.chat import ChatBackend, ChatClient
from longvt_plugins.conversation import Form
from longvt_plugins.errors import ConfigError
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.rollouts import Rollout
from longvt_plugins.rows import Row
from longvt_plugins.synthetic import resolve_model
from longvt_plugins.types import ToolCall
from longvt_plugins.video.library import VideoLibrary

if TYPE_CHECKING:
    from longvt_plugins.local_model import LocalModel
    from longvt_plugins.vllm_model import VllmModel

Keep = Callable[[Rollout, Effort], None]
"""Keeps a rollout that is done."""

VLLM_CONCURRENCY = 32
"""Rollouts under way at once with vLLM in this process, which batches by itself: some wait for it at any time."""


class AgentModel(lmms):  # type: ignore[misc]
    """Answers the requests of lmms-eval with rollouts.

    Args:
        backend: The model.
        arguments: From ``--model_args``.
        name: Of the model, for the rollouts.
        concurrency: Rollouts under way at once, where the arguments do not say.
    """

    is_simple = False

    def __init__(self, backend: ChatBackend, arguments: AgentArguments, name: str, concurrency: int) -> None:
        super().__init__()
        # The command's edge: what is read from the environment is read here and in the constructors below.
        report = os.environ.get(REPORT_VARIABLE)
        self._report = Path(report) if report else None
        arguments.agent_config()  # a value that makes no sense is told before any video is read
        self._plugins = create_plugin_manager()
        self._mcp = McpTools(arguments.mcp) if arguments.mcp else None
        if self._mcp is not None:
            offer_tools(self._plugins, self._mcp)
        self._plugins.select_tools(arguments.agent_config().tools)
        self._ledger = arguments.ledger()
        # One for all tasks: they ask about the same videos.
        self._library = VideoLibrary(arguments.video, self._plugins)
        self._backend: MeteredBackend | None = MeteredBackend(backend)
        self._arguments = arguments
        self._name = name
        self._concurrency = arguments.concurrency or concurrency

    @property
    def device(self) -> Any:
        """Where lmms-eval gathers the results of several processes: a GPU of this process's own, or the CPU."""
        from accelerate import PartialState

        # Of lmms-eval's own accelerator, which it gives to no model whose processes torchrun started.
        return PartialState().device

    def generate_until(self, requests: Sequence[Any]) -> list[GenerationResult]:
        """One rollout a request, in order; the empty text for one that failed.

        Raises:
            ConfigError: A request of a task that is not ours.
        """
        results = [GenerationResult("")] * len(requests)
        groups: dict[str, list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            if not request.metadata.get("__padding_only__"):
                groups[request.task_name].append(place)
        for task, places in groups.items():
            for place, result in zip(places, self._answer(task, [requests[place] for place in places]), strict=True):
                results[place] = result
        return results

    def loglikelihood(self, requests: Sequence[Any]) -> NoReturn:
        """Not what a model with tools can give."""
        raise ConfigError("models of longvt-plugins write answers; they give no log-likelihoods")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> NoReturn:
        """Not needed: the rounds are the model's own."""
        raise ConfigError("models of longvt-plugins run their own rounds; use a task of output_type generate_until")

    def clean(self) -> None:
        """Frees the model, once all is answered."""
        self._backend = None
        self._library.close()
        if self._mcp is not None:
            self._mcp.close()
        super().clean()

    def _answer(self, task: str, requests: Sequence[Any]) -> list[GenerationResult]:
        kind = task_kind(task, requests[0].metadata)
        form = kind.form
        if kind.built_in:
            logger.warning(scorer_line(task))
        config = self._arguments.agent_config(form=form, model=self._name, **_generation(requests[0].arguments[2]))
        pairs = [rows_of(request, self._doc(request), kind) for request in requests]
        with self._trace(task, form, [row for row, _ in pairs]) as keep:
            shown = [shown for _, shown in pairs]
            answered = asyncio.run(self._run(task, shown, config, with_oracle=kind.oracle, keep=keep))
        failed = [rollout for rollout, _ in answered if rollout.stop_reason == "error"]
        for rollout in failed:
            logger.error(f"{task}, row {rollout.row_id}: not scored: {rollout.error}")
        texts = [write_outcome(rollout, effort) for rollout, effort in answered]
        if self._report is not None:
            reason = failed[0].error or "" if failed else ""
            tell_asked(self._report, Asked(task, len(answered), len(failed), reason))
        if len(failed) == len(answered):
            # No exception: other tasks of this command, and answers from a cache, have their results.
            logger.error(f"{task}: none of the {len(answered)} questions asked could be answered; {failed[0].error}")
        said = [last_words(rollout) for rollout, _ in answered] if kind.built_in else texts
        return [
            GenerationResult(text, TokenCounts(input_tokens=effort.prompt_tokens, output_tokens=rollout.tokens))
            for text, (rollout, effort) in zip(said, answered, strict=True)
        ]

    async def _run(
        self, task: str, rows: Sequence[Row], config: AgentConfig, *, with_oracle: bool, keep: Keep
    ) -> list[tuple[Rollout, Effort]]:
        from tqdm import tqdm  # type: ignore[import-untyped]

        assert self._backend is not None, "lmms-eval asks nothing after clean()"
        metered, efforts = self._backend, {}
        with tqdm(total=len(rows), desc=task, disable=self.rank != 0) as bar:

            def told(done: int, total: int, rollout: Rollout) -> None:
                efforts[rollout.id] = metered.take()
                keep(rollout, efforts[rollout.id])
                bar.update()

            try:
                rollouts = await run_agents(
                    metered,
                    rows,
                    config,
                    self._plugins,
                    concurrency=self._concurrency,
                    seed_calls=_oracle_calls if with_oracle else None,
                    progress=told,
                    library=self._library,
                    ledger=self._ledger,
                )
            finally:
                # Connections belong to this event loop, which ends here.
                if isinstance(metered.backend, ChatClient):
                    await metered.backend.aclose()
        return [(rollout, efforts[rollout.id]) for rollout in rollouts]

    @contextlib.contextmanager
    def _trace(self, task: str, form: Form, rows: Sequence[Row]) -> Iterator[Keep]:
        """Gives what keeps a rollout, with the row that is scored and its scores."""
        if self._arguments.rollouts is None:
            yield lambda rollout, effort: None
            return
        by_id = {row["id"]: row for row in rows}
        folder = Path(self._arguments.rollouts, task)
        name, run = self._name, self._arguments.run
        with TraceFile(folder, run=run, model=name, rank=self.rank, order=list(by_id)) as file:

            def score(rollout: Rollout, effort: Effort) -> Mapping[str, float | None]:
                outcome = read_outcome(write_outcome(rollout, effort), form)
                return rollout_rewards(by_id[rollout.row_id], outcome, form)

            yield lambda rollout, effort: file.add(replace(rollout, row=by_id[rollout.row_id]), effort, score)

    def _doc(self, request: Any) -> Mapping[str, Any]:
        doc: Mapping[str, Any] = self.task_dict[request.task_name][request.metadata["split"]][request.doc_id]
        return doc


class LongvtServer(AgentModel):
    """``--model longvt``: a model behind an OpenAI-compatible server.

    Args:
        batch_size: Taken because lmms-eval gives it; ``concurrency`` says how many requests are in flight.
        device: Likewise; the server has its own.
        max_batch_size: Likewise.
        given: The fields of :class:`ServerArguments`.

    Raises:
        ConfigError: An unknown, missing or faulty argument.
    """

    def __init__(
        self, batch_size: int | str = 1, device: str | None = None, max_batch_size: Any = None, **given: Any
    ) -> None:
        arguments = parse_arguments(ServerArguments, given, "longvt", os.environ)
        concurrency = arguments.concurrency or 16
        chat = arguments.chat_config(os.environ.get(KEY_VARIABLE), concurrency)
        super().__init__(ChatClient.from_config(chat), arguments, arguments.model, concurrency)
        ChatClient.preload()  # an import is no latency of the first answers


class LongvtLocal(AgentModel):
    """``--model longvt_hf``: a checkpoint in this process.

    Args:
        batch_size: Conversations continued at once; vLLM chooses by itself.
        device: Such as ``cuda:0``; without it this process's GPU, or the CPU. vLLM takes those that it sees.
        max_batch_size: Taken because lmms-eval gives it.
        given: The fields of :class:`LocalArguments`.

    Raises:
        ConfigError: An unknown, missing or faulty argument, or no checkpoint.
        MissingExtraError: vLLM is asked for and not installed.
    """

    def __init__(
        self, batch_size: int | str = 1, device: str | None = None, max_batch_size: Any = None, **given: Any
    ) -> None:
        arguments = parse_arguments(LocalArguments, given, "longvt_hf", os.environ)
        if not str(batch_size).isdigit() or int(batch_size) < 1:
            raise ConfigError(f"longvt_hf: batch_size must be a whole number from 1, not {batch_size!r}")
        arguments.agent_config()  # told before the weights are read
        settings = arguments.vllm_settings()
        self._vllm: VllmModel | None = None
        # Twice as many: while one batch is generated, the tools of the next one are run.
        concurrency = 2 * int(batch_size)
        if arguments.engine == "vllm":
            self._vllm = _open_vllm(arguments, settings)
            concurrency = max(concurrency, VLLM_CONCURRENCY)
        super().__init__(
            self._vllm or _open_transformers(arguments, device, int(batch_size)),
            arguments,
            arguments.pretrained,
            concurrency,
        )

    def clean(self) -> None:
        """Frees the model, once all is answered."""
        if self._vllm is not None:
            self._vllm.close()
        super().clean()


def _open_transformers(arguments: LocalArguments, device: str | None, batch_size: int) -> LocalModel:
    from longvt_plugins.local_model import LocalModel

    return LocalModel(
        resolve_model(arguments.pretrained),
        device=device or _own_gpu(),
        dtype=arguments.dtype,
        batch_size=batch_size,
        seed=arguments.seed,
    )


def _open_vllm(arguments: LocalArguments, settings: Mapping[str, Any]) -> VllmModel:
    from longvt_plugins.vllm_model import START_METHOD, START_VARIABLE, VllmModel

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("--model longvt_hf: engine=vllm runs in one process; tensor_parallel_size gives it more GPUs")
    os.environ.setdefault(START_VARIABLE, START_METHOD)
    return VllmModel(resolve_model(arguments.pretrained), dtype=arguments.dtype, seed=arguments.seed, **settings)


def _generation(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the task, or ``--gen_kwargs``, says of the generation."""
    temperature = given.get("temperature")
    if temperature is None:
        temperature = 1.0 if given.get("do_sample") else 0.0
    generation: dict[str, Any] = {"temperature": float(temperature)}
    if given.get("max_new_tokens") is not None:
        generation["max_new_tokens"] = int(given["max_new_tokens"])
    return generation


def _oracle_calls(row: Row) -> list[ToolCall]:
    return [oracle_call(row)]


def _own_gpu() -> str | None:
    """One process, one GPU, where several were launched."""
    import torch

    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{rank}" if rank is not None and torch.cuda.is_available() else None
