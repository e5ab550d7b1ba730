"""Saved rollouts scored again: the same numbers as in training, and what another setting would teach."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from longvt_plugins.cli import main
from longvt_plugins.errors import ConfigError, JudgeError
from longvt_plugins.judges.judge import Judgement
from longvt_plugins.rollouts import Rollout, read_rollouts, write_rollouts
from longvt_plugins.testing_server import ScriptedChatServer, asked_text, assistant
from trl_ext import rewards
from trl_ext.rescoring import Setting, compare, completion_of, kendall, rescore, spearman

FRAMES = {"role": "tool", "name": "crop_video", "content": "4 frames:"}


def row(number):
    return {
        "id": f"row-{number}",
        "videos": {"video_1.mp4": "a.mp4"},
        "kind": "open",
        "question": "Which colour?",
        "answer": "red",
        "video_segment": [10.0, 20.0],
        "options": None,
        "source": "test",
    }


def rollout(number, index, window, answer, **options):
    call = {"name": "crop_video", "arguments": {"start_time": window[0], "end_time": window[1]}}
    messages = [
        {"role": "system", "content": "<answer>no</answer>"},
        {"role": "user", "content": "Which colour? <answer>red</answer>"},
        {"role": "assistant", "content": "<think>a</think>", "tool_calls": [{"type": "function", "function": call}]},
        FRAMES,
        {"role": "assistant", "content": f"<think>b</think><answer>{answer}</answer>"},
    ]
    options = {"stop_reason": "answered", "rewards": {"answer_reward": float(answer == "red")}, **options}
    return Rollout.from_messages(row(number), messages, run="run", index=index, **options)


INSIDE, WIDE, MISS = (10, 20), (0, 100), (50, 60)
ROLLOUTS = [
    # IoU tells them apart, recall does not
    *(rollout(0, index, window, "red") for index, window in enumerate([INSIDE, WIDE, (5, 25)])),
    # both tell a hit from a miss
    *(rollout(1, index, window, "red") for index, window in enumerate([INSIDE, MISS])),
    # nothing tells them apart
    *(rollout(2, index, MISS, "blue") for index in range(2)),
]


def test_the_saved_completion_scores_as_it_did_in_training():
    scored = rescore(ROLLOUTS, Setting.of("longvt"))
    assert scored.scores["answer_reward"] == [1, 1, 1, 1, 1, 0, 0]
    assert scored.scores["time_iou_reward"] == pytest.approx([1, 0.1, 0.5, 1, 0, 0, 0])
    assert scored.totals == pytest.approx([3, 2.1, 2.5, 3, 2, 1, 1])
    assert scored.rewarded()[1].rewards == pytest.approx(
        {"answer_reward": 1, "format_reward": 1, "time_iou_reward": 0.1}
    )


def test_only_what_the_model_wrote_is_handed_over():
    assert [message["role"] for message in completion_of(ROLLOUTS[0].messages)] == ["assistant", "tool", "assistant"]
    assert completion_of([{"role": "user", "content": "?"}]) == []


def test_recall_loses_the_signal_of_a_group_that_only_iou_tells_apart():
    found = compare(rescore(ROLLOUTS, Setting.of("longvt_recall")), rescore(ROLLOUTS, Setting.of("longvt")))
    assert (found.rollouts, found.groups, found.signal, found.signal_before) == (7, 3, 1, 2)
    assert (found.lost, found.gained) == (1, 0)
    assert found.same_sum == pytest.approx(5 / 7)  # all but the two that are too wide
    assert found.same_order == pytest.approx(2 / 5)
    assert found.same_direction == pytest.approx(4 / 7)
    assert (found.spearman, found.kendall) == ([pytest.approx(1)], [pytest.approx(1)])


def test_a_setting_agrees_with_itself_and_is_opposed_by_its_negative():
    scored = rescore(ROLLOUTS, Setting.of("longvt"))
    same = compare(scored, scored)
    assert (same.same_sum, same.same_direction, same.same_order, same.lost, same.gained) == (1, 1, 1, 0, 0)
    turned = rescore(ROLLOUTS, Setting.of("answer_reward,time_iou_reward", [-1, -1]))
    found = compare(turned, scored)
    assert found.spearman == [pytest.approx(-1)] * 2
    assert found.kendall == [pytest.approx(-1)] * 2


def test_rollouts_that_ended_in_an_error_are_not_scored():
    failed = rollout(0, 9, INSIDE, "red", stop_reason="error", rewards={"answer_reward": None})
    scored = rescore([*ROLLOUTS, failed], Setting.of("longvt"))
    assert (scored.totals[-1], scored.abstained) == (None, {7})
    saved = rescore([*ROLLOUTS, failed], Setting.of("saved"))
    assert (saved.totals, saved.abstained) == ([1, 1, 1, 1, 1, 0, 0, None], {7})


def test_one_rollout_of_a_question_is_no_group():
    scored = rescore([ROLLOUTS[0]], Setting.of("longvt"))
    found = compare(scored, scored)
    assert (found.rollouts, found.groups, found.pairs, found.same_order, found.same_direction) == (1, 0, 0, None, None)
    assert found.record()["spearman"] is None


@pytest.mark.parametrize(
    ("first", "second"),
    [([1, 2, 3, 4], [1, 3, 2, 4]), ([1, 1, 2, 3], [2, 1, 1, 5]), ([0, 0, 1], [3, 1, 2]), ([1, 2, 3], [9, 9, 1])],
)
def test_rank_correlations_are_scipys(first, second):
    stats = pytest.importorskip("scipy.stats")
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert kendall(first, second) == pytest.approx(stats.kendalltau(first, second).statistic)


def test_a_judge_without_a_verdict_abstains_here_too():
    async def judge(question, reference, prediction, *, options=None, kind=None):
        return Judgement(None if prediction == "blue" else float(prediction.strip(".").lower() == reference), "")

    async def unsure(*given, **options):
        return Judgement(None, "", "no idea")

    setting = Setting.of("longvt")
    with pytest.raises(JudgeError, match="has no verdict on a right answer: no idea"):
        rescore(ROLLOUTS, Setting(setting.functions, setting.weights, unsure))
    scored = rescore(ROLLOUTS, Setting(setting.functions, setting.weights, judge))
    assert scored.totals[-2:] == [None, None] and scored.abstained == {5, 6}


@pytest.mark.parametrize(
    ("rewards", "weights", "told"),
    [
        ("answer_reward,format_reward", [1], "1 weights for 2 rewards: answer_reward, format_reward"),
        ("saved", [1], "the saved rewards are summed as they are"),
        ("fromat_reward", None, "Did you mean 'format_reward'?"),
        ("format_reward,trl_ext.rewards.format_reward", None, "two reward functions share a name"),
    ],
)
def test_a_setting_that_cannot_be_is_told(rewards, weights, told):
    with pytest.raises(ConfigError) as raised:
        Setting.of(rewards, weights)
    assert told in str(raised.value)


def test_scores_of_other_rollouts_cannot_be_compared():
    with pytest.raises(ConfigError, match="only scores of the same rollouts"):
        compare(rescore(ROLLOUTS[:2], Setting.of("saved")), rescore(ROLLOUTS[1:3], Setting.of("saved")))


# The command


@pytest.fixture
def saved(tmp_path):
    write_rollouts(ROLLOUTS, tmp_path / "rollouts-00000000.parquet")
    return tmp_path


def test_the_command_compares_writes_and_draws(saved, capsys):
    plot, out = saved / "compare.svg", saved / "rescored.parquet"
    command = ["rewards", "score", str(saved), "--rewards", "longvt_recall", "--against", "longvt"]
    assert main([*command, "--plot", str(plot), "--out", str(out)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["groups", "that", "lose", "their", "signal", "1", "2", "groups"] in lines
    assert ["mean", "time_recall_reward", "0.5714", "-"] in lines
    assert read_rollouts(out)[1].rewards == {"answer_reward": 1, "format_reward": 1, "time_recall_reward": 1}
    drawn = ElementTree.fromstring(plot.read_text())
    dots = [dot.find("{*}title").text for dot in drawn.iter("{*}circle".replace("{*}", "{http://www.w3.org/2000/svg}"))]
    assert "3, 3: 2" in dots and "2.1, 3: 1" in dots


def test_the_command_gives_json(saved, capsys):
    command = ["rewards", "score", str(saved), "--rewards", "answer_reward,format_reward", "--weights", "0.8,0.2"]
    assert main([*command, "--against", "saved", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["means"] == {"answer_reward": pytest.approx(5 / 7), "format_reward": 1}
    assert (record["groups"], record["groups_without_signal"], record["abstained"]) == (3, 3, 0)
    assert record["against"]["means"] == {"answer_reward": pytest.approx(5 / 7)}
    assert record["comparison"]["same_sum"] == pytest.approx(5 / 7)  # 0.2 for the form, where the answer is wrong


def test_the_command_compares_judges(saved, capsys):
    """The language model finds blue right, which the exact judge does not."""

    def judge(request):
        text = asked_text(request)
        known = {"Red.": "1", "cake": "0", "Ignore": "0"}
        return assistant(next((score for word, score in known.items() if word in text), "1"))

    with ScriptedChatServer(judge) as server:
        command = ["rewards", "score", str(saved), "--rewards", "longvt_no_time", "--judge", "llm", "--model", "any"]
        command += ["--base-url", server.base_url, "--option", "max_retries=0", "--against", "longvt_no_time"]
        assert main([*command, "--against-judge", "exact", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["means"]["answer_reward"], record["judged"]) == (1, 7)
    assert (record["against"]["means"]["answer_reward"], record["against"]["judged"]) == (pytest.approx(5 / 7), 0)
    assert len(server.requests) == 3 + 2  # the check, and two answers that differ


def test_the_command_lists_rewards_and_presets(capsys):
    assert main(["rewards", "list"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in rewards.REWARDS)
    assert "0.8 answer_reward + 0.2 format_reward" in told
    assert ":func:" not in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--plot", "a.svg"], "only with --against another setting"),
        (["--against", "longvt", "--plot", "a.png"], "a.png must end in .svg"),
        (["--out", "nowhere/a.parquet"], "no folder nowhere for a.parquet"),
        (["--weights", "a,b"], "weights are numbers with commas between"),
        (["--judge", "llm", "--option", "rubric"], "--option needs NAME=VALUE"),
        (["--judge", "llm"], "the judge 'llm' needs base_url"),
    ],
)
def test_what_the_command_cannot_do_is_one_line(saved, capsys, monkeypatch, options, told):
    for name in ("LLM_AS_A_JUDGE_BASE", "OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert main(["rewards", "score", str(saved), "--rewards", "longvt", *options]) == 2
    captured = capsys.readouterr()
    assert told in captured.err and captured.err.count("\n") == 1
