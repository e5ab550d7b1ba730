"""Runs the vision tower once for every picture, however many rollouts of a group show it.

::

    cache = share_vision(model, max_mb=2048)       # a Qwen2.5-VL or Qwen3-VL, wrapped by PEFT or not
    trainer.train()
    cache.hits, cache.misses

All rollouts of a group begin with the same overview, and TRL's loop puts each of them through the tower again
for every turn, for the log-probabilities and for the update. Pictures that occur twice in one call are computed once
and their features copied, gradients included. Where the tower is frozen (LoRA on the language model, or
``requires_grad_(False)``) features are kept between calls too, since they depend on the picture alone.

A picture is known by two 64-bit sums of its pixel values, taken where they are, so that nothing is copied from the
GPU but these. It changes no result beyond the rounding of the tower's own batches.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    import torch

_CHUNK = 1 << 24
"""Pixel values that are summed at once: 128 MB as 64-bit integers, three times that while they are."""

_SEED = 20_111

Features = tuple["torch.Tensor", ...]
"""Of one picture: its tokens, then those for each deeper layer that takes some (Qwen3-VL's deepstack)."""


@dataclass
class VisionCache:
    """The features that are kept, and how often they served.

    Attributes:
        max_bytes: No more is kept; the longest unused go first.
        keep: Whether features may outlive a call. Sharded models (FSDP, ZeRO-3) forbid it: their processes run the
            tower together, and one that skips it would leave the others waiting.
        hits: Pictures that were not computed.
        misses: Pictures that were.
    """

    max_bytes: int
    keep: bool = True
    hits: int = 0
    misses: int = 0
    _kept: OrderedDict[tuple[Any, ...], Features] = field(default_factory=OrderedDict, repr=False)
    _bytes: int = 0

    def get(self, key: tuple[Any, ...]) -> Features | None:
        """The features kept under this key, which then counts as used."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: tuple[Any, ...], features: Features) -> None:
        """Keeps features, in place of the longest unused ones if need be."""
        size = _size(features)
        if key in self._kept or size > self.max_bytes:
            return
        self._kept[key] = features
        self._bytes += size
        while self._bytes > self.max_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        """Forgets all features, as one must after changing the weights of a frozen tower."""
        self._kept.clear()
        self._bytes = 0


def share_vision(model: Any, *, max_mb: int, keep: bool = True) -> VisionCache:
    """Makes a model compute each picture once.

    Args:
        model: Holds a module with a ``visual`` tower and ``get_image_features``.
        max_mb: How many megabytes of features are kept between calls, on the model's device.
        keep: False shares within each call only.

    Raises:
        ConfigError: There is no such module in it, or it shares already.
    """
    found = [module for module in model.modules() if hasattr(module, "get_image_features")]
    # A causal model passes the question on to the model inside it, whose own child the tower is.
    inner = next((module for module in found if "visual" in dict(module.named_children())), None)
    if inner is None:
        raise ConfigError(f"{type(model).__name__} has no vision tower whose pictures could be shared")
    if hasattr(inner.get_image_features, "__wrapped_by_vision_cache__"):
        raise ConfigError(f"{type(model).__name__} shares its pictures already")
    cache = VisionCache(max_mb * 2**20, keep)
    inner.get_image_features = _sharing(inner, inner.get_image_features, cache)
    return cache


def _sharing(inner: Any, compute: Any, cache: VisionCache) -> Any:
    import torch

    kind: type | None = None
    in_one_piece = False

    @functools.wraps(compute)
    def get_image_features(pixel_values: Any, image_grid_thw: Any = None, **options: Any) -> Any:
        nonlocal kind, in_one_piece
        keys = picture_keys(pixel_values, image_grid_thw)
        frozen = cache.keep and not any(parameter.requires_grad for parameter in inner.visual.parameters())
        known = {key: found for key in set(keys) if frozen and (found := cache.get(key)) is not None}
        new = list(dict.fromkeys(key for key in keys if key not in known))
        cache.misses += len(new)
        cache.hits += len(keys) - len(new)
        if new or kind is None:
            places = [keys.index(key) for key in new]
            if len(new) < len(keys):
                lengths = image_grid_thw.prod(-1).tolist()
                parts = torch.split(pixel_values, lengths)
                pixel_values, image_grid_thw = torch.cat([parts[place] for place in places]), image_grid_thw[places]
            # A frozen tower needs no gradient, even where checkpointing asks its input for one.
            with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
                output = compute(pixel_values, image_grid_thw, **options)
            kind = type(output)
            in_one_piece = any(hasattr(layer, "split") for layer in getattr(output, "deepstack_features", None) or ())
            for key, *features in zip(new, *_layers(output), strict=True):
                # A copy of its own: a view would keep the features of the whole call in memory.
                known[key] = tuple(part.detach().clone() if frozen else part for part in features)
                if frozen:
                    cache.put(key, known[key])
        tokens, *deeper = zip(*(known[key] for key in keys), strict=True)
        assert kind is not None  # Nothing is known before the first picture was computed.
        layers = [torch.cat(layer) if in_one_piece else layer for layer in deeper]
        return kind(pooler_output=tokens, **({"deepstack_features": layers} if layers else {}))

    get_image_features.__wrapped_by_vision_cache__ = True  # type: ignore[attr-defined]
    return get_image_features


def _size(features: Features) -> int:
    return sum(part.numel() * part.element_size() for part in features)


def _layers(output: Any) -> list[Any]:
    """What the tower made of the pictures, layer by layer, each layer split by picture."""
    tokens = output.pooler_output
    lengths = [len(part) for part in tokens]
    deeper = getattr(output, "deepstack_features", None) or ()
    # Before transformers 5.18 the deeper layers hold the pictures in one piece.
    return [tokens, *(layer.split(lengths) if hasattr(layer, "split") else layer for layer in deeper)]


def picture_keys(pixel_values: torch.Tensor, grid: torch.Tensor) -> list[tuple[Any, ...]]:
    """What each picture is known by.

    Args:
        pixel_values: Patches of all pictures, one after another, shape ``(patches, values)``.
        grid: Patches of each picture in time, height and width, shape ``(pictures, 3)``.

    Returns:
        For each picture its grid, the type of its values, and two sums of them, weighted by place, modulo 2**64.
    """
    import torch

    integer = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[pixel_values.element_size()]
    bits = pixel_values.detach().contiguous().view(integer)
    lengths = grid.prod(-1).tolist()
    generator = torch.Generator(device="cpu").manual_seed(_SEED)
    longest = max(lengths, default=0) * bits.shape[-1]
    weights = torch.randint(-(2**63), 2**63 - 1, (2, 1, longest), generator=generator).to(bits.device)
    pictures = torch.split(bits, lengths)
    sums: list[Any] = [None] * len(pictures)
    # Pictures of one size are summed together, as many as fit.
    for length in set(lengths):
        places = [place for place, found in enumerate(lengths) if found == length]
        step = max(1, _CHUNK // max(1, length * bits.shape[-1]))
        for start in range(0, len(places), step):
            some = places[start : start + step]
            values = torch.stack([pictures[place].reshape(-1) for place in some]).to(torch.int64)
            found = (weights[:, :, : values.shape[-1]] * values).sum(-1)
            for place, pair in zip(some, found.T.tolist(), strict=True):
                sums[place] = tuple(pair)
    return [(*shape, str(pixel_values.dtype), *pair) for shape, pair in zip(grid.tolist(), sums, strict=True)]
