"""TRL's own trainer and tool loop over our environment; only what the model samples is scripted."""

import pytest

from longvt_plugins import ToolContext, hookimpl
from longvt_plugins.judges import Judgement
from longvt_plugins.ledger import Ledger
from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.rows import read_rows, write_rows
from longvt_plugins.testing import plugin_manager
from trl_ext import VideoToolSpec
from trl_ext.environment import EnvironmentBug
from trl_ext.model_setup import load_processor
from trl_ext.rollout_keeper import RolloutKeeper, count_generated
from trl_ext.turns import follow_turns


def call(arguments: str, name: str = "crop_video") -> str:
    return f'<think>Look.</think>\n<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call><|im_end|>'


WINDOW = '{"video_path": "video_1.mp4", "start_time": 1, "end_time": 3}'
ANSWER = "<think>Seen.</think><answer>1</answer><|im_end|>"


class Breaking:
    """A tool that breaks, and a judge that has no verdict on "mauve"."""

    @hookimpl
    def register_judges(self, register):
        def make(config):
            async def judge(question, reference, prediction, *, options=None, kind=None):
                return Judgement(None if prediction == "mauve" else float(prediction == reference), "")

            return judge

        register("unsteady", make)

    @hookimpl
    def register_tools(self, register):
        def break_down(ctx: ToolContext) -> str:
            """Break."""
            return str(1 / 0)

        register(break_down)


def train_one_step(
    tmp_path,
    rows_file,
    tiny_model,
    *rollouts: list[str],
    rows: int = 1,
    room: int = 600,
    turn_tokens: int | None = None,
    **options,
):
    """Trains one step on the first rows, the n-th rollout writing the n-th turns; gives trainer and rollouts."""
    from trl import GRPOConfig, GRPOTrainer

    class ScriptedTrainer(GRPOTrainer):
        def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, **_):
            turns = []
            for ids in prompt_ids:
                place = next(place for place, left in enumerate(scripts) if left[0] == self._depth(ids))
                turns.append(self._tokenizer(scripts.pop(place)[1], add_special_tokens=False)["input_ids"])
            return turns, None

        def _depth(self, ids):
            header = self._tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)
            return self._tokenizer.decode(ids).count(self._tokenizer.decode(header)) - 1

    # Turns in the order in which TRL asks for them: all first turns, then all second ones.
    scripts = [(depth, rollout[depth]) for depth in range(5) for rollout in rollouts if depth < len(rollout)]
    processor = load_processor(str(tiny_model), calls_per_turn=options.get("calls_per_turn", 8))
    iterations = options["max_turns"] - 1 if "max_turns" in options else 3
    spec = VideoToolSpec(
        rows_file,
        keeper=RolloutKeeper(tmp_path / "rollouts", model="scripted", tokenizer=processor.tokenizer),
        ledger=Ledger(processor, room, turn_tokens) if turn_tokens is not None else None,
        overview_max_frames=2,
        overview_max_pixels=28 * 28,
        crop_max_pixels=28 * 28,
        **options,
    )
    trainer = ScriptedTrainer(
        model=str(tiny_model),
        args=GRPOConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=1,
            per_device_train_batch_size=len(rollouts),
            num_generations=len(rollouts) // rows,
            max_completion_length=room,
            max_tool_calling_iterations=iterations,
            report_to="none",
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            logging_steps=1,
            shuffle_dataset=False,
        ),
        processing_class=processor,
        train_dataset=spec.train_dataset.select(range(rows)),
        environment_factory=spec.environment_factory,
        reward_funcs=spec.reward_funcs,
    )
    follow_turns(trainer)
    trainer.train()
    return trainer, {rollout.id[-1]: rollout for rollout in read_rollouts(tmp_path / "rollouts")}


