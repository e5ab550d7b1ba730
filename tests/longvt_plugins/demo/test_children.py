"""The demo's programs: their progress is followed, their failures are told."""

import sys

import pytest

from longvt_plugins.demo.children import ChildFailedError, program, run_child
from longvt_plugins.errors import ConfigError


def test_the_steps_of_a_progress_bar_are_told(tmp_path):
    told = []
    bar = "import sys; [sys.stderr.write(f'\\r {n}/3 [00:0{n}<00:01]') for n in (1, 2, 3)]"
    run_child([sys.executable, "-c", bar], log=tmp_path / "log.txt", progress=lambda *steps: told.append(steps))
    assert told[-1] == (3, 3)
    assert "3/3" in (tmp_path / "log.txt").read_text()


def test_a_failed_program_is_an_error_with_its_last_lines_and_its_log(tmp_path):
    failing = "print('step 1'); raise SystemExit('no such checkpoint')"
    with pytest.raises(ChildFailedError, match=r"ended with 1, see .*log\.txt: .*no such checkpoint"):
        run_child([sys.executable, "-c", failing], log=tmp_path / "log.txt")


def test_a_program_that_is_not_installed_is_named_with_the_install_line():
    with pytest.raises(ConfigError, match=r"no program 'no-such-program'.*pip install 'longvt-plugins\[train,eval\]'"):
        program("no-such-program")
