"""The names that we add to lmms-eval."""

import subprocess
import sys

import pytest

from eval_ext.task_index import add_ours, config_of, scores_ours
from eval_ext.tasks.benchmarks import BENCHMARKS
from eval_ext.tasks.catalogue import BUILT_IN_LONGVT, LONGVT_NAMES, catalogue, entries
from longvt_plugins.errors import ConfigError

PUBLISHED = {
    "videomme_w_subtitle", "video_mmmu", "lvbench", "longvt_non_think", "videomme_w_subtitle_reward",
    "video_mmmu_reasoning", "lvbench_reasoning", "longvt_reasoning", "videomme_w_subtitle_reward_tool",
    "video_mmmu_reasoning_tool", "lvbench_tool", "longvt",
}  # fmt: skip
"""Every name of LongVT's evaluation."""

BUILT_IN = {"videomme_w_subtitle", "video_mmmu", "lvbench", "longvt_non_think", "longvt_reasoning", "longvt"}


@pytest.mark.parametrize(
    "benchmark",
    ["videosiah_eval", "videomme", "videomme_w_subtitle", "video_mmmu", "lvbench", "longvideobench", "charades_sta"],
)
@pytest.mark.parametrize("form", ["non_think", "reasoning", "tool"])
def test_every_benchmark_is_there_in_every_form(benchmark, form):
    entry = entries()[f"{benchmark}_{form}"]
    assert (entry.benchmark, entry.form, entry.alias_of) == (benchmark, form, None)
    assert len(entry.members) == (3 if benchmark == "video_mmmu" else 0)


def test_every_published_name_is_built_in_or_ours():
    assert set(entries()) >= PUBLISHED - BUILT_IN
    assert BUILT_IN.isdisjoint(entries())


def test_members_and_originals_are_names_too_and_no_group_has_a_task_twice():
    for entry in catalogue():
        assert set(entry.members) <= set(entries()), entry.name
        assert entry.alias_of is None or entry.alias_of in entries()
        assert len(set(entry.members)) == len(entry.members)
        assert entry.group is None or entry.group in entries()
    assert len(entries()["longvt_suite_tool"].members) == len(BENCHMARKS)


def test_an_alias_asks_the_same_of_the_same_questions():
    index = {}
    add_ours(index, over_built_in=False)
    for name, original in LONGVT_NAMES.items():
        ours, theirs = config_of(index[name]), config_of(index[original])
        assert ours.get("metadata") == theirs.get("metadata")
        assert ours.get("group", ours["task"]) == name
    without_tools = config_of(index["lvbench_tool_no_tool"])
    assert without_tools["metadata"] == config_of(index["lvbench_reasoning"])["metadata"]


def test_a_name_that_is_taken_stays_what_it_is():
    index = {"lvbench_tool": {"type": "task"}, "longvt": {"type": "task"}}
    add_ours(index, over_built_in=False)
    assert index["lvbench_tool"] == index["longvt"] == {"type": "task"}
    assert config_of(index["longvt"]) is None


def test_the_tasks_of_longvt_become_ours_where_the_variable_says_so():
    index = {name: {"type": "task"} for name in BUILT_IN_LONGVT}
    add_ours(index, over_built_in=scores_ours({"LONGVT_TASKS": "ours"}))
    for name, ours in BUILT_IN_LONGVT.items():
        config = config_of(index[name])
        assert (config["task"], config["metadata"]["longvt_benchmark"]) == (name, "videosiah_eval")
        assert config["metadata"]["longvt_form"] == entries()[ours].form
    assert not scores_ours({})
    with pytest.raises(ConfigError, match="LONGVT_TASKS can only be 'ours', not 'our'"):
        scores_ours({"LONGVT_TASKS": "our"})


def test_the_names_are_read_without_lmms_eval():
    code = (
        "import sys; from eval_ext.tasks.catalogue import catalogue; assert len(catalogue()) > 90; "
        "print({'lmms_eval', 'torch', 'numpy', 'datasets', 'longvt_plugins.plugins'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
