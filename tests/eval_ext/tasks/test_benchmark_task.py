"""Every benchmark in every form, over local copies in their published shape."""

import json
import os
import shutil

import pytest

pytest.importorskip("lmms_eval")

from eval_ext.plugin import add_tasks
from eval_ext.tasks.base_task import _load, annotation_files
from eval_ext.tasks.benchmark_task import BenchmarkTask, task_config
from eval_ext.tasks.benchmarks import BENCHMARKS
from eval_ext.tasks.catalogue import FORMS
from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import parse_row

VIDEOSIAH = [{"question": question, "answer": "red"} for question in ("What colour?", "Which colour?")]
NAMES = [benchmark.name for benchmark in BENCHMARKS]


@pytest.fixture(autouse=True)
def copies_are_used(use_copies):
    return use_copies


def make(benchmark, form="tool", control=None):
    return BenchmarkTask(task_config(f"{benchmark}_{form}", benchmark, form, control))


def rows_of(task):
    return [parse_row(doc) for doc in task.dataset["test"]]


def prompts_of(task):
    return [task.doc_to_text(doc) for doc in task.dataset["test"]]


@pytest.mark.parametrize("name", NAMES)
def test_every_document_is_a_question_whose_video_is_there(name, use_copies):
    rows = rows_of(make(name))
    assert len(rows) == (1 if name.endswith(("comprehension", "perception")) else 2)
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        (file,) = row["videos"].values()
        assert file.startswith(str(use_copies))
        assert row["source"] == name


def test_the_prompt_is_that_of_the_installed_task():
    assert prompts_of(make("charades_sta"))[0].startswith("Please find the visual event")
    assert "a person opens a door" in prompts_of(make("charades_sta"))[1]
    (lvbench, _) = prompts_of(make("lvbench"))
    assert lvbench.startswith("What year appears first?\n(A) 1636")
    assert lvbench.endswith("Answer the question with the option letter")
    assert "You should watch and learn the video content." in prompts_of(make("video_mmmu_adaptation"))[0]
    assert prompts_of(make("longvideobench"))[1].startswith(
        "What follows the text?\nA. a cat\nB. a dog\nC. a fox\nAnswer"
    )


def test_forms_of_videosiah_eval_have_the_prompts_of_their_own_tasks():
    texts = {form: prompts_of(make("videosiah_eval", form))[0] for form in FORMS}
    assert "short answer or phrase" in texts["non_think"]
    assert texts["reasoning"] == texts["tool"] == "What colour is the lamp?"


def test_subtitles_are_in_the_prompt_and_only_in_that_of_the_task_with_them():
    assert "A lamp goes on" in prompts_of(make("videomme_w_subtitle"))[0]
    assert "A lamp goes on" not in prompts_of(make("videomme"))[0]


def test_where_the_evidence_is_comes_from_the_documents_that_say_so():
    assert [row["video_segment"] for row in rows_of(make("lvbench"))] == [[8.0, 12.0], None]
    assert [row["video_segment"] for row in rows_of(make("charades_sta"))] == [[8.0, 12.0], [2.0, 4.0]]
    assert [row["answer"] for row in rows_of(make("charades_sta"))] == ["[8, 12]", "[2, 4]"]


def test_a_model_that_answers_at_once_may_write_as_much_as_in_the_installed_task():
    assert make("lvbench", "non_think").config.generation_kwargs["max_new_tokens"] == 16
    assert "max_new_tokens" not in make("lvbench", "tool").config.generation_kwargs


def test_shuffled_options_move_the_right_answer_with_them_and_every_time_alike():
    plain, first, again = (
        make("videomme"),
        make("videomme", "tool", "random_choice"),
        make("videomme", "tool", "random_choice"),
    )
    assert prompts_of(first) == prompts_of(again)
    moved = 0
    for before, after, prompt in zip(rows_of(plain), rows_of(first), prompts_of(first), strict=True):
        right = before["options"]["ABCD".index(before["answer"])][3:]
        assert after["options"]["ABCD".index(after["answer"])][3:] == right
        assert "\n".join(after["options"]) in prompt
        assert before["id"] == after["id"]
        moved += before["options"] != after["options"]
    assert moved
    assert first.config.metadata["longvt_data_fingerprint"] != plain.config.metadata["longvt_data_fingerprint"]


@pytest.mark.parametrize("name", [benchmark.name for benchmark in BENCHMARKS if benchmark.has_options])
def test_every_benchmark_with_options_can_be_shuffled(name):
    rows = {row["id"]: row for row in rows_of(make(name))}
    for row in rows_of(make(name, "tool", "random_choice")):
        before = rows[row["id"]]
        assert len(row["options"]) == len(before["options"])
        place, old = (one["options"]["ABCDEFGHIJ".index(one["answer"])] for one in (row, before))
        assert place[2:] == old[2:] or place == old


