"""A real GRPOTrainer over questions in text, whose answers are drawn from a list by torch's random state."""

import re
import threading

import pytest

from longvt_plugins.judges.judge import JudgeConfig
from longvt_plugins.testing_server import ScriptedChatServer, asked_text, assistant, reset

WORDS = ["red", "blue", "mauve", "green"]


@pytest.fixture
def make_trainer(tmp_path, tiny_model):
    """Makes trainers; ``draw(question, count)`` gives what is written, by default a word for each drawn at random."""
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from trl_ext.model_setup import load_processor

    processor = load_processor(str(tiny_model))

    def draw_word(question, count):
        return [WORDS[place] for place in torch.randint(len(WORDS), (count,)).tolist()]

    class DrawingTrainer(GRPOTrainer):
        draw = staticmethod(draw_word)

        def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, **_):
            written = []
            for ids in prompt_ids[:: self.num_generations]:
                question = self._tokenizer.decode(ids).split("Q:")[1].split("<|im_end|>")[0]
                for word in self.draw(question.strip(), self.num_generations):
                    text = f"<think>Seen.</think><answer>{word}</answer><|im_end|>"
                    written.append(self._tokenizer(text, add_special_tokens=False)["input_ids"])
            return written, None

    def make(reward_funcs, *, folder="out", questions=4, generations=4, draw=None, columns=None, **options):
        rows = {
            "id": [f"row-{number}" for number in range(questions)],
            "question": [f"{number}?" for number in range(questions)],
            "prompt": [[{"role": "user", "content": f"Q:{number}?"}] for number in range(questions)],
            "answer": ["red"] * questions,
            **(columns or {}),
        }
        settings = {
            "output_dir": str(tmp_path / folder),
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
        trainer = DrawingTrainer(
            model=str(tiny_model),
            args=GRPOConfig(**settings | options),
            processing_class=processor,
            train_dataset=Dataset.from_dict(rows),
            reward_funcs=reward_funcs,
        )
        if draw is not None:
            trainer.draw = draw
        return trainer

    return make


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
