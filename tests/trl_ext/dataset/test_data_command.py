"""`longvt data check` and `longvt data materialize` on files in the published shape, and `longvt template`."""

import json
import shutil
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from longvt_plugins.chat_templates import chat_template_path, load_chat_template
from longvt_plugins.cli import main
from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import read_rows
from trl_ext.dataset import materialize, read_sft
from trl_ext.dataset.conversations import read_conversations
from trl_ext.dataset.mixture import Mixture, Source
from trl_ext.environment import EnvironmentConfig

from .conftest import thought, trace, verl_row, write_published

SMALL = ["--set", "overview_max_frames=2", "--set", "overview_max_pixels=784", "--set", "crop_max_pixels=784"]


def run(capsys, *argv) -> tuple[int, str, str]:
    code = main(["data", *map(str, argv)])
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.fixture
def faulty(tmp_path):
    """A good trace, one whose video is missing, one whose window lies outside, one without an answer, a thought."""
    gone = json.loads(json.dumps(trace()).replace("lamp.mp4", "gone.mp4"))
    path = tmp_path / "longvt_sft_geminicot_4k8.parquet"
    return write_published(path, [trace(), gone, trace(900, 910), trace()[:4], thought()])


def test_check_counts_what_is_fine_and_names_what_is_not(capsys, media, faulty):
    code, out, _ = run(
        capsys, "check", faulty, "--videos", media, "--model", "tiny", "--max-length", 120, "--json", *SMALL
    )
    (report,) = json.loads(out)
    assert code == 1
    assert (report["holds"], report["rows"], report["videos"]) == ("conversations", 5, 1)
    assert report["sources"] == {"geminicot": 1}  # the thought: a trace is longer than 120 tokens
    faults = report["faults"]
    assert {kind: found["count"] for kind, found in faults.items()} == {
        "missing video": 1, "refused call": 1, "schema": 1, "over-long": 1,
    }  # fmt: skip
    assert faults["refused call"]["examples"][0].startswith(f"{faulty}, made_2: crop_video(")
    assert "--include 'geminicot_*.zip'" in report["download"]
    assert report["sizes"]["frames"] == {"total": 1, "median": 1, "largest": 1}
    assert 0 < report["sizes"]["trained"]["total"] < report["sizes"]["tokens"]["total"] < 120


def test_check_of_questions_counts_their_prompts(capsys, tmp_path, media):
    pq.write_table(pa.Table.from_pylist([verl_row(0), verl_row(1)]), tmp_path / "rl.parquet")
    code, out, _ = run(capsys, "check", tmp_path / "rl.parquet", "--videos", media, "--model", "tiny", *SMALL)
    assert code == 0
    assert "questions   2      0        1" in out and "4 / 2" in out


def test_check_of_a_mixture_looks_at_its_sources_where_it_says(capsys, tmp_path, media):
    write_published(tmp_path / "own.parquet", [trace()])
    write_published(tmp_path / "other.parquet", [thought()])
    (tmp_path / "mixture.yaml").write_text(
        f"videos: {media}\nsources: [{{path: own.parquet, replay: false}}, {{path: other.parquet, weight: 2}}]\n"
    )
    code, out, _ = run(capsys, "check", tmp_path / "mixture.yaml", "--json")
    assert code == 0
    assert [report["rows"] for report in json.loads(out)] == [1, 1]
    code, _, err = run(capsys, "check", tmp_path / "mixture.yaml", "--recorded")
    assert code == 2 and "says `videos` and `replay` itself" in err


def test_check_without_a_model_opens_no_video(capsys, tmp_path, media):
    (tmp_path / "lamp.mp4").write_bytes(b"no video")
    write_published(tmp_path / "own.parquet", [trace()])
    assert run(capsys, "check", tmp_path / "own.parquet", "--recorded", "--videos", media)[0] == 0
    (tmp_path / "lamp_8_11_0.jpg").write_bytes(b"")
    code, out, _ = run(capsys, "check", tmp_path / "own.parquet")
    assert (code, "not counted" in out) == (0, True)
    code, out, _ = run(capsys, "check", tmp_path / "own.parquet", "--model", "tiny")
    assert (code, "1 unreadable video" in out) == (1, True)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--max-length", "9"], "--max-length needs --model"),
        (["--set", "overview_max_frame=2"], "Did you mean 'overview_max_frames'"),
        (["--set", "overview"], "--set needs KEY=VALUE"),
    ],
)
def test_faulty_options_are_one_line(capsys, faulty, argv, told):
    code, out, err = run(capsys, "check", faulty, *argv)
    assert (code, out) == (2, "")
    assert told in err and err.count("\n") == 1


