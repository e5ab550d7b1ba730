"""Processes that make unequal numbers of turns ask a vLLM server each for itself; what would hang is refused."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from PIL import Image

from longvt_plugins.errors import ConfigError
from trl_ext.unequal_turns import OwnTurns, generate_alone, refuse_waiting_processes

IMAGE = 7


class RolloutServer(ThreadingHTTPServer):
    """Answers the routes of vLLM that TRL's client asks; a completion is the prompt backwards, so that one can tell."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def reply(self, path: str, request: dict) -> dict:
        self.asked.append((path, request))
        if path.endswith("/render"):
            pictures = [block for block in request["messages"][0]["content"] if block["type"] == "image_url"]
            known = str(hash(json.dumps(pictures)))
            return {"features": {"mm_hashes": {"image": known}, "mm_placeholders": {"image": [{}] * len(pictures)}}}
        prompts = request["prompt"] if path.endswith("/completions") else [request["token_ids"]]
        return {"choices": [self._choice(path, prompt) for prompt in prompts]}

    def _choice(self, path: str, prompt: list[int]) -> dict:
        ids = prompt[::-1]
        tokens = [f"token_id:{token}" for token in ids]
        if path.endswith("/completions"):
            told = {"tokens": tokens, "token_logprobs": [-0.5] * len(ids), "top_logprobs": [None] * len(ids)}
        else:
            told = {"content": [{"token": token, "logprob": -0.5, "top_logprobs": []} for token in tokens]}
        return {"prompt_token_ids": prompt, "token_ids": ids, "logprobs": told}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._send({"data": [{"id": "model"}]})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._send(self.server.reply(self.path, request))

    def _send(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def server(monkeypatch):
    pytest.importorskip("trl")
    # TRL asks only whether vLLM is installed: its client is plain HTTP.
    monkeypatch.setattr("trl.generation.vllm_client.is_vllm_available", lambda: True)
    with RolloutServer() as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served
        served.shutdown()


def generation(server):
    """TRL's own object as a process holds it that is not the first: without a client."""
    from trl.generation.vllm_generation import VLLMGeneration

    made = VLLMGeneration.__new__(VLLMGeneration)
    sampling = {"repetition_penalty": 1.0, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": None, "logprobs": 0,
                "max_completion_length": 50, "structured_outputs_regex": None,
                "generation_kwargs": {"max_tokens": 9}}  # fmt: skip
    vars(made).update(
        **sampling, server_base_url=server.url, server_timeout=5.0,
        processing_class=SimpleNamespace(image_token_id=IMAGE), sync_weights=lambda: None,
        accelerator=SimpleNamespace(wait_for_everyone=lambda: None),
    )  # fmt: skip
    return made


def trainer(server, **other):
    return SimpleNamespace(
        **{"use_vllm": True, "vllm_mode": "server", "tools": [1], "vllm_generation": generation(server), **other}
    )


def test_each_process_gets_the_completions_of_its_own_prompts_however_many_turns_others_make(server):
    """TRL's own way would give the second process a slice of what the first one asked."""
    first, second = trainer(server), trainer(server)
    generate_alone(first)
    generate_alone(second)
    turns = [(first, [[1, 2], [3, 4], [3, 4]]), (second, [[5, 6]]), (second, [[5, 6, 8]]), (second, [[5], [9, 9, 1]])]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda turn: turn[0].vllm_generation.generate(turn[1], None, num_generations=8), turns))
    for (_, prompts), (told, completions, log_probabilities, _) in zip(turns, found, strict=True):
        assert told == prompts
        assert completions == [prompt[::-1] for prompt in prompts]
        assert [len(each) for each in log_probabilities] == [len(prompt) for prompt in prompts]
    assert {(request["n"], request["max_tokens"]) for _, request in server.asked} == {(1, 9)}


def test_pictures_of_a_group_are_sent_once_and_stand_where_their_tokens_are(server):
    alone = trainer(server)
    generate_alone(alone)
    red, blue = Image.new("RGB", (28, 28), "red"), Image.new("RGB", (28, 28), "blue")
    prompts = [[1, IMAGE, IMAGE, 2], [1, IMAGE, IMAGE, 2], [IMAGE, 3, IMAGE, IMAGE], [4]]
    pictures = [[red], [red.copy()], [red, blue], None]
    _, completions, log_probabilities, _ = alone.vllm_generation.generate(prompts, pictures, num_generations=2)
    assert completions == [prompt[::-1] for prompt in prompts]
    assert log_probabilities[2] == [[-0.5]] * 4
    rendered = [request for path, request in server.asked if path.endswith("/render")]
    assert len(rendered) == 2
    asked = {tuple(request["token_ids"]): request["features"] for path, request in server.asked if "generate" in path}
    assert [place["offset"] for place in asked[IMAGE, 3, IMAGE, IMAGE]["mm_placeholders"]["image"]] == [0, 2]
    assert asked[4,] is None


def test_weights_have_arrived_before_anybody_asks(server):
    order = []
    alone = trainer(server)
    alone.vllm_generation.sync_weights = lambda: order.append("sent")
    alone.vllm_generation.accelerator.wait_for_everyone = lambda: order.append("all wait")
    generate_alone(alone)
    alone.vllm_generation.sync_weights()
    assert order == ["sent", "all wait"]


@pytest.mark.parametrize("other", [{"use_vllm": False}, {"vllm_mode": "colocate"}, {"tools": []}])
def test_other_trainers_generate_as_trl_does(server, other):
    left_alone = trainer(server, **other)
    generate_alone(left_alone)
    assert not isinstance(left_alone.vllm_generation.generate, OwnTurns)


def training(**settings):
    return SimpleNamespace(
        **{"use_vllm": False, "vllm_mode": "colocate", "vllm_tensor_parallel_size": 1, "vllm_enable_sleep_mode": False}
        | settings
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, r"cannot be generated from by transformers.*Set use_vllm: true"),
        ({"use_vllm": True, "vllm_tensor_parallel_size": 2}, r"vllm_tensor_parallel_size 2 spans processes"),
        ({"use_vllm": True, "vllm_enable_sleep_mode": True}, r"anew for every turn.*Set it to false"),
    ],
)
def test_what_would_wait_for_ever_is_refused_at_the_start(settings, told):
    with pytest.raises(ConfigError, match=told) as raised:
        refuse_waiting_processes(training(**settings), processes=2, sharded=True, tools=True)
    assert "\n" not in str(raised.value)
    refuse_waiting_processes(training(**settings), processes=1, sharded=True, tools=True)
    refuse_waiting_processes(training(**settings), processes=2, sharded=True, tools=False)


@pytest.mark.parametrize(
    ("settings", "sharded"),
    [({}, False), ({"use_vllm": True}, True), ({"use_vllm": True, "vllm_mode": "server"}, True)],
)
def test_what_works_is_let_through(settings, sharded):
    refuse_waiting_processes(training(**settings), processes=8, sharded=sharded, tools=True)
