"""What a run made, as files: training and evaluation read them, in our columns and in LongVT's, with a card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from datapipe import ContextStep, Kept, Outcome, QAPair, Step, StepContext, Trace, Verdict, VideoRecord, cli
from datapipe.export.parts import write_parts
from datapipe.export.published import size_name
from datapipe.recipe import read_recipe
from datapipe.run import run_recipe
from datapipe.steps.probe_video import ProbeVideo
from longvt_plugins.hookspecs import hookimpl
from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.rows import read_rows
from longvt_plugins.testing import plugin_manager, read_stamp, write_stamped_video

VIDEOS = 12
SET_ASIDE = 0.3


@dataclass(frozen=True)
class FilterVLM(Step[VideoRecord, QAPair]):
    """Two questions about each video, as the step of that name gives them."""

    name, version = "filter_vlm", 1

    def process(self, record: VideoRecord) -> list[Outcome[QAPair]]:
        return [
            Kept(QAPair.of(record, start=start, end=start + 2.0, question=f"What is shown, {start}?", answer="a stamp"))
            for start in (1.0, 4.0)
        ]


@dataclass(frozen=True)
class Teach(ContextStep[QAPair, Trace]):
    """A trace with a real shape; every fourth second disagrees with its reference."""

    name, version = "generate_imcott", 1

    async def work(self, record: QAPair, context: StepContext) -> Outcome[Trace]:
        call = {"name": "crop_video", "arguments": {"video_path": "video_1.mp4", "start_time": 1, "end_time": 3}}
        frame = {"video": "video_1.mp4", "width": 56, "height": 56}
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": "Look closely."},
            {
                "role": "user",
                "content": [
                    {"type": "image", "image": {**frame, "time": 0.0}, "time": 0.0, "video": "video_1.mp4"},
                    {"type": "text", "text": f"video_1.mp4 lasts 8 s. {record.question}"},
                ],
            },
            {
                "role": "assistant",
                "content": "<think>I look.</think>",
                "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
            },
            {
                "role": "tool",
                "tool_call_id": "call_1",
                "name": "crop_video",
                "content": [
                    *(
                        {"type": "image", "image": {**frame, "time": time}, "time": time, "video": "video_1.mp4"}
                        for time in (1.0, 2.0)
                    ),
                    {"type": "text", "text": "Frames of video_1.mp4 from 1 s to 3 s."},
                ],
            },
            {"role": "assistant", "content": "<think>A stamp.</think><answer>a stamp</answer>"},
        ]
        agrees = record.start == 1.0
        return Kept(
            Trace.of(
                record,
                start=record.start,
                end=record.end,
                qa=record.id,
                question=record.question,
                reference_answer=record.answer,
                messages=tuple(messages),
                answer="a stamp",
                windows=((1.0, 3.0),),
                score=1.0 if agrees else 0.0,
                iou=1.0 if agrees else 0.0,
                verdicts=(Verdict("exact", agrees),),
                model="teacher",
            )
        )


class Plugin:
    """Brings the steps of this test under the names of the built-in ones."""

    @hookimpl
    def register_steps(self, register):
        for step in (ProbeVideo, FilterVLM, Teach):
            register(step)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The work folder of a run over real videos."""
    from longvt_plugins.plugins import create_plugin_manager

    folder = tmp_path_factory.mktemp("export")
    (folder / "videos").mkdir()
    for number in range(VIDEOS):
        write_stamped_video(folder / "videos" / f"{number}.mp4", seconds=8, fps=2)
    given = {"input": str(folder / "videos"), "seed": 3, "steps": ["probe_video", "filter_vlm", "generate_imcott"]}
    manager = create_plugin_manager(entry_points=False, extra=(Plugin(),))
    run_recipe(read_recipe(given, {}), folder / "work", steps=manager.steps)
    return folder


