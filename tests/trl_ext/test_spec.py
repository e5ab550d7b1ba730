"""What a user writes in Python: three properties, and clear words for what cannot be."""

import subprocess
import sys

import pytest

from longvt_plugins import hookimpl
from longvt_plugins.errors import ConfigError, UnknownNameError
from longvt_plugins.judges import Judgement
from longvt_plugins.testing import plugin_manager
from trl_ext import VideoToolSpec
from trl_ext.reward_choice import resolve_reward
from trl_ext.rewards import format_reward


class Oracle:
    @hookimpl
    def register_judges(self, register):
        def make(config):
            async def judge(question, reference, prediction, *, options=None, kind=None):
                return Judgement(config.options["score"], "")

            return judge

        register("oracle", make)


def test_the_properties_are_the_arguments_of_the_trainer(rows_file):
    spec = VideoToolSpec(rows_file, tools=["crop_video"], overview_max_frames=2)
    assert spec.train_dataset is spec.train_dataset
    environment = spec.environment_factory()
    assert environment.reset(**spec.train_dataset[0])
    names = [function.__name__ for function in spec.reward_funcs]
    assert names == ["answer_reward", "format_reward", "time_iou_reward"]


def test_rows_are_read_only_when_they_are_asked_for(tmp_path):
    spec = VideoToolSpec(tmp_path / "nothing.parquet")
    with pytest.raises(ConfigError, match="no rows file"):
        _ = spec.train_dataset


def test_another_judge_takes_the_place_of_the_exact_one(rows_file):
    spec = VideoToolSpec(
        rows_file, judge="oracle", judge_options={"score": 0.5}, judge_check=False, plugins=plugin_manager(Oracle())
    )
    completion = [{"role": "assistant", "content": "<think>a</think><answer>b</answer>"}]
    assert spec.reward_funcs[0]([completion], question=["?"], answer=["c"], video_segment=[None]) == [0.5]


def test_a_preset_brings_functions_and_weights(rows_file):
    spec = VideoToolSpec(rows_file, preset="longvt_weighted")
    names = [function.__name__ for function in spec.reward_funcs]
    assert (names, spec.reward_weights) == (["answer_reward", "format_reward"], [0.8, 0.2])
    assert VideoToolSpec(rows_file, reward_funcs=["format_reward"]).reward_weights is None


def test_a_trainer_must_weigh_as_the_preset_does(rows_file):
    torch = pytest.importorskip("torch")
    from types import SimpleNamespace

    spec = VideoToolSpec(rows_file, preset="longvt_weighted")
    trainer = SimpleNamespace(reward_weights=torch.ones(2), reward_funcs=spec.reward_funcs)
    with pytest.raises(ConfigError, match=r"weighs \[0.8, 0.2\], the trainer \[1.0, 1.0\]: give GRPOConfig"):
        spec.add_callbacks(trainer)


def test_the_tool_bonus_asks_whichever_judge_there_is(rows_file):
    spec = VideoToolSpec(
        rows_file,
        judge="oracle",
        judge_options={"score": 0.5},
        judge_check=False,
        preset="longvt_tool",
        plugins=plugin_manager(Oracle()),
    )
    arguments = {"video_path": "video_1.mp4", "start_time": 1, "end_time": 2}
    call = {"type": "function", "function": {"name": "crop_video", "arguments": arguments}}
    completion = [
        {"role": "assistant", "content": "<think>a</think>", "tool_calls": [call]},
        {"role": "tool", "name": "crop_video", "content": "2 frames:"},
        {"role": "assistant", "content": "<think>a</think><answer>b</answer>"},
    ]
    columns = {"question": ["?"], "answer": ["c"]}
    assert [function([completion], **columns) for function in spec.reward_funcs] == [[0.5], [1.0], [1.0]]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"overview_max_frame": 3}, "no key 'overview_max_frame'. Did you mean 'overview_max_frames'?"),
        ({"judge_options": {"model": "x"}}, "the judge 'exact'"),
        ({"preset": "longvt", "reward_funcs": ["format_reward"]}, "names its functions itself: leave out reward_funcs"),
        ({"judge_patience": -1, "judge": "oracle"}, "the patience with a judge must be seconds from 0, not -1"),
        (
            {"judge": "oracle", "reward_funcs": ["trl_ext.rewards.format_reward"]},
            "has nothing to judge: answer_reward is not among format_reward",
        ),
        ({"reward_funcs": ["fromat_reward"]}, "no reward 'fromat_reward' in trl.rewards. Did you mean 'format_rew"),
        (
            {"reward_funcs": ["trl_ext.rewards.format_rewards"]},
            "no reward 'format_rewards' in trl_ext.rewards. Did you mean 'format_reward'?",
        ),
        ({"reward_funcs": ["my_rewards.brevity_reward"]}, "no module 'my_rewards' for the reward"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(given, told):
    with pytest.raises(ConfigError) as raised:
        VideoToolSpec("rows.parquet", plugins=plugin_manager(Oracle()), **given)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_judge_or_tool_is_told_with_those_there_are():
    with pytest.raises(UnknownNameError, match=r"No judge named 'orakel'. Did you mean 'oracle'\?"):
        VideoToolSpec("rows.parquet", judge="orakel", plugins=plugin_manager(Oracle()))
    with pytest.raises(UnknownNameError, match=r"No reward preset named 'longvd'. Did you mean 'longvt'\?"):
        VideoToolSpec("rows.parquet", preset="longvd")
    with pytest.raises(UnknownNameError, match="No tool named 'zoom'"):
        VideoToolSpec("rows.parquet", tools=["zoom"], plugins=plugin_manager())


def test_rewards_are_found_by_dotted_path_beside_us_and_by_trls_names(tmp_path, monkeypatch):
    from trl.rewards import think_format_reward

    assert resolve_reward("think_format_reward") is think_format_reward
    assert resolve_reward("format_reward") is resolve_reward("trl_ext.rewards.format_reward") is format_reward
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "brief_rewards.py").write_text("def brevity_reward(completions, **columns):\n    return [1.0]\n")
    assert resolve_reward("brief_rewards.brevity_reward")([]) == [1.0]


def test_a_module_that_fails_for_its_own_reasons_keeps_its_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "needy_rewards.py").write_text("import a_package_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        resolve_reward("needy_rewards.any_reward")


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, trl_ext; print([name for name in ('trl', 'torch', 'datasets', 'av') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
