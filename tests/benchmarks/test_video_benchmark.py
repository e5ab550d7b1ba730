"""benchmarks/video.py: what it writes, that its film says which frame is which, and that it makes no number up."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHORTEST = "40"
FIGURES = {
    "overview_x_qwen_decord",
    "overview_x_torchcodec",
    "overview_memory_ratio",
    "overview_over_floor",
    "crop_x_in_process",
    "crop_x_mcp_per_call",
    "group16_over_one",
}


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: importlib.import_module(f"video_peers.{name}")


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("video")


def run(work_dir, *arguments, search=()):
    paths = [*map(str, search), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, BENCHMARKS / "video.py", "--quick", "--work-dir", work_dir]
    command += ["--json", work_dir / "figures.json", *arguments]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((work_dir / "figures.json").read_text()), done.stdout


@pytest.fixture(scope="module")
def without_peers(work_dir, tmp_path_factory):
    """Our reader, the floor and two peers that are not installed."""
    hidden = tmp_path_factory.mktemp("hidden")
    for module in ("decord", "qwen_vl_utils"):
        text = f"raise ModuleNotFoundError('No module named {module}', name={module!r})\n"
        (hidden / f"{module}.py").write_text(text)
    peers = ["ours_fast", "floor", "decord_resizing", "qwen_decord", "one", "sixteen"]
    return run(work_dir, "--seconds", SHORTEST, "--peers", *peers, search=[hidden])


def test_all_figures_are_written_and_those_without_a_peer_are_null(without_peers):
    report, _ = without_peers
    assert report.keys() >= FIGURES
    measured = {key for key in FIGURES if report[key] is not None}
    assert measured == {"overview_over_floor", "group16_over_one"}
    assert all(report[key] > 0 for key in measured)


def test_a_missing_peer_is_named_with_what_installs_it_and_has_no_numbers(without_peers):
    report, printed = without_peers
    assert "decord is not installed: python -m pip install 'decord>=0.6'" in printed
    assert "qwen_vl_utils is not installed: python -m pip install 'qwen-vl-utils>=0.0.14'" in printed
    for name in ("decord_resizing", "qwen_decord"):
        for job in ("overview", "crops"):
            assert report[job][name]["status"] == "missing"
            assert not any(isinstance(value, int | float) for value in report[job][name].values())


def test_our_frames_are_the_right_ones(without_peers):
    report, _ = without_peers
    ours = report["overview"]["ours_fast"]
    assert (ours["right"], ours["frames"], ours["size"]) == (40, 40, [280, 168])
    ways = report["crops"]["ours_fast"]["lengths"]["10"]
    assert ways.keys() == {"first", "opened", "kept"}
    assert all((way["right"], way["frames"]) == (10, 10) for way in ways.values())
    sixteen = report["group"]["sixteen"]
    assert sixteen["right"] == sixteen["frames"] >= 16 * 50


def test_the_report_says_what_was_measured_where(without_peers):
    report, _ = without_peers
    assert report["quick"]
    assert report["film"]["frames"] == 1000
    assert report["film"]["key_frames"] == 4
    assert 0 < report["film"]["non_reference_frames"] < 1000
    assert {"av", "PIL"} <= report["versions"].keys()
    assert report["machine"]["cores"] == os.cpu_count()


def test_a_peer_that_fails_says_why_and_has_no_numbers(work_dir, tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1 is missing')\n")
    arguments = ["--seconds", SHORTEST, "--peers", "opencv", "--jobs", "overview"]
    report, printed = run(work_dir, *arguments, search=[tmp_path])
    assert report["overview"]["opencv"] == {"status": "failed", "why": "ImportError: libGL.so.1 is missing"}
    assert "OpenCV, overview: failed: ImportError: libGL.so.1 is missing" in printed


@pytest.mark.slow
def test_every_peer_that_is_installed_returns_the_right_frames(work_dir):
    report, _ = run(work_dir, "--seconds", "61")
    rows = [(job, name, row) for job in ("overview", "crops", "group") for name, row in report[job].items()]
    assert not [(job, name, row["why"]) for job, name, row in rows if row["status"] == "failed"]
    for _, name, row in rows:
        for cost in (
            [row] if "frames" in row else [way for ways in row.get("lengths", {}).values() for way in ways.values()]
        ):
            assert cost["right"] == cost["frames"], name


def test_the_mark_of_a_frame_is_read_at_any_size(load):
    import numpy as np
    from PIL import Image

    film = load("film")
    scenery = film._Scenery()
    for number in (0, 1, 4095, 89999):
        luma = scenery.draw(number)[: film.HEIGHT]
        for size in ((640, 360), (280, 168), (224, 140)):
            picture = np.asarray(Image.fromarray(luma).resize(size, Image.Resampling.BICUBIC).convert("RGB"))
            assert film.read_number(picture) == number


def test_a_picture_without_a_mark_has_no_number(load):
    import numpy as np

    film = load("film")
    assert film.read_number(np.zeros((168, 280, 3))) is None
    assert film.read_number(np.full((168, 280, 3), 255)) is None


def answer(cpu, memory=10.0):
    return {"status": "measured", "cpu": cpu, "wall": cpu, "memory_mb": memory, "frames": 2, "right": 2, "size": [1, 1]}


def crop(way, cpu):
    return {"status": "measured", "crops": {"60": {way: [answer(cpu), answer(3 * cpu)]}}}


def test_figures_are_ratios_of_the_least_costs(load):
    summary = load("figures").summarise(
        {
            "overview": {
                "ours_fast": [answer(2.0, 30.0), answer(1.0, 20.0)],
                "qwen_decord": [answer(4.0, 200.0), answer(5.0, 400.0)],
                "floor": [answer(0.8), answer(0.9)],
            },
            "crops": {"ours_fast": [crop("kept", 1.0)], "longvt_per_call": [crop("opened", 25.0)]},
            "group": {"one": [answer(2.0)], "sixteen": [answer(2.5)]},
        }
    )
    assert summary["overview_x_qwen_decord"] == 4.0
    assert summary["overview_memory_ratio"] == 0.1
    assert summary["overview_over_floor"] == 1.25
    assert summary["overview_x_torchcodec"] is None
    assert summary["crop_seconds"] == 60
    assert summary["crop_x_mcp_per_call"] == 25.0
    assert summary["crop_x_in_process"] is None
    assert summary["group16_over_one"] == 1.25


def test_memory_is_what_the_work_held_above_the_base(load):
    meter = load("meter")
    with meter.Meter(meter.resident_mb()) as measured:
        held = bytearray(os.urandom(1)) * (64 * 2**20)
        del held
    assert 60 < measured.cost.memory_mb < 90
