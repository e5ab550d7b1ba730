"""Two processes that train together: groups that span them are one, and a judge that one of them misses stops both."""

import ast
import subprocess
import sys

import pytest

pytest.importorskip("torch")

PROGRAM = """
import sys
from types import SimpleNamespace

import torch.distributed as distributed

from longvt_plugins.errors import JudgeDownError
from longvt_plugins.judges import JudgeHealth, Judgement
from trl_ext import rewards
from trl_ext.callbacks.groups import gather_groups
from trl_ext.processes import gather
from trl_ext.scoring import Scoring

rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
trainer = SimpleNamespace(num_generations=4, num_generations_eval=2, model=SimpleNamespace(training=True))
told = [gather(rank), gather_groups(trainer, [f"{rank}{place}" for place in "abcdef"])]


class Judge:
    def __init__(self):
        self.health = JudgeHealth()

    async def __call__(self, question, reference, prediction, *, options=None, kind=None):
        return Judgement(None, "none", "no connection") if rank == 1 else Judgement(1.0, "correct")


scoring = Scoring([rewards.answer_reward], judge=Judge(), patience=0, check=False)
scoring.when_down = lambda: f"Stopped in {rank}"
try:
    completion = [{"role": "assistant", "content": "<answer>red</answer>"}]
    scoring.reward_funcs[0]([completion], question=["?"], answer=["red"])
except JudgeDownError as error:
    told.append(str(error))
print(told)
"""


def test_two_processes_share_groups_and_stop_together(tmp_path):
    command = [sys.executable, "-c", PROGRAM]
    running = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meeting")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    told = [process.communicate(timeout=200)[0] for process in running]
    for rank, text in enumerate(told):
        ranks, groups, stopped = ast.literal_eval(text)
        assert ranks == [0, 1]
        assert groups == [["0a", "0b", "0c", "0d"], ["0e", "0f", "1a", "1b"], ["1c", "1d", "1e", "1f"]]
        assert stopped == (f"the judge has given no reply for 0 s, 0 s are allowed (no connection). Stopped in {rank}")
