"""Environments over real videos: what a rollout sees, what calls give, and where failures go."""

import inspect
import json
import logging
from pathlib import Path
from typing import ClassVar

import pytest

from longvt_plugins import ToolContext, ToolError, hookimpl
from longvt_plugins.errors import ConfigError, UnknownNameError, VideoError, VideoNotFoundError
from longvt_plugins.testing import images, plugin_manager, read_stamp, seconds_shown
from longvt_plugins.transcript import is_error_reply, parse_transcript
from trl_ext.environment import EnvironmentBug, EnvironmentConfig, make_environment

SMALL = {"overview_max_frames": 4, "overview_max_pixels": 56 * 56, "crop_max_pixels": 56 * 56}


class ManyTools:
    """Tools with what transformers' own schemas cannot express, and some that go wrong."""

    calls: ClassVar[list] = []

    @hookimpl
    def register_tools(self, register):
        def count_frames(ctx: ToolContext, video_path: str, at_most: int | None = None, exact: bool = False) -> str:
            """Count the frames of a video. Raises: nothing.

            Args:
                video_path: Name of the video.
                at_most: Stop here: at this number.
                exact: Whether to count each.
            """
            return f"{ctx.open(video_path).duration} {at_most} {exact}"

        def break_down(ctx: ToolContext) -> str:
            """Break."""
            return str(1 / 0)

        def find_damage(ctx: ToolContext) -> str:
            """Meet a video that cannot be read."""
            raise VideoError("moov atom not found in /secret/path.mp4")

        for function in (count_frames, break_down, find_damage):
            register(function)

    @hookimpl
    def tool_called(self, call, outcome):
        self.calls.append((call.name, outcome))


@pytest.fixture
def plugins():
    ManyTools.calls.clear()
    return plugin_manager(ManyTools())


@pytest.fixture
def environment(plugins, columns):
    tools = ["crop_video", "count_frames", "break_down", "find_damage"]
    environment = make_environment(EnvironmentConfig(tools=tools, **SMALL), plugins)()
    environment.reset(**columns)
    return environment


def tools_that_trl_finds(environment) -> list:
    """As GRPOTrainer does: the functions of the class, taken from the instance."""
    members = inspect.getmembers(type(environment), predicate=inspect.isfunction)
    return [getattr(environment, name) for name, _ in members if name not in ("reset", "get_reward") and name[0] != "_"]


def text_of(blocks) -> str:
    return "".join(block["text"] for block in blocks if block["type"] == "text")


def test_trl_finds_every_selected_tool_and_nothing_else(environment):
    assert [tool.__name__ for tool in tools_that_trl_finds(environment)] == [
        "break_down",
        "count_frames",
        "crop_video",
        "find_damage",
    ]
    assert tools_that_trl_finds(make_environment(EnvironmentConfig(tools=[]))()) == []


def test_the_model_reads_exactly_the_schemas_of_the_core(environment, plugins):
    """Through transformers' rendering of tools; a guessed schema would lose defaults and unions."""
    from longvt_plugins.synthetic.tiny import build_processor

    found = tools_that_trl_finds(environment)
    question = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    rendered = build_processor("qwen2_5_vl").apply_chat_template(question, tools=found, tokenize=False)
    shown = rendered.split("<tools>\n")[1].split("\n</tools>")[0].splitlines()
    assert [json.loads(line) for line in shown] == [plugins.tools.get(tool.__name__).schema for tool in found]
    assert "ctx" not in "".join(shown)
    assert '"default": false' in "".join(shown)


def test_reset_gives_labelled_overview_frames_and_then_the_question(environment, columns):
    blocks = environment.reset(**columns)
    assert [block.get("text") for block in blocks[:-1:2]] == ["0s", "5s", "10s", "15s"]
    assert [read_stamp(block["image"]) for block in images(blocks)] == [0, 20, 40, 60]
    assert "video_1.mp4 lasts 20 s" in blocks[-1]["text"]
    assert columns["question"] in blocks[-1]["text"]


