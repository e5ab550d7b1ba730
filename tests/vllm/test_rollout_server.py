"""``recipes/cluster/serve_rollouts.sh`` with a real vLLM: the doctor knows it; its tokens are those of the training.

Weights are not sent: that takes NCCL, and so GPUs.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("trl")

from PIL import Image

from longvt_plugins.local_model import LocalModel
from trl_ext.doctor.recipe import read_recipe
from trl_ext.doctor.services import check_services
from trl_ext.unequal_turns import generate_alone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
LENGTH = 2048


@pytest.fixture(scope="module")
def url(serve, trained, vllm_programs):
    if not any((vllm_programs.parent / "lib").glob("python*/site-packages/vllm/entrypoints/scale_out")):
        pytest.skip("TRL's client needs vLLM 0.30 or newer: tests/vllm/make_environment.sh .venv-vllm-31 0.31.0")
    small = ["--host", "127.0.0.1", "--max-model-len", LENGTH, "--enforce-eager", "--dtype", "float32"]
    with serve(["bash", RECIPES / "cluster" / "serve_rollouts.sh", trained, 1, *small]) as url:
        yield url


def findings(url, **settings):
    given = {"judge": "exact", "vllm_server_base_url": url, **settings}
    flags = [str(word) for name, value in given.items() for word in (f"--{name}", value)]
    recipe = read_recipe(["--config", str(RECIPES / "cluster" / "rl_servers.yaml"), *flags])
    return {finding.check: finding for finding in check_services(recipe, {})}


def test_the_doctor_knows_the_server_and_its_length(url):
    good = findings(url, max_completion_length=LENGTH // 2)["rollouts"]
    assert (good.level, good.what) == ("ok", f"vLLM at {url} takes weights and 2,048 tokens")
    long = findings(url, max_completion_length=LENGTH * 2)["rollouts"]
    assert long.level == "blocker" and "takes 2048 tokens" in long.what


@pytest.fixture
def trainer(url, trained, monkeypatch):
    """As a process of the training holds it that is not the first one; our own turns are put in."""
    from trl.generation.vllm_generation import VLLMGeneration

    # TRL asks only whether vLLM is installed: its client is plain HTTP.
    monkeypatch.setattr("trl.generation.vllm_client.is_vllm_available", lambda: True)
    model = LocalModel(trained)
    made = VLLMGeneration.__new__(VLLMGeneration)
    sampling = {"repetition_penalty": 1.0, "temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": None, "logprobs": 0,
                "max_completion_length": LENGTH, "structured_outputs_regex": None,
                "generation_kwargs": {"max_tokens": 12}}  # fmt: skip
    vars(made).update(
        **sampling, server_base_url=url, server_timeout=60.0, processing_class=model.processor,
        sync_weights=lambda: None, accelerator=SimpleNamespace(wait_for_everyone=lambda: None),
    )  # fmt: skip
    trainer = SimpleNamespace(use_vllm=True, vllm_mode="server", tools=[1], vllm_generation=made)
    generate_alone(trainer)
    return trainer, model


def test_sampled_tokens_have_the_probabilities_of_the_training(trainer):
    import torch

    trainer, model = trainer
    inputs, pictures = [], []
    for number in (0, 1, 3):
        shown = [Image.effect_noise((28, 56), 40 + 20 * k + number).convert("RGB") for k in range(number)]
        content = [{"type": "image", "image": image} for image in shown]
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": f"Which colour? {number}"}]}]
        text = model.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        # Two rollouts of a group: their pictures are sent once.
        inputs += [model.processor(text=[text], images=shown or None, return_tensors="pt")] * 2
        pictures += [shown or None] * 2
    prompts = [each["input_ids"][0].tolist() for each in inputs]
    _, completions, told, _ = trainer.vllm_generation.generate(prompts, pictures, num_generations=2)
    assert all(0 < len(completion) <= 12 for completion in completions)
    for each, completion, found in zip(inputs, completions, told, strict=True):
        ids = torch.cat([each["input_ids"], torch.tensor([completion])], dim=1)
        types = torch.cat([each["mm_token_type_ids"], torch.zeros(1, len(completion)).long()], dim=1)
        own = {**each, "input_ids": ids, "mm_token_type_ids": types, "attention_mask": torch.ones_like(ids)}
        with torch.inference_mode():
            logits = model.model(**own).logits[0, -len(completion) - 1 : -1] / 0.7
        expected = torch.log_softmax(logits, dim=-1)[range(len(completion)), completion]
        assert torch.allclose(torch.tensor(found).reshape(-1), expected, atol=1e-3)
