"""Steps of a small pipeline for tests: numbers that belong to videos are asked about, doubled, and added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from datapipe import ContextStep, Dropped, Estimate, Kept, Outcome, Step, StepContext, VideoGroup
from datapipe.estimate import Amount
from longvt_plugins.hookspecs import hookimpl


@dataclass(frozen=True)
class Number:
    """A number that belongs to a video."""

    id: str
    video: str
    number: int


@dataclass(frozen=True)
class Answer:
    """What the server says."""

    number: int


@dataclass(frozen=True)
class DropThirds(Step[Number, Number]):
    """Drops multiples of a number."""

    name, version = "drop_thirds", 1
    multiple: int = 3

    def process(self, record: Number) -> Outcome[Number]:
        return Kept(record) if record.number % self.multiple else Dropped("a multiple")


@dataclass(frozen=True)
class AskDouble(ContextStep[Number, Number]):
    """Asks for the double of a number."""

    name, version, uses_chat = "ask_double", 1, True
    factor: int = 2

    async def work(self, record: Number, context: StepContext) -> Outcome[Number]:
        text = f"{self.factor} times {record.number}?"
        answer = await context.ask([{"role": "user", "content": text}], Answer)
        return Kept(Number(record.id, record.video, answer.number))

    def estimate(self, amount: Amount) -> Estimate:
        return Estimate(amount.records, amount.records, amount.records * 10, amount.records * 5)


@dataclass(frozen=True)
class SumVideo(ContextStep[VideoGroup[Number], Number]):
    """Asks for the sum of a video's numbers, beside how many there were at first."""

    name, version, uses_chat, per = "sum_video", 1, True, "video"
    beside: ClassVar[Mapping[str, type]] = {"drop_thirds": Number}

    async def work(self, record: VideoGroup[Number], context: StepContext) -> Outcome[Number]:
        numbers = " + ".join(str(part.number) for part in record.records)
        text = f"{numbers}? ({len(context.beside['drop_thirds'])})"
        answer = await context.ask([{"role": "user", "content": text}], Answer)
        return Kept(Number(f"{record.video}-sum", record.video, answer.number))


@hookimpl
def register_steps(register: Any) -> None:
    """Gives the steps."""
    for step in (DropThirds, AskDouble, SumVideo):
        register(step)
