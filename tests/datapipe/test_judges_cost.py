"""What a judge costs inside of a step is counted for the record and held to the run's budget."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from datapipe import ContextStep, Kept, Outcome, StepContext
from datapipe.run import RunOptions, run_recipe
from datapipe.steps.judging import judge_answer
from datapipe.workdir import open_stores
from longvt_plugins.errors import ConfigError
from longvt_plugins.hookspecs import hookimpl
from longvt_plugins.judges import JudgeConfig
from longvt_plugins.testing import plugin_manager
from longvt_plugins.testing_server import ScriptedChatServer, assistant

from .pipeline_steps import Number

PRICES = {"input": 10.0, "output": 100.0}
VERDICT_DOLLARS = 100 * 10.0 / 1e6 + 10 * 100.0 / 1e6


@dataclass(frozen=True)
class JudgeNumber(ContextStep[Number, Number]):
    """Lets a judge say whether a number is what it is."""

    name, version = "judge_number", 1
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    async def work(self, record: Number, context: StepContext) -> Outcome[Number]:
        said = await judge_answer(context, self.judge, "Which number?", str(record.number), f"number {record.number}")
        return Kept(Number(record.id, record.video, int(said.score or 0)))


class Steps:
    @hookimpl
    def register_steps(self, register):
        register(JudgeNumber)


@pytest.fixture(scope="module")
def steps():
    return plugin_manager(Steps()).steps


@pytest.fixture
def judge_server():
    verdict = assistant(json.dumps({"reason": "the same", "score": "1"}), usage=(100, 10))
    with ScriptedChatServer(lambda request: verdict) as server:
        yield server


def recipe_with(recipe_for, server, **options):
    judge = {"name": "llm", "options": {"base_url": server.base_url, "model": "judge", **options}}
    return recipe_for(server.base_url, count=20, steps=[{"step": "judge_number", "set": {"judge": judge}}], workers=1)


def test_verdicts_are_part_of_what_records_and_the_run_have_cost(recipe_for, judge_server, steps, tmp_path):
    result = run_recipe(recipe_with(recipe_for, judge_server, prices=PRICES), tmp_path / "work", steps=steps)
    (store,) = open_stores(tmp_path / "work")
    assert len(judge_server.requests) == 20
    assert result.spent == pytest.approx(20 * VERDICT_DOLLARS)
    assert store.counts("judge_number").cost == pytest.approx(20 * VERDICT_DOLLARS)


def test_a_budget_stops_before_a_verdict_that_would_pass_it_and_holds_in_the_next_run(
    recipe_for, judge_server, steps, tmp_path
):
    recipe = recipe_with(recipe_for, judge_server, prices=PRICES)
    allowed = RunOptions(max_cost=7.5 * VERDICT_DOLLARS)
    first = run_recipe(recipe, tmp_path / "work", allowed, steps=steps)
    assert (first.stopped, len(judge_server.requests)) == ("budget", 7)
    assert run_recipe(recipe, tmp_path / "work", allowed, steps=steps).stopped == "budget"
    # A new run does not know yet what a verdict costs: its first may pass the limit, and no other does.
    assert len(judge_server.requests) == 8
    assert run_recipe(recipe, tmp_path / "work", RunOptions(max_cost=1.0), steps=steps).stopped is None
    (store,) = open_stores(tmp_path / "work")
    assert (store.counts("judge_number").kept, store.counts("judge_number").failed) == (20, 0)


def test_a_judge_that_does_not_say_what_it_costs_is_refused_under_a_budget(recipe_for, judge_server, steps, tmp_path):
    with pytest.raises(ConfigError, match=r"step judge_number: max_cost holds for the judge 'llm' too: .*prices"):
        run_recipe(recipe_with(recipe_for, judge_server), tmp_path / "work", RunOptions(max_cost=1.0), steps=steps)
    assert not judge_server.requests
