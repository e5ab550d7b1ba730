"""A checkpoint in this process: a tiny Qwen2.5-VL with random weights."""

import asyncio
import json
import shutil

import pytest
import torch
from PIL import Image

from longvt_plugins.agent import AgentConfig, run_agents
from longvt_plugins.errors import ConfigError
from longvt_plugins.local_model import LocalModel, _Sampler
from longvt_plugins.synthetic.tiny import build_tiny_model
from longvt_plugins.testing import plugin_manager, write_stamped_video
from longvt_plugins.video.sampling import FrameSampling

TOOL = plugin_manager().tools.get("crop_video").schema


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / request.param
    build_tiny_model(request.param, folder, seed=0)
    return folder


def conversation(number):
    """Conversations of several lengths, with none to three images."""
    blocks = []
    for second in range(number % 4):
        image = Image.effect_noise((28, 28 * (1 + number % 2)), 20 + 30 * second + number).convert("RGB")
        blocks += [{"type": "text", "text": f"{second}s"}, {"type": "image", "image": image, "time": float(second)}]
    text = {"type": "text", "text": f"Which colour does the square flash? {'Look well. ' * (number % 3)}{number}"}
    return [{"role": "system", "content": "You see."}, {"role": "user", "content": [*blocks, text]}]


CONVERSATIONS = [conversation(number) for number in range(16)]


def ask(model, conversations, temperature=0.0, max_tokens=24):
    async def all_at_once():
        return await asyncio.gather(
            *(model.complete(one, [TOOL], max_tokens=max_tokens, temperature=temperature) for one in conversations)
        )

    return asyncio.run(all_at_once())


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_what_is_written_does_not_depend_on_the_batch(checkpoint, temperature):
    alone = ask(LocalModel(checkpoint, batch_size=1, dtype="float32"), CONVERSATIONS, temperature)
    backwards = ask(LocalModel(checkpoint, batch_size=8, dtype="float32"), CONVERSATIONS[::-1], temperature)[::-1]
    assert backwards == alone
    assert len({completion.message["content"] for completion in alone}) > 1


def test_conversations_that_wait_together_are_continued_together(checkpoint, monkeypatch):
    model = LocalModel(checkpoint, batch_size=8)
    sizes = []
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda batch: sizes.append(len(batch)) or generate(batch))
    ask(model, CONVERSATIONS * 2, max_tokens=2)
    assert sizes == [8, 8, 8, 8]


def test_sampling_repeats_with_its_seed_and_varies_without(checkpoint):
    def written(seed):
        completions = ask(LocalModel(checkpoint, seed=seed), [CONVERSATIONS[1]] * 4, temperature=1.0)
        return sorted(completion.message["content"] for completion in completions)

    assert written(1) == written(1)
    assert written(1) != written(2)
    assert len(set(written(1))) == 4  # one question asked four times is answered four ways


def test_sampling_follows_the_softmax_of_its_temperature():
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1, 1e-30]])).repeat(4000, 1)
    sampler = _Sampler([torch.Generator().manual_seed(row) for row in range(4000)], [0.5] * 4000)
    drawn = torch.bincount(sampler(torch.zeros(4000, 1), logits).argmax(dim=1), minlength=4) / 4000
    squared = torch.tensor([0.49, 0.04, 0.01, 0.0])
    assert torch.allclose(drawn, squared / squared.sum(), atol=0.03)


def test_a_row_without_noise_takes_the_likeliest_token():
    scores = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert torch.equal(_Sampler([None, None], [0.0, 0.0])(torch.zeros(2, 1), scores.clone()), scores)


