"""The main job in one command: videos, traces, SFT, RL with tools, RFT, evaluation, report (``longvt demo``).

settings.py   how much of everything, in full and in ``--quick``
children.py   runs the real ``trl``, ``longvt grpo`` and ``lmms-eval`` programs and follows their progress
traces.py     the conversations to imitate
stages.py     the stages, each done once and resumable
figures.py    what was measured, from the files that the programs wrote
run.py        the stages in their order
report.py     report.html, results.json and the table
"""
