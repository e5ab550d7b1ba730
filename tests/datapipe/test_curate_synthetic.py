"""The recipe without any service, from videos that are made to files that are trained on; its report and its review."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from datapipe.recipe import load_recipe
from datapipe.report.figures import collect
from datapipe.report.page import write_page
from datapipe.review.entries import gather
from datapipe.run import run_recipe
from datapipe.workdir import open_stores, planned_steps
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.rows import read_rows
from longvt_plugins.testing import plugin_manager
from longvt_plugins.transcript import parse_transcript
from trl_ext.dataset import rollouts_to_sft, write_sft

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory) -> Path:
    """The recipe over the two shortest videos that a small search of seeds has found."""
    work_dir = tmp_path_factory.mktemp("run") / "synthetic"
    recipe = load_recipe(RECIPES / "curate_synthetic.yaml", {})
    recipe = replace(recipe, source=replace(recipe.source, videos=2, seed=212))
    assert run_recipe(recipe, work_dir).stopped is None
    return work_dir


@pytest.fixture(scope="module")
def stores(work_dir):
    opened = open_stores(work_dir)
    yield opened
    for store in opened:
        store.close()


@pytest.fixture(scope="module")
def figures(work_dir, stores):
    truth = read_rows(work_dir / "world" / "train.parquet")
    return collect(stores, planned_steps(work_dir, stores), truth=truth, benchmarks={"itself": truth})


def kept(stores, step):
    return [record for store in stores for record in store.kept(step)]


def test_every_step_makes_something_and_nothing_fails(figures):
    assert [step.name for step in figures.steps if step.counts.failed] == []
    assert [step.name for step in figures.steps if not step.counts.kept] == []


def test_a_run_again_works_on_nothing_dropped_records_included(work_dir, stores):
    again = load_recipe(RECIPES / "curate_synthetic.yaml", {})
    again = replace(again, source=replace(again.source, videos=2, seed=212))
    assert sum(run_recipe(again, work_dir).worked.values()) == 0


def test_questions_are_those_that_the_videos_answer(stores, work_dir, figures):
    truth = {row["videos"]["video_1.mp4"]: row for row in read_rows(work_dir / "world" / "train.parquet")}
    pairs = kept(stores, "filter_vlm")
    assert len({pair["video"] for pair in pairs}) == 2
    for pair in pairs:
        row = truth[pair["path"]]
        assert row["question"] != pair["question"] or row["answer"] == pair["answer"]
    agreement = figures.questions["filter_vlm"].agreement
    assert agreement.windows == len(pairs)
    assert agreement.mean_iou > 0.8


def test_the_teacher_really_looked_and_its_traces_are_of_the_form_that_is_trained(stores):
    for trace in kept(stores, "generate_imcott"):
        transcript = parse_transcript(trace["messages"])
        assert transcript.format_ok
        assert len(transcript.windows) >= 1
        replies = [message for message in trace["messages"] if message["role"] == "tool"]
        frames = [block["image"] for block in replies[0]["content"] if block["type"] == "image"]
        start, end = trace["windows"][0]
        assert frames
        assert all(start - 0.3 <= frame["time"] < end for frame in frames)


def test_its_files_are_those_that_training_reads(run, work_dir, tmp_path):
    run("datapipe", "export", work_dir, "--out", tmp_path / "data", "--rl", "filter_vlm", "--benchmark-share", "0")
    rows = read_rows(tmp_path / "data" / "rl.parquet")
    assert len({row["videos"]["video_1.mp4"] for row in rows}) == 2
    assert all(Path(file).is_file() for row in rows for file in row["videos"].values())
    rollouts = read_rollouts(tmp_path / "data" / "rft.parquet")
    assert rollouts[0].answer
    schemas = [tool.schema for tool in plugin_manager().select_tools(("crop_video",))]
    assert write_sft(tmp_path / "sft.parquet", rollouts_to_sft(rollouts, schemas)) == len(rollouts), "as the demo does"


def test_the_report_counts_yield_types_lengths_and_overlap(work_dir, stores, figures):
    own, count = figures.questions["filter_vlm"], len(kept(stores, "filter_vlm"))
    assert (own.count, own.videos) == (count, 2)
    assert sum(own.types.values()) == sum(own.lengths) == sum(own.places) == count
    assert (own.blind, own.leaked) == (count, 0)
    asked = [row["question"] for row in read_rows(work_dir / "world" / "train.parquet")]
    assert own.benchmarks["itself"] == sum(pair["question"] in asked for pair in kept(stores, "filter_vlm"))
    assert figures.traces["generate_imcott"].well_formed == count


def test_the_report_is_a_page_that_asks_nobody_and_a_table(run, work_dir, figures, tmp_path):
    write_page(figures, tmp_path / "report.html", title="<run> & more")
    page = (tmp_path / "report.html").read_text()
    assert "&lt;run&gt; &amp; more" in page
    assert page.count("<svg") >= 10
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    done = run("datapipe", "report", work_dir, "--json", tmp_path / "report.json")
    assert "IoU with the true window, mean" in done.stdout, "the truth of made videos is found"
    assert json.loads((tmp_path / "report.json").read_text())["questions"]["filter_vlm"]["count"] >= 2


def test_a_reviewer_sees_what_was_described_around_a_question(work_dir, stores):
    entries = gather(stores, "filter_vlm", planned_steps(work_dir, stores))
    assert len({entry.video for entry in entries}) == 2
    assert any("square" in text for _, _, text in entries[0].captions)
    assert [verdict["by"] for verdict in entries[0].verdicts] == ["filter_text", "filter_vlm"]
    traces = gather(stores, "generate_imcott", planned_steps(work_dir, stores), limit=1)
    assert len(traces) == 1
    assert traces[0].windows


def test_what_cannot_be_reviewed_is_told(run, work_dir, stores):
    steps = planned_steps(work_dir, stores)
    with pytest.raises(ConfigError, match="no step 'filter_vml' in this run; there are: probe_video"):
        gather(stores, "filter_vml", steps)
    with pytest.raises(ConfigError, match="kept no question and no trace"):
        gather(stores, "caption", steps)
    done = run("datapipe", "review", work_dir, "filter_vlm", code=2)
    assert "say what is to be written" in done.stderr


def test_decisions_come_back_in_as_a_step(run, work_dir, stores, tmp_path):
    run("datapipe", "review", work_dir, "filter_vlm", "--html", tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000
    first, second, *_ = kept(stores, "filter_vlm")
    decisions = tmp_path / "decisions.jsonl"
    decisions.write_text(
        json.dumps({"id": first["id"], "decision": "reject", "note": "dull"})
        + "\n"
        + json.dumps({"id": second["id"], "decision": "edit", "answer": "dark red", "seen_answer": second["answer"]})
    )
    source = tmp_path / "pairs.jsonl"
    source.write_text("".join(json.dumps(pair) + "\n" for pair in (first, second)))
    run(
        *("datapipe", "step", "apply_review", "--input", source, "--output", tmp_path / "out"),
        *("--set", f"decisions={decisions}"),
    )
    (edited,) = map(json.loads, (tmp_path / "out" / "kept.jsonl").read_text().splitlines())
    (rejected,) = map(json.loads, (tmp_path / "out" / "dropped.jsonl").read_text().splitlines())
    assert (edited["answer"], edited["question"]) == ("dark red", second["question"])
    assert rejected["reason"] == "rejected in review"


def test_the_recipe_for_services_can_be_read_and_asks_for_its_key():
    with pytest.raises(ConfigError, match="GOOGLE_API_KEY is not set"):
        load_recipe(RECIPES / "curate.yaml", {})
    recipe = load_recipe(RECIPES / "curate.yaml", {"GOOGLE_API_KEY": "secret"})
    assert [step.step for step in recipe.steps][:3] == ["probe_video", "segment", "caption"]
    assert recipe.models["teacher"].api_key == "secret"