def test_a_call_gives_the_frames_of_its_window(environment):
    blocks = environment.crop_video(video_path="video_1.mp4", start_time=8, end_time=11)
    assert seconds_shown(blocks) == [8, 9, 10]
    assert [read_stamp(block["image"]) for block in images(blocks)] == [32, 36, 40]
    assert (environment.calls, environment.frames, environment.tool_errors) == (1, 3, 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"video_path": "/etc/passwd", "start_time": 0, "end_time": 1}, "there is no video named '/etc/passwd'"),
        ({"video_path": "video_1.mp4", "start_time": 30, "end_time": 40}, "start_time 30 is outside"),
        ({"video_path": "video_1.mp4", "start_time": "8", "end_time": 9}, "'start_time'"),
        ({"video_path": "video_1.mp4", "start_time": float("nan"), "end_time": 9}, "'start_time'"),
        ({"video_path": "video_1.mp4", "start_time": 8}, "'end_time' is missing"),
        ({"self": 1, "tool": 2, "ctx": 3, "arguments": 4}, "unknown argument 'self'"),
        ({}, "'video_path' is missing"),
    ],
)
def test_the_models_mistake_is_told_to_it_in_the_words_of_evaluation(environment, arguments, told):
    blocks = environment.crop_video(**arguments)
    assert text_of(blocks).startswith("Error: ")
    assert told in text_of(blocks)
    assert is_error_reply(text_of(blocks))
    assert (environment.calls, environment.tool_errors, environment.video_errors) == (1, 1, 0)


def test_a_refused_call_is_no_executed_call_of_the_transcript(environment):
    arguments = {"video_path": "video_1.mp4", "start_time": 30, "end_time": 40}
    call = {"type": "function", "function": {"name": "crop_video", "arguments": arguments}}
    reply = {"role": "tool", "name": "crop_video", "content": environment.crop_video(**arguments)}
    transcript = parse_transcript([{"role": "assistant", "content": "", "tool_calls": [call]}, reply])
    assert transcript.tool_calls and not transcript.executed_calls and not transcript.windows


def test_a_bug_in_a_tool_passes_through_trls_except(environment):
    """TRL turns any Exception into text for the model and trains on."""
    with pytest.raises(EnvironmentBug, match=r"'break_down' broke.*ZeroDivisionError") as raised:
        try:
            environment.break_down()
        except Exception as error:  # noqa: BLE001 - as TRL does
            pytest.fail(f"TRL would have swallowed {error!r}")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_a_damaged_video_is_no_mistake_of_the_model_and_hides_its_path(environment, caplog):
    with caplog.at_level(logging.WARNING):
        blocks = environment.find_damage()
    assert text_of(blocks) == "Error: the video cannot be read"
    assert (environment.tool_errors, environment.video_errors) == (0, 1)
    assert environment.failure == "find_damage({}): moov atom not found in /secret/path.mp4"
    assert "row-1" in caplog.text and "moov atom not found" in caplog.text


def test_after_a_video_failed_no_tool_of_the_rollout_runs_and_the_next_rollout_is_whole(environment, columns):
    environment.find_damage()
    window = {"video_path": "video_1.mp4", "start_time": 8, "end_time": 9}
    assert text_of(environment.crop_video(**window)) == "Error: the video cannot be read"
    assert (environment.calls, environment.video_errors, environment.frames) == (2, 1, 0)
    assert [name for name, _ in ManyTools.calls] == ["find_damage"]
    environment.reset(**columns)
    assert environment.failure is None
    assert images(environment.crop_video(**window))


def test_a_rollout_whose_video_is_no_video_has_failed_before_its_first_turn(plugins, columns, tmp_path, caplog):
    (tmp_path / "notes.mp4").write_text("not a video")
    columns["videos"] = json.dumps({"video_1.mp4": str(tmp_path / "notes.mp4")})
    environment = make_environment(EnvironmentConfig(), plugins)()
    with caplog.at_level(logging.WARNING):
        picture, told = environment.reset(**columns)
    assert told == {"type": "text", "text": "Error: the video cannot be read"}
    # Processes that share the weights out run the vision tower together: each needs a picture.
    assert picture["image"].size == (28, 28) and picture["image"].getextrema() == ((0, 0),) * 3
    assert "notes.mp4" in environment.failure
    assert environment.video_errors == 1
    assert "row 'row-1' is not scored" in caplog.text


def test_observers_see_every_call(environment):
    environment.crop_video(video_path="video_1.mp4", start_time=8, end_time=9)
    environment.crop_video(video_path="nothing.mp4", start_time=8, end_time=9)
    assert [name for name, _ in ManyTools.calls] == ["crop_video", "crop_video"]
    assert isinstance(ManyTools.calls[1][1], ToolError)