def test_materialize_tells_the_disk_first_and_refuses_what_is_faulty_or_too_large(capsys, tmp_path, media, faulty):
    told = ["materialize", faulty, "--videos", media, "--out", tmp_path / "sft", *SMALL]
    code, out, err = run(capsys, *told)
    assert code == 2 and "3 conversations are faulty" in err
    assert "2 conversations, 5 frames: about 0.0 MB of disk" in out
    code, _, err = run(capsys, *told, "--skip-faulty", "--max-gb", "0.000001")
    assert code == 2 and "take a part (weight)" in err
    assert run(capsys, *told, "--skip-faulty", "--dry-run")[0] == 0
    assert not (tmp_path / "sft").exists()
    code, out, _ = run(capsys, *told, "--skip-faulty")
    assert (code, "2 conversations, 1 left out" in out) == (0, True)
    first, second = read_sft(tmp_path / "sft" / "sft-00000.parquet")
    assert [message["role"] for message in first["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    again, _ = read_conversations(tmp_path / "sft" / "sft-00000.parquet")
    assert (again.messages, again.question) == (first["messages"], None)
    assert second["messages"][0]["content"][0]["image"] == str(media / "tvg" / "lamp_8_11_0.jpg")
    (line,) = (tmp_path / "sft" / "left_out-00000.jsonl").read_text().splitlines()
    assert json.loads(line)["kind"] == "refused call"
    code, _, err = run(capsys, *told, "--skip-faulty", "--set", "overview_fps=2")
    assert code == 2 and "made with another way to show videos: choose another folder" in err
    shutil.copy(media / "tvg" / "lamp.mp4", media / "gone.mp4")  # What was missing is there now.
    code, _, err = run(capsys, *told, "--skip-faulty")
    (media / "gone.mp4").unlink()
    assert code == 2 and "made with another choice of conversations" in err


def test_materialized_files_load_as_the_stock_trl_sft_loads_them(tmp_path, capsys, media):
    write_published(tmp_path / "own.parquet", [trace(), thought()])
    told = ["materialize", tmp_path / "own.parquet", "--videos", media, "--out", tmp_path / "sft", "--model", "tiny"]
    code, out, _ = run(capsys, *told, "--max-length", "60", "--dry-run", *SMALL)
    assert (code, "1 over-long" in out, "1 conversations, 0 frames" in out) == (0, True, True)
    assert run(capsys, *told, *SMALL)[0] == 0
    rows = load_dataset("parquet", data_files=f"{tmp_path}/sft/sft-*.parquet", split="train", cache_dir=str(tmp_path))
    assert rows.column_names == ["id", "source", "messages", "images", "length"]
    assert rows["length"][0] > rows["length"][1] > 0
    assert rows[0]["images"] == [] and rows[0]["messages"][2]["tool_calls"][0]["function"]["name"] == "crop_video"


def test_a_killed_run_goes_on_where_it_was(tmp_path, media, monkeypatch):
    write_published(tmp_path / "own.parquet", [trace(n, n + 2) for n in range(1, 9)])
    mixture = Mixture([Source(str(tmp_path / "own.parquet"))], videos=str(media))
    monkeypatch.setattr("trl_ext.dataset.materialize.PER_FILE", 2)
    config = EnvironmentConfig(overview_max_frames=1, crop_max_frames=1)
    script = f"""
import time
from trl_ext.dataset import materialize
from trl_ext.dataset.mixture import Mixture, Source
from trl_ext.environment import EnvironmentConfig

def told(done):
    print(done, flush=True)
    time.sleep(60)

materialize.PER_FILE = 2
mixture = Mixture([Source({str(tmp_path / "own.parquet")!r})], videos={str(media)!r})
config = EnvironmentConfig(overview_max_frames=1, crop_max_frames=1)
materialize.materialize(mixture, {str(tmp_path / "sft")!r}, config, tell=told)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "2\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    first = tmp_path / "sft" / "sft-00000.parquet"
    written = first.stat().st_mtime_ns
    (tmp_path / "sft" / ".sft-00001.parquet.7").write_bytes(b"half")
    assert materialize.materialize(mixture, tmp_path / "sft", config) == {"written": 8, "left out": 0}
    assert first.stat().st_mtime_ns == written
    assert sorted(path.name for path in (tmp_path / "sft").glob("*sft-*")) == [f"sft-0000{n}.parquet" for n in range(4)]
    names = [example["id"] for n in range(4) for example in read_sft(tmp_path / "sft" / f"sft-0000{n}.parquet")]
    assert names == [f"made_{n}" for n in range(8)]


def test_a_full_disk_stops_it_with_one_line(tmp_path, media, monkeypatch):
    write_published(tmp_path / "own.parquet", [thought()])
    mixture = Mixture([Source(str(tmp_path / "own.parquet"))], videos=str(media))
    used = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("trl_ext.dataset.materialize.RESERVE", used.total)
    with pytest.raises(ConfigError, match="make room and run again to go on"):
        materialize.materialize(mixture, tmp_path / "sft", EnvironmentConfig())


def test_questions_become_rows_for_grpo(tmp_path, capsys, media):
    pq.write_table(pa.Table.from_pylist([verl_row(0)]), tmp_path / "longvt_rl_selfqa_1k6.parquet")
    out = tmp_path / "rl.jsonl"
    assert (
        run(capsys, "materialize", tmp_path / "longvt_rl_selfqa_1k6.parquet", "--videos", media, "--out", out)[0] == 0
    )
    assert read_rows(out)[0]["videos"] == {"video_1.mp4": str(media / "tvg" / "lamp.mp4")}


def test_longvt_template_prints_the_template_or_its_path(capsys):
    assert main(["template", "qwen2_5_vl"]) == 0
    assert capsys.readouterr().out == load_chat_template("qwen2_5_vl")
    assert main(["template", "qwen3_vl", "--path"]) == 0
    assert capsys.readouterr().out == f"{chat_template_path('qwen3_vl')}\n"
    assert main(["template", "llava"]) == 2
    assert "there are: qwen2_5_vl, qwen3_vl" in capsys.readouterr().err
