"""``--tasks longvt``: lmms-eval's own task, asked by our models and scored by lmms-eval, which is said in one line.

Its documents come from the Hub; here a YAML that includes the installed one names a local file instead.
"""

from pathlib import Path

import pytest

pytest.importorskip("lmms_eval")

import lmms_eval.tasks
from lmms_eval.evaluator import simple_evaluate
from lmms_eval.tasks import TaskManager
from loguru import logger

from eval_ext.shown import task_kind
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.testing_server import ScriptedChatServer, asked_text, assistant, failure

YAML = """include: {installed}
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
"""

BLIND = """
doc_to_messages: null
doc_to_visual: !function blind.nothing
"""
"""The installed control without pictures cannot be loaded: its own module lacks the functions that it names."""


@pytest.fixture
def ask(use_copies, monkeypatch, tmp_path):
    """Asks one of lmms-eval's own tasks; gives its numbers, what the server was asked, and the log."""
    monkeypatch.setenv("HF_HOME", str(use_copies))

    def ask(task, file, script, more=""):
        installed = Path(lmms_eval.tasks.__file__).parent / "longvt" / file
        data = use_copies / "longvt_benchmark/test.jsonl"
        (tmp_path / "own.yaml").write_text(YAML.format(installed=installed, task=task, file=data) + more)
        (tmp_path / "blind.py").write_text("def nothing(doc):\n    return []\n")
        told = []
        sink = logger.add(lambda line: told.append(str(line)), level="WARNING")
        try:
            with ScriptedChatServer(script) as server:
                results = simple_evaluate(
                    model="longvt",
                    model_args=f"base_url={server.base_url},model=scripted,preset=tiny,max_retries=0,"
                    f"rollouts={tmp_path / 'traces'}",
                    tasks=[task],
                    task_manager=TaskManager("WARNING", include_path=str(tmp_path), include_defaults=False),
                    verbosity="WARNING",
                )
        finally:
            logger.remove(sink)
        return results["results"][task], server.requests, "".join(told)

    return ask


def looks_and_says_red(request):
    if "tools" in request and not any(message["role"] == "tool" for message in request["messages"]):
        window = {"video_path": "video_1.mp4", "start_time": 8, "end_time": 12}
        return assistant("<think>There.</think>", [("c1", "crop_video", window)])
    return assistant("<think>It is red.</think><answer>red</answer>")


def test_our_model_calls_tools_and_lmms_eval_scores_its_last_words(ask, tmp_path):
    numbers, requests, told = ask("longvt", "longvt_tool.yaml", looks_and_says_red)
    assert numbers["acc_score,none"] == 0.5
    assert "accuracy,none" not in numbers
    assert len(requests) == 4
    assert "Think first, call **crop_video** if needed" in asked_text(requests[0])
    assert told.count("longvt: scored by lmms-eval's own task, not by ours") == 1
    assert "LONGVT_TASKS=ours scores it as videosiah_eval_tool" in told
    first, second = read_rollouts(tmp_path / "traces/longvt")
    assert (first.rewards["accuracy"], second.rewards["accuracy"]) == (1.0, 0.0)
    assert first.windows == [[8.0, 12.0]]


def test_a_failed_question_counts_there_and_the_line_says_so(ask):
    numbers, _, told = ask("longvt_reasoning", "longvt_reasoning.yaml", lambda request: failure(400))
    assert numbers["acc_score,none"] == 0.0
    assert "counts questions that failed as wrong" in told
    assert "none of the 2 questions asked could be answered" in told


def test_the_control_without_pictures_shows_none(ask):
    _, requests, _ = ask("longvt_no_visual", "longvt_reasoning.yaml", looks_and_says_red, BLIND)
    content = requests[0]["messages"][1]["content"]
    assert "image" not in str(content)
    assert "tools" not in requests[0]


def test_other_tasks_are_refused_with_the_names_of_ours():
    with pytest.raises(ConfigError, match=r"'lvbench' is not one of longvt-plugins .* there are lvbench_non_think"):
        task_kind("lvbench", {"task": "lvbench"})
    with pytest.raises(ConfigError, match="'mmmu' is not one of longvt-plugins"):
        task_kind("mmmu", {})
