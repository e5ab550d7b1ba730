"""Rows over one small video, and lmms-eval run in this process or as its real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from longvt_plugins.rows import write_rows
from longvt_plugins.testing import write_stamped_video
from longvt_plugins.testing_server import assistant

pytest.importorskip("lmms_eval")

ANSWERS = ("red", "blue", "green", "red")


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A folder as ``longvt synth`` makes it: four questions about one video, of two sources."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "videos").mkdir()
    write_stamped_video(folder / "videos" / "v.mp4", seconds=16, fps=2, size=(56, 56))
    rows = [
        {
            "id": f"q{number}", "videos": {"video_1.mp4": str(folder / "videos" / "v.mp4")}, "kind": "open",
            "question": f"Question {number}: which colour?", "answer": answer, "video_segment": [8.0, 12.0],
            "options": None, "source": f"test/{'even' if number % 2 == 0 else 'odd'}",
        }
        for number, answer in enumerate(ANSWERS)
    ]  # fmt: skip
    write_rows(rows, folder / "test.parquet")
    return folder


@pytest.fixture
def use_data(data, monkeypatch) -> Path:
    """The rows are what ``LONGVT_DATA`` names."""
    monkeypatch.setenv("LONGVT_DATA", str(data))
    return data


@pytest.fixture(scope="session")
def evaluate():
    """Runs lmms-eval's own ``simple_evaluate`` on our tasks, without the seconds that its command needs to start."""
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    def evaluate(model, tasks, model_args="", **options):
        manager = TaskManager("WARNING", include_defaults=False)
        return simple_evaluate(
            model=model, model_args=model_args, tasks=list(tasks), task_manager=manager, verbosity="WARNING", **options
        )

    return evaluate


@pytest.fixture(scope="session")
def lmms_eval_command():
    """Runs the real ``lmms-eval`` command; returns its output."""

    def command(*args, env):
        program = Path(sys.executable).with_name("lmms-eval")
        done = subprocess.run(
            [program, *map(str, args)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **env},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    return command


@pytest.fixture(scope="session")
def longvt_eval_command():
    """Runs the real ``longvt eval``; returns its exit code and its output."""

    def command(*args, env):
        program = Path(sys.executable).with_name("longvt")
        done = subprocess.run(
            [program, "eval", *map(str, args)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **env},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return command


@pytest.fixture(scope="session")
def question_number():
    """Tells which question a request to the scripted server is about."""

    def question_number(request) -> int:
        text = json.dumps(request["messages"][1]["content"][-1])
        return int(text.split("Question ")[1].split(":")[0])

    return question_number


@pytest.fixture(scope="session")
def looks_and_says(question_number):
    """Makes a script for the server: look once, then give the answer of this question."""

    def looks_and_says(answers, window=(8, 12)):
        def script(request):
            if "tools" not in request:
                return assistant(answers[question_number(request)])
            if not any(message["role"] == "tool" for message in request["messages"]):
                arguments = {"video_path": "video_1.mp4", "start_time": window[0], "end_time": window[1]}
                return assistant("<think>There.</think>", [("c1", "crop_video", arguments)])
            return assistant(f"<think>I see it.</think><answer>{answers[question_number(request)]}</answer>")

        return script

    return looks_and_says
