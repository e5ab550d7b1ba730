"""The doctor finds each fault that was made, says what cures it, and finds none where there is none."""

import copy
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from PIL import Image

from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import read_rows, write_rows
from longvt_plugins.testing_server import ScriptedChatServer, assistant
from trl_ext import doctor
from trl_ext.dataset import write_sft
from trl_ext.doctor.data import check_conversations, check_rows
from trl_ext.doctor.model import Loaded, check_context, check_images, check_template, load
from trl_ext.doctor.recipe import read_recipe
from trl_ext.doctor.room import check_disk, checkpoint_bytes, parameters
from trl_ext.doctor.services import check_services
from trl_ext.doctor.settings import check_settings
from trl_ext.doctor.versions import check_liger, check_versions

TINY = {"overview_max_frames": 4, "overview_min_pixels": 784, "overview_max_pixels": 784,
        "crop_max_frames": 2, "crop_min_pixels": 784, "crop_max_pixels": 784}  # fmt: skip
RL = {"model_name_or_path": "tiny", "max_calls": 2, "turn_tokens": 64, "max_completion_length": 1024,
      "per_device_train_batch_size": 4, "num_generations": 4, "max_steps": 20, "save_steps": 5, "bf16": False,
      "report_to": "none", **TINY}  # fmt: skip
SFT = {"model_name_or_path": "tiny", "assistant_only_loss": True, "max_length": None, "max_steps": 20, "save_steps": 5,
       "bf16": False}  # fmt: skip
WORKING = {
    "trl": "1.16.0",
    "transformers": "5.23.0",
    "torch": "2.15.0",
    "torchvision": "0.29.2",
    "accelerate": "1.15.0",
}


@pytest.fixture
def read(tmp_path, rows_file):
    """Reads a recipe of these keys, with these flags."""

    def read_keys(*flags, base=RL, **keys):
        base = {"output_dir": str(tmp_path / "out"), **base, **({"rows": str(rows_file)} if base is RL else {})}
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(base | keys))
        return read_recipe(["--config", str(path), *flags])

    return read_keys


@pytest.fixture(scope="module")
def healthy(tmp_path_factory, rows_file):
    folder = tmp_path_factory.mktemp("healthy")
    path = folder / "rl.yaml"
    path.write_text(yaml.safe_dump({**RL, "rows": str(rows_file), "output_dir": str(folder / "out")}))
    recipe = read_recipe(["--config", str(path)])
    return recipe, load(recipe)


def levels(findings) -> set[str]:
    return {finding.level for finding in findings}


def the_fault(findings, level="blocker"):
    """The one finding of this level; it says what to do."""
    (found,) = [finding for finding in findings if finding.level == level]
    assert found.cure and "\n" not in found.what
    return found.what


def changed(recipe, **training):
    other = copy.copy(recipe.training)
    for name, value in training.items():
        setattr(other, name, value)
    return replace(recipe, training=other)


def test_a_healthy_recipe_has_no_finding(healthy, rows_file):
    recipe, _ = healthy
    findings = list(doctor.examine(recipe, sample=3, environ={}))
    assert levels(findings) == {"ok"}, [finding for finding in findings if finding.level != "ok"]
    assert {finding.check for finding in findings} == {
        "versions", "settings", "template", "images", "disk", "rows", "videos", "context", "judge",
    }  # fmt: skip


