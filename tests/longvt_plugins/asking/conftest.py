"""A video, a scripted server, and the command in this process."""

import pytest

from longvt_plugins.cli import main
from longvt_plugins.testing import write_stamped_video
from longvt_plugins.testing_server import ScriptedChatServer


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("asking") / "film.mp4"
    write_stamped_video(path, seconds=20, fps=4)
    return path


@pytest.fixture
def serve():
    """Serves a script until the test ends."""
    servers = []

    def serve(script):
        servers.append(ScriptedChatServer(script))
        servers[-1].start()
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


@pytest.fixture
def longvt(capsys, monkeypatch, tmp_path):
    """Runs ``longvt ask`` here: exit code, standard output and standard error."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LONGVT_CACHE", str(tmp_path / "cache"))

    def longvt(*args):
        code = main(["ask", *map(str, args)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return longvt