def test_files_are_read_by_training_and_evaluation_and_no_video_is_in_both(made, capsys, tmp_path):
    from trl_ext.dataset.conversations import read_conversations
    from trl_ext.dataset.questions import read_questions

    arguments = ["export", str(made / "work"), "--out", str(tmp_path), "--rl", "filter_vlm"]
    assert cli.main([*arguments, "--benchmark-share", str(SET_ASIDE)]) == 0
    out = capsys.readouterr().out
    rl, benchmark = read_questions(tmp_path / "rl.parquet"), read_rows(tmp_path / "benchmark.parquet")
    assert len(rl) + len(benchmark) == 2 * VIDEOS
    assert len(rl) > 0 < len(benchmark)
    assert not {row["videos"]["video_1.mp4"] for row in rl} & {row["videos"]["video_1.mp4"] for row in benchmark}
    assert rl[0]["video_segment"] in ([1.0, 3.0], [4.0, 6.0])
    assert Path(rl[0]["videos"]["video_1.mp4"]).is_file()
    traces = list(read_conversations(tmp_path / "sft.parquet"))
    assert len(traces) == len(rl) / 2, "half of the traces disagree with their references"
    assert traces[0].videos["video_1.mp4"].startswith(str(made / "videos"))
    assert f"{len(rl) // 2} left out: disagrees with its reference" in out
    rollouts = read_rollouts(tmp_path / "sft.parquet")
    assert {(rollout.answer, rollout.rewards["answer_reward"]) for rollout in rollouts} == {("a stamp", 1.0)}
    cli.main([*arguments, "--benchmark-share", str(SET_ASIDE), "--all-traces"])
    assert len(read_rollouts(tmp_path / "sft.parquet")) == len(rl)


def test_the_card_says_what_is_in_it_and_how_it_came_about(made, capsys, tmp_path):
    cli.main(["export", str(made / "work"), "--out", str(tmp_path), "--rl", "filter_vlm"])
    card = (tmp_path / "README.md").read_text()
    assert "- config_name: rl\n  data_files: rl.parquet\n" in card
    assert f"| `probe_video` | 1 |  | {VIDEOS} | 0 | 0 | 0 | $0.00 |" in card
    assert "disagrees with its reference" in card
    assert "Seed 3." in card
    assert "Licences and permissions of the videos" in card


def test_longvts_columns_are_read_as_longvts_files_are_and_the_frames_are_the_right_ones(made, capsys, tmp_path):
    from PIL import Image

    from trl_ext.dataset.conversations import read_conversations
    from trl_ext.dataset.media import MediaFolder
    from trl_ext.dataset.questions import read_questions

    arguments = ["export", str(made / "work"), "--out", str(tmp_path), "--rl", "filter_vlm", "--shape", "longvt"]
    assert cli.main([*arguments, "--benchmark-share", "0"]) == 0
    rl = tmp_path / f"longvt_rl_datapipe_{2 * VIDEOS}.parquet"
    (row, *_) = pq.read_table(rl).to_pylist()
    assert row["reward_model"] == {"style": "model", "ground_truth": "a stamp"}
    assert row["extra_info"]["video_segment"] in ([1.0, 3.0], [4.0, 6.0])
    assert row["videos"][0]["max_frames"] == 512
    questions = read_questions(rl, MediaFolder(made / "videos"))
    assert (len(questions), questions[0]["answer"], questions[0]["source"]) == (2 * VIDEOS, "a stamp", "datapipe")
    sft = tmp_path / f"longvt_sft_datapipe_{VIDEOS}.parquet"
    recorded = pq.read_table(sft).to_pylist()[0]["messages"]
    shown = [block["image_url"]["url"] for block in recorded[3]["content"] if block["type"] == "image_url"]
    assert [read_stamp(Image.open(tmp_path / name)) for name in shown] == [2, 4], "at 1 s and 2 s of 2 frames a second"
    (conversation, *_) = list(read_conversations(sft, MediaFolder(made / "videos")))
    assert conversation.question == "What is shown, 1.0?"
    call = conversation.messages[2]["tool_calls"][0]["function"]
    assert call["arguments"] == {"video_path": "video_1.mp4", "start_time": 1, "end_time": 3}


def test_records_are_a_data_set(made):
    from datapipe.export.tables import records_table

    table = records_table(made / "work", "filter_vlm")
    assert len(table) == 2 * VIDEOS
    assert json.loads(table[0]["provenance"])["step"] == "filter_vlm"


def test_a_long_list_becomes_numbered_parts_and_old_parts_go(tmp_path):
    def write(records: list[int], path: Path) -> None:
        path.write_text(json.dumps(records))

    written = write_parts(range(5), tmp_path / "rl.parquet", 2, write)
    assert (written.files, written.records) == ([f"rl-0000{n}.parquet" for n in range(3)], 5)
    assert json.loads((tmp_path / "rl-00002.parquet").read_text()) == [4]
    assert write_parts(range(2), tmp_path / "rl.parquet", 2, write).files == ["rl.parquet"]
    assert [path.name for path in tmp_path.iterdir()] == ["rl.parquet"]
    assert write_parts([], tmp_path / "rl.parquet", 2, write).files == []
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_written_as_longvt_writes_them():
    assert [size_name(count) for count in (340, 1_000, 1_240, 165_575)] == ["340", "1k", "1k2", "166k"]


def test_the_steps_of_this_test_do_not_hide_the_real_ones():
    assert "filter_vlm" not in plugin_manager().steps
