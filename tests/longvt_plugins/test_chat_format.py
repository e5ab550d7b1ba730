"""What is the same for every engine: seeds, and how a turn is told. The rest is tested through the engines."""

import pytest
from PIL import Image

from longvt_plugins.chat_format import ChatFormat, Draws, Prompt, TurnTeller
from longvt_plugins.synthetic import checkpoint

pytest.importorskip("transformers")


def picture(level):
    return Prompt("What is it?", [Image.new("L", (4, 4), level)])


def test_a_conversation_draws_its_own_seeds_whoever_asks_before():
    alone, beside = Draws(0), Draws(0)
    for level in range(5):
        beside.next(picture(10 + level))
    mine = [alone.next(picture(0)) for _ in range(3)]
    assert mine == [beside.next(picture(0)) for _ in range(3)]
    assert len(set(mine)) == 3
    assert mine[0] != Draws(1).next(picture(0))
    assert mine[0] != Draws(0).next(picture(1))
    assert all(0 <= seed < 1 << 63 for seed in mine)


@pytest.fixture(scope="module")
def chat():
    return ChatFormat(checkpoint("agent"))


@pytest.mark.parametrize(("max_tokens", "told"), [(100, "<think>Ünder</think>"), (2, None)])
def test_a_turn_is_told_up_to_its_end_or_the_longest(chat, max_tokens, told):
    tokens = chat.tokenizer("<think>Ünder</think><|im_end|>more")["input_ids"]
    pieces = []
    teller = TurnTeller(chat, pieces.append, max_tokens)
    more = [teller.write(token) for token in tokens]
    end = next(place for place, token in enumerate(tokens) if token in chat.ends)
    assert more == [place < min(end, max_tokens) for place in range(len(tokens))]
    text = chat.completion(tokens, [], max_tokens=max_tokens, prompt_tokens=1).message["content"]
    assert "".join(pieces) == text.rstrip("\ufffd")
    assert told is None or text == told