def test_a_step_with_calls_errors_and_answers(tmp_path, rows_file, tiny_model):
    trainer, kept = train_one_step(
        tmp_path,
        rows_file,
        tiny_model,
        [call(WINDOW), ANSWER],
        [call('{"video_path": "nothing.mp4", "start_time": 1, "end_time": 3}'), ANSWER],
        [call(WINDOW), call(WINDOW), call(WINDOW), call(WINDOW)],
        ["<think>No idea.</think><|im_end|>"],
    )
    rollouts = list(kept.values())
    assert [rollout.stop_reason for rollout in rollouts] == ["answered", "answered", "max_turns", "no_answer"]
    assert [rollout.windows for rollout in rollouts] == [[[1, 3]], [], [[1, 3]] * 3, []]
    assert [rollout.frames for rollout in rollouts] == [2 + 2, 2, 2 + 6, 2]
    assert rollouts[0].rewards == {
        "answer_reward": 1.0,
        "format_reward": 1.0,
        "time_iou_reward": pytest.approx(0.5),
    }
    assert rollouts[1].rewards["time_iou_reward"] == 0.0
    refused = rollouts[1].messages[3]
    assert refused["content"][0]["text"].startswith("Error: there is no video named 'nothing.mp4'")
    reference = rollouts[0].messages[3]["content"][2]["image"]
    assert reference == {"video": "video_1.mp4", "time": 1.0, "width": 28, "height": 28}
    generated = [len(trainer._tokenizer(text)["input_ids"]) for text in (call(WINDOW), ANSWER)]
    assert rollouts[0].tokens == sum(generated)
    assert rollouts[2].tokens == 4 * generated[0]
    logged = trainer.state.log_history[0]
    assert logged["tools/tool_errors"] == pytest.approx(1 / 5)
    assert logged["tools/video_errors"] == 0


LONG_WINDOW = '{"video_path": "video_1.mp4", "start_time": 0, "end_time": 20}'


def test_a_reply_too_long_for_the_conversation_leaves_the_rollout_unanswered_unless_a_ledger_is_kept(
    tmp_path, rows_file, tiny_model
):
    script = [call(LONG_WINDOW), call(LONG_WINDOW), ANSWER]
    room = {"room": 60 * 4 + 128 * 4 + 40, "max_calls": 2, "calls_per_turn": 1, "crop_fps": 4.0, "crop_max_frames": 80}
    _, without = train_one_step(tmp_path / "without", rows_file, tiny_model, script, [ANSWER], **room)
    assert {rollout.stop_reason for rollout in without.values()} == {"max_turns", "answered"}
    trainer, kept = train_one_step(tmp_path / "with", rows_file, tiny_model, script, [ANSWER], turn_tokens=60, **room)
    assert [rollout.stop_reason for rollout in kept.values()] == ["answered", "answered"]
    long = next(rollout for rollout in kept.values() if rollout.windows)
    assert long.frames > 2
    assert all("thinned" in message["content"][0]["text"] for message in (long.messages[3], long.messages[5]))
    assert trainer.state.log_history[0]["completions/clipped_ratio"] == 0


def test_calls_of_one_turn_are_run_together_and_the_last_turn_is_there_to_answer(tmp_path, rows_file, tiny_model):
    later = WINDOW.replace('1, "end_time": 3', '5, "end_time": 8')
    both = call(WINDOW).replace("<|im_end|>", "") + "\n" + call(later).partition("\n")[2]
    three = both.replace("<|im_end|>", "") + "\n" + call(WINDOW).partition("\n")[2]
    _, kept = train_one_step(
        tmp_path,
        rows_file,
        tiny_model,
        [both, call(WINDOW), ANSWER],
        [three, call(WINDOW), call(WINDOW)],
        max_turns=3,
        calls_per_turn=2,
    )
    answering, calling = kept.values()
    assert (answering.stop_reason, calling.stop_reason) == ("answered", "max_turns")
    for rollout in (answering, calling):
        # Two calls of the first turn, of which a third is not read; the call of the last turn but one is refused.
        assert rollout.windows == [[1.0, 3.0], [5.0, 8.0]]
        roles = [message["role"] for message in rollout.messages]
        assert roles == ["system", "user", "assistant", "tool", "tool", "assistant", "tool", "assistant"]
        assert rollout.messages[6]["content"][0]["text"].endswith("answer now with what you have seen")


def test_what_a_batch_is_about_to_look_at_is_decoded_side_by_side_before(tmp_path, rows_file, tiny_model, video):
    """Two films: their overviews, and the windows of the first turns, are in memory before they are asked for."""
    (tmp_path / "other.mp4").write_bytes(video.read_bytes())
    first, second, *_ = read_rows(rows_file)
    write_rows([first, {**second, "videos": {"video_1.mp4": str(tmp_path / "other.mp4")}}], tmp_path / "two.parquet")
    turns = [call(WINDOW), call('{"video_path": "nothing.mp4", "start_time": 1, "end_time": "x"}'), ANSWER]
    trainer, kept = train_one_step(tmp_path, tmp_path / "two.parquet", tiny_model, turns, turns, turns, turns, rows=2)
    assert [rollout.windows for rollout in kept.values()] == [[[1.0, 3.0]]] * 4
    stats = trainer.environment_factories[None].library.stats()
    # 2 overview frames and 2 of the window, of 2 films; the 16 that environments asked for were all there.
    assert (stats.misses, stats.memory_hits) == (8, 16)


