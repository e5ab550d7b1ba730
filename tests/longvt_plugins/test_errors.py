"""The tree of errors: as it is drawn, and as commands show it."""

import inspect
import re
import subprocess
import sys

import pytest

from longvt_plugins import errors
from longvt_plugins.console import run_command
from longvt_plugins.errors import ConfigError, LongvtError, MissingExtraError, ToolError, VideoError


def test_the_tree_in_the_docstring_is_the_tree_in_the_code():
    drawn, branch = {}, {0: "LongvtError"}
    for line in errors.__doc__.splitlines():
        if found := re.match(r"    ([│ ]*)[├└]── (\w+Error)", line):
            depth = len(found[1]) // 4 + 1
            branch[depth] = found[2]
            drawn[found[2]] = branch[depth - 1]
    classes = {name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if cls is not LongvtError}
    assert drawn == {name: cls.__bases__[0].__name__ for name, cls in classes.items()}


def test_the_models_mistake_the_users_and_ours_cannot_be_confused():
    assert not issubclass(ToolError, ConfigError | VideoError)
    assert not issubclass(VideoError, ToolError)


def test_a_missing_extra_says_how_to_get_it():
    error = MissingExtraError("decord", "readers", "to decode with decord")
    assert str(error) == "decord is needed to decode with decord: pip install 'longvt-plugins[readers]'"
    assert (error.package, error.extra) == ("decord", "readers")


def fail(error: BaseException):
    def command():
        raise error

    return command


def test_an_error_of_ours_is_one_line_and_exit_code_2(capsys, monkeypatch):
    monkeypatch.delenv("LONGVT_TRACEBACK", raising=False)
    assert run_command("longvt", fail(ConfigError("no rows file\n  x.jsonl"))) == 2
    assert capsys.readouterr() == ("", "longvt: no rows file x.jsonl\n")


def test_an_error_without_a_message_shows_its_type(capsys, monkeypatch):
    monkeypatch.delenv("LONGVT_TRACEBACK", raising=False)
    assert run_command("longvt", fail(VideoError())) == 2
    assert capsys.readouterr().err == "longvt: VideoError\n"


def test_the_traceback_is_there_for_those_who_ask(monkeypatch):
    monkeypatch.setenv("LONGVT_TRACEBACK", "1")
    with pytest.raises(ConfigError):
        run_command("longvt", fail(ConfigError("x")))


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command("longvt", fail(ZeroDivisionError()))


def test_ctrl_c_is_exit_code_130(capsys):
    assert run_command("longvt", fail(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "longvt: interrupted\n"


def test_success_is_0_and_a_commands_own_code_is_kept():
    assert run_command("longvt", lambda: None) == 0
    assert run_command("longvt", lambda: 1) == 1


def test_who_reads_only_the_first_line_sees_no_traceback():
    command = "import sys; from longvt_plugins.console import run_command\n"
    command += "sys.exit(run_command('longvt', lambda: [print('x' * 9) for _ in range(100_000)] and 0))"
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" -c "$1" | head -1', sys.executable, command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, "x" * 9 + "\n", "")


def test_another_pipe_that_broke_is_a_bug(capfd):
    with pytest.raises(BrokenPipeError):
        run_command("longvt", fail(BrokenPipeError()))
