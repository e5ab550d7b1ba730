"""The ledger counts as TRL's own processor does, and keeps replies within the room."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from PIL import Image

from longvt_plugins.budget import REFUSAL_TOKENS
from longvt_plugins.errors import ConfigError
from longvt_plugins.ledger import REFUSED_TOKENS, Ledger
from longvt_plugins.synthetic.tiny import build_processor
from longvt_plugins.transcript import is_error_reply
from longvt_plugins.types import text_block
from trl_ext.environment import EnvironmentConfig, make_environment

SMALL = {"overview_max_frames": 2, "overview_max_pixels": 784, "crop_max_pixels": 28 * 56, "crop_fps": 4.0}


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def processor(request):
    return build_processor(request.param)


def trls_count(processor, reply) -> int:
    """Tokens by which TRL's own function lengthens the conversation, pictures processed and all."""
    from trl import GRPOTrainer

    trainer = SimpleNamespace(
        _is_vlm=True, processing_class=processor, chat_template=None, chat_template_kwargs={},
        _tokenizer=processor.tokenizer,
    )  # fmt: skip
    return len(GRPOTrainer._get_tool_suffix_ids(trainer, [{"role": "tool", "name": "crop_video", "content": reply}]))


def environment(processor, columns, room, **options):
    ledger = Ledger(processor, room, turn_tokens=50, tell=options.pop("tell", False))
    config = EnvironmentConfig(**{"calls_per_turn": 1, **SMALL, **options})
    made = make_environment(config, ledger=ledger)()
    made.reset(**columns)
    return made


def crop(environment, start, end):
    return environment.crop_video(video_path="video_1.mp4", start_time=start, end_time=end)


def test_the_count_of_200_rollouts_is_that_of_the_processor(processor, columns):
    draw = random.Random(0)
    made = environment(processor, columns, 6000, tell=True)
    for _ in range(200):
        made.reset(**columns)
        counted = 0
        for _ in range(draw.randint(1, 3)):
            start = draw.choice([0, 1.25, 7, 18, 30])
            reply = crop(made, start, start + draw.choice([0.25, 1, 3, -1]))
            counted += trls_count(processor, reply)
        assert made._context.budget.tokens == counted


def test_words_that_may_stick_together_are_counted_as_the_template_joins_them(processor):
    ledger = Ledger(processor, 1000, 10)
    picture = {"type": "image", "image": Image.new("RGB", (56, 28))}
    for reply in (
        [text_block("12"), text_block("3s"), picture, text_block(" cars")],
        [picture, picture],
        [text_block("")],
        [text_block("\n\n<tool_call>"), text_block("Straße 何色 🎬")],
    ):
        assert ledger.count(reply) == trls_count(processor, reply)


def test_a_crop_is_thinned_until_it_fits_and_says_so(processor, columns):
    room = 50 * 3 + REFUSAL_TOKENS * 3 + 60
    made = environment(processor, columns, room, max_calls=1)
    reply = crop(made, 0, 20)
    assert "thinned" in reply[0]["text"]
    assert 1 < sum(block["type"] == "image" for block in reply) < 80
    assert trls_count(processor, reply) <= room - 150 - REFUSAL_TOKENS


def test_however_a_model_calls_its_turns_and_the_replies_have_room(processor, columns):
    draw = random.Random(1)
    for _ in range(60):
        calls = draw.randint(0, 4)
        room = 50 * (calls + 2) + REFUSAL_TOKENS * (calls + 2) + draw.randint(0, 400)
        made = environment(processor, columns, room, max_calls=calls, tell=draw.random() < 0.5)
        spent = 0
        for _ in range(calls + 1):
            start = draw.choice([0, 5, 10, 99])
            name = draw.choice(["video_1.mp4", "x" * 3000])
            reply = made.crop_video(video_path=name, start_time=start, end_time=start + draw.choice([0.5, 3, 10]))
            spent += 50 + trls_count(processor, reply)
        assert is_error_reply(reply[0]["text"]), "one call too many is refused"
        assert spent + 50 <= room