def test_reset_forgets_the_rollout_before(plugins, columns):
    environment = make_environment(EnvironmentConfig(max_calls=1, **SMALL), plugins)()
    for _ in range(2):
        environment.reset(**columns)
        assert (environment.calls, environment.frames, environment.tool_errors) == (0, 0, 0)
        window = {"video_path": "video_1.mp4", "start_time": 8, "end_time": 9}
        assert images(environment.crop_video(**window))
        assert "all 1 tool calls are used" in text_of(environment.crop_video(**window))


def test_calls_of_the_last_turn_that_gets_a_reply_are_refused_with_the_request_to_answer(plugins, columns):
    environment_class = make_environment(EnvironmentConfig(max_turns=3, **SMALL), plugins)
    environment = environment_class()
    environment.reset(**columns)
    window = {"video_path": "video_1.mp4", "start_time": 8, "end_time": 9}
    environment_class.progress.turn = 1
    assert images(environment.crop_video(**window)) and images(environment.crop_video(**window))
    environment_class.progress.turn = 2
    assert text_of(environment.crop_video(**window)).endswith("answer now with what you have seen")


def test_a_limit_of_turns_that_nobody_counts_is_no_silent_one(plugins, columns):
    environment = make_environment(EnvironmentConfig(max_turns=3, **SMALL), plugins)()
    environment.reset(**columns)
    with pytest.raises(EnvironmentBug, match=r"max_turns needs trl_ext\.turns\.follow_turns"):
        environment.crop_video(video_path="video_1.mp4", start_time=8, end_time=9)


def test_the_size_of_the_overview_is_drawn_for_a_question_and_a_step_and_shared_by_the_group(plugins, columns):
    small = {**SMALL, "overview_frame_choices": [2, 4, 8]}
    environment_class = make_environment(EnvironmentConfig(**small), plugins)
    shown = {}
    for step in range(12):
        environment_class.progress.step = step
        group = {len(images(environment_class().reset(**columns))) for _ in range(3)}
        assert len(group) == 1
        shown[step] = group.pop()
    assert set(shown.values()) == {2, 4, 8}
    # In another process, and after a resume, the same is drawn.
    again = EnvironmentConfig(**small)
    assert {step: again.overview_for("row-1", step).max_frames for step in range(12)} == shown
    others = [again.overview_for(f"row-{number}", 0).max_frames for number in range(40)]
    assert set(others) == {2, 4, 8}


def test_the_frame_budget_is_the_rollouts(plugins, columns):
    environment = make_environment(EnvironmentConfig(max_frames=5, **SMALL), plugins)()
    environment.reset(**columns)
    window = {"video_path": "video_1.mp4", "start_time": 0, "end_time": 4}
    assert [len(images(environment.crop_video(**window))) for _ in range(3)] == [4, 1, 0]


def test_a_tool_called_before_any_reset_finds_no_videos(plugins):
    environment = make_environment(EnvironmentConfig(), plugins)()
    reply = environment.crop_video(video_path="video_1.mp4", start_time=0, end_time=1)
    assert "the videos are: none" in text_of(reply)


def test_a_group_decodes_its_video_once_and_no_rollout_sees_anothers_changes(plugins, columns):
    environment_class = make_environment(EnvironmentConfig(**SMALL), plugins)
    window = {"video_path": "video_1.mp4", "start_time": 8, "end_time": 11}
    openings, crops = [], []
    for _ in range(16):
        environment = environment_class()
        openings.append(environment.reset(**columns))
        crops.append(environment.crop_video(**window))
        openings[-1][0]["text"] = "changed"
        images(crops[-1])[0]["image"].paste((255, 0, 0), (0, 0, 56, 56))
        openings[-1].pop()
    last = environment_class().reset(**columns)
    assert last[0]["text"] == "0s"
    assert columns["question"] in last[-1]["text"]
    again = environment.crop_video(**window)
    assert [read_stamp(block["image"]) for block in images(again)] == [32, 36, 40]
    stats = environment_class.library.stats()
    # Four frames of the overview, and three of the crop, of which 10 s was in the overview at the same size.
    assert (stats.misses, stats.open_files) == (6, 1)


