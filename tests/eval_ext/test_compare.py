"""Two evaluations of the same questions, from the files that lmms-eval writes, through the real command."""

import json
import math
from itertools import product

import pytest

from eval_ext.compare import mcnemar, paired
from longvt_plugins.cli import main

TASK = "videosiah_eval_tool"


def write_run(folder, scores, *, task=TASK, model="m", metric="accuracy", fingerprint="f", date="20260101_000000"):
    """Files as lmms-eval leaves them; questions with odd numbers are of another source."""
    folder = folder / model
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "results": {task: {"alias": task, f"{metric},none": 0.5, f"{metric}_stderr,none": "N/A"}},
        "configs": {task: {"metadata": {"longvt_data_fingerprint": fingerprint}}},
        "n-samples": {task: {"original": len(scores), "effective": len(scores)}},
        "group_subtasks": {task: []},
        "model_name": model,
    }
    (folder / f"{date}_results.json").write_text(json.dumps(report))
    lines = [
        {"doc_id": n, "target": f"t{n}", metric: score, f"{metric}/{'odd' if n % 2 else 'even'}": score}
        for n, score in enumerate(scores)
    ]
    (folder / f"{date}_samples_{task}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def compare(tmp_path, capsys):
    """Runs the command on two runs; returns its report, or what it said went wrong."""

    def compare(*arguments):
        code = main(
            [
                "eval",
                "compare",
                str(tmp_path / "a"),
                str(tmp_path / "b"),
                "--json",
                str(tmp_path / "c.json"),
                *arguments,
            ]
        )
        printed = capsys.readouterr()
        if code:
            return printed.err
        assert "b - a" in printed.out
        return json.loads((tmp_path / "c.json").read_text())["tasks"]

    return compare


def test_a_model_that_is_right_where_the_other_is_wrong_is_better_by_more_than_chance(tmp_path, compare):
    write_run(tmp_path / "a", [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    write_run(tmp_path / "b", [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    overall = compare()[TASK]["overall"]
    assert (overall["only_a"], overall["only_b"], overall["questions"]) == (1, 10, 12)
    assert overall["difference"] == pytest.approx(9 / 12)
    assert overall["test"] == "mcnemar"
    assert overall["p"] == pytest.approx(24 / 2048)  # two tails of 11 coins, 0 or 1 heads
    low, high = overall["ci"]
    assert 0 < low < 0.75 < high <= 1


def test_equal_models_do_not_differ(tmp_path, compare):
    for name in "ab":
        write_run(tmp_path / name, [1, 0, 1, 0])
    overall = compare()[TASK]["overall"]
    assert (overall["difference"], overall["ci"], overall["p"]) == (0.0, [0.0, 0.0], 1.0)


def test_every_category_has_a_line_of_its_own(tmp_path, compare):
    write_run(tmp_path / "a", [0, 1, 0, 1])
    write_run(tmp_path / "b", [1, 1, 1, 0])
    categories = compare()[TASK]["categories"]
    assert {name: (line["questions"], line["a"], line["b"]) for name, line in categories.items()} == {
        "even": (2, 0.0, 1.0),
        "odd": (2, 1.0, 0.5),
    }


def test_questions_without_a_score_or_a_partner_are_left_out_and_counted(tmp_path, compare):
    write_run(tmp_path / "a", [1, None, 0, 1])
    write_run(tmp_path / "b", [1, 1, 1])
    found = compare()[TASK]
    assert (found["overall"]["questions"], found["unscored"], found["unpaired"]) == (2, 1, 1)
    assert (found["overall"]["a"], found["overall"]["b"]) == (0.5, 1.0)


def test_scores_between_right_and_wrong_are_compared_by_bootstrap(tmp_path, compare):
    write_run(tmp_path / "a", [0.1, 0.2, 0.3, 0.4, 0.5, 0.2], metric="iou")
    write_run(tmp_path / "b", [0.3, 0.4, 0.6, 0.5, 0.8, 0.3], metric="iou")
    overall = compare("--metric", "iou")[TASK]["overall"]
    assert overall["test"] == "bootstrap"
    assert overall["p"] < 0.01


def test_two_forms_of_one_benchmark_are_compared_by_name(tmp_path, compare):
    write_run(tmp_path / "a", [0, 0, 1], task="videosiah_eval_non_think")
    write_run(tmp_path / "b", [1, 1, 1])
    write_run(tmp_path / "b", [0, 0, 0], task="videosiah_eval_reasoning", date="20260102_000000")
    assert "no task is in both" in compare()
    found = compare("--task", f"videosiah_eval_non_think:{TASK}")
    assert found[f"videosiah_eval_non_think:{TASK}"]["overall"]["difference"] == pytest.approx(2 / 3)
    assert "has no results of task 'lvbench'" in compare("--task", "lvbench")


def test_the_newest_run_of_a_task_counts(tmp_path, compare):
    write_run(tmp_path / "a", [0, 0])
    write_run(tmp_path / "b", [0, 0], date="20260101_000000")
    write_run(tmp_path / "b", [1, 1], date="20260301_000000")
    assert compare()[TASK]["overall"]["b"] == 1.0


def test_the_picture_and_the_page_show_every_category_and_no_foreign_markup(tmp_path, compare):
    write_run(tmp_path / "a", [0, 1, 0, 1], model="<base>")
    write_run(tmp_path / "b", [1, 1, 1, 1], model="tuned")
    compare("--svg", str(tmp_path / "c.svg"), "--html", str(tmp_path / "c.html"))
    svg, page = (tmp_path / "c.svg").read_text(), (tmp_path / "c.html").read_text()
    assert svg.count("<circle") == 3
    assert "tuned minus &lt;base&gt;" in svg
    assert svg in page
    assert "<base>" not in page


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fingerprint": "other"}, "different data"),
        ({"metric": "iou"}, "has no score 'accuracy' of each question. There are: iou"),
        ({"scores": [None, None]}, "no question has a score 'accuracy' in both"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_reason(tmp_path, compare, change, told):
    write_run(tmp_path / "a", [1, 0])
    write_run(tmp_path / "b", **{"scores": [1, 0], **change})
    assert told in compare()


def test_other_references_are_other_questions(tmp_path, compare):
    write_run(tmp_path / "a", [1, 0])
    write_run(tmp_path / "b", [1, 0], fingerprint=None)
    (samples,) = (tmp_path / "b").rglob("*_samples_*")
    samples.write_text(samples.read_text().replace("t1", "t7"))
    assert "question 1 has the reference 't1' in" in compare()


def test_a_folder_without_results_or_without_samples_says_what_is_missing(tmp_path, compare):
    write_run(tmp_path / "a", [1, 0])
    (tmp_path / "b").mkdir()
    assert "no results of lmms-eval in" in compare()
    write_run(tmp_path / "b", [1, 0])
    next((tmp_path / "b").rglob("*_samples_*")).unlink()
    assert "evaluate with --log_samples" in compare()
    write_run(tmp_path / "b", [1, 0], model="other")
    assert "holds results of several models" in compare()


def test_mcnemar_counts_every_way_the_coins_can_fall():
    for a, b in product(range(6), repeat=2):
        n = a + b
        as_odd = sum(math.comb(n, k) for k in range(n + 1) if abs(k - n / 2) >= abs(a - n / 2)) / 2**n
        assert mcnemar(a, b) == pytest.approx(min(1.0, as_odd))


def test_a_thousand_questions_are_compared_at_once_and_the_interval_has_the_right_width():
    pairs = [(float(n % 2), float(n % 3 == 0)) for n in range(3000)]
    found = paired("", pairs)
    spread = math.sqrt(sum((b - a) ** 2 for a, b in pairs) / 3000 - found.difference**2) / math.sqrt(3000)
    assert found.ci[1] - found.ci[0] == pytest.approx(2 * 1.96 * spread, rel=0.05)
