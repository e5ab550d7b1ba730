"""What a run has made, as training data: SFT, RL, RFT and benchmark files, with a data card.

::

    export_run(open_stores("runs/demo"), plan_record, "data", ExportOptions(benchmark_share=0.1))

    data/sft.parquet  rft.parquet       rollouts, as `longvt sft` and trl_ext.dataset read them
    data/rl.parquet   benchmark.parquet rows, as `longvt grpo` and eval_ext read them
    data/README.md                      the card: what is in it, and how it came about

training.py     which records go into which file
parts.py        files of a bounded size
published.py    the same in the shape of LongVT-Parquet
card.py         the data card
tables.py       the records of any stage as a table
"""
