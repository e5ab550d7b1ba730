"""One of eight verdicts is missing: its row of advantages is 0, and the others are as if it were not there."""

import pytest
import yaml

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.llm import llm_judge
from longvt_plugins.testing_server import assistant
from trl_ext import rewards
from trl_ext.scoring import Scoring

ANSWERS = ["red", "blue", "mauve", "green", "red", "blue", "red", "green"]
MISSING = ANSWERS.index("mauve")
LEFT = [word for word in ANSWERS if word != "mauve"]


def written(words):
    return lambda question, count: words[:count]


@pytest.fixture
def judge_server(judge_server):
    """Its verdict on mauve is one that nobody can read."""
    script = judge_server._script
    judge_server._script = lambda request: assistant("Well.") if "mauve" in str(request) else script(request)
    return judge_server


@pytest.fixture
def expected(make_trainer, judge_server):
    """The advantages of a group in which the rollout without a verdict never was."""
    functions = Scoring([rewards.answer_reward, rewards.format_reward], judge=llm_judge(judge_server.config()))
    trainer = make_trainer(functions.reward_funcs, draw=written(LEFT), generations=7, questions=1, max_steps=1)
    trainer.train()
    return list(trainer._logs["advantages"])


def assert_as_if_it_were_not_there(trainer, expected):
    advantages = list(trainer._logs["advantages"])
    assert advantages[MISSING] == 0.0
    assert advantages[:MISSING] + advantages[MISSING + 1 :] == pytest.approx(expected, abs=1e-6)
    assert max(map(abs, expected)) > 0.5
    # Without it the wrong answers would be further from the mean: 0 in its place is not the same.
    assert sum(expected) == pytest.approx(0, abs=1e-5)


def test_under_one_scoring(make_trainer, judge_server, expected):
    scoring = Scoring([rewards.answer_reward, rewards.format_reward], judge=llm_judge(judge_server.config()))
    trainer = make_trainer(scoring.reward_funcs, draw=written(ANSWERS), generations=8, questions=1, max_steps=1)
    trainer.train()
    assert_as_if_it_were_not_there(trainer, expected)
    assert trainer.state.log_history[0]["judge/no_verdict"] == pytest.approx(1 / 8)


def test_in_the_stock_script_with_functions_named_by_path(run_stock, judge_server, expected, tmp_path, monkeypatch):
    """A function of the user's own, which knows of no judge, abstains like the others."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "warm_rewards.py").write_text(
        "def warmth_reward(completions, **columns):\n    return [0.5 for _ in completions]\n"
    )
    config = judge_server.config()
    trainer = run_stock(
        ["trl_ext.judged.answer_reward", "trl_ext.rewards.format_reward", "warm_rewards.warmth_reward"],
        env={"LONGVT_JUDGE": yaml.safe_dump({"judge": config.name, "judge_options": config.options})},
        draw=written(ANSWERS),
        generations=8,
    )
    assert_as_if_it_were_not_there(trainer, expected)
    logged = trainer.state.log_history[0]
    assert logged["judge/no_verdict"] == logged["rollouts/abstained"] == pytest.approx(1 / 8)


def test_in_the_stock_script_over_the_bridge(run_stock, judge_server, expected, rows_file, tmp_path):
    """The rows of the bridge's videos ask for a number; the judge is told another reference by their question."""
    config = judge_server.config()
    settings = {
        "judge": config.name,
        "judge_options": config.options,
        "video_root": str(rows_file.parent),
        "overview_max_frames": 2,
        "overview_max_pixels": 784,
    }
    words = ["1" if word == "red" else word for word in ANSWERS]
    trainer = run_stock(
        ["trl_ext.bridge.answer_reward", "trl_ext.rewards.format_reward"],
        env={"LONGVT_ENVIRONMENT": yaml.safe_dump(settings)},
        draw=written(words),
        generations=8,
        shuffle_dataset=False,
        max_tool_calling_iterations=1,
        datasets=[{"path": "parquet", "data_files": str(rows_file), "split": "train"}],
    )
    assert_as_if_it_were_not_there(trainer, expected)


@pytest.mark.parametrize(
    ("told", "settings"),
    [
        ("LONGVT_JUDGE must name a judge, such as {judge: llm}, not ''", ""),
        ("LONGVT_JUDGE is not YAML", "{judge: llm"),
        ("no key 'judge_option'. Did you mean 'judge_options'?", "{judge: llm, judge_option: {}}"),
        ("judge_options must be a mapping, not 3", "{judge: llm, judge_options: 3}"),
    ],
)
def test_faulty_settings_are_told_before_anything_starts(run_stock, told, settings):
    with pytest.raises(ConfigError) as raised:
        run_stock(
            ["trl_ext.judged.answer_reward"], env={"LONGVT_JUDGE": settings}, draw=written(ANSWERS), generations=8
        )
    assert told in str(raised.value)