def test_the_command_ends_with_1_for_a_blocker_and_tells_json(tmp_path, capsys, rows_file):
    path = tmp_path / "rl.yaml"
    path.write_text(yaml.safe_dump({**RL, "rows": str(rows_file), "output_dir": str(tmp_path / "out")}))
    assert doctor.run(["--config", str(path)]) == 0
    assert capsys.readouterr().out.endswith("0 blockers\n")
    assert doctor.run(["--config", str(path), "--json", "--rows", "gone.parquet", "--sample", "1"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["blocker"] == 1
    (blocked,) = [finding for finding in report["findings"] if finding["level"] == "blocker"]
    assert blocked["what"] == "no rows file gone.parquet" and blocked["cure"]


@pytest.mark.parametrize(
    ("text", "flags", "told"),
    [
        ("rows: a.parquet\nmodel_name_or_path: tiny\nlearning_rat: 1\n", [], "no key 'learning_rat'"),
        ("rows: a.parquet\nmodel_name_or_path: tiny\n", ["--max_call", "1"], "no key 'max_call'"),
        ("model_name_or_path: tiny\ndatasets: [{path: parquet}]\npackin: true\n", [], "no key 'packin'"),
        ("model_name_or_path: tiny\n", [], "needs the key datasets"),
        ("rows: a.parquet\nmodel_name_or_path: tiny\nnum_generations: 1\n", [], "TRL refuses"),
        ("- a list\n", [], "is no recipe"),
        ("a: b: c\n", [], "cannot be read"),
    ],
)
def test_what_the_real_command_would_refuse_is_one_line(tmp_path, text, flags, told):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_recipe(["--config", str(tmp_path / "recipe.yaml"), *flags])
    assert told in str(raised.value) and "\n" not in str(raised.value)


def test_the_launchers_configuration_is_understood(read):
    recipe = read("--accelerate_config", "fsdp2", "--num_processes", "4")
    assert (recipe.processes, recipe.distributed, recipe.sharded) == (4, "FSDP", True)
    recipe = read("--accelerate_config", "zero2")
    assert (recipe.processes, recipe.distributed, recipe.sharded) == (8, "DEEPSPEED", False)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"trl": "1.15.0"}, "trl 1.15.0"),
        ({"transformers": "5.14.0"}, "transformers 5.14.0 does not hand tool schemas"),
        ({"torch": "2.13.0+cpu"}, "torch 2.13.0+cpu does not work with torchvision"),
        ({"vllm": "0.32.0"}, "vllm 0.32.0"),
        ({"math-verify": "0.1.0"}, "math-verify 0.1.0"),
    ],
)
def test_versions_that_do_not_work_together_are_blockers(healthy, found, told):
    assert told in the_fault(check_versions(healthy[0], WORKING | found))
    assert levels(check_versions(healthy[0], WORKING)) == {"ok"}


@pytest.mark.parametrize("found", [{"mcp": "2.0.0"}, {"av": "16.0.1"}])
def test_versions_that_only_the_evaluation_needs_are_warnings(healthy, found):
    assert "lmms-eval" in the_fault(check_versions(healthy[0], {**WORKING, "lmms-eval": "0.7.3", **found}), "warning")


def test_what_a_recipe_needs_and_is_not_installed_is_a_blocker(healthy, read):
    recipe, _ = healthy
    wants = {"use_vllm": "vllm is not installed", "use_liger_kernel": "liger-kernel is not installed"}
    for key, told in wants.items():
        assert told in the_fault(check_versions(changed(recipe, **{key: True}), WORKING))
    assert "DeepSpeed" in the_fault(check_versions(replace(recipe, distributed="DEEPSPEED"), WORKING))
    for key, value, told in (("use_peft", True, "peft"), ("attn_implementation", "flash_attention_2", "flash-attn")):
        model = copy.copy(recipe.model)
        setattr(model, key, value)
        assert f"{told}" in the_fault(check_versions(replace(recipe, model=model), WORKING))
    sft = read(base=SFT, datasets=[{"path": "parquet", "data_files": "x.parquet"}])
    assert "5.18" in the_fault(check_versions(sft, WORKING | {"transformers": "5.17.0"}))


@pytest.mark.parametrize(
    ("kernels", "told"),
    [("", []), ("from transformers import NoSuchOutput", ["cannot import name 'NoSuchOutput' from 'transformers'"])],
)
def test_a_liger_that_does_not_know_the_classes_of_transformers_is_a_blocker(
    healthy, tmp_path, monkeypatch, kernels, told
):
    recipe, loaded = healthy
    assert list(check_liger(changed(recipe, use_liger_kernel=True), loaded)) == [], "it is not installed here"
    folder = tmp_path / "liger_kernel" / "transformers" / "model"
    folder.mkdir(parents=True)
    (folder / "qwen2_5_vl.py").write_text(kernels)
    monkeypatch.syspath_prepend(tmp_path)
    assert list(check_liger(recipe, loaded)) == [], "nobody asks for it"
    found = [finding.what.partition(": ")[2] for finding in check_liger(changed(recipe, use_liger_kernel=True), loaded)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "liger_kernel"]:
        del sys.modules[name]
    assert found == told


