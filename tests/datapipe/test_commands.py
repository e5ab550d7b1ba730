"""The commands that look at a run, and what they say of wrong input; called in this process, on a real run."""

from __future__ import annotations

import json

import pytest

from datapipe import cli
from datapipe.run import run_recipe
from longvt_plugins.testing_server import ScriptedChatServer, asked_text, assistant

from .conftest import reply_to, start_run, write_numbers, write_recipe


@pytest.fixture(scope="module")
def finished(tmp_path_factory, numbers_steps):
    """The folders of two runs of 30 numbers: in the second the server counts wrongly once, and fails on another."""
    from datapipe.recipe import load_recipe

    folder = tmp_path_factory.mktemp("runs")
    source = write_numbers(folder / "in.jsonl", 30)

    def wrong(request):
        text = asked_text(request)
        if "2 times 7?" in text:
            return assistant("I would rather not", usage=(100, 10))
        return assistant('{"number": 1}', usage=(100, 10)) if "2 times 8?" in text else reply_to(request)

    for name, script in (("one", reply_to), ("two", wrong)):
        with ScriptedChatServer(script) as server:
            recipe = write_recipe(folder / "recipe.yaml", server.base_url, source)
            run_recipe(load_recipe(recipe, {}), folder / name, steps=numbers_steps)
    return folder


def test_status_tells_what_each_step_came_to(finished, capsys):
    assert cli.main(["status", str(finished / "two")]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert lines["drop_thirds"] == ["30", "20", "10", "0", "0", "0", "$0.00"]
    assert lines["ask_double"][:4] == ["20", "19", "0", "1"]
    assert "input: 30 entries; spent: $0.07" in out
    assert "shards: 1, of which 0 worked on now" in out
    assert cli.main(["status", str(finished / "one"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steps"]["ask_double"]["replies"] == 20
    assert told["running"] == []


def test_show_reads_what_a_step_kept_dropped_and_failed_on(finished, capsys):
    assert cli.main(["show", str(finished / "two"), "drop_thirds"]) == 0
    assert capsys.readouterr().out == (
        "drop_thirds: 20 kept, 10 dropped, 0 failed of 30 units\n  dropped 10: a multiple\n"
    )
    cli.main(["show", str(finished / "two"), "ask_double", "--failed"])
    (failed,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert failed["unit"] == "n0007"
    assert "no reply of 4 was a Answer" in failed["reason"]
    cli.main(["show", str(finished / "two"), "ask_double", "--kept", "--limit", "2", "--id", "n001"])
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["n0010", "n0011"]
    cli.main(["show", str(finished / "two"), "drop_thirds", "--dropped", "--reason", "nothing like it"])
    assert capsys.readouterr().out == ""


def test_diff_tells_record_by_record_what_is_different(finished, capsys):
    assert cli.main(["diff", str(finished / "one"), str(finished / "two"), "ask_double"]) == 1
    assert capsys.readouterr().out == (
        "only in the first: n0007\nchanged: n0008\n  number: 16 -> 1\nask_double: 1 changed, 1 only in the first\n"
    )
    assert cli.main(["diff", str(finished / "one"), str(finished / "two")]) == 1
    assert "drop_thirds: the same\n" in capsys.readouterr().out
    assert cli.main(["diff", str(finished / "one"), str(finished / "one")]) == 0


def test_export_of_a_stage_is_a_table(finished, capsys, tmp_path):
    import pyarrow.parquet as pq

    assert (
        cli.main(["export", str(finished / "one"), "--records", "ask_double", "--out", str(tmp_path / "t.parquet")])
        == 0
    )
    assert capsys.readouterr().out == f"{tmp_path / 't.parquet'}: 20 records\n"
    table = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert table[0] == {"id": "n0001", "video": "v1", "number": 2}
    cli.main(["export", str(finished / "one"), "--records", "ask_double", "--out", str(tmp_path / "t.jsonl")])
    assert json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0])["number"] == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["status", "{}/nothing"], "is not the work folder of a run"),
        (["show", "{}/one", "ask_duoble"], "has no step 'ask_duoble': did you mean ask_double?"),
        (["show", "{}/one", "caption"], "has no step 'caption': it has drop_thirds, ask_double, sum_video"),
        (["diff", "{}/one", "{}/nothing"], "is not the work folder of a run"),
        (["retry", "{}/one", "ask_double", "--id", "n0001"], "no failure of 'n0001' in ask_double"),
        (["export", "{}/one", "--out", "{}/data"], "nothing to export (sft from generate_imcott"),
        (["export", "{}/one", "--out", "{}/data", "--rl", "ask_double"], "rl is made of QAPair records"),
        (["export", "{}/one", "--out", "{}/t.csv", "--records", "ask_double"], "written as .parquet or .jsonl"),
        (["run", "{}/missing.yaml", "--work-dir", "{}/w"], "missing.yaml cannot be read: No such file"),
        (["run", "{}/recipe.yaml", "--work-dir", "{}/w", "--shard-idx", "3"], "shard 3 of 1: with N shards"),
        (["run", "{}/recipe.yaml", "--work-dir", "{}/w", "--max-cost", "0"], "--max-cost must be US dollars above 0"),
        (["run", "{}/recipe.yaml", "--work-dir", "{}/w"], "No step named 'drop_thirds'"),
    ],
)
def test_wrong_input_is_one_clear_line(finished, capsys, arguments, complaint):
    assert cli.main([argument.format(finished) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("datapipe: ")
    assert complaint in err
    assert err.count("\n") == 1


def test_a_run_from_the_command_line_says_what_it_would_do_and_does_it(tmp_path, steps_site, server):
    source = write_numbers(tmp_path / "in.jsonl", 30)
    recipe = write_recipe(tmp_path / "recipe.yaml", server.base_url, source)
    planned = start_run(recipe, tmp_path / "work", steps_site, "--dry-run")
    out, _ = planned.communicate()
    assert planned.returncode == 0
    assert "input: 30 entries" in out
    assert "to do: at least 30 requests, at least $0.02. Nothing was sent." in out
    assert not (tmp_path / "work").exists()
    assert server.requests == []
    done = start_run(recipe, tmp_path / "work", steps_site)
    out, err = done.communicate()
    assert done.returncode == 0
    assert "spent: $0.06" in out
    assert "ask_double: 20/20, 20 kept 0 dropped 0 failed" in err
    assert len(server.requests) == 30
