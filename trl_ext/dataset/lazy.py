"""A mixture for ``SFTTrainer`` whose frames are decoded while it is trained on.

::

    dataset = load_conversations(mixture, config)           # one small row a conversation, frames not among it
    trainer = SFTTrainer(..., train_dataset=dataset)
    trainer.data_collator = ReplayCollator(trainer.data_collator, config, dataset)

Frames are read where batches are made, in the workers of the data loader, so that no disk is needed for them. It writes
none: see :mod:`trl_ext.dataset.materialize`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError, LongvtError, VideoError
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.types import Message
from trl_ext.dataset.conversations import Conversation
from trl_ext.dataset.faults import DataFault
from trl_ext.dataset.measure import BlankLibrary, Measure
from trl_ext.dataset.mixture import Mixture
from trl_ext.dataset.replay import Replayer
from trl_ext.environment import EnvironmentConfig

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

_TRIES = 8
"""Conversations that are tried in place of one whose video cannot be read."""

_VERSION = 1
"""Raised when rows are made in another way, so that kept ones are not taken for them."""


def load_conversations(
    mixture: Mixture,
    config: EnvironmentConfig,
    *,
    processor: Any = None,
    max_length: int | None = None,
    skip_faulty: bool = False,
) -> Dataset:
    """The conversations of a mixture, as often as its weights say.

    Args:
        mixture: Sources and weights.
        config: How videos are shown.
        processor: Counts tokens, for the column ``length``, of conversations that do not tell theirs: each video is
            opened for that. None counts nothing.
        max_length: Longer conversations are left out, with a warning that counts them; needs ``processor``.
        skip_faulty: Leave out what is faulty, with a warning that counts it, instead of refusing all.

    Returns:
        Rows that :class:`ReplayCollator` shows; kept by ``datasets`` in its cache, and made again when a file changes.

    Raises:
        ConfigError: Faulty conversations, or none at all.
    """
    from datasets import Dataset, Features, Json, List, Value
    from datasets.exceptions import DatasetGenerationError

    text = Value("string")
    columns = {"id": text, "source": text, "videos": text, "question": text, "tools": Value("bool"), "messages": Json()}
    lengths = {"length": Value("int64")} if processor is not None else {}
    maker = _Maker(mixture, config, processor, max_length, skip_faulty)
    try:
        dataset = Dataset.from_generator(
            maker, features=Features({**columns, "images": List(text), **lengths}), fingerprint=maker.fingerprint()
        )
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, LongvtError):
            raise error.__cause__ from None
        raise
    if not len(dataset):
        raise ConfigError("there is no conversation to train on")
    return dataset


class _Maker:
    """Makes the rows; called by ``datasets`` unless it has them already."""

    def __init__(
        self,
        mixture: Mixture,
        config: EnvironmentConfig,
        processor: Any,
        max_length: int | None,
        skip_faulty: bool,
    ) -> None:
        self._mixture = mixture
        self._config = config
        self._processor = processor
        self._max_length = max_length
        self._skip_faulty = skip_faulty

    def fingerprint(self) -> str:
        """Another one for other rows."""
        files = [self._mixture.file(source) for source in self._mixture.sources]
        template = None
        if self._processor is not None:
            template = [
                self._processor.chat_template,
                str(self._processor.image_processor),
                len(self._processor.tokenizer),
            ]
        told = {
            "version": _VERSION,
            "mixture": dataclasses.asdict(self._mixture),
            "files": [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()],
            "shown": dataclasses.asdict(self._config),
            "processor": template,
            "max_length": self._max_length,
            # What was missing may be there the next time.
            "left_out": self._faults() if self._skip_faulty else None,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:32]

    def _faults(self) -> list[str]:
        return [str(item) for item in self._mixture.conversations() if isinstance(item, DataFault)]

    def __call__(self) -> Iterator[dict[str, Any]]:
        left_out: Counter[str] = Counter()
        length = self._counter()
        for item in self._mixture.conversations():
            try:
                if isinstance(item, DataFault):
                    raise item
                tokens = {} if length is None else {"length": length(item)}
            except (DataFault, VideoError) as error:
                reason = error.kind if isinstance(error, DataFault) else "unreadable video"
                if reason != "over-long" and not self._skip_faulty:
                    more = "`longvt data check` lists all that is faulty, skip_faulty leaves it out"
                    raise ConfigError(f"{error}; {more}") from None
                left_out[reason] += 1
                continue
            yield {
                "id": item.id,
                "source": item.source,
                "videos": json.dumps(item.videos, ensure_ascii=False),
                "question": item.question,
                "tools": item.tools,
                "messages": item.messages,
                "images": [],
                **tokens,
            }
        for kind, count in left_out.items():
            logger.warning("%d conversations are left out: %s", count, kind)

    def _counter(self) -> Callable[[Conversation], int] | None:
        if self._processor is None:
            return None
        plugins = create_plugin_manager()
        blank = Replayer(self._config, plugins, library=BlankLibrary(self._config.video, plugins))
        measure = Measure(self._processor)

        def length(conversation: Conversation) -> int:
            known = conversation.length
            tokens = known if known is not None else measure.of(blank.messages(conversation)).tokens
            if self._max_length is not None and tokens > self._max_length:
                raise DataFault("over-long", conversation.id, f"{tokens} tokens, more than {self._max_length}")
            return tokens

        return length


class ReplayCollator:
    """Shows the conversations of a batch, and hands them to the trainer's own collator.

    A conversation whose video cannot be read any more is told in the log, once, and another one of the data set takes
    its place, so that the training goes on and does not learn from a faulty one.

    Args:
        collate: Of the trainer, :class:`trl.trainer.sft_trainer.DataCollatorForVisionLanguageModeling`.
        config: How videos are shown.
        dataset: Gives what takes the place of a conversation that cannot be shown.
    """

    def __init__(
        self, collate: Callable[[list[dict[str, Any]]], Any], config: EnvironmentConfig, dataset: Dataset
    ) -> None:
        self._collate = collate
        self._replayer = Replayer(config, create_plugin_manager())
        self._dataset = dataset
        self._told: set[str] = set()

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> Any:
        """A batch of what :func:`load_conversations` made.

        Raises:
            VideoError: One after the other could not be read: a disk is missing rather than a video.
        """
        return self._collate([{"messages": self._messages(example), "images": []} for example in examples])

    def _messages(self, example: Mapping[str, Any]) -> list[Message]:
        # Not hash(): Python salts it anew in every process.
        start = int.from_bytes(hashlib.sha256(example["id"].encode()).digest()[:8])
        for attempt in range(_TRIES):
            row = example if not attempt else self._dataset[(start + attempt) % len(self._dataset)]
            try:
                return self._replayer.messages(_conversation(row))
            except (DataFault, VideoError) as error:
                if row["id"] not in self._told:
                    self._told.add(row["id"])
                    logger.warning("conversation %r is not trained on: %s", row["id"], error)
                last = error
        raise VideoError(f"{_TRIES} conversations in a row could not be shown, the last one: {last}") from last


def _conversation(row: Mapping[str, Any]) -> Conversation:
    return Conversation(
        row["id"], row["source"], row["messages"], json.loads(row["videos"]), row["question"], row["tools"]
    )