def test_a_bug_in_a_tool_ends_the_training(tmp_path, rows_file, tiny_model):
    with pytest.raises(EnvironmentBug, match="'break_down' broke"):
        train_one_step(
            tmp_path,
            rows_file,
            tiny_model,
            [call("{}", "break_down"), ANSWER],
            [ANSWER],
            plugins=plugin_manager(Breaking()),
            tools=("crop_video", "break_down"),
        )


def test_a_rollout_without_a_verdict_moves_neither_the_model_nor_its_group(tmp_path, rows_file, tiny_model):
    def answer(word: str) -> str:
        return f"<think>Seen.</think><answer>{word}</answer><|im_end|>"

    trainer, kept = train_one_step(
        tmp_path,
        rows_file,
        tiny_model,
        [answer("1")],
        [answer("mauve")],
        [answer("0")],
        judge="unsteady",
        judge_check=False,
        plugins=plugin_manager(Breaking()),
    )
    right, undecided, wrong = trainer._logs["advantages"]
    assert (right > 0, undecided, wrong) == (True, 0.0, pytest.approx(-right))
    assert [set(rollout.rewards.values()) for rollout in kept.values()] == [{1.0, 0.0}, {None}, {0.0, 1.0}]
    assert trainer.state.log_history[0]["judge/no_verdict"] == pytest.approx(1 / 3)


def test_a_row_whose_video_is_broken_fails_its_own_rollouts_and_no_others(tmp_path, rows_file, tiny_model):
    (tmp_path / "broken.mp4").write_text("not a video")
    whole, broken, *_ = read_rows(rows_file)
    write_rows([whole, {**broken, "videos": {"video_1.mp4": str(tmp_path / "broken.mp4")}}], tmp_path / "two.parquet")
    trainer, kept = train_one_step(
        tmp_path,
        tmp_path / "two.parquet",
        tiny_model,
        [call(WINDOW), ANSWER],
        ["<think>No idea.</think><|im_end|>"],
        [call(WINDOW), ANSWER],
        [ANSWER],
        rows=2,
    )
    of_row = {name: [rollout for rollout in kept.values() if rollout.row_id == name] for name in ("row-0", "row-1")}
    assert [rollout.stop_reason for rollout in of_row["row-0"]] == ["answered", "no_answer"]
    for rollout in of_row["row-1"]:
        assert rollout.stop_reason == "error"
        assert rollout.error.startswith("the overview: ") and "broken.mp4" in rollout.error
        assert set(rollout.rewards.values()) == {None}
        assert rollout.windows == [] and rollout.frames == 1, "a blank one"
    right, wrong, *failed = trainer._logs["advantages"]
    assert right > 0 > wrong and failed == [0.0, 0.0]


def test_generated_tokens_are_counted_without_the_replies_between_them():
    eos, header = 9, [7, 8]
    assert count_generated([1, 2, 9, 5, 5, 7, 8, 3, 9], eos, header) == 5
    assert count_generated([1, 2, 3], eos, header) == 3
    assert count_generated([1, 9], eos, header) == 2
    assert count_generated([], eos, header) == 0


def test_a_tool_of_an_installed_plugin_is_trained_with_by_being_named(
    tmp_path, rows_file, tiny_model, example_plugin, monkeypatch
):
    monkeypatch.syspath_prepend(example_plugin)
    zoom = call('{"video_path": "video_1.mp4", "timestamp": 2, "bbox": [0, 0, 28, 28]}', name="zoom_pixels")
    _, kept = train_one_step(tmp_path, rows_file, tiny_model, [zoom, ANSWER], [ANSWER], tools=["zoom_pixels"])
    replies = [message for rollout in kept.values() for message in rollout.messages if message["role"] == "tool"]
    assert [reply["content"][0]["text"] for reply in replies] == ["2s, region [0.0, 0.0, 28.0, 28.0]:"]
    assert {rollout.stop_reason for rollout in kept.values()} == {"answered"}
    assert sum(rollout.frames for rollout in kept.values()) == 2 + 2 + 1  # the overviews, and the look
