"""transcribe with a tiny Whisper of random weights: pieces, their seconds, and what is heard at all."""

from __future__ import annotations

import av
import numpy as np
import pytest

from longvt_plugins import TimeSpan, ToolContext, ToolError
from longvt_plugins.budget import Budget
from longvt_plugins.errors import ConfigError
from longvt_plugins.sound import RATE, NoSoundError, read_sound
from longvt_plugins.testing import plugin_manager, write_stamped_video

NAME = "video_1.mp4"
SECONDS = 40


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """40 s with a tone of 440 Hz from second 10 to 20, and silence before and after."""
    path = tmp_path_factory.mktemp("sound") / "film.mp4"
    times = np.arange(SECONDS * 16_000) / 16_000
    tone = np.where((times >= 10) & (times < 20), 0.5 * np.sin(2 * np.pi * 440 * times), 0).astype(np.float32)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=1)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        for number in range(SECONDS):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 6 * number, np.uint8), format="rgb24")
            container.mux(pictures.encode(picture))
        for at in range(0, len(tone), 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, at : at + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, at
            container.mux(sound.encode(frame))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a Whisper of random weights, as transformers saves one."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    special = ["endoftext", "startoftranscript", "en", "transcribe", "translate", "startofprev", "nospeech"]
    names = [*sorted(ByteLevel.alphabet()), *(f"<|{name}|>" for name in [*special, "notimestamps"])]
    vocabulary = {name: number for number, name in enumerate(names)}
    end = vocabulary["<|endoftext|>"]
    small = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "max_target_positions": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    tokens = {"eos_token_id": end, "pad_token_id": end, "bos_token_id": end, "decoder_start_token_id": end + 1}
    torch.manual_seed(0)
    whisper = WhisperForConditionalGeneration(
        WhisperConfig(vocab_size=len(vocabulary), begin_suppress_tokens=None, **small, **heads, **tokens)
    )
    whisper.generation_config.max_length = 12
    folder = tmp_path_factory.mktemp("whisper")
    whisper.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(), WhisperTokenizer(vocab=vocabulary, merges=[])).save_pretrained(folder)
    return folder


def transcribe(model, video, start, end, options="", **context):
    (tool,) = plugin_manager().select_tools([f"transcribe:model={model}{options}"])
    with ToolContext({NAME: video}, **context) as ctx:
        (block,) = tool(ctx, {"video_path": NAME, "start_time": start, "end_time": end})
    return block["text"].splitlines()


def loudness(samples):
    return float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0


@pytest.mark.parametrize(
    ("start", "end", "loud"), [(11, 19, True), (0, 9.5, False), (21, 40, False), (19.9, 39, False)]
)
def test_the_sound_of_a_part_is_that_of_these_seconds(film, start, end, loud):
    samples = read_sound(film, TimeSpan(start, end))
    assert len(samples) == round((end - start) * RATE)
    assert (loudness(samples) > 0.3) == loud


def test_where_a_tone_begins_can_be_heard_to_the_hundredth(film):
    samples = read_sound(film, TimeSpan(8.5, 12))
    begins = 8.5 + float(np.argmax(np.abs(samples) > 0.1)) / RATE
    assert abs(begins - 10) < 0.05


def test_each_piece_is_a_line_with_its_seconds(model, film):
    told = []
    lines = transcribe(model, film, 0, 45, progress=lambda done, total: told.append((done, total)))

    assert [line.partition(":")[0] for line in lines] == ["0s to 13.3s", "13.3s to 26.7s", "26.7s to 40s"]
    assert told == [(0, 3), (1, 3), (2, 3)]


def test_silence_is_told_as_such_and_sound_is_heard_by_the_model(model, film):
    from longvt_plugins.tools.transcribe import load_recogniser

    heard = load_recogniser(str(model), "cpu")(read_sound(film, TimeSpan(11, 19)), None)
    (line,) = transcribe(model, film, 11, 19)
    assert line == f"11s to 19s: {' '.join(heard.split())}"


@pytest.mark.slow
def test_lines_are_left_out_where_tokens_are_short(model, film):
    budget = Budget(
        max_calls=1, max_tokens=128 + 130, count_tokens=lambda reply: 60 * len(reply[0]["text"].splitlines())
    )
    lines = transcribe(model, film, 0, 40, budget=budget)
    assert lines[-1] == "(no room for the rest, from 13.3s)"


def test_a_video_without_sound_is_told(model, stamped, tmp_path):
    with pytest.raises(ToolError, match=r"video_1\.mp4 has no sound"):
        transcribe(model, stamped, 0, 5)
    with pytest.raises(NoSoundError):
        read_sound(stamped, TimeSpan(0, 5))


def test_a_silent_track_is_not_given_to_the_model(model, tmp_path):
    path = tmp_path / "silent.mp4"
    write_stamped_video(path, 5, sound=True)
    assert transcribe(model, path, 0, 5) == ["0s to 5s: (nothing is said)"]


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (50, 60, "start_time 50 is outside the video, which lasts from 0 to 40 seconds"),
        (5, 5, "end_time 5 must be later than start_time 5"),
        (0, 40, "the part from 0 to 40 lasts 40 seconds, and at most 30 are transcribed at once"),
    ],
)
def test_a_mistake_of_the_model_is_told_to_it(model, film, start, end, said):
    with pytest.raises(ToolError) as told:
        transcribe(model, film, start, end, ":max_seconds=30")
    assert said in str(told.value)


def test_a_model_that_is_not_there_is_the_users_mistake(film, tmp_path):
    with pytest.raises(ConfigError, match=r"option model: no model in .*; nothing is downloaded"):
        transcribe(tmp_path, film, 0, 5)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"transcribe: the model in .* cannot be used"):
        transcribe(tmp_path, film, 0, 5)
