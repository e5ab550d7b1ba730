"""The same recipe on datatrove's executors: every share is a rank, and what was killed goes on."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datapipe import cli
from datapipe.workdir import open_stores
from longvt_plugins.testing_server import ScriptedChatServer, failure, slow

from .conftest import contents, reply_to, start_run, write_numbers, write_recipe

pytest.importorskip("datatrove")

RANKS = 8


def children_of(work: Path) -> list[int]:
    """Processes that work on shares of a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(work).encode() in command and b"--shard-idx" in command and b"-c" not in command:
                found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_eight_ranks_some_of_them_killed_end_with_what_one_process_makes(tmp_path, steps_site):
    source = write_numbers(tmp_path / "in.jsonl", 160, videos=40)
    with ScriptedChatServer(lambda request: slow(reply_to(request), 0.1)) as server:
        recipe = write_recipe(tmp_path / "recipe.yaml", server.base_url, source, concurrency=2)
        flags = ["--num-shards", str(RANKS), "--executor", "local", "--workers", "2"]
        first = start_run(recipe, tmp_path / "ranks", steps_site, *flags)
        killed = 0
        while killed < 2 and first.poll() is None:
            until = len(server.requests) + 10
            while len(server.requests) < until and first.poll() is None:
                time.sleep(0.05)
            for child in children_of(tmp_path / "ranks")[:1]:
                os.kill(child, signal.SIGKILL)
                killed += 1
        # Then everything at once, as when the machine goes.
        until = len(server.requests) + 10
        while len(server.requests) < until and first.poll() is None:
            time.sleep(0.05)
        first.terminate()
        first.communicate()
        again = start_run(recipe, tmp_path / "ranks", steps_site, *flags)
        out, err = again.communicate()
        assert again.returncode == 0, err
        assert f"all {RANKS} shards are done" in out
        whole = start_run(recipe, tmp_path / "whole", steps_site)
        assert whole.wait() == 0
    assert killed == 2
    assert contents(tmp_path / "ranks") == contents(tmp_path / "whole")
    assert len(open_stores(tmp_path / "ranks")) == RANKS


SBATCH = """#!{python}
# Runs an array job at once, one task after another, as far as one machine can stand for a cluster.
import os, re, subprocess, sys
script = sys.stdin.read() if not sys.argv[-1:] or sys.argv[-1].startswith("-") else open(sys.argv[-1]).read()
array = re.search(r"#SBATCH --array=0-(\\d+)", script)
for task in range(int(array[1]) + 1 if array else 0):
    env = dict(os.environ, SLURM_ARRAY_TASK_ID=str(task), SLURM_NODELIST="node", RUN_OFFSET="0")
    subprocess.run(["bash"], input=script, text=True, env=env, stdout=subprocess.DEVNULL, check=True)
print("Submitted batch job 1")
"""

SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == -n ]] && shift; shift; done
exec "$@"
"""


@pytest.mark.slow
def test_the_script_that_slurm_gets_runs_every_share(tmp_path, steps_site, server, monkeypatch):
    tools = tmp_path / "bin"
    tools.mkdir()
    pickled = f'#!/bin/bash\nexec {sys.executable} -m datatrove.tools.launch_pickled_pipeline "$@"\n'
    scontrol = "#!/bin/bash\necho node\n"
    for name, text in (
        ("sbatch", SBATCH.format(python=sys.executable)),
        ("srun", SRUN),
        ("launch_pickled_pipeline", pickled),
        ("merge_stats", "#!/bin/bash\n"),
        ("scontrol", scontrol),
    ):
        (tools / name).write_text(text)
        (tools / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    source = write_numbers(tmp_path / "in.jsonl", 30)
    recipe = write_recipe(tmp_path / "recipe.yaml", server.base_url, source)
    flags = ["--num-shards", "3", "--executor", "slurm"]
    settings = ["partition=cpu", "time='1:00:00'", "cpus_per_task=2"]
    given = [word for text in settings for word in ("--executor-set", text)]
    started = start_run(recipe, tmp_path / "slurm", steps_site, *flags, *given)
    _, err = started.communicate()
    assert started.returncode == 0, err
    script = (tmp_path / "slurm" / "datatrove" / "launch_script.slurm").read_text()
    assert "#SBATCH --partition=cpu" in script
    assert "#SBATCH --array=0-2" in script
    assert len(open_stores(tmp_path / "slurm")) == 3
    assert len(server.requests) == 30


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_ranks_of_local_ray_make_what_one_process_makes(tmp_path, steps_site, server, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed: pip install 'longvt-plugins[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    source = write_numbers(tmp_path / "in.jsonl", 30)
    recipe = write_recipe(tmp_path / "recipe.yaml", server.base_url, source)
    flags = ["--num-shards", "3", "--executor", "ray", "--workers", "2", "--executor-set", "mem_per_cpu_gb=0.5"]
    for _ in range(2):
        started = start_run(recipe, tmp_path / "ray", steps_site, *flags)
        out, err = started.communicate()
        assert started.returncode == 0, err
        assert "all 3 shards are done" in out
    asked = len(server.requests)
    assert start_run(recipe, tmp_path / "whole", steps_site).wait() == 0
    assert asked == len(server.requests) - asked, "the second run asked nothing"
    assert contents(tmp_path / "ray") == contents(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_share_that_stops_on_ray_is_told(tmp_path, steps_site, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed: pip install 'longvt-plugins[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    source = write_numbers(tmp_path / "in.jsonl", 12)
    with ScriptedChatServer(lambda request: failure(401, "no such key")) as server:
        recipe = write_recipe(tmp_path / "recipe.yaml", server.base_url, source)
        flags = ["--num-shards", "2", "--executor", "ray", "--workers", "1", "--executor-set", "mem_per_cpu_gb=0.5"]
        started = start_run(recipe, tmp_path / "ray", steps_site, *flags)
        _, err = started.communicate()
    assert started.returncode != 0
    assert "shards without an end: 0, 1" in err
    assert "no such key" in "".join(path.read_text() for path in (tmp_path / "ray" / "datatrove" / "logs").iterdir())


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--executor", "local", "--shard-idx", "1", "--num-shards", "2"], "--executor runs all shares"),
        (["--executor", "slurm"], "executor slurm: "),
        (["--executor", "local", "--executor-set", "tasks=3"], "--executor-set cannot set tasks"),
        (["--executor", "local", "--executor-set", "colour=red"], "unexpected keyword argument 'colour'"),
    ],
)
def test_wrong_settings_are_one_clear_line(tmp_path, capsys, flags, complaint):
    source = write_numbers(tmp_path / "in.jsonl", 3)
    recipe = write_recipe(tmp_path / "recipe.yaml", "http://127.0.0.1:9/v1", source)
    assert cli.main(["run", str(recipe), "--work-dir", str(tmp_path / "w"), *flags]) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert err.count("\n") == 1


def test_without_datatrove_the_install_line_is_told(tmp_path):
    source = write_numbers(tmp_path / "in.jsonl", 3)
    recipe = write_recipe(tmp_path / "recipe.yaml", "http://127.0.0.1:9/v1", source)
    hidden = (
        "import sys; sys.modules['datatrove'] = None\n"
        "from datapipe.cli import main\n"
        f"sys.exit(main(['run', {str(recipe)!r}, '--work-dir', 'w', '--executor', 'local']))"
    )
    done = subprocess.run([sys.executable, "-c", hidden], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'longvt-plugins[datatrove]'" in done.stderr


def test_without_ray_its_install_line_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    source = write_numbers(tmp_path / "in.jsonl", 3)
    recipe = write_recipe(tmp_path / "recipe.yaml", "http://127.0.0.1:9/v1", source)
    assert cli.main(["run", str(recipe), "--work-dir", str(tmp_path / "w"), "--executor", "ray"]) == 2
    assert "pip install 'longvt-plugins[ray]'" in capsys.readouterr().err
