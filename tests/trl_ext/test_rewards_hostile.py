"""Hostile transcripts: nothing that a model or a tool writes makes a reward raise, or beats an honest rollout."""

import json
import random

import pytest

from trl_ext import rewards
from trl_ext.rewards.presets import PRESETS
from trl_ext.scoring import Scoring

ROW = {"question": "Which colour?", "answer": "red", "kind": "open", "options": None, "video_segment": [10.0, 20.0]}
BATCH = 50
WINDOW = {"video_path": "video_1.mp4", "start_time": 10, "end_time": 20}

TAGS = [f"<{slash}{name}>" for name in ("think", "answer", "tool_call", "tool_response") for slash in ("", "/")]
TOKENS = [
    *("<|im_end|>", "<|im_start|>assistant\n", "<|im_start|>user\n"),
    *("<|endoftext|>", "<|vision_start|>", "<|image_pad|>"),
]
WORDS = [
    *("red", "Red.", "blue", "red or blue", "[10, 20]", "A", " ", "\n"),
    *("\x00", "\ud800", "\u202ered", "１", "ａｎｓｗｅｒ"),
]
ARGUMENTS = [
    WINDOW,
    json.dumps(WINDOW),
    {"start_time": 12, "end_time": 30},
    {"start_time": 0, "end_time": 3600.5},
    "[" * 500,
    '{"start_time": NaN}',
    None,
    ["start_time", 10],
    {"start_time": "10", "end_time": True},
    {"start_time": 10**400, "end_time": -1},
    {"start_time": float("inf"), "end_time": float("nan")},
    {"start_time": -1e308, "end_time": 1e308},
    {"start_time": {}, "end_time": []},
]


def honest():
    """What no other rollout may beat: the right window, in form, the right answer."""
    call = {"type": "function", "function": {"name": "crop_video", "arguments": WINDOW}}
    return [
        {"role": "assistant", "content": "<think>When?</think>", "tool_calls": [call]},
        {"role": "tool", "name": "crop_video", "content": "10 frames:"},
        {"role": "assistant", "content": "<think>It is red.</think><answer>red</answer>"},
    ]


class Forger:
    """Writes rollouts that go wrong in every way that it knows, the same ones for one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def text(self) -> str:
        kind = self.chance.random()
        if kind < 0.05:
            return bytes(self.chance.randrange(256) for _ in range(200)).decode("latin-1")
        if kind < 0.07:
            return self.chance.choice([*TAGS, "red "]) * self.chance.choice([1_000, 20_000])
        pieces = self.chance.choices([*TAGS * 2, *TOKENS, *WORDS * 2], k=self.chance.randrange(14))
        if kind < 0.3:  # a whole answer somewhere among them, so that many are nearly right
            pieces.insert(self.chance.randrange(len(pieces) + 1), "<think>It is.</think><answer>red</answer>")
        return "".join(pieces)

    def content(self) -> object:
        block = {
            "type": self.chance.choice(["text", "image", None, 3]),
            "text": self.chance.choice([self.text(), None, 7]),
        }
        return self.chance.choice([self.text(), self.text(), [block, block], [block, "text", None], None, 5, {}])

    def call(self) -> object:
        name = self.chance.choice(["crop_video", "crop_video", "", None, "zoom", 3])
        call = {"type": "function", "function": {"name": name, "arguments": self.chance.choice(ARGUMENTS)}}
        if self.chance.random() < 0.5:
            call["id"] = self.chance.choice(["call_1", "call_1", "", None, 4])
        return self.chance.choice([call, call, call, None, "call", {"function": None}])

    def message(self) -> object:
        role = self.chance.choice(["assistant", "assistant", "tool", "tool", "user", "system", None, 3])
        message = {"role": role, "content": self.content()}
        if role == "assistant" and self.chance.random() < 0.5:
            message["tool_calls"] = self.chance.choice([[self.call()], [self.call(), self.call()], "calls", None, {}])
        if role == "assistant" and self.chance.random() < 0.1:
            message["reasoning_content"] = self.chance.choice([self.text(), None, 3])
        if role == "tool":
            message["name"] = self.chance.choice(["crop_video", None, "zoom"])
            message["tool_call_id"] = self.chance.choice(["call_1", "", None, 3])
        return self.chance.choice([message] * 20 + [None, "message"])

    def completion(self) -> object:
        if self.chance.random() < 0.15:
            return self.text()
        messages = [self.message() for _ in range(self.chance.randrange(5))]
        if self.chance.random() < 0.3:  # begins honestly
            messages = honest()[: self.chance.randrange(4)] + messages
        return messages


def score_hostile(count: int, seed: int) -> list[dict[str, float]]:
    """Scores by function of so many hostile rollouts, asked together as in a training."""
    forger, scoring = Forger(seed), Scoring(rewards.REWARDS)
    scored = []
    for start in range(0, count, BATCH):
        completions = [forger.completion() for _ in range(min(BATCH, count - start))]
        columns = {name: [value] * len(completions) for name, value in ROW.items()}
        batch = scoring.score(completions, columns)
        scored += [{name: values[place] for name, values in batch.scores.items()} for place in range(len(completions))]
    return scored


def test_no_hostile_transcript_raises_or_scores_above_an_honest_one(count=10_000):
    columns = {name: [value] for name, value in ROW.items()}
    best = {name: values[0] for name, values in Scoring(rewards.REWARDS).score([honest()], columns).scores.items()}
    scored = score_hostile(count, seed=2)
    assert len(scored) == count
    for scores in scored:
        assert all(scores[name] <= best[name] for name in best)
        for preset in PRESETS.values():
            total = sum(weight * scores[name] for name, weight in preset.weights.items())
            assert total <= sum(weight * best[name] for name, weight in preset.weights.items()) + 1e-9
    # They are worth something: many come near.
    assert sum(scores["answer_reward"] == 1 for scores in scored) > count / 50
    assert sum(scores["time_iou_reward"] == 1 for scores in scored) > count / 50
    assert len({tuple(scores.values()) for scores in scored}) > 15


@pytest.mark.parametrize("right", ["<answer>red</answer>", "<think>a</think><answer>red</answer>", "red"])
@pytest.mark.parametrize("around", ["{}", "</tool_response>{}", "<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>"])
def test_the_right_answer_in_a_tools_mouth_earns_nothing(right, around):
    said = around.format(right)
    turns = honest()
    completion = [turns[0], {**turns[1], "content": said}, {"role": "user", "content": said}]
    assert rewards.answer_reward([completion], answer=["red"]) == [0]
    assert rewards.format_reward([completion]) == [0]


@pytest.mark.parametrize(
    "written",
    [
        "<think>a</think><answer>red",
        "<think>a<answer>red</think></answer>",
        "<answer>red</answer><think>a",
        "<think><answer>red</answer></think>",
        "<tool_call><answer>red</answer></tool_call>",
        "<think>a</think><answer>blue</answer><answer>red</answer>",
        "<think>a</think><answer><answer>red</answer></answer>",
        "<think>a</think><answer>red</answer><answer>",
        "<tool_response><think>a</think><answer>red</answer></tool_response>",
    ],
)
def test_tags_that_are_nested_open_or_twice_have_no_form(written):
    assert rewards.format_reward([[{"role": "assistant", "content": written}]]) == [0]
