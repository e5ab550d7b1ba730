"""The tiny checkpoints that ship with the package."""

import hashlib
import json

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.synthetic import CHECKPOINTS, checkpoint, resolve_model
from longvt_plugins.synthetic.tiny import build_processor


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_shipped_checkpoint_is_small_and_complete(name):
    files = {path.name: path.stat().st_size for path in checkpoint(name).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(files)
    assert sum(files.values()) < 8_000_000


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_shipped_tokenizer_is_the_one_that_would_be_built_today(name):
    # A prompt or a tool description that changes would leave the shipped model reading words it never learnt.
    from transformers import AutoProcessor

    shipped = AutoProcessor.from_pretrained(checkpoint(name))
    built = build_processor("qwen3_vl" if name == "qwen3_vl" else "qwen2_5_vl")
    assert shipped.tokenizer.get_vocab() == built.tokenizer.get_vocab()
    assert shipped.chat_template == built.chat_template


@pytest.mark.parametrize("name", ["base", "agent"])
def test_the_log_of_a_trained_checkpoint_names_its_weights(name):
    log = json.loads((checkpoint(name) / "training_log.json").read_text())
    assert log["sha256"] == hashlib.sha256((checkpoint(name) / "model.safetensors").read_bytes()).hexdigest()


def test_the_log_of_the_base_says_how_well_it_reads():
    log = json.loads((checkpoint("base") / "training_log.json").read_text())
    assert log["read_right"] == {"I see": 1.0, "It changes from": 1.0}


def test_tiny_names_the_shipped_agent_and_other_names_stay():
    assert resolve_model("tiny") == str(checkpoint("agent"))
    assert resolve_model("Qwen/Qwen3-VL-4B-Instruct") == "Qwen/Qwen3-VL-4B-Instruct"
    with pytest.raises(ConfigError, match="no tiny checkpoint 'huge'; there are: base, agent, qwen3_vl"):
        checkpoint("huge")
