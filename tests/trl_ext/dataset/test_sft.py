"""SFT on recipes/sft.yaml, stock and with frames decoded as it goes, on tiny models of both families."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from longvt_plugins.chat_templates import FAMILIES, load_chat_template
from longvt_plugins.errors import ConfigError
from longvt_plugins.synthetic import checkpoint
from longvt_plugins.synthetic.tiny import build_tiny_model
from trl_ext import sft
from trl_ext.dataset.conversations import Conversation

from .conftest import thought, trace, verl_row, write_published

RECIPE = Path(__file__).resolve().parents[3] / "recipes" / "sft.yaml"
SMALL = ["overview_max_frames=2", "overview_max_pixels=784", "crop_max_frames=2", "crop_max_pixels=784"]
TINY = [
    "--max_steps", "2", "--warmup_steps", "0", "--gradient_accumulation_steps", "1",
    "--per_device_train_batch_size", "2",
    "--dataloader_num_workers", "0", "--use_cpu", "true", "--bf16", "false", "--save_steps", "1",
]  # fmt: skip
"""Flags that bring the recipe down to a CPU."""


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("models") / request.param
    build_tiny_model(request.param, folder)
    return request.param, folder


@pytest.fixture(scope="module")
def mixture(tmp_path_factory, media) -> Path:
    """Two traces and two thoughts about a picture, in two sources."""
    folder = tmp_path_factory.mktemp("mixture")
    write_published(folder / "longvt_sft_tvg_6k3.parquet", [trace(), trace(10, 14)])
    write_published(folder / "longvt_sft_llavacot_54k6.parquet", [thought(), thought("5")])
    sources = [{"path": "longvt_sft_tvg_6k3.parquet"}, {"path": "longvt_sft_llavacot_54k6.parquet"}]
    (folder / "mixture.yaml").write_text(yaml.safe_dump({"videos": str(media), "sources": sources}))
    return folder / "mixture.yaml"


@pytest.fixture(scope="module")
def materialized(tmp_path_factory, mixture) -> Path:
    from longvt_plugins.commands import data

    out = tmp_path_factory.mktemp("sft") / "sft"
    shown = [flag for key in SMALL for flag in ("--set", key)]
    assert data.run(["materialize", str(mixture), "--out", str(out), "--model", "tiny", *shown]) == 0
    return out


def flags(model: tuple[str, Path], out: Path, *more: str) -> list[str]:
    family, folder = model
    template = out.parent / f"{family}.jinja"
    template.write_text(load_chat_template(family))
    own = ["--model_name_or_path", str(folder), "--chat_template_path", str(template), "--output_dir", str(out)]
    return ["--config", str(RECIPE), *own, *TINY, *more]


def losses(out: Path) -> list[float]:
    history = json.loads((out / "checkpoint-2" / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def with_data(files: Path, folder: Path) -> Path:
    """The recipe, trained on these files; a list has no flag."""
    recipe = yaml.safe_load(RECIPE.read_text())
    recipe["datasets"][0]["data_files"] = f"longvt://{files}"
    (folder / "sft.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "sft.yaml"


def stock(argv: list[str]) -> None:
    """What `trl sft` runs in each process."""
    from trl.scripts.sft import main, make_parser

    main(*make_parser().parse_args_and_config(argv, fail_with_unknown_args=False))


def test_stock_and_lazy_sft_learn_the_same_from_one_recipe(tmp_path, model, mixture, materialized):
    """The frames that were written and those that are decoded as it goes: but for JPEG the same loss."""
    told = flags(model, tmp_path / "lazy", "--mixture", str(mixture))
    shown = [flag for key in SMALL for flag in (f"--{key.split('=')[0]}", key.split("=")[1])]
    sft.main([*told, *shown])
    recipe = with_data(materialized / "sft-*.parquet", tmp_path)
    told = flags(model, tmp_path / "stock")
    stock(["--config", str(recipe), *told[2:]])
    lazy, written = losses(tmp_path / "lazy"), losses(tmp_path / "stock")
    assert len(lazy) == len(written) == 2
    assert lazy == pytest.approx(written, rel=0.02)
    for out in ("lazy", "stock"):
        for saved in (tmp_path / out, tmp_path / out / "checkpoint-1"):
            assert (saved / "chat_template.jinja").read_text() == load_chat_template(model[0])


def test_materialized_files_train_with_longvt_sft_too_and_lora_saves_an_adapter(tmp_path, materialized):
    recipe = with_data(materialized / "sft-*.parquet", tmp_path)
    tiny = ("qwen2_5_vl", checkpoint("base"))
    lora = ["--use_peft", "true", "--lora_r", "4", "--lora_target_modules", "q_proj", "v_proj"]
    told = flags(tiny, tmp_path / "out", *lora)
    sft.main(["--config", str(recipe), *told[2:]])
    saved = tmp_path / "out" / "checkpoint-2"
    assert (saved / "adapter_model.safetensors").is_file() and not (saved / "model.safetensors").exists()
    assert (saved / "chat_template.jinja").read_text() == load_chat_template("qwen2_5_vl")
    assert len(losses(tmp_path / "out")) == 2
    record = json.loads((saved / "longvt_run.json").read_text())
    assert record["settings"]["lora_r"] == 4
    assert (record["data"]["count"], record["data"]["rows"]) == (4, str(materialized / "sft-00000.parquet"))


@pytest.mark.parametrize(
    ("train", "order"),
    [(sft.main, "group_by_length"), (stock, "group_by_length"), (stock, "random")],
    ids=["longvt", "trl", "trl-random"],
)
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, materialized, train, order):
    """Two epochs of two steps, stopped in the second one."""
    from safetensors.torch import load_file

    recipe = with_data(materialized / "sft-*.parquet", tmp_path)
    tiny = ("qwen2_5_vl", checkpoint("base"))
    told = ["--config", str(recipe), *flags(tiny, tmp_path / "whole")[2:], "--max_steps", "4"]
    told += ["--train_sampling_strategy", order]
    train(told)
    again = ["--output_dir", str(tmp_path / "stopped"), "--resume_from_checkpoint", "last"]
    shutil.copytree(tmp_path / "whole" / "checkpoint-3", tmp_path / "stopped" / "checkpoint-3")
    (tmp_path / "stopped" / "checkpoint-4").mkdir()  # Half written when the run was killed.
    train([*told, *again])
    whole, stopped = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all((whole[name] == stopped[name]).all() for name in whole)
    state = json.loads((tmp_path / "stopped" / "checkpoint-4" / "trainer_state.json").read_text())
    assert [entry["step"] for entry in state["log_history"] if "loss" in entry] == [1, 2, 3, 4]
    record = json.loads((tmp_path / "stopped" / "checkpoint-4" / "longvt_run.json").read_text())
    assert record["resumed_from"] == str(tmp_path / "stopped" / "checkpoint-3")
    assert record["settings"]["model_name_or_path"] == str(tiny[1]) and record["versions"]["trl"]
    assert (record["data"]["count"], record["data"]["rows"]) == (4, str(materialized / "sft-00000.parquet"))


def test_longvt_sft_evaluates_on_a_mixture_and_leaves_out_what_the_limits_refuse(tmp_path, media, mixture, caplog):
    """Two turns are enough for thoughts, not for a call and its answer; the checkpoint's own template is kept."""
    tiny = ("qwen2_5_vl", checkpoint("base"))
    evaluated = ["--eval_mixture", str(mixture), "--eval_strategy", "steps", "--eval_steps", "1"]
    limits = ["--max_turns", "2", "--skip_faulty", "true", "--max_length", "4000", "--chat_template", "model"]
    shown = [flag for key in SMALL for flag in (f"--{key.split('=')[0]}", key.split("=")[1])]
    sft.main([*flags(tiny, tmp_path / "out"), "--mixture", str(mixture), *evaluated, *limits, *shown])
    told = [record.getMessage() for record in caplog.records if "left out" in record.message]
    assert told and set(told) == {"2 conversations are left out: refused call"}
    history = json.loads((tmp_path / "out" / "checkpoint-2" / "trainer_state.json").read_text())["log_history"]
    assert [entry["step"] for entry in history if "eval_loss" in entry] == [1, 2]
    record = json.loads((tmp_path / "out" / "longvt_run.json").read_text())
    kept = [record["settings"][key] for key in ("max_turns", "max_length", "skip_faulty")]
    assert (kept, record["data"]["count"]) == ([2, 4000, True], 2)