def test_open_questions_have_no_options_to_shuffle():
    assert len(rows_of(make("video_mmmu_adaptation", "tool", "random_choice"))) == 1


def test_an_oracle_needs_windows():
    assert [row["id"] for row in rows_of(make("lvbench", "tool", "oracle_window"))] == ["0"]
    with pytest.raises(ConfigError, match="none of the 2 documents has what oracle_window needs"):
        make("videosiah_eval", "tool", "oracle_window")


def test_without_pictures_no_video_is_shown():
    (doc, _) = (task := make("lvbench", "reasoning", "no_visual")).dataset["test"]
    assert "video" not in [block["type"] for block in task.doc_to_messages(doc)[1]["content"]]
    (doc, _) = (task := make("lvbench", "reasoning")).dataset["test"]
    assert "video" in [block["type"] for block in task.doc_to_messages(doc)[1]["content"]]


@pytest.fixture
def own_copies(use_copies, tmp_path, monkeypatch):
    """Copies that a test may break."""
    shutil.copytree(use_copies, tmp_path / "own")
    monkeypatch.setenv("LONGVT_DATA", str(tmp_path / "own"))
    return tmp_path / "own"


def test_a_missing_video_is_named_with_the_command_that_gets_it(own_copies):
    (own_copies / "lvbench/Cm73ma6Ibcs.mp4").unlink()
    task = make("lvbench")
    with pytest.raises(ConfigError) as caught:
        task.build_all_requests()
    told = str(caught.value)
    assert f"1 of 1 videos are not in {own_copies / 'lvbench'}, the first is Cm73ma6Ibcs.mp4" in told
    assert "hf download lmms-eval/LVBench --repo-type dataset --local-dir" in told
    make("lvbench", "reasoning", "no_visual").build_all_requests()


def test_missing_subtitles_are_named_with_the_command_that_gets_them(own_copies):
    shutil.rmtree(own_copies / "videomme/subtitle")
    task = make("videomme_w_subtitle")
    with pytest.raises(ConfigError, match=r"no subtitles .*fFjv93ACGo8\.srt; get them with: hf download"):
        task.build_all_requests()


def test_only_the_files_of_the_questions_asked_are_needed(own_copies):
    docs = [{**doc, "video_path": name} for doc, name in zip(VIDEOSIAH, ("videos/abc.mp4", "gone.mp4"), strict=True)]
    (own_copies / "longvt_benchmark/test.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    task = make("videosiah_eval")
    task.build_all_requests(limit=1)
    with pytest.raises(ConfigError, match=r"1 of 2 videos are not in .* the first is gone\.mp4"):
        task.build_all_requests()


def test_copies_may_lie_where_lmms_eval_keeps_them(use_copies, monkeypatch):
    monkeypatch.delenv("LONGVT_DATA")
    monkeypatch.setenv("HF_HOME", str(use_copies))
    assert len(rows_of(make("lvbench"))) == 2


def test_documents_that_are_nowhere_are_named_with_the_command_that_gets_them(monkeypatch, tmp_path):
    # As HF_HUB_OFFLINE=1 would have it, which is read when the library is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)  # lmms-eval waits between its tries
    monkeypatch.setenv("LONGVT_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match=r"lvbench: no documents from the Hub.*hf download lmms-eval/LVBench"):
        make("lvbench")


def test_documents_of_another_shape_are_refused_by_their_columns(own_copies):
    (own_copies / "longvt_benchmark/test.jsonl").write_text(
        '{"video_path": "v.mp4", "question": "q", "answers": "a"}\n'
    )
    with pytest.raises(
        ConfigError, match=r"document 0 is not one of videosiah_eval .*it has video_path, question, answers"
    ):
        make("videosiah_eval")


def leaves(tree):
    for name, inner in tree.items():
        yield from leaves(inner) if isinstance(inner, dict) else [name]


def test_a_group_of_groups_holds_every_benchmark_in_every_form():
    from lmms_eval.tasks import TaskManager, get_task_dict

    add_tasks()  # as lmms-eval does when it looks for models
    found = get_task_dict(["longvt_suite"], TaskManager("WARNING", include_defaults=False), "chat")
    assert sorted(leaves(found)) == sorted(f"{name}_{form}" for name in NAMES for form in FORMS)


def test_annotations_are_found_by_their_split_and_part(copies):
    found = annotation_files(copies / "datasets/longvideobench", None, "validation")
    assert [file.rsplit("/", 1)[1] for file in found] == ["validation-00000-of-00001.parquet"]
    (file,) = annotation_files(copies / "video_mmmu", "Adaptation", "test")
    assert "/Adaptation/" in file
    assert annotation_files(copies / "nowhere", None, "test") == []


def test_the_variable_of_lmms_eval_is_as_it_was(use_copies, monkeypatch):
    monkeypatch.delenv("HF_HOME")
    _load.cache_clear()
    make("video_mmmu_perception")
    assert "HF_HOME" not in os.environ
