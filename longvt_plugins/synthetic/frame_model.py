"""A model that knows the colours of this world by name, trained on the spot, for ``search_frames``.

::

    train_frame_model("models/search_frames")                   # a few seconds on one core
    tools: ["search_frames:model=models/search_frames"]         # a folder as any other CLIP

A CLIP of 90,000 parameters. It knows "a red shape", and so on through the colours; other words tell it nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from longvt_plugins.errors import MissingExtraError
from longvt_plugins.synthetic.fitting import Told, fit
from longvt_plugins.synthetic.phrases import NOTHING
from longvt_plugins.synthetic.render import Renderer
from longvt_plugins.synthetic.world import COLOURS, SHAPES, TINY, Distractor, Flash, Script
from longvt_plugins.types import TimeSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 150
"""Of training."""

_FILMS = 32
_NOTHINGS = 8
_SIDE, _PATCH = 28, 7
_LONGEST = 8
"""Words of a text, its end included."""

_WORDS = ("<pad>", "<eos>", "<unk>", "a", "shape", NOTHING, *COLOURS)
_TEXTS = [f"a {colour} shape" for colour in COLOURS]

_TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
_VISION = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}


def train_frame_model(folder: str | Path, *, seed: int = 0, steps: int = STEPS, progress: Told | None = None) -> None:
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
        from torch.nn.functional import cross_entropy
        from transformers import CLIPConfig, CLIPModel
    except ImportError as error:
        raise MissingExtraError(error.name or "transformers", "tools", "to train a model of pictures") from None

    folder = Path(folder)
    rng = np.random.default_rng([seed, 4])
    processor = _make_processor()
    films = np.stack([_make_film(rng) for _ in range(_FILMS)])
    pictures = processor(images=list(films.reshape(-1, *films.shape[2:])), return_tensors="pt")["pixel_values"]
    pictures = pictures.reshape(*films.shape[:2], *pictures.shape[1:])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
        text = {**_TEXT, **ends, "vocab_size": len(_WORDS), "max_position_embeddings": _LONGEST}
        vision = {**_VISION, "image_size": _SIDE, "patch_size": _PATCH}
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))
        words = processor(text=[*_TEXTS, NOTHING], padding="max_length", return_tensors="pt")
        colours, shapes = len(COLOURS), len(SHAPES)
        nothing = colours * shapes + np.arange(_NOTHINGS)

        def lesson() -> torch.Tensor:
            lit = shapes * np.arange(colours) + rng.integers(shapes, size=colours)
            chosen = pictures[rng.integers(_FILMS, size=colours + _NOTHINGS), np.concatenate([lit, nothing])]
            likeness = model(pixel_values=chosen, **words).logits_per_image
            # Each picture to its text, and each text but "nothing" to its one picture: most of a film is nothing, and a
            # colour must be told from many pictures of it.
            to_texts = cross_entropy(likeness, torch.arange(len(likeness)).clamp(max=colours))
            return to_texts + cross_entropy(likeness.T[:colours], torch.arange(colours))

        fit(model, lesson, rate=4e-3, steps=steps, progress=progress)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _make_processor() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPImageProcessor, CLIPProcessor, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(_WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    names = {"model_max_length": _LONGEST, "model_input_names": ["input_ids", "attention_mask"]}
    pictures = CLIPImageProcessor(size={"shortest_edge": _SIDE}, crop_size={"height": _SIDE, "width": _SIDE})
    return CLIPProcessor(pictures, PreTrainedTokenizerFast(tokenizer_object=words, **special, **names))


def _make_film(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pictures of each colour in each shape, then some of nothing, in scenes of one film, ``[n, height, width, 3]``."""
    count = len(COLOURS) * len(SHAPES)
    seconds = [float(second) for second in rng.permutation(count + _NOTHINGS)]
    kinds = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    flashes = tuple(
        Distractor(shape, Flash(colour, TimeSpan(second, second + 1)))
        for (colour, shape), second in zip(kinds, seconds[:count], strict=True)
    )
    cuts = tuple(float(second) for second in range(0, len(seconds), 2))
    renderer = Renderer(Script(int(rng.integers(2**31)), float(len(seconds)), 1, TINY.size, cuts, (), flashes))
    return np.stack([renderer.frame(second) for second in seconds])
