"""What tests of several packages need: the example plugin installed, our commands as processes, small videos."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

# Before lmms-eval loads decord, whose old libvpx would take the place of PyAV's: no VP8 or VP9 could be written.
import av
import pytest

EXAMPLE_PLUGIN = Path(__file__).parent / "example_plugin"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def example_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the example plugin is installed: its wheel is built and unpacked, without any network."""
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(build, cwd=EXAMPLE_PLUGIN, check=True, capture_output=True)
    (wheel,) = wheels.glob("longvt_zoom-*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs ``run("longvt", "plugins", path=site, env={...})`` as a process of its own."""
    cache = tmp_path_factory.mktemp("cache")  # Frames are kept in a folder of this run, not in the user's.

    def run(
        program: str,
        *args: str | Path,
        path: Path | None = None,
        env: dict[str, str] | None = None,
        code: int | None = 0,
    ) -> subprocess.CompletedProcess[str]:
        module = {"longvt": "longvt_plugins.cli", "datapipe": "datapipe.cli"}[program]
        ours = {name: value for name, value in os.environ.items() if not name.startswith("LONGVT_")}
        ours["LONGVT_CACHE"] = str(cache)
        places = [str(path)] if path else []
        ours["PYTHONPATH"] = os.pathsep.join([*places, *filter(None, [ours.get("PYTHONPATH")])])
        command = [sys.executable, "-m", module, *map(str, args)]
        done = subprocess.run(command, env=ours | (env or {}), capture_output=True, text=True, check=False)
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """Writes a small H.264 file of one frame a second; second ``n`` is a gray of ``20 * n``."""

    def make_video(path: Path, seconds: int = 6, size: tuple[int, int] = (64, 48)) -> Path:
        import numpy as np

        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=1)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            for second in range(seconds):
                pixels = np.full((size[1], size[0], 3), 20 * second, dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    return make_video


@pytest.fixture(scope="module")
def chromium():
    """A headless browser; pages that log an error or throw fail the test that opened them.

    Of one module only: as long as it is open, Playwright's event loop counts as running in this thread, and no other
    test of the process could start one.
    """
    import shutil

    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no program chromium: apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A fresh page of the browser."""
    faults: list[str] = []
    opened = chromium.new_page()
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    yield opened
    opened.close()
    assert not faults
