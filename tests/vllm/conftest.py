"""A real vLLM, from an environment of its own: the one that ``LONGVT_TEST_VLLM`` names, or the program on PATH."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longvt_plugins.synthetic import checkpoint
from longvt_plugins.synthetic.make import make_world
from longvt_plugins.synthetic.world import get_preset

HERE = Path(__file__).parent
MISSING = "no vLLM: tests/vllm/make_environment.sh .venv-vllm, then LONGVT_TEST_VLLM=.venv-vllm"
QUESTIONS = 24
START_SECONDS = 600

QUIET = {
    "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "TRL_EXPERIMENTAL_SILENCE": "1",
}  # fmt: skip


@pytest.fixture(scope="session")
def vllm_programs() -> Path:
    """The folder with the programs of the environment that has vLLM."""
    named, found = os.environ.get("LONGVT_TEST_VLLM"), shutil.which("vllm")
    if named is None and found is None:
        pytest.skip(MISSING)
    folder = Path(named, "bin").absolute() if named else Path(str(found)).parent
    assert (folder / "vllm").is_file(), f"LONGVT_TEST_VLLM={named}: no program bin/vllm there"
    return folder


@pytest.fixture(scope="session")
def environ(tmp_path_factory) -> dict[str, str]:
    """What every process of these tests gets: on the CPU, offline, and with the frames kept in a folder of this run."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LONGVT_")}
    return {**ours, **QUIET, "LONGVT_CACHE": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="session")
def in_vllm(vllm_programs, environ):
    """Runs a script beside this file with vLLM's Python; what it is told and what it says are JSON."""

    def in_vllm(script: str, told: object) -> object:
        done = subprocess.run(
            [vllm_programs / "python", HERE / script],
            input=json.dumps(told), env=environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return in_vllm


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Held-out videos and questions, one each, and some to train on."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, get_preset("tiny"), {"train": 8, "test": QUESTIONS}, seed=5, processes=1)
    return folder


@pytest.fixture(scope="session")
def trained(world, environ, tmp_path_factory) -> Path:
    """The shipped agent after one more step of ``trl sft``: weights and templates as TRL saves them."""
    from longvt_plugins.demo.stages import recipe_path
    from longvt_plugins.demo.traces import TracePlan, write_traces

    folder = tmp_path_factory.mktemp("trained")
    for _ in write_traces(world / "train.parquet", folder, TracePlan("tool", 1, 0.0, 0), 1):
        pass
    (data,) = folder.glob("*.parquet")
    flags = {
        "model_name_or_path": checkpoint("agent"), "output_dir": folder / "checkpoint", "max_steps": 1,
        "learning_rate": 1e-6, "warmup_steps": 0, "per_device_train_batch_size": 2,
    }  # fmt: skip
    recipe = recipe_path("sft").read_text().replace("data_files: sft.parquet", f"data_files: {data}")
    (folder / "sft.yaml").write_text(recipe)
    subprocess.run(
        [Path(sys.executable).with_name("trl"), "sft", "--config", folder / "sft.yaml"]
        + [str(word) for name, value in flags.items() for word in (f"--{name}", value)],
        env=environ | {"ACCELERATE_USE_CPU": "true"}, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "checkpoint"


@pytest.fixture(scope="session")
def evaluate(world, environ, tmp_path_factory):
    """Runs ``longvt eval`` over the questions, on one of our models; its results, and the rollouts' folder."""

    def evaluate(model: str, model_args: str, python: Path = Path(sys.executable)) -> tuple[dict, Path]:
        folder = tmp_path_factory.mktemp("evaluation")
        done = subprocess.run(
            [
                python, "-m", "longvt_plugins.cli", "eval", "--tasks", "longvt_synthetic_tool", "--model", model,
                "--model_args", f"{model_args},preset=tiny,max_calls=2,rollouts={folder / 'traces'}",
                "--batch_size", "16", "--gen_kwargs", "max_new_tokens=64,temperature=0",
                "--output_path", folder / "out",
            ],
            env=environ | {"LONGVT_DATA": str(world)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        (results,) = (folder / "out").rglob("*_results.json")
        numbers = json.loads(results.read_text())["results"]["longvt_synthetic_tool"]
        return numbers, folder / "traces" / "longvt_synthetic_tool"

    return evaluate


@pytest.fixture(scope="session")
def serve(vllm_programs, environ, tmp_path_factory):
    """Starts a server with ``with serve([program, ...]) as url``, and ends it with all of its processes."""

    @contextlib.contextmanager
    def serve(command: list[object]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path_factory.mktemp("server") / "log.txt"
        path = f"{vllm_programs}:{environ['PATH']}"
        with log.open("w") as file:
            server = subprocess.Popen(
                [str(word) for word in (*command, "--port", port)], env=environ | {"PATH": path},
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            _wait(server, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)

    return serve


def _wait(server: subprocess.Popen, port: int, log: Path) -> None:
    import httpx2

    for _ in range(START_SECONDS):
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200:
                return
        assert server.poll() is None, log.read_text()[-4000:]
        time.sleep(1)
    raise AssertionError(f"not up after {START_SECONDS} s: {log.read_text()[-4000:]}")
