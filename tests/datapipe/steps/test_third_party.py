"""A step of an installed plugin runs from YAML between the built-in ones, and alone."""

from __future__ import annotations

import json

RECIPE = """
input: videos
steps:
  - probe_video
  - {step: drop_portrait, set: {max_ratio: 1.2}}
  - {step: segment, set: {min_seconds: 2}}
"""


def test_a_step_of_the_example_plugin_runs_from_yaml_and_alone(run, example_plugin, make_video, tmp_path):
    make_video(tmp_path / "videos" / "wide.mp4", seconds=6)
    make_video(tmp_path / "videos" / "high.mp4", seconds=6, size=(48, 64))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    run("datapipe", "run", tmp_path / "recipe.yaml", "--work-dir", tmp_path / "work", path=example_plugin)
    shown = run("datapipe", "show", tmp_path / "work", "drop_portrait", "--dropped", path=example_plugin).stdout
    assert "portrait" in shown
    assert "high" in shown
    segments = run("datapipe", "show", tmp_path / "work", "segment", path=example_plugin).stdout
    assert segments.startswith("segment: 2 kept, 0 dropped, 0 failed of 1 units")
    without = run("datapipe", "run", tmp_path / "recipe.yaml", "--work-dir", tmp_path / "other", code=2)
    assert "drop_portrait" in without.stderr
    assert "Traceback" not in without.stderr

    run("datapipe", "step", "probe_video", "--input", tmp_path / "videos", "--output", tmp_path / "probed")
    run(
        *("datapipe", "step", "drop_portrait", "--input", tmp_path / "probed" / "kept.jsonl"),
        *("--output", tmp_path / "alone"),
        path=example_plugin,
    )
    (kept,) = (tmp_path / "alone" / "kept.jsonl").read_text().splitlines()
    assert json.loads(kept)["id"].startswith("wide-")
