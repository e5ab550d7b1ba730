"""The public benchmarks: a file each, and one line here."""

from eval_ext.tasks.benchmarks import charades_sta, longvideobench, lvbench, video_mmmu, videomme, videosiah_eval
from eval_ext.tasks.benchmarks.benchmark import Benchmark, Question

__all__ = ["BENCHMARKS", "Benchmark", "Question"]

BENCHMARKS: tuple[Benchmark, ...] = (
    videosiah_eval.VIDEOSIAH_EVAL,
    videomme.VIDEOMME,
    videomme.VIDEOMME_W_SUBTITLE,
    *video_mmmu.TRACKS,
    lvbench.LVBENCH,
    longvideobench.LONGVIDEOBENCH,
    charades_sta.CHARADES_STA,
)
