"""Asks a checkpoint the same in vLLM's offline engine and in transformers; run by vLLM's Python, says JSON."""

import asyncio
import json
import os
import sys

from PIL import Image

from longvt_plugins.errors import ChatError
from longvt_plugins.local_model import LocalModel
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.vllm_model import START_METHOD, START_VARIABLE, VllmModel


def conversation(number):
    """Conversations of several lengths, with none to three images."""
    blocks = []
    for second in range(number % 4):
        image = Image.effect_noise((28, 28 * (1 + number % 2)), 20 + 30 * second + number).convert("RGB")
        blocks += [{"type": "text", "text": f"{second}s"}, {"type": "image", "image": image, "time": float(second)}]
    return [{"role": "user", "content": [*blocks, {"type": "text", "text": f"Which colour? {number}"}]}]


def ask(model, conversations, max_tokens=24, temperature=0.0):
    async def all_at_once():
        return await asyncio.gather(
            *(model.complete(one, TOOLS, max_tokens=max_tokens, temperature=temperature) for one in conversations)
        )

    return [
        [each.message["content"], each.prompt_tokens, each.completion_tokens, each.stop_reason]
        for each in asyncio.run(all_at_once())
    ]


async def stream(model, messages):
    heard = []
    completion = await model.stream(messages, TOOLS, max_tokens=24, hear=heard.append)
    return [heard, completion.message["content"]]


def refusal(model, messages):
    try:
        asyncio.run(model.complete(messages, max_tokens=4))
    except ChatError as error:
        return [type(error).__name__, str(error)]
    return None


def main(path):
    os.environ[START_VARIABLE] = START_METHOD
    conversations = [conversation(number) for number in range(12)]
    model = VllmModel(path, max_model_len=2048, enforce_eager=True)
    told = {
        "vllm": ask(model, conversations),  # each in an event loop of its own
        "alone": [ask(model, [one])[0] for one in conversations[:4]],
        "streamed": asyncio.run(stream(model, conversations[3])),
        "sampled": ask(model, [conversations[1]] * 4, temperature=1.0),
        "hot": ask(model, conversations, max_tokens=64, temperature=2.0),
        "short": ask(model, conversations[:1], max_tokens=3),
        "too_long": refusal(model, [{"role": "user", "content": "word " * 5000}]),
        "after": ask(model, conversations[:1]),
    }
    model.close()
    model.close()
    told["transformers"] = ask(LocalModel(path), conversations)
    print("\n" + json.dumps(told))


if __name__ == "__main__":
    TOOLS = [create_plugin_manager(entry_points=False).tools.get("crop_video").schema]
    main(json.load(sys.stdin))
