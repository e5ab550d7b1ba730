"""Recipes: what they may say, where keys come from, and how faults are told."""

from __future__ import annotations

import pytest

from datapipe.recipe import SyntheticInput, load_recipe, read_recipe
from longvt_plugins.errors import ConfigError

GOOD = {
    "input": "videos",
    "models": {"default": {"base_url": "http://gpu:8000/v1", "model": "m"}},
    "steps": ["caption"],
}


def test_a_file_says_what_is_run_and_its_paths_lie_beside_it(tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        """
input: films
seed: 7
concurrency: 64
prompts_dir: mine
video: {decode_timeout: 60.0}
models:
  vlm: {base_url: "http://gpu1:8000/v1", model: qwen-vl, prices: {input: 0.2, output: 0.6}}
  reader: offline
steps:
  - probe_video
  - {step: caption, name: coarse, model: vlm, set: {fps: 1}}
  - {step: caption, name: fine, from: probe_video, model: vlm, set: {fps: 4}}
  - {step: filter_text, with: {summarize: coarse}}
"""
    )
    recipe = load_recipe(tmp_path / "recipe.yaml", {})
    assert (recipe.source, recipe.prompts_dir) == (tmp_path / "films", str(tmp_path / "mine"))
    assert (recipe.seed, recipe.concurrency, recipe.video.decode_timeout) == (7, 64, 60.0)
    assert (recipe.models["vlm"].model, recipe.offline) == ("qwen-vl", ("reader",))
    assert [(step.step, step.name, step.source) for step in recipe.steps] == [
        ("probe_video", "probe_video", None),
        ("caption", "coarse", None),
        ("caption", "fine", "probe_video"),
        ("filter_text", "filter_text", None),
    ]
    assert (recipe.steps[2].config, recipe.steps[3].beside) == ({"fps": 4}, {"summarize": "coarse"})
    other = load_recipe(tmp_path / "recipe.yaml", {}, source="elsewhere", seed=8)
    assert (str(other.source), other.seed) == ("elsewhere", 8)


def test_videos_can_be_made_for_the_run():
    assert read_recipe(GOOD | {"input": {"synthetic": {"videos": 4, "seed": 1}}}, {}).source == SyntheticInput(
        4, seed=1
    )


def test_an_address_that_the_recipe_does_not_name_is_that_of_the_environment():
    environ = {"OPENAI_BASE_URL": "http://them/v1", "OPENAI_API_KEY": "sk-1", "OPENAI_MODEL_NAME": "gpt"}
    model = read_recipe(GOOD | {"models": {"default": {"timeout": 9.0}}}, environ).models["default"]
    assert (model.base_url, model.api_key, model.model, model.timeout) == ("http://them/v1", "sk-1", "gpt", 9.0)
    without = {name: value for name, value in GOOD.items() if name != "models"}
    assert read_recipe(without, environ).models["default"].model == "gpt"
    assert read_recipe(without, {}).models == {}


def test_the_environments_key_goes_to_no_address_that_a_recipe_names():
    recipe = read_recipe(GOOD, {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "http://them/v1"})
    assert recipe.models["default"].api_key != "sk-1"
    named = {"base_url": "http://gpu:8000/v1", "model": "m", "api_key_variable": "GPU_KEY"}
    with_key = GOOD | {"models": {"default": named}}
    assert read_recipe(with_key, {"GPU_KEY": "k-2"}).models["default"].api_key == "k-2"
    assert read_recipe(with_key, {}, need_keys=False).models["default"].model == "m", "who only looks needs no key"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"input": None}, "input must be a folder of videos, a .jsonl or a text file"),
        ({"input": {"synthetic": {"video": 3}}}, "input.synthetic: "),
        ({"input": {"synthetic": {"videos": 0}}}, "videos must be at least 1"),
        ({"sede": 3}, "sede: there is no such field"),
        ({"seed": "3"}, 'seed: input should be a valid integer, not "3"'),
        ({"concurrency": 0}, "concurrency must be at least 1, not 0"),
        ({"max_cost": -1.0}, "max_cost must be above 0"),
        ({"steps": []}, "steps must be a list of steps"),
        ({"steps": ["a", "a"]}, "step 2: there is a step 'a' already: give this one a name"),
        ({"steps": [{"step": "a", "form": "b"}]}, "there is no key 'form' (did you mean from?)"),
        ({"steps": [{"step": "a", "fps": 3}]}, "fields of the step go into set"),
        ({"steps": ["a", {"step": "b", "from": "c"}]}, "step 2 (b): no earlier step 'c'; there are: a"),
        ({"steps": ["a", {"step": "b", "with": {"x": "b"}}]}, "no earlier step 'b'"),
        ({"steps": [{"step": "a", "name": "../a"}]}, "must be letters, digits and underscores"),
        ({"steps": [{"step": "a", "set": ["fps"]}]}, "set must be a mapping"),
        ({"models": {"default": {"model": "m", "base_url": "gpu"}}}, "models.default: base_url must start with http"),
        ({"models": {"default": {"model": "m"}}}, "models.default: base_url is missing"),
        ({"models": {"default": {"api_key_variable": "NOPE"}}}, "the environment variable NOPE is not set"),
        ({"models": {"default": "online"}}, "must be a mapping with base_url and model, or offline"),
    ],
)
def test_a_fault_is_one_line_that_names_its_place(change, complaint):
    with pytest.raises(ConfigError) as error:
        read_recipe(GOOD | change, {})
    assert str(error.value).startswith("recipe: ")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["a: [1", "- 1\n", "", "\x00"])
def test_what_is_no_recipe_is_refused(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"recipe .*recipe\.yaml (is not YAML|must be a mapping)"):
        load_recipe(tmp_path / "recipe.yaml", {})


def test_the_runs_limit_of_requests_is_that_of_every_model_that_states_none():
    models = {
        "one": GOOD["models"]["default"],
        "two": {**GOOD["models"]["default"], "concurrency": 4},
        "three": "offline",
    }
    recipe = read_recipe(GOOD | {"models": models, "concurrency": 64}, {})
    assert [recipe.models[name].concurrency for name in models] == [64, 4, 64]
