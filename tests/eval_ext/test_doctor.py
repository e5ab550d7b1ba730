"""``longvt eval doctor``: each fault that would end or spoil an evaluation, found before it starts, with its cure."""

import json
import shutil

import pytest

from eval_ext.doctor import examine, known_tasks
from longvt_plugins.cli import main
from longvt_plugins.testing import write_stamped_video
from longvt_plugins.testing_server import ScriptedChatServer, assistant, failure

TASK = "lvbench_tool"
CALL = assistant(None, [("c1", "crop_video", {"video_path": "video_1.mp4", "start_time": 0, "end_time": 1})])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A local copy of LVBench: annotations, and one video."""
    root = tmp_path_factory.mktemp("root")
    (root / "lvbench" / "data").mkdir(parents=True)
    (root / "lvbench" / "data" / "train-00000-of-00001.parquet").touch()
    write_stamped_video(root / "lvbench" / "a.mp4", seconds=2, fps=2, size=(56, 56))
    return root


@pytest.fixture
def found(root, tmp_path):
    """What is found of an evaluation against a server; by check."""

    def found(script=CALL, *, tasks=(TASK,), more="", environ=None, model="scripted"):
        with ScriptedChatServer(script if callable(script) or isinstance(script, list) else lambda _: script) as server:
            arguments = f"base_url={server.base_url},model={model},overview_max_frames=64{more}"
            environ = {"LONGVT_DATA": str(root), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", **(environ or {})}
            return list(examine(tasks, "longvt", arguments, tmp_path, environ))

    return found


def worst(findings):
    return {finding.check: finding for finding in findings if finding.level != "ok"}


def test_what_is_well_has_no_fault_and_says_what_was_looked_at(found):
    findings = found()
    assert worst(findings) == {}
    assert {finding.check for finding in findings} == {
        "model", "server", "tools", "replies", "context", "data", "disk", "judge"
    }  # fmt: skip


def test_the_probe_sends_what_a_rollout_sends(root, tmp_path):
    with ScriptedChatServer([CALL] * 3) as server:
        arguments = f"base_url={server.base_url},model=scripted"
        list(examine([TASK], "longvt", arguments, tmp_path, {"LONGVT_DATA": str(root)}))
    plain, forced, history = server.requests
    assert "tool_choice" not in plain and forced["tool_choice"]["function"]["name"] == "crop_video"
    assert [message["role"] for message in history["messages"]] == ["user", "assistant", "tool"]
    assert [part["type"] for part in history["messages"][2]["content"]] == ["text", "image_url"]


@pytest.mark.parametrize(
    ("refuses", "check", "level", "cure"),
    [
        (lambda request: "tools" in request and "tool_choice" not in request, "server", "blocker", "tool-call-parser"),
        (lambda request: "image_url" in str(request), "server", "blocker", "a model that sees pictures"),
        (lambda request: "tool_choice" in request, "tools", "warning", "if the model calls by itself"),
        (lambda request: "image_url" in str(request["messages"][2:3]), "replies", "blocker", "tool_images=user"),
        (lambda request: len(request["messages"]) > 1, "replies", "blocker", "a chat template that knows tools"),
    ],
    ids=["tools", "pictures", "a forced call", "pictures in tool messages", "a history"],
)
def test_what_a_server_refuses_is_told_with_its_cure(found, refuses, check, level, cure):
    message = "auto tool choice needs a parser" if check == "server" and "parser" in cure else "not supported"
    faults = worst(found(lambda request: failure(400, message) if refuses(request) else CALL))
    assert faults.keys() == {check}
    assert (faults[check].level, cure in faults[check].cure) == (level, True)


def test_a_call_that_stays_in_the_text_is_read_there_and_none_at_all_is_told(found):
    call = json.dumps({"name": "crop_video", "arguments": {}})
    assert worst(found(assistant(f"<think>x</think><tool_call>{call}</tool_call>"))) == {}
    assert worst(found(assistant("No.")))["tools"].level == "warning"


def test_a_task_without_tools_is_not_probed_for_them(found):
    assert "tools" not in {finding.check for finding in found(assistant("No."), tasks=["lvbench_reasoning"])}


@pytest.mark.parametrize(
    ("options", "check", "told"),
    [
        ({"tasks": ["lvbench_tol"]}, "tasks", "did you mean lvbench_tool"),
        ({"model": "other"}, "model", "has no model 'other'"),
        ({"more": ",turn_tokens=9,max_completion_length=99999"}, "model", "processor=FOLDER"),
        ({"more": ",tell_left=true"}, "model", "tell_left needs turn_tokens"),
        ({"more": ",processor=/nowhere,turn_tokens=9,max_completion_length=99999"}, "context", "/nowhere"),
        ({"environ": {"LONGVT_JUDGE": "cascde"}}, "judge", "cascade"),
        ({"tasks": ["longvideobench_tool"]}, "data", "no annotations in"),
        ({"tasks": ["longvt_synthetic_tool"]}, "data", "test.parquet"),
    ],
)
def test_what_is_missing_or_mistyped_is_a_blocker(found, options, check, told):
    fault = worst(found(**options))[check]
    assert fault.level == "blocker"
    assert told in fault.what + fault.cure


def test_a_folder_of_tasks_of_the_users_own_may_have_any_name(root, tmp_path):
    findings = examine(["mine"], "longvt", "", tmp_path, {"LONGVT_DATA": str(root)}, own_tasks=True)
    assert "tasks" not in {finding.check for finding in findings}


def test_every_benchmark_says_where_its_data_lie(found, tmp_path):
    findings = found(tasks=["longvt_suite"], environ={"LONGVT_DATA": str(tmp_path)})
    hubs = [finding.cure.split()[2].split("/")[1] for finding in findings if finding.check == "data"]
    assert hubs == ["VideoSIAH-Eval", "Video-MME", "VideoMMMU", "LVBench", "LongVideoBench", "charades_sta"]


def test_a_video_that_does_not_open_is_named(found, root, tmp_path):
    shutil.copytree(root, tmp_path / "broken")
    (tmp_path / "broken" / "lvbench" / "a.mp4").write_bytes(b"nothing")
    fault = worst(found(environ={"LONGVT_DATA": str(tmp_path / "broken")}))["data"]
    assert (fault.level, "a.mp4" in fault.what) == ("blocker", True)


def test_an_overview_that_the_model_may_not_be_able_to_read_is_told(root, tmp_path):
    environ = {"LONGVT_DATA": str(root)}

    def context(arguments):
        findings = list(examine([TASK], "longvt_hf", f"pretrained=tiny,{arguments}", tmp_path, environ))
        (finding,) = (finding for finding in findings if finding.check == "context")
        return finding

    assert context("preset=tiny").level == "ok"
    assert context("overview_max_frames=512").level == "warning"


def test_groups_stars_and_names_of_lmms_eval_stand_for_tasks():
    assert [entry.name for entry in known_tasks(["longvt"])] == ["videosiah_eval_tool"]
    assert {entry.form for entry in known_tasks(["longvt_suite"])} == {"tool", "reasoning", "non_think"}
    assert {entry.benchmark for entry in known_tasks(["lvbench_*"])} == {"lvbench"}


def test_the_command_prints_what_it_found_and_ends_with_1(root, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("LONGVT_DATA", str(root))
    asked = ["--tasks", TASK, "--output_path", str(tmp_path), "--model_args", "base_url=http://127.0.0.1:9/v1,model=m"]
    assert main(["eval", "doctor", *asked]) == 1
    printed = capsys.readouterr().out
    assert "no chat server at http://127.0.0.1:9/v1" in printed and printed.endswith("1 blocker\n")
    assert main(["eval", "doctor", *asked, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["blocker"] == 1
