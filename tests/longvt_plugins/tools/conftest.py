"""Videos that the tests of several tools look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from longvt_plugins.testing import write_stamped_video


@pytest.fixture(scope="session")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s at 4 frames a second; frame n shows the number n."""
    path = tmp_path_factory.mktemp("videos") / "stamped.mp4"
    write_stamped_video(path, 20)
    return path