def test_last_is_understood_by_the_stock_command_only_where_its_files_say_so(read):
    def keys(files):
        return {"datasets": [{"path": "parquet", "data_files": files}], "resume_from_checkpoint": "last"}

    told = the_fault(check_settings(read(base=SFT, **keys("x.parquet"))), "warning")
    assert told == "resume_from_checkpoint last: `trl sft` takes it for a folder of that name"
    for kept in ("longvt://x.parquet", ["longvt://x.parquet", "y.parquet"]):
        assert levels(check_settings(read(base=SFT, **keys(kept)))) == {"ok"}


def test_processes_that_would_wait_for_each_other_are_found(healthy):
    recipe = replace(healthy[0], processes=4, sharded=True, distributed="FSDP")
    assert "cannot be generated from by transformers" in the_fault(check_settings(recipe))
    alone = {"use_vllm": True, "vllm_mode": "colocate"}
    assert levels(check_settings(changed(recipe, **alone))) == {"ok"}
    assert "spans processes" in the_fault(check_settings(changed(recipe, **alone, vllm_tensor_parallel_size=2)))
    assert "anew for every turn" in the_fault(check_settings(changed(recipe, **alone, vllm_enable_sleep_mode=True)))
    assert levels(check_settings(changed(recipe, use_vllm=True, vllm_mode="server"))) == {"ok"}
    assert levels(check_settings(replace(recipe, processes=1))) == {"ok"}


def test_groups_that_do_not_fit_the_processes_are_found(healthy):
    recipe = changed(healthy[0], per_device_train_batch_size=1, steps_per_generation=1)
    assert "3 processes make 3 rollouts" in the_fault(check_settings(replace(recipe, processes=3)))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"turn_tokens": None}, "ends unanswered"),
        ({"dtype": "bfloat16", "learning_rate": 1e-6}, "most updates are rounded away"),
        ({"save_strategy": "no"}, "begins again"),
        ({"save_only_model": True}, "cannot be gone on with"),
        ({"save_steps": 100}, "saved at the end alone"),
    ],
)
def test_settings_that_spoil_a_run_are_warnings(read, keys, told):
    assert told in the_fault(check_settings(read(**keys)), "warning")


def test_a_length_that_cuts_conversations_among_their_pictures_is_a_warning(read):
    sft = read(base=SFT | {"max_length": 1024}, datasets=[{"path": "parquet", "data_files": "x.parquet"}])
    assert "cuts a longer conversation" in the_fault(check_settings(sft), "warning")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("tool_calls", "no_calls"), "leaves tool calls out"),
        (lambda text: "{{ raise_exception('no tools here') }}", "breaks on a tool call: no tools here"),
        (lambda text: text.replace("<|image_pad|>", ""), "leaves the text or the pictures of tool replies out"),
        (lambda text: "{{ messages | length }}" + text, "changes a conversation's beginning"),
    ],
)
def test_templates_that_cannot_hold_a_call_and_its_reply_are_found(healthy, change, told):
    recipe, loaded = healthy
    processor = copy.copy(loaded.processor)
    processor.chat_template = change(processor.chat_template)
    found = [finding.what for finding in check_template(recipe, Loaded(processor, loaded.config))]
    assert any(told in what for what in found), found


def test_a_call_that_is_not_read_back_is_found(healthy):
    recipe, loaded = healthy
    processor, tokenizer = copy.copy(loaded.processor), copy.copy(loaded.processor.tokenizer)
    processor.tokenizer = tokenizer
    tokenizer.parse_response = lambda *given, **named: {"role": "assistant", "content": "<think>a</think>"}
    assert "is not read back" in the_fault(check_template(recipe, Loaded(processor, loaded.config)))


def test_a_template_without_marks_for_the_loss_is_found(read, tmp_path):
    stock = load(read()).processor.chat_template
    stock = stock.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "")
    (tmp_path / "own.jinja").write_text(stock)
    keys = {
        "datasets": [{"path": "parquet", "data_files": "x.parquet"}],
        "chat_template_path": str(tmp_path / "own.jinja"),
    }
    recipe = read(base=SFT, **keys)
    assert "generation markers" in the_fault(check_template(recipe, load(recipe)))
    marked = read(base=SFT, datasets=keys["datasets"])
    assert levels(check_template(marked, load(marked))) == {"ok"}
    with pytest.raises(ConfigError, match="longvt template qwen2_5_vl >"):
        load(read(base=SFT, **keys | {"chat_template_path": "gone.jinja"}))


