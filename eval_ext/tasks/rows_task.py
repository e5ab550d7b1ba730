"""A benchmark whose questions are a file of rows, named by an environment variable.

::

    task: longvt_synthetic_tool
    class: !function eval_ext.tasks.rows_task.RowsTask
    metadata:
      version: 1.0
      longvt_form: tool                # tool, reasoning or non_think
      longvt_oracle: false             # true: the right window is looked at before the first turn
      longvt_judge: exact              # beside the exact one, where LONGVT_JUDGE names none
      longvt_data: LONGVT_DATA         # a rows file, or a folder with test.parquet

Everything else has a default here. Our own models read the row and the form and run the tool loop; any
other chat model of lmms-eval gets the videos and the question, without tools.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from lmms_eval.api.task import ConfigurableMessagesTask
from loguru import logger

from eval_ext.outcome import VERSION, read_outcome
from eval_ext.tasks.judging import Judging, read_judge_config
from eval_ext.tasks.metrics import is_judges, metric_list
from eval_ext.tasks.scoring import score_sample
from longvt_plugins.conversation import Form, system_message
from longvt_plugins.errors import ConfigError
from longvt_plugins.judges import Judgement
from longvt_plugins.rows import Row, parse_row, read_rows

SPLIT = "test"


class RowsTask(ConfigurableMessagesTask):  # type: ignore[misc]
    """A task of lmms-eval over a file of rows.

    Args:
        config: The YAML.

    Raises:
        ConfigError: The metadata names no form, or the variable no rows.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        settings = {key: value for key, value in config.items() if key != "class"}
        metadata = dict(settings.get("metadata") or {})
        form: Any = metadata.get("longvt_form")
        if form not in get_args(Form):
            raise ConfigError(f"task {settings.get('task')}: longvt_form must be one of {', '.join(get_args(Form))}")
        # Before an hour of answers, not after it.
        judging = Judging(read_judge_config(os.environ, metadata.get("longvt_judge", "exact")))
        self._judging = None if judging.is_strict else judging
        self._judgements: dict[tuple[str, str], Judgement] = {}
        self._rows = _read_rows(metadata.get("longvt_data", "LONGVT_DATA"))
        if metadata.get("longvt_oracle") and any(row["video_segment"] is None for row in self._rows):
            raise ConfigError(f"task {settings.get('task')}: a row has no video_segment to look at")
        # In the configuration, so that a cache does not take one data set's answers for another's.
        metadata["longvt_data_fingerprint"] = _fingerprint(self._rows)
        metadata["longvt_outcome"] = VERSION
        self._form: Form = form
        defaults = {
            "output_type": "generate_until",
            "test_split": SPLIT,
            "doc_to_text": doc_to_text,
            "doc_to_target": "answer",
            "doc_to_messages": functools.partial(doc_to_messages, form=form),
            "process_results": functools.partial(score_sample, form=form),
            "metric_list": metric_list(form, (row["source"] for row in self._rows), judged=self._judging is not None),
            "generation_kwargs": {"temperature": 0, "do_sample": False, "until": []},
            # By default thoughts are taken out before scoring, and then no format can be scored.
            "reasoning_tags": "none",
        }
        super().__init__(config={**defaults, **settings, "metadata": metadata})

    def download(self, dataset_kwargs: dict[str, Any] | None = None) -> None:
        """Makes the dataset of the rows that are there; nothing is downloaded."""
        import datasets

        # Videos as text: a table would give every row the names of all others, filled with nulls.
        docs = [{**row, "videos": json.dumps(row["videos"])} for row in self._rows]
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
                    asked[row["id"], text] = (row, outcome.answer)
        judgements = judging.judge_all(list(asked.values()))
        self._judgements |= dict(zip(asked, judgements, strict=True))
        missing = [judgement.reason for judgement in judgements if judgement.score is None]
        if missing:
            logger.error(
                f"{self.config.task}: the judge {judging.config.name} had no verdict on {len(missing)} of "
                f"{len(judgements)} answers; they count in accuracy and not in judged_accuracy: {missing[0]}"
            )


def _text(response: Any) -> str:
    first = response[0] if isinstance(response, list) else response
    return first or ""


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """The question, with its options."""
    options = doc["options"]
    return f"{doc['question']} Choose one of: {'; '.join(options)}." if options else str(doc["question"])


def doc_to_messages(doc: Mapping[str, Any], *, form: Form) -> list[dict[str, Any]]:
    """What a model sees that is not ours: it gets no tools, so it is told to think at most."""
    system = system_message("non_think" if form == "non_think" else "reasoning")["content"]
    videos = [{"type": "video", "url": file} for file in parse_row(doc)["videos"].values()]
    return [
        {"role": "system", "content": [{"type": "text", "text": system}]},
        {"role": "user", "content": [*videos, {"type": "text", "text": doc_to_text(doc)}]},
    ]


def _read_rows(variable: str) -> list[Row]:
    named = os.environ.get(variable)
    if not named:
        raise ConfigError(f"set {variable} to a rows file (.parquet or .jsonl), or to a folder with {SPLIT}.parquet")
    path = Path(named)
    rows = read_rows(path / f"{SPLIT}.parquet" if path.is_dir() else path)
    if not rows:
        raise ConfigError(f"{variable}={named}: no rows in it")
    return rows


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
