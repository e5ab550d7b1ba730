"""Each task can be answered with the tool that it needs, and not without: shown by a reader that sees no more."""

from __future__ import annotations

import asyncio

import pytest

from longvt_plugins.agent import AgentConfig, run_agents
from longvt_plugins.errors import ConfigError
from longvt_plugins.synthetic.frame_model import train_frame_model
from longvt_plugins.synthetic.speech_model import train_speech_model
from longvt_plugins.synthetic.tool_reader import ToolReader, find_sign, read_sign
from longvt_plugins.synthetic.tool_tasks import TASKS, make_tool_tasks
from longvt_plugins.synthetic.world import SHAPES, TINY
from longvt_plugins.video.video import Video

COUNT = 8


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    signs, *others = TASKS
    return make_tool_tasks(folder, [signs], COUNT, seed=5) + make_tool_tasks(folder, others, COUNT // 2, seed=5)


def of(rows, task):
    return [row for row in rows if row["source"].endswith(f"/{task}")]


def answer(rows, plugins, tools, reader=None):
    """The rollouts, with the conversations as the model saw them."""
    config = AgentConfig(tools=tools, overview=TINY.overview, crop=TINY.crop, keep_images=True)
    return asyncio.run(run_agents(reader or ToolReader(), rows, config, plugins))


@pytest.fixture(scope="module")
def search_model(tmp_path_factory):
    """Trained as a user would, and passed as a folder."""
    folder = tmp_path_factory.mktemp("models")
    train_frame_model(folder / "clip")
    return folder / "clip"


@pytest.fixture(scope="module")
def speech_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    train_speech_model(folder / "voice")
    return folder / "voice"


def configured(task, request):
    """The tool that a task needs, as a configuration names it."""
    if task == "search_frames":
        return f"{task}:step=2:model={request.getfixturevalue('search_model')}"
    if task == "transcribe":
        return f"{task}:model={request.getfixturevalue('speech_model')}"
    return task


# To teach a model to hear takes ten seconds.
ALL_TASKS = [pytest.param(task, marks=pytest.mark.slow) if task == "transcribe" else task for task in TASKS]


@pytest.mark.parametrize("task", ALL_TASKS)
def test_with_its_tool_every_question_is_answered(rows, plugins, task, request):
    asked = of(rows, task)
    rollouts = answer(asked, plugins, (configured(task, request),))

    assert [rollout.answer for rollout in rollouts] == [row["answer"] for row in asked]
    assert all(ToolReader().knows(rollout.messages) for rollout in rollouts)


@pytest.mark.parametrize("task", TASKS)
def test_with_crop_video_alone_nothing_is_known(rows, plugins, task):
    asked = of(rows, task)
    rollouts = answer(asked, plugins, ("crop_video",))

    assert not any(ToolReader().knows(rollout.messages) for rollout in rollouts)
    right = sum(rollout.answer == row["answer"] for rollout, row in zip(rollouts, asked, strict=True))
    assert right <= len(asked) // 2, "no better than guessing"


def test_all_tools_may_be_offered_together(rows, plugins):
    tools = ("crop_video:fps", "get_frames", "zoom_region", "search_subtitles", "search_captions")
    asked = [of(rows, task)[0] for task in tools]
    assert [rollout.answer for rollout in answer(asked, plugins, tools)] == [row["answer"] for row in asked]


def test_a_spot_of_a_small_frame_does_not_tell_the_shape_whatever_is_believed_of_it(rows):
    """The detail is not merely declared too small: a reader that believes two pixels is wrong about them."""
    asked = of(rows, "zoom_region")
    spots, told = 0, []
    for row in asked:
        with Video.open(next(iter(row["videos"].values()))) as video:
            start, end = row["video_segment"]
            for frame in video.frames([start + 1, (start + end) / 2, end - 1], TINY.crop):
                assert read_sign(frame.image) is None
                spots += find_sign(frame.image) is not None
                told.append(read_sign(frame.image, min_pixels=1) == row["answer"])
    assert spots > len(told) / 2, "that there is something can be seen"
    assert sum(told) <= len(told) / 2


def test_answers_take_turns(rows):
    assert {shape: sum(row["answer"] == shape for row in of(rows, "zoom_region")) for shape in SHAPES} == {
        shape: COUNT // len(SHAPES) for shape in SHAPES
    }


def test_another_question_is_left_to_the_offline_reader(plugins, tmp_path, make_video):
    row = {
        "id": "a",
        "videos": {"video_1.mp4": str(make_video(tmp_path / "a.mp4"))},
        "kind": "open",
        "question": "What is this?",
        "answer": "",
        "video_segment": None,
        "options": None,
        "source": "",
    }
    (rollout,) = answer([row], plugins, ("zoom_region",))
    assert "frames from" in str(rollout.messages[-1]["content"])


def test_a_folder_goes_on_with_the_same_seed_and_refuses_another(tmp_path):
    made = make_tool_tasks(tmp_path, ["search_captions"], 2, seed=0)
    written = (tmp_path / "videos" / "search_captions" / "00000.mp4").stat().st_mtime_ns
    assert make_tool_tasks(tmp_path, ["search_captions"], 2, seed=0) == made
    assert (tmp_path / "videos" / "search_captions" / "00000.mp4").stat().st_mtime_ns == written
    for count, seed in ((2, 1), (3, 0)):
        with pytest.raises(ConfigError, match="holds videos drawn otherwise"):
            make_tool_tasks(tmp_path, ["search_captions"], count, seed)


def test_an_unknown_task_is_told_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"no task 'zoom'\..* There are: zoom_region, get_frames"):
        make_tool_tasks(tmp_path, ["zoom"], 1, seed=0)


def test_the_command_writes_rows_that_are_read_again(tmp_path, capsys):
    from longvt_plugins.commands.synth import run
    from longvt_plugins.rows import read_rows

    assert run(["tools", "--out", str(tmp_path), "--tasks", "search_subtitles", "--count", "2"]) == 0
    assert capsys.readouterr().out == f"2 rows in {tmp_path / 'tools.parquet'}\n"
    written = read_rows(tmp_path / "tools.parquet")
    assert [row["source"] for row in written] == ["longvt_synthetic_tools/search_subtitles"] * 2

    (tmp_path / "file").write_text("")
    for command in (["tools"], ["models", "--only", "search_frames"]):
        with pytest.raises(ConfigError, match="cannot be a folder: Not a directory"):
            run([*command, "--out", str(tmp_path / "file")])
    with pytest.raises(ConfigError, match="--seed must be at least 0, not -1"):
        run(["models", "--out", str(tmp_path), "--seed", "-1"])
    with pytest.raises(ConfigError, match="--count must be at least 1, not 0"):
        run(["tools", "--out", str(tmp_path), "--count", "0"])
