"""``longvt synth`` as a process: what it says, what it makes, what it refuses."""

import asyncio
import signal
import subprocess
import sys

import pytest

from longvt_plugins.chat import ChatClient
from longvt_plugins.commands.synth import run as run_synth
from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import read_rows


def test_it_tells_the_cost_first_then_the_progress_then_what_there_is(run, tmp_path):
    arguments = ["--out", tmp_path, "--split", "train=3", "--split", "test=2", "--families", "what,order"]
    lines = run("longvt", "synth", *arguments, "--processes", "1").stdout.splitlines()
    assert lines[0].startswith("5 of 5 videos of the preset tiny to make: about ")
    assert lines[1:6] == [f"videos: {done}/5" for done in range(1, 6)]
    table = [line.split() for line in lines[6:] if line.strip()]
    assert table[0] == ["family", "train", "test", "chance"]
    assert table[2][:3] == ["what", "2", "1"]
    assert table[3] == ["order", "1", "1", "0.250"]
    assert table[4] == ["rows", "3", "2"]
    assert len(read_rows(tmp_path / "train.parquet")) == 3

    again = run("longvt", "synth", *arguments).stdout.splitlines()
    assert again[0] == "0 of 5 videos of the preset tiny to make"
    assert not any(line.endswith("/5 videos") for line in again)

    other = run("longvt", "synth", *arguments, "--seed", "1", code=2)
    assert other.stdout == ""
    assert other.stderr.startswith(f"longvt: {tmp_path} holds another world (")
    assert other.stderr.count("\n") == 1


def test_videos_are_split_80_10_10(tmp_path):
    assert run_synth(["--out", str(tmp_path), "--videos", "11", "--processes", "1", "--families", "what"]) == 0
    counts = {split: len(read_rows(tmp_path / f"{split}.parquet")) for split in ("train", "dev", "test")}
    assert counts == {"train": 9, "dev": 1, "test": 1}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--videos", "0"], "--videos must be at least 1"),
        (["--videos", "5", "--split", "train=5"], "either --videos or --split"),
        (["--split", "train"], "such as train=160, not 'train'"),
        (["--split", "train=-1"], "such as train=160"),
        (["--split", "train=0"], "such as train=160"),
        (["--split", "../train=1"], "such as train=160"),
        (["--split", "a=1", "--split", "a=2"], "--split a is given twice"),
        (["--families", "what,whne"], "no question family 'whne'"),
        (["--preset", "huge"], "no preset 'huge'"),
        (["--processes", "0"], "--processes must be at least 1"),
    ],
)
def test_faulty_options_are_refused_before_anything_is_made(tmp_path, arguments, fault):
    with pytest.raises(ConfigError, match=fault):
        run_synth(["--out", str(tmp_path / "world"), *arguments])
    assert not (tmp_path / "world").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="cannot be a folder"):
        run_synth(["--out", str(tmp_path / "taken")])


def test_it_serves_until_it_is_interrupted():
    # A shell's background jobs ignore Ctrl-C, and so would what they start: here it must arrive wherever tests run.
    started = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from longvt_plugins.cli import main; sys.exit(main(['synth', 'serve', '--port', '0']))"
    )
    command = [sys.executable, "-c", started]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        model, base_url = line.split(" (")[0].split(" at ")
        client = ChatClient(base_url, model)
        messages = [{"role": "user", "content": "Describe."}]
        completion = asyncio.run(client.complete(messages, [], max_tokens=50))
        assert completion.message["content"] == "There are no frames to describe."
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "longvt: interrupted\n"


def test_a_port_that_is_taken_is_refused(run):
    from longvt_plugins.synthetic.server import ReaderServer

    with ReaderServer() as server:
        port = server.base_url.removesuffix("/v1").rpartition(":")[2]
        done = run("longvt", "synth", "serve", "--port", port, code=2)
    assert f"longvt: port {port} cannot be used" in done.stderr
