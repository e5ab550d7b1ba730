"""The ``longvt`` command, run as a process on real files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import longvt_plugins
from longvt_plugins import cli
from longvt_plugins.cli import COMMANDS, Command


@pytest.fixture
def video(make_video, tmp_path) -> Path:
    return make_video(tmp_path / "a private name.mp4", seconds=6)


def gray(path: str | Path) -> int:
    image = Image.open(path)
    return image.convert("L").getpixel((image.width // 2, image.height // 2))


# longvt


def test_the_console_script_is_installed():
    script = Path(sys.executable).parent / "longvt"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"longvt-plugins {longvt_plugins.__version__}\n"


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_help_lists_every_command_with_its_line(run, args):
    listing = run("longvt", *args).stdout
    for name, command in COMMANDS.items():
        assert f"  {name} " in listing
        assert command.help in listing


def test_an_unknown_command_suggests_the_nearest(run):
    done = run("longvt", "plugns", code=2)
    assert done.stderr == (f"longvt: no command 'plugns'. Did you mean 'plugins'? There are: {', '.join(COMMANDS)}\n")
    assert done.stdout == ""


def test_an_unknown_option_is_refused(run):
    assert "unrecognized arguments: --fast" in run("longvt", "--fast", code=2).stderr


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(run, name):
    assert "usage: " in run("longvt", name, "--help").stdout


def test_a_command_without_a_parser_gets_its_arguments_untouched(monkeypatch, tmp_path):
    (tmp_path / "raw_command.py").write_text("def run(argv):\n    print(argv)\n    return 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "raw", Command("raw_command", "prints"))
    arguments = ["--config", "x.yaml", "--help", "--", "-x", "--learning-rate=1e-4", ""]
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("builtins.print", printed.append)
        assert cli.main(["raw", *arguments]) == 3
    assert printed == [arguments]


def test_a_bug_in_a_command_keeps_its_traceback(monkeypatch, tmp_path):
    (tmp_path / "faulty_command.py").write_text("def run(argv):\n    return 1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "faulty", Command("faulty_command", "divides"))
    with pytest.raises(ZeroDivisionError):
        cli.main(["faulty"])


# longvt plugins


def test_plugins_prints_a_table_that_is_not_cut_in_a_pipe(run, example_plugin):
    table = run("longvt", "plugins", path=example_plugin).stdout
    (line,) = [line for line in table.splitlines() if line.strip().startswith("zoom ")]
    assert line.split() == ["zoom", "longvt-zoom", "0.1.0", "register_judges", "judge", "contains"]
    assert "longvt_plugins.tools.crop_video" in table


def test_plugins_lists_a_disabled_one_as_disabled(run, example_plugin):
    env = {"LONGVT_DISABLED_PLUGINS": "zoom"}
    table = run("longvt", "plugins", path=example_plugin, env=env).stdout
    (line,) = [line for line in table.splitlines() if line.strip().startswith("zoom ")]
    assert line.split() == ["zoom", "longvt-zoom", "0.1.0", "disabled"]
    entries = json.loads(run("longvt", "plugins", "--json", path=example_plugin, env=env).stdout)
    assert [entry["name"] for entry in entries if not entry["enabled"]] == ["zoom"]


def test_a_broken_plugin_is_one_line_and_can_be_disabled(run, tmp_path):
    (tmp_path / "longvt_broken.py").write_text("import not_installed_anywhere\n")
    info = tmp_path / "longvt_broken-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: longvt-broken\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[longvt]\nbroken = longvt_broken\n")
    done = run("longvt", "plugins", path=tmp_path, code=2)
    assert done.stderr == (
        "longvt: plugin 'broken' (longvt-broken 0.1) failed to import: No module named 'not_installed_anywhere'. "
        "Repair it, or set LONGVT_DISABLED_PLUGINS=broken.\n"
    )
    assert "Traceback" in run("longvt", "plugins", path=tmp_path, env={"LONGVT_TRACEBACK": "1"}, code=1).stderr
    run("longvt", "plugins", path=tmp_path, env={"LONGVT_DISABLED_PLUGINS": "broken"})


# longvt tool


def test_tool_alone_lists_the_tools_with_their_parameters(run, example_plugin):
    listing = run("longvt", "tool", path=example_plugin).stdout
    assert "crop_video (built-in)\n  Look closer at a part of the video" in listing
    assert "zoom_pixels (zoom, longvt-zoom 0.1.0)\n  Zoom into one region of one frame.\n" in listing
    assert "  --bbox array: [left, top, right, bottom] in pixels.\n" in listing


def test_tool_runs_crop_video_and_writes_the_frames_that_a_model_would_see(run, video, tmp_path):
    out = tmp_path / "frames"
    done = run("longvt", "tool", "crop_video", video, "--start-time", "2", "--end-time", "5", "--out", out)
    assert done.stdout.splitlines() == [
        "3 frames from 2s to 5s:",
        *("2s", str(out / "01_2s.jpg")),
        *("3s", str(out / "02_3s.jpg")),
        *("4s", str(out / "03_4s.jpg")),
    ]
    assert [round(gray(path) / 20) for path in sorted(out.iterdir())] == [2, 3, 4]


def test_tool_samples_as_qwen_vl_utils_does_if_asked(run, video, tmp_path):
    asked = ["--start-time", "2", "--end-time", "5", "--sampling-mode", "qwen", "--scaling", "exact"]
    done = run("longvt", "tool", "crop_video", video, *asked, "--out", tmp_path / "out")
    assert done.stdout.splitlines()[0] == "4 frames from 2s to 5s:"
    assert done.stdout.splitlines()[1::2] == ["2s", "3s", "4s", "5s"]  # both ends among them


def test_images_are_jpegs_without_chroma_subsampling(run, video, tmp_path):
    run("longvt", "tool", "crop_video", video, "--start-time", "0", "--end-time", "1", "--out", tmp_path / "out")
    image = Image.open(tmp_path / "out" / "01_0s.jpg")
    assert image.format == "JPEG"
    assert [component[1:3] for component in image.layer] == [(1, 1)] * 3


def test_the_tool_sees_an_opaque_name_and_never_the_file(run, video, tmp_path, example_plugin):
    log = tmp_path / "calls.log"
    done = run(
        *("longvt", "tool", "zoom_pixels", video, "--timestamp", "3", "--bbox", "[0, 0, 16, 8]"),
        *("--out", tmp_path / "out"),
        path=example_plugin,
        env={"LONGVT_ZOOM_LOG": str(log), "LONGVT_PLUGIN_TRACE": "1"},
    )
    assert done.stdout.splitlines() == ["3s, region [0.0, 0.0, 16.0, 8.0]:", str(tmp_path / "out" / "01_3s.jpg")]
    assert Image.open(tmp_path / "out" / "01_3s.jpg").size == (16, 8)
    assert log.read_text() == "zoom_pixels 2 blocks\n", "observers see the call"
    assert "longvt: tool_called of zoom: zoom_pixels" in done.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            ["--start-time", "9", "--end-time", "10"],
            "start_time 9 is outside the video, which lasts from 0 to 6 seconds",
        ),
        (["--start-time", "3", "--end-time", "2"], "end_time 2 must be later than start_time 3"),
        (["--start-time", "NaN", "--end-time", "2"], "'start_time': input should be a finite number"),
        (["--start-time", "true", "--end-time", "2"], "'start_time': input should be a valid number, not 'True'"),
    ],
)
def test_what_the_tool_refuses_is_told_as_to_the_model(run, video, tmp_path, options, complaint):
    done = run("longvt", "tool", "crop_video", video, *options, "--out", tmp_path / "out", code=2)
    assert done.stderr.startswith("longvt: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["crop_vdeo"], "longvt: No tool named 'crop_vdeo'. Did you mean 'crop_video'?"),
        (["crop_video"], "the following arguments are required: VIDEO, --start-time, --end-time"),
        (
            ["crop_video", "a.mp4", "--out", "o", "--start-time", "1", "--end-time", "soon"],
            "'soon' is not of type number",
        ),
        (["crop_video", "a.mp4", "--out", "o", "--start-time", "1", "--end-time", "2", "--fps", "3"], "unrecognized"),
        (
            ["crop_video", "a.mp4", "--out", "o", "--start-time", "1", "--end-time", "2", "--reader", "gif"],
            "longvt: No video reader named 'gif'. Installed: decord (built-in), pyav (built-in), torchcodec",
        ),
        (["crop_video", "missing.mp4", "--out", "o", "--start-time", "1", "--end-time", "2"], "missing.mp4"),
        (["crop_video", __file__, "--out", "o", "--start-time", "1", "--end-time", "2"], "test_cli.py"),
    ],
)
def test_a_wrong_call_is_one_clear_line_and_exit_code_2(run, args, complaint):
    done = run("longvt", "tool", *args, code=2)
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("o").exists()


ECHO = '''
from typing import Literal

from longvt_plugins import ToolContext, hookimpl


def echo(
    ctx: ToolContext, label: str, boxes: list[int] | None = None, note: str | None = None,
    mode: Literal["fast", "exact"] = "fast", share: float = 0.5, out: bool = False,
) -> str:
    """Say what was given; 100% of it.

    Args:
        label: A label.
        boxes: Some boxes.
        note: A note.
        mode: Which way.
        share: How much, at most 100%.
        out: Named like an option of the command itself.
    """
    return repr((label, boxes, note, mode, share, out))


@hookimpl
def register_tools(register):
    register(echo)
'''


@pytest.fixture
def echo_plugin(tmp_path) -> Path:
    info = tmp_path / "site" / "longvt_echo-0.1.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site" / "longvt_echo.py").write_text(ECHO)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: longvt-echo\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[longvt]\necho = longvt_echo\n")
    return tmp_path / "site"


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (["--label", "12"], ("12", None, None, "fast", 0.5, False)),
        (["--label", "true", "--share", "-0.1", "--boxes", "[1, 2]"], ("true", [1, 2], None, "fast", -0.1, False)),
        (["--label", "", "--note", "two words", "--mode", "exact"], ("", None, "two words", "exact", 0.5, False)),
        (["--label", "x", "--tool-out", "true"], ("x", None, None, "fast", 0.5, True)),
    ],
)
def test_options_are_typed_as_the_schema_says(run, tmp_path, echo_plugin, options, given):
    done = run("longvt", "tool", "echo", *options, "--out", tmp_path / "out", path=echo_plugin)
    assert done.stdout == f"{given!r}\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--label", "x", "--mode", "slow"], "'mode': input should be 'fast' or 'exact', not 'slow'"),
        (["--label", "x", "--boxes", "1,2"], "argument --boxes: '1,2' is not of type array|null"),
        (["--label", "x", "--share", "half"], "argument --share: 'half' is not of type number"),
        ([], "the following arguments are required: --label"),
        (["--label", "x", "video.mp4"], "unrecognized arguments: video.mp4"),
    ],
)
def test_options_that_do_not_fit_are_refused(run, tmp_path, echo_plugin, options, complaint):
    done = run("longvt", "tool", "echo", *options, "--out", tmp_path / "o", path=echo_plugin, code=2)
    assert complaint in done.stderr


def test_a_tools_own_help_shows_its_parameters(run, echo_plugin):
    text = run("longvt", "tool", "echo", "--help", path=echo_plugin).stdout
    assert "--share number" in text
    assert "How much, at most 100%." in text


def test_out_that_is_a_file_is_refused(run, video, tmp_path):
    out = tmp_path / "taken"
    out.touch()
    done = run("longvt", "tool", "crop_video", video, "--start-time", "0", "--end-time", "1", "--out", out, code=2)
    assert done.stderr == f"longvt: --out {out} cannot be a folder: File exists\n"


def test_a_reader_of_a_plugin_decodes_what_it_is_asked_to(run, tmp_path, example_plugin):
    pictures = [Image.new("RGB", (32, 32), (40 * second,) * 3) for second in range(4)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=1000)
    run(
        *("longvt", "tool", "crop_video", tmp_path / "a.gif", "--start-time", "1", "--end-time", "3"),
        *("--reader", "gif", "--out", tmp_path / "out"),
        path=example_plugin,
    )
    assert [gray(tmp_path / "out" / name) for name in ("01_1s.jpg", "02_2s.jpg")] == [40, 80]
    done = run(
        *("longvt", "tool", "crop_video", __file__, "--start-time", "1", "--end-time", "3"),
        *("--reader", "gif", "--out", tmp_path / "out"),
        path=example_plugin,
        code=2,
    )
    assert done.stderr == f"longvt: {__file__} is not a GIF\n"
