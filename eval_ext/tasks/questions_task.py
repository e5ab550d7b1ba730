"""A task of lmms-eval over questions about videos: what all of ours have, wherever the questions come from.

Our own models read the row and the form of a document and run the tool loop; any other chat model of lmms-eval gets
videos and text, without tools. The strict score is always there; the judge that ``LONGVT_JUDGE`` names stands beside
it. Where the questions come from is said by :mod:`eval_ext.tasks.rows_task` and :mod:`eval_ext.tasks.benchmark_task`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from lmms_eval.api.task import ConfigurableMessagesTask
from loguru import logger

from eval_ext.outcome import VERSION, read_outcome
from eval_ext.tasks.judging import Judging, read_judge_config
from eval_ext.tasks.metrics import is_judges, metric_list
from eval_ext.tasks.scoring import score_sample, tidied
from longvt_plugins.conversation import Form, system_message
from longvt_plugins.errors import ConfigError
from longvt_plugins.judges import Judgement
from longvt_plugins.rows import Row, parse_row

SPLIT = "test"

PROMPT_KEY, BLIND_KEY = "longvt_prompt", "longvt_no_visual"
"""Of the metadata: the text of the messages is the whole prompt, and no video is shown."""


class QuestionsTask(ConfigurableMessagesTask):  # type: ignore[misc]
    """Questions about videos.

    Args:
        config: As a YAML would have it.
        rows: The questions.
        categories: Of each question, where they have an accuracy of their own; by default its source is one.
        text: What a document asks, as text.

    Raises:
        ConfigError: The metadata names no form, or an oracle is wanted that not every row has.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        rows: Sequence[Row],
        *,
        text: Callable[[Mapping[str, Any]], str],
        categories: Sequence[Sequence[str]] | None = None,
    ) -> None:
        settings = {key: value for key, value in config.items() if key != "class"}
        metadata = dict(settings.get("metadata") or {})
        self._form = form_of(config)
        # Before an hour of answers, not after it.
        judging = Judging(read_judge_config(os.environ, metadata.get("longvt_judge", "exact")))
        self._judging = None if judging.is_strict else judging
        self._judgements: dict[tuple[str, str], Judgement] = {}
        self._rows = list(rows)
        self._categories = categories
        if metadata.get("longvt_oracle") and any(row["video_segment"] is None for row in self._rows):
            raise ConfigError(f"task {settings.get('task')}: a row has no video_segment to look at")
        # In the configuration, so that a cache does not take one data set's answers for another's.
        metadata["longvt_data_fingerprint"] = _fingerprint(self._rows)
        metadata["longvt_outcome"] = VERSION
        form, blind = self._form, bool(metadata.get(BLIND_KEY))
        named = [name for group in categories for name in group] if categories else [row["source"] for row in rows]
        defaults = {
            "output_type": "generate_until",
            "test_split": SPLIT,
            "doc_to_text": text,
            "doc_to_target": "answer",
            "doc_to_messages": functools.partial(doc_to_messages, form=form, text=text, blind=blind),
            "process_results": functools.partial(score_sample, form=form),
            "metric_list": metric_list(
                form, named, judged=self._judging is not None, kinds={row["kind"] for row in self._rows}
            ),
            "generation_kwargs": {"temperature": 0, "do_sample": False, "until": []},
            # By default thoughts are taken out before scoring, and then no format can be scored.
            "reasoning_tags": "none",
        }
        super().__init__(config={**defaults, **settings, "metadata": metadata})

    def download(self, dataset_kwargs: dict[str, Any] | None = None) -> None:
        """Makes the dataset of the rows that are there; nothing is downloaded."""
        import datasets

        # Videos as text: a table would give every row the names of all others, filled with nulls.
        docs: list[dict[str, Any]] = [{**row, "videos": json.dumps(row["videos"])} for row in self._rows]
        for place, names in enumerate(self._categories or ()):
            docs[place] |= {"categories": list(names), "place": place}
        self.dataset = datasets.DatasetDict({SPLIT: datasets.Dataset.from_list(docs)})
        self.dataset_no_image = self.dataset

    def dump_config(self) -> dict[str, Any]:
        """The configuration, without what depends on the judge.

        lmms-eval's cache takes it for the key of answers, and these do not depend on who judges them; which judge
        it was is the metric ``judge``.
        """
        config: dict[str, Any] = super().dump_config()
        metrics = config["metric_list"]
        return config | {"metric_list": [metric for metric in metrics if not is_judges(metric["metric"])]}

    def apply_filters(self) -> Any:
        """As lmms-eval's own; then the judge is asked, about all answers at once."""
        done = super().apply_filters()
        if self._judging is not None and self._is_scored:
            self._judge(self._judging)
        return done

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Any], full_docs: Any = None) -> dict[str, Any]:
        """Scores a sample. lmms-eval's own would try a failure five times over and then hide its reason."""
        if self.config.process_results is None:  # --predict_only
            return dict(super().process_results(doc, results, full_docs))
        text = _text(results[0])
        if not self._is_scored:
            return dict(self.config.process_results(doc, [text]))
        judgement = self._judgements.get((str(doc["id"]), text))
        scores = self.config.process_results(doc, [text], judgement=judgement)
        # Of a value that no number is made of lmms-eval makes an empty list in its results.
        return {name: value for name, value in scores.items() if name in self.aggregation()}

    @property
    def _is_scored(self) -> bool:
        """Scores are made here, not by a function of the YAML's own, and not left out."""
        return getattr(self.config.process_results, "func", None) is score_sample

    def _judge(self, judging: Judging) -> None:
        asked: dict[tuple[str, str], tuple[Row, str]] = {}
        for instance in self._instances:
            row = self._rows[instance.doc_id]
            for response in instance.filtered_resps.values():
                text = _text(response)
                outcome = read_outcome(text, self._form)
                if outcome is not None and outcome.answer is None:
                    self._judgements[row["id"], text] = judging.no_answer()
                elif outcome is not None and outcome.answer is not None:
                    asked[row["id"], text] = (row, tidied(row, outcome.answer))
        judgements = judging.judge_all(list(asked.values()))
        self._judgements |= dict(zip(asked, judgements, strict=True))
        missing = [judgement.reason for judgement in judgements if judgement.score is None]
        if missing:
            logger.error(
                f"{self.config.task}: the judge {judging.config.name} had no verdict on {len(missing)} of "
                f"{len(judgements)} answers; they count in accuracy and not in judged_accuracy: {missing[0]}"
            )


