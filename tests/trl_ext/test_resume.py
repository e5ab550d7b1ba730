"""Which checkpoint a stopped run goes on from, when it saves, and what is kept beside it."""

import json
import subprocess
from types import SimpleNamespace

import pytest

from longvt_plugins.errors import ConfigError
from trl_ext.resume import last_checkpoint
from trl_ext.run_record import RECORD, differences, git_state, plain, read_record, run_record, write_record


def write_checkpoint(folder, step, *, state=None, optimizer="optimizer.pt", random_states=("rng_state.pth",)):
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").touch()
    if optimizer:
        (checkpoint / optimizer).touch()
    for name in random_states:
        (checkpoint / name).touch()
    text = json.dumps({"global_step": step}) if state is None else state
    (checkpoint / "trainer_state.json").write_text(text)
    return str(checkpoint)


def test_the_last_whole_checkpoint_is_gone_on_with(tmp_path):
    write_checkpoint(tmp_path, 9)
    last = write_checkpoint(tmp_path, 10)
    write_checkpoint(tmp_path, 11, state='{"global_step": 1')
    write_checkpoint(tmp_path, 12, state="")
    write_checkpoint(tmp_path, 13, optimizer=None)
    write_checkpoint(tmp_path, 14, random_states=())
    (tmp_path / "checkpoint-15").mkdir()
    (tmp_path / "checkpoint-best").mkdir()
    assert last_checkpoint(tmp_path, processes=1) == last


def test_a_checkpoint_that_another_process_had_not_finished_is_not_whole(tmp_path):
    whole = write_checkpoint(tmp_path, 1, random_states=("rng_state_0.pth", "rng_state_1.pth"))
    write_checkpoint(tmp_path, 2, random_states=("rng_state_0.pth",))
    assert last_checkpoint(tmp_path, processes=2) == whole


@pytest.mark.parametrize("optimizer", ["optimizer_0", "pytorch_model_fsdp_0", "global_step3"])
def test_sharded_checkpoints_are_known_too(tmp_path, optimizer):
    assert last_checkpoint(tmp_path, processes=1) is None
    assert last_checkpoint(tmp_path / "nothing", processes=1) is None
    assert last_checkpoint(tmp_path, processes=1) is None
    path = write_checkpoint(tmp_path, 3, optimizer=optimizer)
    assert last_checkpoint(tmp_path, processes=1) == path


@pytest.mark.parametrize(
    ("settings", "saved"),
    [
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 2, "num_iterations": 1}, [2, 4, 6, 8]),
        ({"gradient_accumulation_steps": 1, "steps_per_generation": 3, "num_iterations": 1}, [3, 6, 8]),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 2, "num_iterations": 4}, [4, 8]),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 3, "num_iterations": 1}, [3, 6, 8]),
    ],
)
def test_what_is_due_in_the_midst_of_a_generation_is_saved_at_its_end(settings, saved):
    from trl_ext.callbacks import SaveAtBoundary

    callback, found = SaveAtBoundary(), []
    for step in range(1, 9):
        control = SimpleNamespace(should_save=step % 2 == 0)
        state = SimpleNamespace(global_step=step, max_steps=8)
        callback.on_step_end(SimpleNamespace(**settings), state, control)
        if control.should_save:
            callback.on_save(SimpleNamespace(**settings), state, control)
            found.append(step)
    assert found == saved


def test_the_record_says_what_ran_on_what_and_keeps_no_secret(rows_file, tmp_path):
    settings = {"rows": str(rows_file), "judge_options": {"api_key": "sk-1", "model": "judge"}, "hub_token": "hf_1"}
    record = run_record({**settings, "tools": ["crop_video"], "pad_token": "<|endoftext|>"}, rows=rows_file)
    write_record(record, tmp_path / "out")
    found = read_record(tmp_path / "out")
    assert found == record
    assert found["settings"]["judge_options"] == {"api_key": "(left out)", "model": "judge"}
    assert found["settings"]["pad_token"] == "<|endoftext|>"
    assert "sk-1" not in json.dumps(found) and "hf_1" not in json.dumps(found)
    assert found["data"]["count"] == 4 and found["data"]["videos"]["count"] == 1
    assert found["data"]["videos"]["bytes"] > 1000 and found["data"]["videos"]["missing"] == 0
    assert {"python", "trl", "transformers", "torch", "accelerate"} <= found["versions"].keys()
    assert plain("path", rows_file) == str(rows_file)


def test_what_changed_since_a_checkpoint_is_told_line_by_line(rows_file, tmp_path):
    record = run_record({"learning_rate": 1e-6, "output_dir": "a"}, rows=rows_file)
    assert differences(record, {**record, "settings": {"learning_rate": 1e-6, "output_dir": "b"}}) == []
    other = tmp_path / "other.jsonl"
    row = {"id": "x", "videos": {"video_1.mp4": "gone.mp4"}, "question": "?", "answer": "!"}
    other.write_text(json.dumps(row) + "\n")
    now = run_record({"learning_rate": 2e-6, "output_dir": "a"}, rows=other, processes=2)
    assert now["data"]["videos"]["missing"] == 1
    assert differences(record, now) == [
        f"rows: {rows_file} had 4 rows, {other} has 1 others",
        "videos: other files, or files of another size",
        "processes: 1, now 2",
        "learning_rate: 1e-06, now 2e-06",
    ]


def test_a_record_that_is_none_is_told(tmp_path):
    assert read_record(tmp_path) is None
    for text, told in (("{", "cannot be read"), ("[]", "is no record of a run")):
        (tmp_path / RECORD).write_text(text)
        with pytest.raises(ConfigError, match=told):
            read_record(tmp_path)


def test_the_state_of_the_code_is_a_commit_and_what_was_changed_after_it(tmp_path):
    assert git_state(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "code.py").write_text("1")
    for command in (["init", "-q"], ["add", "code.py"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    whole = git_state(tmp_path)
    assert len(whole["commit"]) == 40 and whole["changed"] == []
    (tmp_path / "code.py").write_text("2")
    assert git_state(tmp_path) == {**whole, "changed": ["code.py"]}
