"""A real GRPOTrainer over questions in text, whose answers are drawn from a list by torch's random state."""

import re
import sys
import threading
from typing import ClassVar

import pytest

from longvt_plugins.judges.judge import JudgeConfig
from longvt_plugins.testing_server import ScriptedChatServer, asked_text, assistant, reset

WORDS = ["red", "blue", "mauve", "green"]


@pytest.fixture
def drawing_trainer():
    """A GRPOTrainer that samples from a list: TRL's own from its loop to its update."""
    import torch
    from trl import GRPOTrainer

    class DrawingTrainer(GRPOTrainer):
        made: ClassVar[list[GRPOTrainer]] = []

        def __init__(self, *positional, **given):
            super().__init__(*positional, **given)
            self.made.append(self)

        def draw(self, question, count):
            return [WORDS[place] for place in torch.randint(len(WORDS), (count,)).tolist()]

        def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, **_):
            written = []
            for ids in prompt_ids[:: self.num_generations]:
                question = self._tokenizer.decode(ids).rpartition("Q:")[2].partition("<|im_end|>")[0]
                for word in self.draw(question.strip(), self.num_generations):
                    text = f"<think>Seen.</think><answer>{word}</answer><|im_end|>"
                    written.append(self._tokenizer(text, add_special_tokens=False)["input_ids"])
            return written, None

    return DrawingTrainer


@pytest.fixture
def make_trainer(tmp_path, tiny_model, drawing_trainer):
    """Makes trainers; ``draw(question, count)`` gives what is written, by default words drawn at random."""
    from datasets import Dataset
    from trl import GRPOConfig

    from trl_ext.model_setup import load_processor

    processor = load_processor(str(tiny_model))

    def make(reward_funcs, *, folder="out", questions=4, generations=4, draw=None, columns=None, **options):
        rows = questions_of(questions) | (columns or {})
        trainer = drawing_trainer(
            model=str(tiny_model),
            args=GRPOConfig(**settings_of(tmp_path / folder, generations) | options),
            processing_class=processor,
            train_dataset=Dataset.from_dict(rows),
            reward_funcs=reward_funcs,
        )
        if draw is not None:
            trainer.draw = draw
        return trainer

    return make


def questions_of(count):
    return {
        "id": [f"row-{number}" for number in range(count)],
        "question": [f"{number}?" for number in range(count)],
        "prompt": [[{"role": "user", "content": f"Q:{number}?"}] for number in range(count)],
        "answer": ["red"] * count,
    }


def settings_of(folder, generations):
    return {
        "output_dir": str(folder),
        "max_steps": 4,
        "per_device_train_batch_size": generations,
        "num_generations": generations,
        "max_completion_length": 64,
        "learning_rate": 1e-3,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "logging_steps": 1,
        "seed": 3,
    }


@pytest.fixture
def run_stock(tmp_path, tiny_model, drawing_trainer, monkeypatch):
    """Runs the script of the stock ``trl grpo`` on a recipe, its trainer sampling from a list; gives the trainer."""
    import trl
    import yaml
    from datasets import Dataset
    from trl.scripts import grpo

    def run(reward_funcs, *, env, draw, generations, **keys):
        monkeypatch.setattr(trl, "GRPOTrainer", drawing_trainer)
        monkeypatch.setattr(drawing_trainer, "draw", lambda self, question, count: draw(question, count))
        monkeypatch.setattr(sys, "path", [*sys.path])
        for name in ("trl_ext.judged", "trl_ext.bridge"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        for name in env:
            monkeypatch.setenv(name, "")
        recipe = {"model_name_or_path": str(tiny_model), **settings_of(tmp_path / "out", generations), "max_steps": 1}
        if "datasets" not in keys:
            Dataset.from_dict(questions_of(1)).to_parquet(tmp_path / "questions.parquet")
            files = str(tmp_path / "questions.parquet")
            recipe["datasets"] = [{"path": "parquet", "data_files": files, "split": "train"}]
        recipe |= {"reward_funcs": reward_funcs, "env": env, **keys}
        (tmp_path / "rl.yaml").write_text(yaml.safe_dump(recipe))
        parsed = grpo.make_parser().parse_args_and_config(args=["--config", str(tmp_path / "rl.yaml")])
        grpo.main(*parsed)
        return drawing_trainer.made[-1]

    return run


QUOTED = r"-----BEGIN {} \w+-----\n(.*?)\n-----END"


class JudgeServer(ScriptedChatServer):
    """Compares words, "green" is half right; it goes down once it was asked ``kill_after`` more times."""

    def __init__(self) -> None:
        super().__init__(self.judge)
        self.kill_after: int | None = None
        self._counting = threading.Lock()

    def judge(self, request):
        with self._counting:
            if self.kill_after is not None:
                self.kill_after -= 1
                if self.kill_after < 0:
                    if self.kill_after == -1:
                        threading.Thread(target=self.stop).start()
                    return reset()
        text = asked_text(request)
        reference, answer = (
            re.search(QUOTED.format(label), text, re.DOTALL)[1].strip(" .").lower()
            for label in ("reference answer", "answer under test")
        )
        return assistant("1" if answer == reference else "0.5" if answer == "green" else "0")

    def revive(self) -> None:
        self.kill_after = None
        self.stop()
        self.start()

    def config(self, **options) -> JudgeConfig:
        quick = {"max_retries": 1, "backoff": 0.01, "timeout": 20.0}
        return JudgeConfig("llm", {"base_url": self.base_url, "model": "scripted", **quick, **options})


@pytest.fixture
def judge_server():
    """A judge behind real HTTP that can be killed while it is asked, and come back."""
    with JudgeServer() as server:
        yield server