def test_image_tokens_are_never_written(checkpoint):
    completions = ask(LocalModel(checkpoint), CONVERSATIONS, temperature=30.0, max_tokens=64)
    text = "".join(completion.message["content"] for completion in completions)
    assert len(text) > 1000
    assert not any(token in text for token in ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"))


def test_every_request_keeps_its_own_limit(checkpoint):
    model = LocalModel(checkpoint)

    async def both():
        return await asyncio.gather(
            model.complete(CONVERSATIONS[0], max_tokens=3), model.complete(CONVERSATIONS[1], max_tokens=9)
        )

    short, long = asyncio.run(both())
    assert (short.completion_tokens, long.completion_tokens) == (3, 9)
    assert (short.stop_reason, long.stop_reason) == ("length", "length")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A model with a head that makes it write one text, whatever it is shown."""
    folder = tmp_path_factory.mktemp("spoken") / "model"
    build_tiny_model("qwen2_5_vl", folder, seed=0)

    def speak(text):
        model = LocalModel(folder)
        tokens = model.tokenizer.encode(text, add_special_tokens=False)

        def recite(module, args, output):
            # What was written so far is the length of the cache beyond the prompt.
            place = model.written
            output.logits[:, -1, :] = -100.0
            output.logits[:, -1, tokens[min(place, len(tokens) - 1)]] = 100.0
            model.written += 1
            return output

        model.written = 0
        model.model.register_forward_hook(recite)
        return model

    return speak


def test_tags_are_kept_calls_are_read_and_the_end_token_is_not(spoken):
    call = '{"name": "crop_video", "arguments": {"video_path": "video_1.mp4", "start_time": 1, "end_time": 2}}'
    (completion,) = ask(
        spoken(f"<think>I look.</think>\n<tool_call>\n{call}\n</tool_call><|im_end|>"), [CONVERSATIONS[0]], 0.0, 200
    )
    assert completion.message["content"] == "<think>I look.</think>"
    (entry,) = completion.message["tool_calls"]
    assert (entry["id"], entry["function"]) == ("call_1", json.loads(call))
    assert completion.stop_reason == "tool_calls"


def test_a_later_call_gets_a_later_id(spoken):
    model = spoken('<tool_call>{"name": "crop_video", "arguments": {}}</tool_call><|im_end|>')
    earlier = {"id": "call_1", "type": "function", "function": {"name": "crop_video", "arguments": {}}}
    history = [
        *CONVERSATIONS[0],
        {"role": "assistant", "content": "", "tool_calls": [earlier]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Error: no"},
    ]
    (completion,) = ask(model, [history], 0.0, 100)
    assert completion.message["tool_calls"][0]["id"] == "call_2"


def test_an_answer_keeps_its_tags(spoken):
    (completion,) = ask(spoken("<think>x</think><answer>red</answer><|im_end|>"), [CONVERSATIONS[0]], 0.0, 100)
    assert completion.message == {"role": "assistant", "content": "<think>x</think><answer>red</answer>"}
    assert completion.stop_reason == "stop"


def test_a_failure_reaches_everybody_who_waits_and_the_model_goes_on(checkpoint):
    model = LocalModel(checkpoint, batch_size=4)
    reference = {"video": "video_1.mp4", "time": 1.0, "width": 28, "height": 28}
    faulty = [{"role": "user", "content": [{"type": "image", "image": reference}]}]

    async def together():
        return await asyncio.gather(
            *(model.complete(one, max_tokens=2) for one in (faulty, CONVERSATIONS[0])), return_exceptions=True
        )

    assert all(isinstance(outcome, TypeError) for outcome in asyncio.run(together()))
    assert ask(model, [CONVERSATIONS[0]])[0].completion_tokens > 0  # in another event loop, too


def test_agents_run_on_it(checkpoint, tmp_path):
    write_stamped_video(tmp_path / "v.mp4", seconds=8, fps=2)
    row = {
        "id": "q", "videos": {"video_1.mp4": str(tmp_path / "v.mp4")}, "kind": "open", "question": "Which?",
        "answer": "red", "video_segment": [1.0, 2.0], "options": None, "source": "test",
    }  # fmt: skip
    sampling = FrameSampling(fps=0.5, max_frames=4, min_pixels=784, max_pixels=784)
    config = AgentConfig(overview=sampling, crop=sampling, max_new_tokens=16)
    rows = [{**row, "id": f"q{number}"} for number in range(6)]
    rollouts = asyncio.run(run_agents(LocalModel(checkpoint), rows, config, plugin_manager()))
    assert [rollout.row_id for rollout in rollouts] == [row["id"] for row in rows]
    assert all(rollout.tokens > 0 and rollout.frames == 4 for rollout in rollouts)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no checkpoint in .*config\.json"):
        LocalModel(tmp_path)


def test_a_processor_without_a_chat_template_is_refused(checkpoint, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(checkpoint, folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="no chat template"):
        LocalModel(folder)


def test_a_batch_of_none_is_refused(checkpoint):
    with pytest.raises(ConfigError, match="batch_size"):
        LocalModel(checkpoint, batch_size=0)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_turn_is_told_while_it_is_written(checkpoint, temperature):
    async def hear_all(model):
        heard = [[] for _ in CONVERSATIONS[:4]]
        turns = [
            model.stream(one, [TOOL], max_tokens=8 + 4 * place, temperature=temperature, hear=heard[place].append)
            for place, one in enumerate(CONVERSATIONS[:4])
        ]
        return await asyncio.gather(*turns), heard

    completions, heard = asyncio.run(hear_all(LocalModel(checkpoint, dtype="float32")))
    assert max(map(len, heard)) > 4
    for completion, pieces in zip(completions, heard, strict=True):
        # All but the first bytes of a character that was cut off at the longest turn.
        assert completion.message["content"].rstrip("\ufffd") == "".join(pieces)
