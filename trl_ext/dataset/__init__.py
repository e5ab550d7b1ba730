"""Training data as TRL reads it: rows for GRPO, conversations for SFT.

::

    load_training_rows("rl.parquet")           # a datasets.Dataset for GRPOTrainer: a row's columns and its prompt
    write_sft("sft.parquet", [{"id": "demo/12/row-3/0", "source": "rollout", "messages": [...]}])

training_rows.py   rows for GRPO
questions.py       questions for RL, ours or LongVT's, as rows
conversations.py   conversations to imitate, LongVT's, ours or rollouts, in one shape
replay.py          their pictures: the environment asks anew, its tools reply anew
rollout_traces.py  rollouts as conversations (RFT)
sft_file.py        conversations with their frames in files, which the stock ``trl sft`` reads
mixture.py         several sources and how often each is used
lazy.py            a mixture whose frames are decoded while it is trained on (``longvt sft``)
order.py           the order of conversations of like length, also in a run that goes on
measure.py         tokens and frames, counted without decoding
check.py           what is wrong with a file, and how long its rows are (``longvt data check``)
materialize.py     a mixture as SFT files (``longvt data materialize``)
media.py files.py published.py frames.py blocks.py faults.py    what these are made of
"""

from __future__ import annotations

from trl_ext.dataset.rollout_traces import messages_to_sft, rollouts_to_sft
from trl_ext.dataset.sft_file import SftExample, read_sft, write_sft
from trl_ext.dataset.training_rows import load_training_rows, rows_to_dataset

__all__ = [
    "SftExample",
    "load_training_rows",
    "messages_to_sft",
    "read_sft",
    "rollouts_to_sft",
    "rows_to_dataset",
    "write_sft",
]