def test_pictures_that_become_other_tokens_than_counted_are_found(healthy):
    recipe, loaded = healthy
    assert levels(check_images(recipe, loaded)) == {"ok"}
    processor = copy.copy(loaded.processor)
    processor.image_processor = copy.deepcopy(processor.image_processor)
    processor.image_processor.merge_size = 1
    found = [finding.what for finding in check_images(recipe, Loaded(processor, loaded.config))]
    assert any("features, and was counted as" in what for what in found), found


def test_frames_that_the_processor_enlarges_are_a_warning(healthy):
    recipe, loaded = healthy
    processor = copy.copy(loaded.processor)
    processor.image_processor = copy.deepcopy(processor.image_processor)
    processor.image_processor.size = {"shortest_edge": 56 * 56, "longest_edge": 10**6}
    found = list(check_images(recipe, Loaded(processor, loaded.config)))
    assert levels(found) == {"warning"} and "enlarge" not in found[0].cure
    assert "tokens each" in found[0].what and "overview_min_pixels" in found[0].cure


def test_a_prompt_and_rollout_that_do_not_fit_are_found(healthy):
    recipe, loaded = healthy
    assert levels(check_context(recipe, loaded, 20.0)) == {"ok"}
    assert "more than the model's 4,096" in the_fault(
        check_context(changed(recipe, max_completion_length=4000), loaded, 20.0)
    )
    vllm = changed(recipe, use_vllm=True, vllm_mode="colocate", vllm_max_model_length=1200)
    assert "more than vllm_max_model_length 1,200" in the_fault(check_context(vllm, loaded, 20.0))
    assert "no vllm_max_model_length" in the_fault(
        check_context(changed(vllm, vllm_max_model_length=None), loaded, 20.0), "warning"
    )
    many = replace(recipe.arguments, max_calls=600)
    more = replace(vllm, arguments=many)
    many_pictures = changed(more, vllm_max_model_length=4096, max_completion_length=3000)
    assert "pictures, vLLM takes 999" in the_fault(check_context(many_pictures, loaded, 20.0))


def test_a_checkpoint_that_is_not_there_or_only_an_adapter_is_told(read, tmp_path):
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load(read(model_name_or_path=str(tmp_path / "gone")))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    recipe = read(model_name_or_path=str(tmp_path / "adapter"))
    (found,) = [one for one in doctor.examine(recipe, sample=1, environ={}) if one.check == "model"]
    assert found.what.endswith("adapter holds no whole model, only an adapter")
    assert (found.level, found.cure) == ("blocker", "recipes/merge_lora.py merges it")


def test_a_family_without_a_template_of_ours_is_told_with_what_helps(read, tmp_path, tiny_model):
    other = tmp_path / "other; family"
    shutil.copytree(tiny_model, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "qwen2_vl"}))
    (found,) = [
        one for one in doctor.examine(read(model_name_or_path=str(other)), sample=1, environ={}) if one.check == "model"
    ]
    assert "no chat template for the model family 'qwen2_vl'; there are" in found.what
    assert found.cure == "chat_template: model, if its own template describes tools"


def test_rows_whose_videos_are_gone_or_broken_are_found(healthy, rows_file, tmp_path):
    recipe, _ = healthy
    first, *_ = read_rows(rows_file)
    (tmp_path / "broken.mp4").write_text("no video")

    def rows(*files, **more):
        path = tmp_path / "rows.parquet"
        rows = [
            {**first, "id": str(number), "videos": {"video_1.mp4": str(file)}, **more}
            for number, file in enumerate(files)
        ]
        write_rows(rows, path)
        return check_rows(replace(recipe, arguments=replace(recipe.arguments, rows=str(path))), 20)

    good = first["videos"]["video_1.mp4"]
    assert levels(rows(good, good)[0]) == {"ok"}
    assert rows(good, good)[1] == pytest.approx(20.0)
    assert "1 of 2 videos are not there" in the_fault(rows(good, tmp_path / "gone.mp4")[0])
    assert "1 of 2 cannot be read" in the_fault(rows(good, tmp_path / "broken.mp4")[0], "warning")
    assert "none of 1 videos can be read" in the_fault(rows(*[tmp_path / "broken.mp4"] * 2)[0])
    assert "no row has a video_segment" in the_fault(rows(good, good, video_segment=None)[0], "warning")
    assert "one row" in the_fault(rows(good)[0], "warning")