@pytest.mark.slow  # Two launches of two processes, a minute and more
@pytest.mark.parametrize("program", ["trl", "longvt"])
def test_the_commands_train_in_two_processes(tmp_path, materialized, program):
    recipe = with_data(materialized / "sft-*.parquet", tmp_path)
    told = flags(("qwen2_5_vl", checkpoint("base")), tmp_path / "out", "--num_processes", "2", "--multi_gpu")
    command = [Path(sys.executable).with_name(program), "sft", "--config", recipe, *told[2:]]
    env = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(losses(tmp_path / "out")) == 2


def test_the_record_of_a_run_knows_published_questions_too(media):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from trl_ext.run_record import data_fingerprint

    path = media / "longvt_rl_val_114.parquet"
    pq.write_table(pa.Table.from_pylist([verl_row(0)]), path)
    known = data_fingerprint(path)
    assert (known["count"], known["videos"]["count"], known["videos"]["missing"]) == (1, 1, 0)


def test_a_video_that_breaks_while_training_is_told_and_replaced(tmp_path, media, caplog):
    from trl_ext.dataset.lazy import ReplayCollator, load_conversations
    from trl_ext.dataset.mixture import Mixture, Source
    from trl_ext.environment import EnvironmentConfig

    folder = tmp_path / "media"
    folder.mkdir()
    for name in ("lamp.mp4", "good.mp4"):
        (folder / name).write_bytes((media / "tvg" / "lamp.mp4").read_bytes())
    second = json.loads(json.dumps(trace()).replace("lamp.mp4", "good.mp4"))
    path = write_published(tmp_path / "own.parquet", [trace(), second])
    config = EnvironmentConfig(overview_max_frames=1, crop_max_frames=1)
    rows = load_conversations(Mixture([Source(str(path))], videos=str(folder)), config)
    (folder / "lamp.mp4").write_bytes(b"broken")
    batches = []
    ReplayCollator(batches.append, config, rows)([rows[0], rows[1]])
    ((first, other),) = batches
    assert [len(shown["messages"]) for shown in (first, other)] == [5, 5]
    assert first["messages"][1] == other["messages"][1]
    (told,) = [record.getMessage() for record in caplog.records if "is not trained on" in record.message]
    assert "'made_0' is not trained on" in told and "lamp.mp4" in told
    (folder / "good.mp4").unlink()
    with pytest.raises(Exception, match="8 conversations in a row could not be shown"):
        ReplayCollator(batches.append, config, rows)([rows[0]])


