"""Frames and texts as vectors of one space, by a CLIP- or SigLIP-class model, and the frames of a video kept on disk.

::

    encoder = load_encoder("/models/siglip2-base", "cpu")
    index = index_video(video, encoder, step=1.0, folder=Path("/scratch/longvt"))     # decoded and encoded once
    index.search(encoder.text("a red car"), count=8)                                  # the best moments, in seconds

The index of a video is a file, found again by the video's path, size and time of change, by the model's weights and by
the step. It is bounded in frames, and the folder in bytes.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from longvt_plugins.console import one_line
from longvt_plugins.errors import ConfigError, MissingExtraError
from longvt_plugins.tools.found_lines import FileState
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.sampling import FrameSampling

if TYPE_CHECKING:
    from longvt_plugins.video.video import Video

Vectors = NDArray[np.float32]

MAX_FRAMES = 2048
"""Of one index: 34 minutes at one a second; longer videos are indexed more thinly."""

MAX_FOLDER_BYTES = 2 * 2**30
"""Of all indexes in a folder: more than a thousand of the longest."""

_BATCH = 32
_PIXELS = 384 * 384
"""Of a frame that is handed to a model: what the larger of them look at."""

_VERSION = 1
_KEPT_INDEXES = 8
"""In the memory of a process: at most 75 MB."""

_loading = threading.Lock()
_encoding = threading.Lock()
_indexing = threading.Lock()
_kept: OrderedDict[str, FrameIndex] = OrderedDict()


class Encoder:
    """A model with two towers, used by one thread at a time.

    Args:
        model: As transformers' AutoModel loads it.
        processor: Its images and texts.
        fingerprint: Stands for the weights.
    """

    def __init__(self, model: Any, processor: Any, fingerprint: str) -> None:
        self._model, self._processor = model, processor
        self.fingerprint = fingerprint

    def text(self, text: str) -> Vectors:
        """A text as a vector of length 1."""
        inputs = self._processor(text=[text], padding="max_length", truncation=True, return_tensors="pt")
        vector: Vectors = self._vectors(self._model.get_text_features, inputs)[0]
        return vector

    def images(self, images: list[Any]) -> Vectors:
        """Pictures as vectors of length 1, ``[n, width]``."""
        return self._vectors(self._model.get_image_features, self._processor(images=images, return_tensors="pt"))

    def _vectors(self, tower: Callable[..., Any], inputs: Any) -> Vectors:
        import torch

        with _encoding, torch.inference_mode():
            features = tower(**inputs.to(self._model.device))
        # Of transformers 5 a structure, before it the tensor itself.
        features = getattr(features, "pooler_output", features)
        vectors = features.float().cpu().numpy()
        unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
        return unit


def load_encoder(model: str, device: str) -> Encoder:
    """A model from a folder; the last one is kept.

    Raises:
        ConfigError: No model of text and pictures in it.
        MissingExtraError: No transformers.
    """
    # One thread loads, the others wait: a batch of rollouts would else load as many models at once.
    with _loading:
        return _load(Path(model), device)


@functools.lru_cache(maxsize=1)
def _load(folder: Path, device: str) -> Encoder:
    try:
        from transformers import AutoModel, AutoProcessor
    except ImportError:
        raise MissingExtraError("transformers", "tools", "to search frames") from None
    try:
        loaded = AutoModel.from_pretrained(folder, local_files_only=True).to(device).eval()
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(f"search_frames: the model in {folder} cannot be loaded: {one_line(error)}") from error
    if not (hasattr(loaded, "get_image_features") and hasattr(loaded, "get_text_features")):
        raise ConfigError(f"search_frames: {type(loaded).__name__} in {folder} does not compare texts with pictures")
    return Encoder(loaded, processor, _fingerprint(folder))


@dataclass(frozen=True)
class FrameIndex:
    """Frames of a video as vectors.

    Attributes:
        times: Seconds, rising.
        vectors: ``[n, width]``, of length 1.
    """

    times: NDArray[np.float64]
    vectors: Vectors

    def search(self, query: Vectors, count: int) -> list[float]:
        """The moments most like a query, best first, none of them neighbours: those would show the same.

        Args:
            query: A vector of length 1.
            count: How many at most.
        """
        likeness = self.vectors @ query
        apart = 1.5 * float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0
        found: list[float] = []
        for place in np.argsort(-likeness, kind="stable"):
            time = float(self.times[place])
            if all(abs(time - other) > apart for other in found):
                found.append(time)
            if len(found) == count:
                break
        return found


def index_video(
    video: Video, encoder: Encoder, *, step: float, folder: Path | None, report: Callable[[int, int], None]
) -> FrameIndex:
    """The index of a video: the one in memory, that in the folder, or a new one that is kept in both.

    Args:
        video: Its frames are decoded where there is no index yet.
        encoder: Makes vectors of them.
        step: Seconds from one frame to the next.
        folder: Where indexes are kept; None keeps a few in memory alone.
        report: Told how many frames are done, and of how many.

    Raises:
        VideoError: A frame cannot be decoded.
    """
    key = f"{_VERSION} {FileState.of(video.path)} {encoder.fingerprint} {step}"
    file = (
        folder / "search_frames" / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.npz"
        if folder
        else None
    )
    # One thread makes an index, the others find it: the rollouts of a group search the same video.
    with _indexing:
        index = _kept.get(key) or (_read(file) if file is not None else None)
        if index is None:
            index = _make(video, encoder, step, report)
            if file is not None:
                _write(file, index)
        _kept[key] = index
        _kept.move_to_end(key)
        if len(_kept) > _KEPT_INDEXES:
            _kept.popitem(last=False)
    return index


def _make(video: Video, encoder: Encoder, step: float, report: Callable[[int, int], None]) -> FrameIndex:
    sampling = FrameSampling(fps=1 / step, max_frames=MAX_FRAMES, min_pixels=1, max_pixels=_PIXELS, factor=2)
    times = sampling.times(TimeSpan(0, video.duration))
    parts = []
    for begin in range(0, len(times), _BATCH):
        report(begin, len(times))
        frames = video.frames(times[begin : begin + _BATCH], sampling)
        parts.append(encoder.images([frame.image for frame in frames]))
    return FrameIndex(np.array(times), np.concatenate(parts))


def _read(file: Path) -> FrameIndex | None:
    """A kept index; None where there is none, or one that a full disk cut short."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            index = FrameIndex(kept["times"], kept["vectors"].astype(np.float32))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return index if index.vectors.ndim == 2 and len(index.times) == len(index.vectors) > 0 else None


def _write(file: Path, index: FrameIndex) -> None:
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as out:
            # Half precision: likeness is told to three digits, and nobody needs more to order frames.
            np.savez(out, times=index.times, vectors=index.vectors.astype(np.float16))
        unfinished.replace(file)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise ConfigError(f"search_frames: {file} cannot be written: {error.strerror}") from error
    _make_room(file.parent)


def _make_room(folder: Path) -> None:
    """Removes the indexes written longest ago until the rest fits."""
    files = []
    for file in folder.glob("*.npz"):
        try:
            found = file.stat()
        except FileNotFoundError:
            continue  # Another process made room.
        files.append((found.st_mtime_ns, found.st_size, file))
    total = sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if total <= MAX_FOLDER_BYTES:
            break
        file.unlink(missing_ok=True)
        total -= size


def _fingerprint(folder: Path) -> str:
    """Of a model: its configuration, and the sizes and times of its files, since weights are too long to be read."""
    digest = hashlib.blake2b((folder / "config.json").read_bytes(), digest_size=16)
    for file in sorted(folder.iterdir()):
        found = file.stat()
        digest.update(f"{file.name} {found.st_size} {found.st_mtime_ns}".encode())
    return digest.hexdigest()
