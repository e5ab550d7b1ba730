"""Scene detection by a detector of PySceneDetect, chosen by name.

>>> detect_cuts("film.mp4", "adaptive", {"adaptive_threshold": 3.5})
[12.48, 31.04]

Names and settings are PySceneDetect's own: ``content`` is ``ContentDetector``, and so on. One pass over the film.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from longvt_plugins.errors import ConfigError, MissingExtraError, NotAVideoError
from longvt_plugins.video.video import check_regular_file

DetectorName = Literal["content", "adaptive", "histogram", "hash", "threshold"]
"""The detectors of PySceneDetect 0.7."""


def detect_cuts(path: str | Path, name: DetectorName, settings: Mapping[str, Any] | None = None) -> list[float]:
    """The seconds at which a new shot begins, the start of the film left out.

    Args:
        path: A regular file.
        name: Of the detector.
        settings: Keywords of its constructor.

    Raises:
        MissingExtraError: PySceneDetect is not installed.
        ConfigError: A setting that the detector does not have.
        NotAVideoError: PySceneDetect cannot open the file.
    """
    detector = make_detector(name, settings)
    from scenedetect import SceneManager, VideoOpenFailure, open_video

    file = Path(path).absolute()
    check_regular_file(file)
    try:
        video = open_video(str(file))
    except (VideoOpenFailure, OSError) as error:
        raise NotAVideoError(f"{file}: PySceneDetect cannot open it: {error}") from None
    scenes = SceneManager()
    scenes.add_detector(detector)
    scenes.detect_scenes(video)
    return [start.seconds for start, _ in scenes.get_scene_list()[1:]]


def make_detector(name: DetectorName, settings: Mapping[str, Any] | None = None) -> Any:
    """A detector with these settings, checked before any film is opened.

    Raises:
        MissingExtraError: PySceneDetect is not installed.
        ConfigError: An unknown detector, or a setting that it does not have.
    """
    if name not in get_args(DetectorName):
        raise ConfigError(f"no detector {name!r}; there are: fused, {', '.join(get_args(DetectorName))}")
    try:
        from scenedetect import detectors
    except ImportError:
        raise MissingExtraError("scenedetect", "curate", f"for the detector {name!r}") from None
    made: Any = getattr(detectors, f"{name.capitalize()}Detector")
    known = [parameter for parameter in inspect.signature(made).parameters if parameter != "self"]
    if unknown := [key for key in settings or {} if key not in known]:
        raise ConfigError(f"detector {name!r} has no {', '.join(unknown)}; it has: {', '.join(known)}")
    return made(**(settings or {}))
