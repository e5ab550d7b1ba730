"""The audit log: every verdict is there, also after a crash, from many processes, with texts of any kind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap

import pyarrow.parquet as pq
import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges import JudgeConfig, Judgement, audit, close_judge, health_of
from longvt_plugins.judges.audit import COLUMNS, AuditedJudge, AuditLog, read_verdicts
from longvt_plugins.judges.exact import exact_judge
from longvt_plugins.judges.llm import llm_judge
from longvt_plugins.testing_server import ScriptedChatServer, assistant, failure

RIGHT = Judgement(1.0, "correct", fingerprint="exact/2")


def write(log, number, judgement=RIGHT):
    log.write("exact", judgement, question="q", reference="r", prediction=f"a{number}")


def test_every_verdict_of_an_audited_judge_is_a_row(tmp_path):
    with ScriptedChatServer([assistant('{"reason": "same", "score": "1"}'), failure(500, "down")]) as server:
        options = {"base_url": server.base_url, "model": "m", "max_retries": 0, "audit": str(tmp_path / "audit")}
        judge = llm_judge(JudgeConfig("llm", options))
        first = asyncio.run(judge("What colour?", "red", "crimson", options=["red", "blue"], kind="choice"))
        asyncio.run(judge("What colour?", "red", "scarlet"))
        asyncio.run(close_judge(judge))
    assert health_of(judge).consecutive_failures == 1
    (path,) = (tmp_path / "audit").iterdir()
    assert path.suffix == ".parquet"
    assert pq.read_schema(path).names == list(COLUMNS)
    right, missing = read_verdicts(tmp_path / "audit")
    assert {name: right[name] for name in ("judge", "question", "reference", "prediction", "kind", "error")} == {
        "judge": "llm",
        "question": "What colour?",
        "reference": "red",
        "prediction": "crimson",
        "kind": "choice",
        "error": None,
    }
    assert (right["score"], right["raw"], right["reason"]) == (1.0, '{"reason": "same", "score": "1"}', "same")
    assert (right["fingerprint"], right["prompt_hash"]) == (first.fingerprint, first.prompt_hash)
    assert json.loads(right["options"]) == ["red", "blue"]
    assert json.loads(right["scores"]) == {"llm": 1.0}
    assert (right["seconds"] > 0, right["cost"], right["cached"]) == (True, 0.0, False)
    assert (missing["score"], missing["verdict"]) == (None, "none")
    assert "HTTP 500: down" in missing["error"]


def test_any_judge_can_be_audited(tmp_path):
    judge = exact_judge(JudgeConfig("exact", {"audit": str(tmp_path)}))
    assert health_of(judge) is None
    assert judge.scale == (1.0, 0.0)
    asyncio.run(judge("q", "red", "Red."))
    assert [row["score"] for row in read_verdicts(tmp_path)] == [1.0], "before it is closed"

    async def third_party(question, reference, prediction, *, options=None, kind=None):
        return Judgement(0.25, "partly", fingerprint="mine/1")

    asyncio.run(AuditedJudge(third_party, AuditLog(tmp_path), "mine")("q", "r", "a"))
    assert [(row["judge"], row["fingerprint"]) for row in read_verdicts(tmp_path)][1] == ("mine", "mine/1")


def test_texts_may_be_left_out(tmp_path):
    judge = exact_judge(JudgeConfig("exact", {"audit": str(tmp_path), "audit_texts": False}))
    asyncio.run(judge("secret question", "red", "Red."))
    (row,) = read_verdicts(tmp_path)
    assert "secret" not in json.dumps(row)
    assert (row["question"], row["prediction"], row["raw"], row["score"]) == (None, None, None, 1.0)
    assert len(row["texts_hash"]) == 64


def test_shards_are_cut_at_their_length_and_closed_twice_without_harm(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "SHARD_ROWS", 3)
    log = AuditLog(tmp_path)
    for number in range(7):
        write(log, number)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".jsonl", ".parquet", ".parquet"]
    assert [row["prediction"] for row in read_verdicts(tmp_path)] == [f"a{number}" for number in range(7)]
    log.close()
    log.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"] * 3
    write(log, 7)
    assert len(read_verdicts(tmp_path)) == 8, "it opens again when it is needed"


PROCESS = """
import os, sys
from longvt_plugins.judges import Judgement
from longvt_plugins.judges.audit import AuditLog
log = AuditLog(sys.argv[1])
for number in range(int(sys.argv[2])):
    log.write("exact", Judgement(1.0, "correct"), question="q", reference=str(os.getpid()), prediction=str(number))
"""


def start(folder, rows, more=""):
    command = [sys.executable, "-c", textwrap.dedent(PROCESS) + more, str(folder), str(rows)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_several_processes_share_a_folder(tmp_path):
    processes = [start(tmp_path, 20) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    rows = read_verdicts(tmp_path)
    assert len({(row["reference"], row["prediction"]) for row in rows}) == len(rows) == 60
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"] * 3, "a program that ends closes its log"


def test_a_killed_process_loses_nothing_that_it_had_judged(tmp_path):
    process = start(tmp_path, 5, "print('written', flush=True)\nimport time; time.sleep(600)")
    process.stdout.readline()
    (journal,) = tmp_path.iterdir()
    living = AuditLog(tmp_path)
    assert journal.exists(), "the journal of a living process is left alone"
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    with journal.open("ab") as file:
        file.write(b'{"judge": "torn in the mid')
    assert len(read_verdicts(tmp_path)) == 5
    write(living, 1)
    AuditLog(tmp_path)
    assert not journal.exists()
    assert journal.with_suffix(".parquet").exists()
    assert len(read_verdicts(tmp_path)) == 6


def test_a_forked_child_writes_a_journal_of_its_own(tmp_path):
    log = AuditLog(tmp_path)
    write(log, 1)
    child = os.fork()
    if not child:
        write(log, 2)
        log.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    write(log, 3)
    log.close()
    assert [row["prediction"] for row in read_verdicts(tmp_path)] == ["a1", "a2", "a3"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("text", ["\ud800", "\x00", "\u2028\n\r", "x" * 100_000, "走る"])
def test_any_text_is_kept_as_far_as_parquet_can(tmp_path, text):
    log = AuditLog(tmp_path)
    log.write("exact", RIGHT, question=text, reference=text, prediction=text)
    log.close()
    (row,) = read_verdicts(tmp_path)
    assert row["prediction"] == text[:20_000].encode("utf-8", "replace").decode()


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"audit: .*file cannot be used: File exists"):
        exact_judge(JudgeConfig("exact", {"audit": str(tmp_path / "file")}))
    with pytest.raises(ConfigError, match="no audit folder"):
        read_verdicts(tmp_path / "missing")
    with pytest.raises(ConfigError, match="audit_texts must be true or false, not 'no'"):
        exact_judge(JudgeConfig("exact", {"audit": str(tmp_path), "audit_texts": "no"}))


def test_a_log_that_can_no_longer_be_written_is_told(tmp_path, monkeypatch):
    log = AuditLog(tmp_path / "audit")
    write(log, 1)
    monkeypatch.setattr(
        audit.os, "write", lambda file, line: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(ConfigError, match=r"audit: .*audit cannot be written: No space left on device"):
        write(log, 2)