def test_faulty_conversations_are_refused_or_left_out_and_long_ones_are_left_out(tmp_path, media, caplog):
    from longvt_plugins.synthetic.tiny import build_processor
    from trl_ext.dataset.lazy import load_conversations
    from trl_ext.dataset.mixture import Mixture, Source
    from trl_ext.environment import EnvironmentConfig

    path = write_published(tmp_path / "own.parquet", [trace(), thought(), trace()[:4]])
    mixture = Mixture([Source(str(path))], videos=str(media))
    config = EnvironmentConfig(overview_max_frames=4, overview_max_pixels=784)
    with pytest.raises(ConfigError, match=r"row 3: the last message is not the assistant's; `longvt data check`"):
        load_conversations(mixture, config)
    assert len(load_conversations(mixture, config, skip_faulty=True)) == 2
    processor = build_processor("qwen2_5_vl")
    rows = load_conversations(mixture, config, processor=processor, max_length=60, skip_faulty=True)
    assert rows["id"][:] == ["made_1"] and 0 < rows["length"][0] <= 60
    told = {record.getMessage() for record in caplog.records}
    assert {"1 conversations are left out: schema", "1 conversations are left out: over-long"} <= told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--learning_rat", "1"], "no key 'learning_rat'. Did you mean 'learning_rate'"),
        (
            ["--dataset_name", "x"],
            "dataset_name is a key of `trl sft`; here name files under `datasets`, or a `mixture`",
        ),
        (["--eval_strategy", "steps"], "eval_strategy needs the key eval_mixture"),
        (["--chat_template_path", "gone.jinja"], "no chat template gone.jinja: `longvt template NAME > gone.jinja`"),
        (["--logging_strategy", "steps", "--logging_steps", "0"], "TRL refuses the settings: "),
        (["--form", "reasoning"], "form is that of each conversation here"),
        (["--test_split_size", "0.1"], "test_split_size are for `trl sft`"),
    ],
)
def test_keys_that_make_no_sense_are_refused_before_anything_starts(tmp_path, more, told):
    with pytest.raises(ConfigError, match=told.replace("(", r"\(")):
        sft.run([*flags(("qwen2_5_vl", checkpoint("base")), tmp_path / "out"), *more])


def test_a_conversation_goes_through_json_unchanged():
    given = Conversation("a", "b", [{"role": "user", "content": "é"}], {"video_1.mp4": "/x"}, "é?", True)
    assert Conversation.from_json(given.to_json()) == given