def test_a_turn_may_hold_several_calls_and_its_replies_have_room_too(processor, columns):
    """However many it tries: what is used up is told once, and then in few tokens."""
    draw = random.Random(2)
    for _ in range(15):
        calls, at_once = draw.randint(0, 4), draw.randint(1, 8)
        config = EnvironmentConfig(**SMALL, max_calls=calls, calls_per_turn=at_once)
        turns = calls + 2
        room = (50 + REFUSAL_TOKENS) * turns + max(0, (turns - 1) * at_once - calls - 1) * REFUSED_TOKENS
        made = make_environment(config, ledger=Ledger(processor, room + draw.randint(0, 400), turn_tokens=50))()
        made.reset(**columns)
        spent, limit = 0, made._ledger.max_completion_length
        for _ in range(turns - 1):
            replies = [crop(made, 0, draw.choice([0.5, 3, 10, -1])) for _ in range(draw.randint(1, at_once))]
            spent += 50 + sum(trls_count(processor, reply) for reply in replies)
        assert "answer now" in str(replies) or "refused" in str(replies)
        assert spent + 50 <= limit


def test_who_was_told_to_answer_is_then_refused_in_few_tokens(processor, columns):
    made = environment(processor, columns, 4000, max_calls=1, calls_per_turn=3)
    crop(made, 0, 1)
    assert "answer now" in crop(made, 0, 1)[0]["text"]
    again = crop(made, 0, 1)
    assert again[0]["text"] == "Error: refused" and is_error_reply(again[0]["text"])
    assert trls_count(processor, again) <= REFUSED_TOKENS


def test_fewer_turns_than_calls_need_leave_more_for_the_replies(processor):
    ledger = Ledger(processor, 4000, 200)
    most = {turns: ledger.reply_tokens(5, max_turns=turns, calls_per_turn=1) for turns in (None, 4, 7, 9)}
    assert most == {None: 4000 - 7 * 200, 4: 4000 - 4 * 200, 7: 4000 - 7 * 200, 9: 4000 - 7 * 200}


def test_what_is_left_is_told_if_asked_for(processor, columns):
    made = environment(processor, columns, 4000, max_calls=3, tell=True)
    first = crop(made, 0, 1)[-1]["text"]
    budget = made._context.budget
    budget.start_call()
    assert first == f"(2 calls and {int(budget.room())} tokens left)"
    assert crop(made, 0, 1)[-1]["text"].startswith("(0 calls and")
    assert "left)" not in str(crop(environment(processor, columns, 4000), 0, 1)[-1])


def test_a_long_refusal_is_cut_to_the_room_kept_for_it(processor, columns):
    columns["videos"] = {f"a_rather_long_name_of_a_video_{number}.mp4": "x.mp4" for number in range(60)}
    made = make_environment(EnvironmentConfig(**SMALL), ledger=Ledger(processor, 4000, 50))()
    made._start(columns["videos"])
    (block,) = made.crop_video(video_path="?", start_time=0, end_time=1)
    assert block["text"] == "Error: the call cannot be used"


def test_a_recipe_without_room_for_its_turns_is_refused(processor):
    with pytest.raises(ConfigError, match="too short for 5 calls: 7 turns of turn_tokens 300 leave -100"):
        make_environment(EnvironmentConfig(max_calls=5, calls_per_turn=1), ledger=Ledger(processor, 2000, 300))
    with pytest.raises(ConfigError, match="needs max_calls"):
        make_environment(EnvironmentConfig(max_calls=None), ledger=Ledger(processor, 2000, 300))


def test_turns_are_bounded_by_the_generation_itself(processor):
    ledger = Ledger(processor, 1000, 64)
    assert ledger.generation_kwargs(use_vllm=False) == {"max_new_tokens": 64}
    assert ledger.generation_kwargs(use_vllm=True) == {"max_tokens": 64}
