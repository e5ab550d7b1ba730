"""The demo from its first stage to its last.

>>> run_demo(Stages(Path("runs/demo"), FULL, seed=0, tell=print))
"""

from __future__ import annotations

from longvt_plugins.demo.stages import Evaluation, Stages, start_checkpoint


def run_demo(stages: Stages) -> None:
    """Runs what is not done yet: videos, traces, the four trainings, the evaluation of every stage."""
    traces = stages.folder / "traces"
    settings = stages.settings
    base = start_checkpoint()
    stages.make_videos()
    stages.make_traces()
    no_tool = stages.train_sft("no_tool_sft", str(traces / "non_think-*.parquet"), base, "sft", settings.no_tool_steps)
    sft = stages.train_sft("sft", str(traces / "tool-*.parquet"), base, "sft", settings.sft_steps)
    rl = stages.train_rl("rl", sft)
    rft = stages.train_sft("rft", stages.select_rollouts(), rl, "rft", settings.rft_steps)
    stages.evaluate(
        [
            Evaluation("base", base),
            Evaluation("no_tool_sft", no_tool, task="longvt_synthetic_non_think"),
            Evaluation("sft", sft),
            Evaluation("rl", rl),
            Evaluation("rft", rft),
            Evaluation("oracle_window", rft, task="longvt_synthetic_oracle_window"),
        ]
    )
