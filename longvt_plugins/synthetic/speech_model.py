"""A model that hears the voice of voice.py, trained on the spot: what ``transcribe`` needs to be of use there.

::

    train_speech_model("models/transcribe")                # a few seconds on one core
    tools: ["transcribe:model=models/transcribe"]          # a folder as any other model of speech

A Wav2Vec2-BERT of 60,000 parameters, whose letters are read as those of CTC models are. It hears tones, not speech.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from longvt_plugins.errors import MissingExtraError
from longvt_plugins.sound import RATE, read_sound
from longvt_plugins.synthetic.fitting import Told, fit
from longvt_plugins.synthetic.render import write_video
from longvt_plugins.synthetic.voice import LETTERS, speak, spell
from longvt_plugins.synthetic.world import TINY, Script
from longvt_plugins.types import TimeSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 200
"""Of training."""

_CLIPS = 48
_SECONDS = 8.0
_BATCH = 6

_SILENCE, _SPACE = "<pad>", "|"
_VOCABULARY = {_SILENCE: 0, _SPACE: 1, "<unk>": 2, **{letter: number for number, letter in enumerate(LETTERS, start=3)}}

_BANDS, _STRIDE, _HOP = 80, 2, 0.01
"""Of the mel spectrum; and how many of its rows, a hundredth of a second apart, the model hears at once."""

_MIDDLE = (0.025 + _HOP) / 2
"""Seconds from the start of what it hears at once to the middle: two windows of 25 ms."""

_NETWORK = {
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_depthwise_kernel_size": 15,
    "position_embeddings_type": None,
    "apply_spec_augment": False,
    "initializer_range": 0.1,  # 0.02 is for models ten times as wide
    **dict.fromkeys(("hidden_dropout", "attention_dropout", "feat_proj_dropout", "final_dropout"), 0.0),
    **dict.fromkeys(("activation_dropout", "conformer_conv_dropout", "layerdrop"), 0.0),
}


def train_speech_model(folder: str | Path, *, seed: int = 0, steps: int = STEPS, progress: Told | None = None) -> None:
    """Trains a model and saves it as transformers does.

    Args:
        folder: Where to.
        seed: Of the weights and of what it is taught.
        steps: Of training.
        progress: Told how many steps are done, and of how many.

    Raises:
        MissingExtraError: No transformers or no torch.
    """
    try:
        import torch
        from transformers import Wav2Vec2BertConfig, Wav2Vec2BertForCTC
    except ImportError as error:
        raise MissingExtraError(error.name or "transformers", "tools", "to train a model of speech") from None

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    processor = _make_processor(folder)
    rng = np.random.default_rng([seed, 3])
    inputs, letters = (torch.from_numpy(made) for made in _make_clips(rng, processor.feature_extractor))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = {"vocab_size": len(_VOCABULARY), "feature_projection_input_dim": _BANDS * _STRIDE}
        model = Wav2Vec2BertForCTC(Wav2Vec2BertConfig(**_NETWORK, **sizes, pad_token_id=_VOCABULARY[_SILENCE]))

        def lesson() -> torch.Tensor:
            chosen = torch.from_numpy(rng.integers(_CLIPS, size=_BATCH))
            logits = model(input_features=inputs[chosen]).logits
            # When each letter sounds is known, so that every moment is taught what it is: CTC's own loss would have to
            # find that out first, in many more steps.
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1), letters[chosen].flatten())

        fit(model, lesson, rate=1e-2, steps=steps, progress=progress)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _make_processor(folder: Path) -> Any:
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertProcessor, Wav2Vec2CTCTokenizer

    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps(_VOCABULARY), encoding="utf-8")
    names = {"pad_token": _SILENCE, "word_delimiter_token": _SPACE, "unk_token": "<unk>"}
    tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary), bos_token=None, eos_token=None, **names)
    features = SeamlessM4TFeatureExtractor(
        feature_size=_BANDS, num_mel_bins=_BANDS, sampling_rate=RATE, stride=_STRIDE, padding_value=0.0
    )
    return Wav2Vec2BertProcessor(features, tokenizer)


def _make_clips(rng: np.random.Generator, features: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Words of any letters somewhere in silence: the spectrum of each clip, and what each moment of it says.

    Returns:
        ``[clips, moments, bands]`` and ``[clips, moments]``.
    """
    length = round(_SECONDS * RATE)
    sound = np.zeros(_CLIPS * length, np.float32)
    texts: list[tuple[float, str]] = []
    for number in range(_CLIPS):
        words = ["".join(rng.choice(list(LETTERS), size=rng.integers(2, 8))) for _ in range(rng.integers(2, 5))]
        text = " ".join(words)
        spoken = speak(text) * rng.uniform(0.5, 1)
        begin = int(rng.integers(length - len(spoken)))
        sound[number * length + begin : number * length + begin + len(spoken)] = spoken
        texts.append((begin / RATE, text))
    heard, said = [], []
    for clip, (begins, text) in zip(_as_heard_in_films(sound).reshape(_CLIPS, length), texts, strict=True):
        spectrum = features(clip, sampling_rate=RATE, return_tensors="np")["input_features"][0]
        letters = np.full(len(spectrum), _VOCABULARY[_SILENCE])
        moments = np.arange(len(letters)) * _STRIDE * _HOP + _MIDDLE - begins
        for start, end, letter in spell(text):
            letters[(moments > start) & (moments < end)] = _VOCABULARY[_SPACE if letter == " " else letter]
        heard.append(spectrum.astype(np.float32))
        said.append(letters)
    return np.stack(heard), np.stack(said)


def _as_heard_in_films(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sound as it comes out of a file: its compression fills the silence around a tone with echoes."""
    script = Script(0, len(sound) / RATE, 1, TINY.size, (0.0,), (), ())
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "film.mp4")
        write_video(script, film, sound=sound)
        return read_sound(film, TimeSpan(0, script.duration))