def conversation(image) -> list:
    return [
        {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "<answer>red</answer>"}]},
    ]


def test_conversations_without_their_pictures_and_files_of_another_kind_are_found(read, healthy, tmp_path, rows_file):
    data = tmp_path / "sft.parquet"

    def check(path):
        recipe = read(base=SFT, datasets=[{"path": "parquet", "data_files": str(path), "split": "train"}])
        return check_conversations(recipe, healthy[1], 5)

    assert "no file" in the_fault(check(tmp_path / "nothing*.parquet"))
    assert "has no column messages" in the_fault(check(rows_file))
    example = {"id": "a", "source": "test", "messages": conversation(Image.new("RGB", (56, 56)))}
    write_sft(data, [example])
    (found,) = check(data)
    assert found.level == "ok" and "1 of 1 looked into" in found.what
    for frame in [*tmp_path.rglob("*.png"), *tmp_path.rglob("*.jpg")]:
        frame.unlink()
    assert "no picture" in the_fault(check(data))


def test_the_sources_of_a_mixture_are_read_and_their_faults_counted(read, healthy, tmp_path):
    write_sft(tmp_path / "one.parquet", [
        {"id": "a", "source": "test", "messages": conversation(Image.new("RGB", (56, 56)))}
    ])  # fmt: skip
    (tmp_path / "two.jsonl").write_text(json.dumps({"messages": [{"role": "nobody", "content": "?"}]}) + "\n")

    def check(*paths, **keys):
        mixture = tmp_path / "mixture.yaml"
        mixture.write_text(yaml.safe_dump({"sources": [{"path": path} for path in paths]}))
        return check_conversations(read(base=SFT, mixture=str(mixture), **keys), healthy[1], 5)

    assert levels(check("one.parquet")) == {"ok"}
    assert "of 1 conversations 1 schema" in the_fault(check("one.parquet", "two.jsonl"))
    assert "of 1 conversations 1 schema" in the_fault(check("two.jsonl", skip_faulty=True), "warning")
    assert "gone.jsonl" in the_fault(check("gone.jsonl"))


def test_a_disk_that_is_too_small_for_a_checkpoint_is_found(healthy, monkeypatch):
    recipe, loaded = healthy
    weights = parameters(loaded)
    assert weights == 231_424
    assert checkpoint_bytes(recipe, weights) == weights * 12
    assert levels(check_disk(recipe, loaded)) == {"ok"}
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": weights * 10})())
    assert "a checkpoint takes about" in the_fault(check_disk(recipe, loaded))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": weights * 30})())
    assert "4 will be kept" in the_fault(check_disk(recipe, loaded), "warning")
    cached = replace(recipe, arguments=replace(recipe.arguments, video_cache_dir="cache"))
    told = [finding.what for finding in check_disk(cached, loaded)]
    assert any("video_disk_gb allows more" in what for what in told)


def test_a_judge_that_fails_or_is_not_there_is_found(healthy):
    recipe, _ = healthy

    def judged(**options):
        quick = {"model": "judge", "max_retries": 0, "timeout": 5.0}
        return replace(recipe, arguments=replace(recipe.arguments, judge="llm", judge_options={**quick, **options}))

    assert "needs base_url" in the_fault(check_services(judged(), {}))
    with ScriptedChatServer(lambda request: assistant("1")) as server:
        told = the_fault(check_services(judged(), {"LLM_AS_A_JUDGE_BASE": server.base_url}))
        assert "scores a wrong answer 1" in told
        url = server.base_url
    assert "cannot be trusted" in the_fault(check_services(judged(base_url=url), {}))


def test_a_server_of_rollouts_that_is_not_one_is_found(healthy):
    recipe = changed(healthy[0], use_vllm=True, vllm_mode="server")
    with ScriptedChatServer(lambda request: assistant("1")) as server:
        url = server.base_url.removesuffix("/v1")
        told = the_fault(check_services(changed(recipe, vllm_server_base_url=url), {}))
        assert "/server_info" in told
    assert "no vLLM server at" in the_fault(check_services(changed(recipe, vllm_server_base_url=url), {}))


def test_the_command_is_light_to_import():
    code = "import sys, trl_ext.doctor; sys.exit(bool({'torch', 'trl', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
