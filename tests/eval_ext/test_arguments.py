"""What ``--model_args`` takes, and what it refuses."""

from dataclasses import fields

import pytest

from eval_ext.arguments import LocalArguments, ServerArguments, parse_arguments
from eval_ext.model import LongvtServer
from longvt_plugins import VideoConfig
from longvt_plugins.chat import ChatConfig
from longvt_plugins.errors import ConfigError
from longvt_plugins.synthetic.world import TINY


def server_arguments(environ=None, **given):
    given = {"base_url": "http://localhost/v1", "model": "m", **given}
    return parse_arguments(ServerArguments, given, "longvt", environ or {})


def test_arguments_come_as_text_and_numbers():
    config = server_arguments(
        max_calls="2", overview_max_frames=16, crop_fps="0.5", max_pixels="1568", crop_max_pixels=784,
        min_pixels=784, tools="crop_video + zoom", labels="none", model=7,
    ).agent_config()  # fmt: skip
    assert (config.max_calls, config.tools) == (2, ("crop_video", "zoom"))
    assert (config.overview.max_frames, config.overview.max_pixels, config.overview.labels) == (16, 1568, "none")
    assert (config.crop.fps, config.crop.max_pixels, config.crop.min_pixels) == (0.5, 784, 784)


def test_how_videos_are_read_is_said_with_the_keys_of_recipes():
    environ = {"LONGVT_CACHE": "/scratch/from-the-environment"}
    given = server_arguments(environ, video_memory_mb="64", video_isolate="true", video_disk_gb=5)
    assert given.agent_config().video == VideoConfig(
        cache_dir="/scratch/from-the-environment", memory_mb=64, isolate=True, disk_gb=5
    )
    assert server_arguments(video_cache_dir="/scratch/named").video.cache_dir == "/scratch/named"


def test_mode_and_scaling_are_those_of_both_samplings():
    config = server_arguments(sampling_mode="qwen", scaling="exact").agent_config()
    assert {(sampling.mode, sampling.scaling) for sampling in (config.overview, config.crop)} == {("qwen", "exact")}


def test_a_preset_brings_the_sampling_of_its_videos_and_may_be_changed():
    config = server_arguments(preset="tiny").agent_config()
    assert (config.overview, config.crop) == (TINY.overview, TINY.crop)
    assert server_arguments(preset="tiny", crop_max_frames=4).agent_config().crop.max_frames == 4


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"overveiw_fps": 1}, r"unknown argument overveiw_fps \(did you mean overview_fps\?\)"),
        ({"max_calls": "many"}, "max_calls: .*not 'many'"),
        ({"labels": "frames"}, "labels: .*not 'frames'"),
        ({"sampling_mode": "linspace"}, "sampling_mode: .*not 'linspace'"),
        ({"image_format": "gif"}, "image_format"),
        ({"extra_body": "top_k"}, "extra_body must be a JSON object, .*not 'top_k'"),
        ({"max_cost": 1}, "max_cost needs prices"),
        ({"cache": "never"}, "cache: .*not 'never'"),
        ({"overview_fps": -1}, "fps must be a positive number"),
        ({"preset": "tinny"}, "no preset 'tinny'"),
        ({"base_url": "localhost:8000"}, "base_url must start with http"),
        ({"max_calls": -1}, "max_calls must not be negative"),
        ({"video_disk_gb": 0}, "video_disk_gb must be a positive number, not 0"),
    ],
)
def test_a_faulty_argument_is_told_in_one_line(given, told):
    with pytest.raises(ConfigError, match=told) as caught:
        LongvtServer(**{"base_url": "http://localhost/v1", "model": "m", **given})
    assert "\n" not in str(caught.value)


def test_the_two_models_share_their_arguments():
    shared = {"tools", "max_calls", "overview_fps", "crop_max_frames", "rollouts"}
    assert shared <= set(ServerArguments.__dataclass_fields__) & set(LocalArguments.__dataclass_fields__)


def test_every_setting_of_the_chat_client_and_of_videos_has_a_key():
    keys = set(ServerArguments.__dataclass_fields__)
    spelt_otherwise = {"prices": {"price_input", "price_output"}, "api_key": set()}
    for setting in fields(ChatConfig):
        assert spelt_otherwise.get(setting.name, {setting.name}) <= keys
    assert {f"video_{setting.name}" for setting in fields(VideoConfig)} <= keys
    assert "api_key" not in keys


def test_what_is_said_of_the_server_reaches_its_client():
    given = {
        "timeout": "30", "total_timeout": 90, "max_retries": "2", "backoff": 0, "requests_per_minute": "600",
        "tokens_per_minute": 1e6, "cache_dir": "/scratch/replies", "cache_gb": 1, "cache": "always",
        "cache_name": "judge", "price_input": "0.15", "max_cost": 3, "image_format": "png", "tool_images": "user",
        "extra_body": '{"top_k": 20}',
    }  # fmt: skip
    assert server_arguments(**given).chat_config("secret", 8) == ChatConfig(
        base_url="http://localhost/v1", model="m", api_key="secret", concurrency=8, timeout=30, total_timeout=90,
        max_retries=2, backoff=0, requests_per_minute=600, tokens_per_minute=1e6, cache_dir="/scratch/replies",
        cache_gb=1, cache="always", cache_name="judge", prices={"input": 0.15, "output": 0.0}, max_cost=3,
        image_format="png", tool_images="user", extra_body={"top_k": 20},
    )  # fmt: skip
    assert server_arguments().chat_config(None, 32) == ChatConfig(base_url="http://localhost/v1", model="m")


def test_a_key_among_the_arguments_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="the key is no argument: give it in the variable OPENAI_API_KEY") as caught:
        server_arguments(api_key="sk-secret")
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"turn_tokens": 64}, "turn_tokens and max_completion_length go together"),
        ({"max_completion_length": 4096}, "turn_tokens and max_completion_length go together"),
        ({"turn_tokens": 64, "max_completion_length": 4096}, "turn_tokens needs processor=FOLDER"),
        ({"turn_tokens": 64, "max_completion_length": 99, "processor": "tiny"}, "too short for 5 calls"),
        ({"turn_tokens": 0, "max_completion_length": 4096}, "turn_tokens must be at least 1"),
        ({"tell_left": True}, "tell_left needs turn_tokens"),
        ({"calls_per_turn": 0}, "calls_per_turn must be at least 1"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_before_anything_is_loaded(given, told):
    arguments = parse_arguments(ServerArguments, {"base_url": "http://x/v1", "model": "m", **given}, "longvt", {})
    with pytest.raises(ConfigError, match=told):
        arguments.agent_config()


def test_a_checkpoint_of_this_process_counts_with_its_own_processor():
    given = {"pretrained": "tiny", "turn_tokens": 64, "max_completion_length": 4096, "tell_left": True}
    ledger = parse_arguments(LocalArguments, given, "longvt_hf", {}).ledger()
    assert (ledger.max_completion_length, ledger.turn_tokens, ledger.tell) == (4096, 64, True)
    assert ledger.image_tokens(56, 28) == 2
    assert parse_arguments(LocalArguments, {"pretrained": "tiny"}, "longvt_hf", {}).ledger() is None