def test_another_question_or_a_changed_file_is_not_answered_from_what_is_kept(plugins, columns, tmp_path):
    from longvt_plugins.testing import write_stamped_video

    environment = make_environment(EnvironmentConfig(**SMALL), plugins)()
    path = tmp_path / "changing.mp4"
    write_stamped_video(path, seconds=8, size=(56, 56))
    columns["videos"] = json.dumps({"video_1.mp4": str(path)})
    assert "lasts 8 s" in environment.reset(**columns)[-1]["text"]
    assert "Why?" in environment.reset(**{**columns, "question": "Why?"})[-1]["text"]
    write_stamped_video(path, seconds=12, size=(56, 56))
    assert "lasts 12 s" in environment.reset(**columns)[-1]["text"]


def test_no_more_files_stay_open_than_the_recipe_allows(plugins, columns, video, tmp_path):
    """A batch has hundreds of rollouts: open videos would use up descriptors."""
    environment_class = make_environment(EnvironmentConfig(video_max_open_files=2, **SMALL), plugins)
    for number in range(5):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(video.read_bytes())
        columns["videos"] = json.dumps({"video_1.mp4": str(path)})
        environment_class().reset(**columns)
    open_files = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert sorted(path.name for path in open_files if path.parent == tmp_path) == ["3.mp4", "4.mp4"]


def test_a_row_whose_video_is_not_there_ends_the_training_and_is_named(plugins, columns, tmp_path):
    """That is a fault of the rows file, or of a disk that is not mounted: it concerns every row."""
    environment = make_environment(EnvironmentConfig(), plugins)()
    columns["videos"] = json.dumps({"video_1.mp4": str(tmp_path / "gone.mp4")})
    with pytest.raises(VideoNotFoundError, match=r"training row 'row-1'.*gone.mp4"):
        environment.reset(**columns)
    with pytest.raises(ConfigError, match="training row 'row-1': no question"):
        environment.reset(**{**columns, "question": None})


def test_mode_and_scaling_are_those_of_both_samplings():
    config = EnvironmentConfig(sampling_mode="qwen", scaling="exact")
    assert {(sampling.mode, sampling.scaling) for sampling in (config.overview, config.crop)} == {("qwen", "exact")}
    with pytest.raises(ConfigError, match="overview: mode must be 'grid' or 'qwen', not 'linspace'"):
        EnvironmentConfig(sampling_mode="linspace")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"tools": "crop_video"}, "tools must be a list of names"),
        ({"max_calls": -1}, "max_calls must be a whole number from 0 or null, not -1"),
        ({"max_frames": 2.5}, "max_frames must be"),
        ({"max_turns": 1}, "max_turns must be a whole number from 2 or null, not 1"),
        ({"calls_per_turn": 0}, "calls_per_turn must be a whole number from 1, not 0"),
        ({"overview_frame_choices": 64}, "overview_frame_choices must be a list of numbers"),
        ({"overview_frame_choices": [64, 0]}, r"overview: .*max_frames"),
        ({"video_memory_mb": None}, "video_memory_mb must be a whole number from 0, not None"),
        ({"video_cache_format": "gif"}, "video_cache_format must be 'lossless' or 'jpeg', not 'gif'"),
        ({"overview_fps": 0}, "overview: fps must be a positive number"),
        ({"crop_fps": "1"}, "crop: a number is expected"),
        ({"crop_max_frames": 0}, r"crop: .*max_frames"),
    ],
)
def test_a_faulty_config_is_told_in_one_line(values, told):
    with pytest.raises(ConfigError, match=told) as raised:
        EnvironmentConfig(**values)
    assert "\n" not in str(raised.value)


def test_an_unknown_tool_or_reader_is_told_with_its_neighbour(plugins):
    with pytest.raises(UnknownNameError, match="Did you mean 'crop_video'"):
        make_environment(EnvironmentConfig(tools=["crop_vdeo"]), plugins)
    with pytest.raises(UnknownNameError, match="No video reader named 'vhs'"):
        make_environment(EnvironmentConfig(video_reader="vhs"), plugins)


@pytest.mark.parametrize("name", ["reset", "get_reward", "calls", "row"])
def test_a_tool_cannot_take_a_name_of_the_environment(name):
    class Taken:
        @hookimpl
        def register_tools(self, register):
            def tool(ctx: ToolContext) -> str:
                """Do something."""
                return ""

            register(tool, name)

    with pytest.raises(ConfigError, match=f"tool '{name}' has a name"):
        make_environment(EnvironmentConfig(tools=[name]), plugin_manager(Taken()))
