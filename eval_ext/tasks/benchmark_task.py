"""A public benchmark in one of our forms: lmms-eval's documents and prompts, our models, our scores.

::

    {"task": "lvbench_tool", "class": BenchmarkTask,
     "metadata": {"longvt_benchmark": "lvbench", "longvt_form": "tool", "longvt_control": None}}

Made from the table in :mod:`eval_ext.tasks.catalogue`. Questions keep the number that they have in the data set as
part of their id, so that two evaluations of one benchmark can be compared question by question.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from loguru import logger

from eval_ext.tasks.base_task import Base, load_base
from eval_ext.tasks.benchmarks import BENCHMARKS, Benchmark, Question
from eval_ext.tasks.benchmarks.benchmark import Doc
from eval_ext.tasks.questions_task import BLIND_KEY, PROMPT_KEY, QuestionsTask, form_of
from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import Row, parse_row

VIDEO_NAME = "video_1.mp4"
"""What the model calls the video, as in training."""


class BenchmarkTask(QuestionsTask):
    """A task of lmms-eval over the documents of another one.

    Args:
        config: From :func:`task_config`.

    Raises:
        ConfigError: The documents could not be had or read, or none has what the control needs.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        form = form_of(config)
        settings = dict(config["metadata"])
        name, control = config["task"], settings.get("longvt_control")
        self._benchmark = next(known for known in BENCHMARKS if known.name == settings["longvt_benchmark"])
        self._base = load_base(self._benchmark.base_for(form), os.environ)
        self._blind = control == "no_visual"
        asked = _controlled(_questions(self._base, self._benchmark), control, self._benchmark)
        if not asked:
            raise ConfigError(f"{name}: none of the {len(self._base.docs)} documents has what {control} needs")
        self._docs = docs = [doc for _, doc, _ in asked]
        base = self._base

        # Not a method: lmms-eval copies its configuration deeply, and a method's object with it.
        def prompt(doc: Mapping[str, Any]) -> str:
            return base.text(docs[doc["place"]])

        metadata = settings | {
            "longvt_base": f"lmms-eval {version('lmms_eval')}, {self._base.name}",
            "longvt_oracle": control == "oracle_window",
            PROMPT_KEY: True,
            BLIND_KEY: self._blind,
        }
        generation = {"temperature": 0, "do_sample": False, "until": []}
        if form == "non_think" and "max_new_tokens" in self._base.generation:
            generation["max_new_tokens"] = self._base.generation["max_new_tokens"]
        super().__init__(
            {**config, "metadata": metadata, "generation_kwargs": generation},
            [_row(self._base, self._benchmark, key, question, doc) for key, doc, question in asked],
            text=prompt,
            categories=[question.categories for _, _, question in asked],
        )

    def build_all_requests(self, *, limit: int | None = None, offset: int = 0, **options: Any) -> None:
        """As lmms-eval's own, after a look whether the files of these questions are there.

        Raises:
            ConfigError: Videos or subtitles are missing, with the command that gets them.
        """
        count = len(self._docs) - offset if limit is None else int(limit)
        self._check_files(self._docs[offset : offset + count])
        super().build_all_requests(limit=limit, offset=offset, **options)

    def _check_files(self, docs: Sequence[Doc]) -> None:
        name, base, subtitle = self.config.task, self._base, self._benchmark.subtitle
        # Prompts with subtitles need the length of the video.
        if subtitle is not None or not self._blind:
            videos = {self._benchmark.read(doc).video: doc for doc in docs}
            missing = [video for video, doc in videos.items() if base.video(doc) is None]
            if missing:
                raise ConfigError(
                    f"{name}: {len(missing)} of {len(videos)} videos are not in {base.folder}, "
                    f"the first is {missing[0]}; get them with: {base.command}"
                )
        if subtitle is None:
            return
        without = [subtitle(doc) for doc in docs if not (base.folder / subtitle(doc)).is_file()]
        if without and not (base.folder / without[0]).parent.is_dir():
            raise ConfigError(f"{name}: no subtitles {base.folder / without[0]}; get them with: {base.command}")
        if without:
            logger.warning(f"{name}: {len(without)} of {len(docs)} questions are about videos without subtitles")


def task_config(name: str, benchmark: str, form: str, control: str | None) -> dict[str, Any]:
    """What lmms-eval would read from a YAML.

    Args:
        name: Of the task.
        benchmark: Name in the table of benchmarks.
        form: As in every task of ours.
        control: See :class:`~eval_ext.tasks.catalogue.Entry`.
    """
    metadata = {"version": 1.0, "longvt_benchmark": benchmark, "longvt_form": form, "longvt_control": control}
    return {"task": name, "class": BenchmarkTask, "metadata": metadata}


def _questions(base: Base, benchmark: Benchmark) -> list[tuple[str, Doc, Question]]:
    """Every document after its id."""
    read = []
    taken: Counter[str] = Counter()
    for number, doc in enumerate(base.docs):
        try:
            question = benchmark.read(doc)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ConfigError(
                f"{base.name}: document {number} is not one of {benchmark.name} ({type(error).__name__}: {error}); "
                f"it has {', '.join(doc)}"
            ) from error
        key = question.id if question.id is not None else str(number)
        taken[key] += 1
        read.append((key if taken[key] == 1 else f"{key}#{taken[key]}", doc, question))
    return read


def _controlled(
    asked: list[tuple[str, Doc, Question]], control: str | None, benchmark: Benchmark
) -> list[tuple[str, Doc, Question]]:
    """The questions of a control: those that have what it needs, changed as it says."""
    if control == "oracle_window":
        return [each for each in asked if each[2].segment is not None]
    if control != "random_choice" or benchmark.shuffle is None:
        return asked
    moved: list[tuple[str, Doc, Question]] = []
    for key, doc, question in asked:
        if question.options:
            order = list(range(len(question.options)))
            # Seeded by text: the same in every process, on every machine.
            random.Random(f"{benchmark.family} {key}").shuffle(order)
            try:
                shuffled = benchmark.shuffle(doc, order)
            except ValueError as error:
                raise ConfigError(f"{benchmark.name}, question {key}: {error}") from error
            moved.append((key, shuffled, benchmark.read(shuffled)))
    return moved


def _row(base: Base, benchmark: Benchmark, key: str, question: Question, doc: Doc) -> Row:
    file = base.video(doc) or base.folder / question.video
    return parse_row(
        {
            "id": key,
            "videos": {VIDEO_NAME: str(file)},
            "kind": question.kind,
            "question": question.question,
            "answer": question.answer,
            "video_segment": list(question.segment) if question.segment is not None else None,
            "options": list(question.options) if question.options is not None else None,
            "source": benchmark.name,
        },
        where=f"{base.name}, question {key}",
    )