def form_of(config: Mapping[str, Any]) -> Form:
    """The form that a task's metadata names.

    Raises:
        ConfigError: It names none.
    """
    form: Any = (config.get("metadata") or {}).get("longvt_form")
    if form not in get_args(Form):
        raise ConfigError(f"task {config.get('task')}: longvt_form must be one of {', '.join(get_args(Form))}")
    return form  # type: ignore[no-any-return]


def doc_to_messages(
    doc: Mapping[str, Any], *, form: Form, text: Callable[[Mapping[str, Any]], str], blind: bool = False
) -> list[dict[str, Any]]:
    """What a model sees that is not ours: it gets no tools, so it is told to think at most.

    Args:
        doc: The document.
        form: Of the task.
        text: What the document asks.
        blind: No video is shown.
    """
    system = system_message("non_think" if form == "non_think" else "reasoning")["content"]
    files = () if blind else parse_row(doc)["videos"].values()
    return [
        {"role": "system", "content": [{"type": "text", "text": system}]},
        {
            "role": "user",
            "content": [*({"type": "video", "url": file} for file in files), {"type": "text", "text": text(doc)}],
        },
    ]


def _text(response: Any) -> str:
    first = response[0] if isinstance(response, list) else response
    return first or ""


def _fingerprint(rows: Sequence[Row]) -> str:
    """Changes with the questions and with the files of their videos."""
    digest = hashlib.sha256()
    for row in rows:
        sizes = [(name, _size(file)) for name, file in sorted(row["videos"].items())]
        digest.update(json.dumps([{**row, "videos": sizes}], sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _size(file: str) -> int | None:
    try:
        return Path(file).stat().st_size
    except OSError:
        return None  # its rollout will fail, with its reason
