"""A run: every record is saved when it is done, nothing is asked twice, and what cannot go on stops cleanly."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from datapipe import Dropped, Kept, Outcome, Step
from datapipe.live import LiveView
from datapipe.run import RunOptions, run_recipe
from datapipe.runner import Silence
from datapipe.source import Shard
from datapipe.store import Store
from datapipe.workdir import STORE, open_stores
from datapipe.writer import StoreThread
from longvt_plugins.errors import ConfigError
from longvt_plugins.hookspecs import hookimpl
from longvt_plugins.testing import plugin_manager
from longvt_plugins.testing_server import ScriptedChatServer, asked_text, assistant, failure, slow

from . import pipeline_steps
from .conftest import contents, reply_to, write_numbers


class Notes(Silence):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def kept(work: Path, step: str) -> dict[str, int]:
    """Ids and numbers of what a step kept, all shares together."""
    stores = open_stores(work)
    found = {record["id"]: record["number"] for store in stores for record in store.kept(step)}
    for store in stores:
        store.close()
    return found


def test_records_go_through_all_steps_and_say_where_they_come_from(server, recipe_for, numbers_steps, tmp_path):
    result = run_recipe(recipe_for(server.base_url, count=30), tmp_path / "work", steps=numbers_steps)
    assert result.stopped is None
    assert kept(tmp_path / "work", "ask_double") == {f"n{n:04}": 2 * n for n in range(1, 31) if n % 3}
    assert kept(tmp_path / "work", "sum_video")["v1-sum"] == 2 * (1 + 11)
    (store,) = open_stores(tmp_path / "work")
    assert store.reasons("drop_thirds", "dropped") == [("a multiple", 10)]
    counts = store.counts("ask_double")
    assert (counts.replies, counts.prompt_tokens, counts.completion_tokens) == (20, 2000, 200)
    assert counts.cost == pytest.approx(20 * (100 * 10 + 10 * 100) / 1e6)
    assert result.spent == pytest.approx((20 + 10) * 0.002)


def test_run_again_nothing_is_asked_and_nothing_changes(server, recipe_for, numbers_steps, tmp_path):
    recipe = recipe_for(server.base_url)
    run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
    asked, made = len(server.requests), contents(tmp_path / "work")
    again = run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
    assert again.worked == {"drop_thirds": 0, "ask_double": 0, "sum_video": 0}
    assert (len(server.requests), contents(tmp_path / "work")) == (asked, made)


def test_a_finished_unit_costs_nothing_even_without_the_cache_of_replies(server, recipe_for, numbers_steps, tmp_path):
    import shutil

    recipe = recipe_for(server.base_url)
    run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
    asked = len(server.requests)
    shutil.rmtree(tmp_path / "work" / "shard-00000-of-00001" / "cache")
    run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
    assert len(server.requests) == asked


def test_new_input_is_worked_on_and_old_input_that_went_is_removed(server, recipe_for, numbers_steps, tmp_path):
    run_recipe(recipe_for(server.base_url, count=10), tmp_path / "work", steps=numbers_steps)
    asked = len(server.requests)
    write_numbers(tmp_path / "numbers.jsonl", 11)
    lines = (tmp_path / "numbers.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "numbers.jsonl").write_text("".join(lines[1:]))  # n0001 went, n0011 is new; both are of v1
    notes = Notes()
    run_recipe(recipe_for(server.base_url), tmp_path / "work", steps=numbers_steps, view=notes)
    assert kept(tmp_path / "work", "ask_double") == {f"n{n:04}": 2 * n for n in range(2, 12) if n % 3}
    assert kept(tmp_path / "work", "sum_video")["v1-sum"] == 22
    assert len(server.requests) == asked + 2, "the new number, and the sum of its video"
    assert "ask_double: 1 results removed, since what they were made of is gone" in notes.notes


def test_a_changed_step_is_told_and_makes_again_exactly_what_depends_on_it(server, recipe_for, numbers_steps, tmp_path):
    def steps(multiple: int) -> list[Any]:
        return [{"step": "drop_thirds", "set": {"multiple": multiple}}, "ask_double", "sum_video"]

    run_recipe(recipe_for(server.base_url, steps=steps(3)), tmp_path / "work", steps=numbers_steps)
    asked = len(server.requests)
    notes = Notes()
    other = recipe_for(server.base_url, steps=steps(15))
    with pytest.raises(ConfigError, match=r"multiple 3 -> 15: 30 results are made again; behind it.*say --redo"):
        run_recipe(other, tmp_path / "work", steps=numbers_steps)
    assert len(server.requests) == asked
    run_recipe(other, tmp_path / "work", RunOptions(redo=True), steps=numbers_steps, view=notes)
    (told, *_) = notes.notes
    assert told.startswith("drop_thirds: multiple 3 -> 15: 30 results are made again; behind it, where records")
    assert told.endswith("come out different: ask_double, sum_video")
    assert kept(tmp_path / "work", "ask_double") == {f"n{n:04}": 2 * n for n in range(1, 31) if n % 15}
    # Eight numbers that were dropped before; every video whose numbers are others now, and no other.
    changed = {n % 10 for n in range(1, 31) if n % 3 == 0 and n % 15}
    assert len(server.requests) == asked + 8 + len(changed)


def test_a_changed_model_is_refused_before_anything_is_sent_until_redo_is_said(
    server, recipe_for, numbers_steps, tmp_path
):
    run_recipe(recipe_for(server.base_url), tmp_path / "work", steps=numbers_steps)
    asked = len(server.requests)
    other = recipe_for(server.base_url, model={"model": "abacus"})
    with pytest.raises(
        ConfigError, match=r"ask_double: model's model \"calculator\" -> \"abacus\": 20 results.*--redo"
    ):
        run_recipe(other, tmp_path / "work", steps=numbers_steps)
    assert len(server.requests) == asked
    run_recipe(other, tmp_path / "work", RunOptions(redo=True), steps=numbers_steps)
    assert len(server.requests) == asked + 30
    (store,) = open_stores(tmp_path / "work")
    (fingerprint,) = store.fingerprints("ask_double")
    assert store.plan("ask_double", fingerprint)["model"] == {
        "model": "abacus",
        "image_format": "jpeg",
        "tool_images": "tool",
    }


def test_where_a_model_is_reached_changes_nothing(recipe_for, numbers_steps, tmp_path):
    with ScriptedChatServer(reply_to) as first:
        run_recipe(recipe_for(first.base_url), tmp_path / "work", steps=numbers_steps)
    with ScriptedChatServer(reply_to) as second:
        moved = recipe_for(second.base_url, model={"timeout": 5.0}, concurrency=3)
        run_recipe(moved, tmp_path / "work", steps=numbers_steps)
        assert second.requests == []


def test_replies_that_are_not_json_are_asked_for_again_and_nothing_is_lost(recipe_for, numbers_steps, tmp_path):
    lock, count = threading.Lock(), 0

    def every_third_is_broken(request):
        nonlocal count
        with lock:
            count += 1
            broken = count % 3 == 0
        return assistant('{"number": ', usage=(100, 10)) if broken else reply_to(request)

    work = tmp_path / "work"
    with ScriptedChatServer(every_third_is_broken) as server:
        recipe = recipe_for(server.base_url, count=60)
        assert run_recipe(recipe, work, steps=numbers_steps).stopped is None
        assert any("of 4 cannot be used: it is not JSON" in asked_text(request) for request in server.requests)
        (store,) = open_stores(work)
        counts = store.counts("ask_double")
        assert (counts.kept + counts.failed, counts.dropped) == (40, 0)
        assert counts.kept >= 20, "four bad replies in a row are bad luck, and a failure that can be tried again"
        for _ in range(5):
            again = Store(work / "shard-00000-of-00001" / STORE)
            again.mark_again("ask_double")
            again.mark_again("sum_video")
            again.close()
            run_recipe(recipe, work, steps=numbers_steps)
    assert kept(work, "ask_double") == {f"n{n:04}": 2 * n for n in range(1, 61) if n % 3}
    assert len(kept(work, "sum_video")) == 10


def test_a_record_that_fails_is_kept_as_a_failure_and_tried_again_alone(recipe_for, numbers_steps, tmp_path):
    broken = True

    def script(request):
        if broken and "2 times 7?" in asked_text(request):
            return assistant("seven times two", usage=(100, 10))
        return reply_to(request)

    with ScriptedChatServer(script) as server:
        recipe = recipe_for(server.base_url)
        run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
        (store,) = open_stores(tmp_path / "work")
        (failed,) = store.rejected("ask_double", "failed")
        assert failed["unit"] == "n0007"
        assert failed["reason"] == "ChatReplyError: no reply of 4 was a Answer; the last: it holds no JSON object"
        broken = False
        asked = len(server.requests)
        run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
        assert len(server.requests) == asked, "a failure is a result: it is not tried again unasked"
        Store(tmp_path / "work" / "shard-00000-of-00001" / STORE).mark_again("ask_double")
        run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
        assert len(server.requests) == asked + 2, "the number, and the sum of its video"
    assert kept(tmp_path / "work", "ask_double")["n0007"] == 14
    assert kept(tmp_path / "work", "sum_video")["v7-sum"] == 2 * (7 + 17)


@contextmanager
def outage(server, after, seconds):
    """The server is down for a while, once it has had so many requests."""

    def down():
        while len(server.requests) < after:
            time.sleep(0.01)
        server.stop()
        time.sleep(seconds)
        server.start()

    thread = threading.Thread(target=down)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_server_that_is_down_for_a_while_is_waited_for_and_nothing_fails(recipe_for, numbers_steps, tmp_path):
    with ScriptedChatServer(reply_to) as server, outage(server, after=10, seconds=2.0):
        recipe = recipe_for(server.base_url, count=60, concurrency=4, model={"max_retries": 1})
        result = run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
    assert result.stopped is None
    assert kept(tmp_path / "work", "ask_double") == {f"n{n:04}": 2 * n for n in range(1, 61) if n % 3}


@pytest.mark.slow
def test_a_server_that_is_down_for_a_minute_is_waited_for_and_nothing_is_lost(recipe_for, numbers_steps, tmp_path):
    with ScriptedChatServer(reply_to) as server, outage(server, after=40, seconds=60.0):
        recipe = recipe_for(server.base_url, count=200, concurrency=16)
        result = run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
    assert result.stopped is None
    assert kept(tmp_path / "work", "ask_double") == {f"n{n:04}": 2 * n for n in range(1, 201) if n % 3}
    (store,) = open_stores(tmp_path / "work")
    assert [store.counts(step).failed for step in ("ask_double", "sum_video")] == [0, 0]


def test_a_server_that_stays_down_stops_the_run_and_nothing_is_lost(recipe_for, numbers_steps, tmp_path):
    with ScriptedChatServer(reply_to) as server:
        recipe = recipe_for(server.base_url, patience=0.5, model={"max_retries": 0})
        run_recipe(recipe, tmp_path / "work", RunOptions(until="drop_thirds"), steps=numbers_steps)
        server.stop()
        result = run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
        assert result.stopped == "server"
        assert "no connection" in result.message
        assert "run again when it is up" in result.message
        (store,) = open_stores(tmp_path / "work")
        assert store.counts("ask_double").failed == 0, "an outage is no failure of a record"
        server.start()
        assert run_recipe(recipe, tmp_path / "work", steps=numbers_steps).stopped is None
    assert len(kept(tmp_path / "work", "ask_double")) == 20


def test_a_record_whose_requests_alone_fail_does_not_stop_the_others(recipe_for, numbers_steps, tmp_path):
    def script(request):
        if "2 times 7?" in asked_text(request):
            return failure(500, "poison")
        return slow(reply_to(request), 0.03)

    with ScriptedChatServer(script) as server:
        recipe = recipe_for(server.base_url, count=90, concurrency=2, model={"max_retries": 0}, patience=600)
        outcome = run_recipe(recipe, tmp_path / "work", RunOptions(until="ask_double"), steps=numbers_steps)
    assert outcome.stopped is None
    (store,) = open_stores(tmp_path / "work")
    (failed,) = store.rejected("ask_double", "failed")
    assert (failed["unit"], store.counts("ask_double").kept) == ("n0007", 59)


def test_the_last_record_whose_requests_fail_for_ever_is_a_failure_too(recipe_for, numbers_steps, tmp_path):
    def script(request):
        return failure(503, "poison") if "2 times 8?" in asked_text(request) else reply_to(request)

    with ScriptedChatServer(script) as server:
        recipe = recipe_for(server.base_url, count=8, concurrency=1, model={"max_retries": 0}, patience=600)
        outcome = run_recipe(recipe, tmp_path / "work", RunOptions(until="ask_double"), steps=numbers_steps)
        small = [request for request in server.requests if "Reply with ok" in asked_text(request)]
    assert outcome.stopped is None
    (store,) = open_stores(tmp_path / "work")
    (failed,) = store.rejected("ask_double", "failed")
    assert (failed["unit"], store.counts("ask_double").kept) == ("n0008", 5)
    assert 1 <= len(small) <= 4, "what stands for the others that might be answered"


def test_a_server_that_answers_small_questions_alone_makes_no_failures_of_a_crowd(recipe_for, numbers_steps, tmp_path):
    def script(request):
        return failure(503, "out of memory") if "times" in asked_text(request) else reply_to(request)

    with ScriptedChatServer(script) as server:
        recipe = recipe_for(server.base_url, count=30, concurrency=8, model={"max_retries": 0}, patience=1.0)
        outcome = run_recipe(recipe, tmp_path / "work", RunOptions(until="ask_double"), steps=numbers_steps)
    assert outcome.stopped == "server"
    (store,) = open_stores(tmp_path / "work")
    assert store.counts("ask_double").failed == 0


def test_a_refused_key_stops_the_run_at_once(recipe_for, numbers_steps, tmp_path):
    with ScriptedChatServer(lambda request: failure(401, "wrong key sk-very-secret")) as server:
        recipe = recipe_for(server.base_url, model={"api_key": "sk-very-secret"}, concurrency=2)
        result = run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
        assert len(server.requests) <= 6
    assert result.stopped == "refused"
    assert "HTTP 401" in result.message
    written = b"".join(path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file())
    assert b"sk-very-secret" not in written
    assert b"sk-very" not in result.message.encode()


def test_a_budget_stops_cleanly_and_counts_over_all_runs(server, recipe_for, numbers_steps, tmp_path):
    recipe = recipe_for(server.base_url, concurrency=1)
    work = tmp_path / "work"
    result = run_recipe(recipe, work, RunOptions(max_cost=0.035), steps=numbers_steps)
    assert result.stopped == "budget"
    assert "--max-cost" in result.message
    assert result.spent <= 0.035
    done = len(kept(work, "ask_double"))
    assert done == len(server.requests) > 0
    again = run_recipe(recipe, work, RunOptions(max_cost=0.035), steps=numbers_steps)
    assert (again.stopped, len(server.requests)) == ("budget", done)
    assert run_recipe(recipe, work, RunOptions(max_cost=1.0), steps=numbers_steps).stopped is None
    assert len(server.requests) == 30


def test_a_full_disk_stops_the_run_and_what_is_under_way_is_saved(recipe_for, numbers_steps, tmp_path, tight_disk):
    work, filler = tight_disk / "work", tight_disk / "filler"

    def fills_the_disk(request):
        if len(server.requests) == 5:
            fill(filler)
        return slow(reply_to(request), 0.02)

    with ScriptedChatServer(fills_the_disk) as server:
        recipe = recipe_for(server.base_url, count=300, concurrency=4)
        result = run_recipe(recipe, work, RunOptions(until="ask_double"), steps=numbers_steps)
        assert result.stopped == "disk"
        assert "make room and run again" in result.message
        saved = kept(work, "ask_double")
        assert len(saved) == len(server.requests) < 200, "the reserve held what was under way"
        filler.unlink()
        assert run_recipe(recipe, work, RunOptions(until="ask_double"), steps=numbers_steps).stopped is None
        bodies = {json.dumps(request, sort_keys=True) for request in server.requests}
        assert len(bodies) == len(server.requests) == 200, "nothing was asked twice"
    assert kept(work, "ask_double") == {f"n{n:04}": 2 * n for n in range(1, 301) if n % 3}


def test_a_disk_that_takes_nothing_stops_a_step_that_only_computes(recipe_for, numbers_steps, tmp_path, monkeypatch):
    def refuse(store, results, *, spent):
        raise OSError("No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Store, "save", refuse)
        result = run_recipe(recipe_for("http://127.0.0.1:1", count=300), tmp_path / "work", steps=numbers_steps)
    assert result.stopped == "disk"
    assert "make room and run again" in result.message


@pytest.mark.parametrize("step", ["drop_thirds", "ask_double"], ids=["computes", "asks"])
def test_a_bug_in_saving_ends_the_run_and_is_no_full_disk(recipe_for, numbers_steps, tmp_path, monkeypatch, step):
    async def save(thread, results):
        raise ValueError("a bug")

    monkeypatch.setattr(StoreThread, "save", save)
    with ScriptedChatServer(reply_to) as server, pytest.raises(ValueError, match="a bug"):
        run_recipe(recipe_for(server.base_url, steps=[step]), tmp_path / "work", steps=numbers_steps)


def fill(path: Path) -> None:
    """Writes until the disk takes no more."""
    with pytest.raises(OSError, match="No space left"), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 14))


@pytest.fixture
def tight_disk(tmp_path):
    """A disk of 24 MB; where one cannot be mounted, the test is left out."""
    import subprocess

    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_two_runs_in_one_folder_are_refused(recipe_for, numbers_steps, tmp_path):
    started = threading.Event()

    def slowly(request):
        started.set()
        time.sleep(0.05)
        return reply_to(request)

    with ScriptedChatServer(slowly) as server:
        recipe = recipe_for(server.base_url, concurrency=1)
        first = threading.Thread(target=run_recipe, args=(recipe, tmp_path / "work"), kwargs={"steps": numbers_steps})
        first.start()
        started.wait()
        with pytest.raises(
            ConfigError, match=r"is being worked on by process \d+ on .*, since .*: wait for it, stop it"
        ):
            run_recipe(recipe, tmp_path / "work", steps=numbers_steps)
        first.join()
    assert len(server.requests) == 30


def test_shares_hold_every_video_once_and_merge_to_the_same(server, recipe_for, numbers_steps, tmp_path):
    recipe = recipe_for(server.base_url)
    run_recipe(recipe, tmp_path / "whole", steps=numbers_steps)
    for index in range(3):
        run_recipe(recipe, tmp_path / "split", RunOptions(Shard(index, 3)), steps=numbers_steps)
    assert contents(tmp_path / "split") == contents(tmp_path / "whole")
    videos = [{record["video"] for record in store.kept("ask_double")} for store in open_stores(tmp_path / "split")]
    assert sum(map(len, videos)) == len(set().union(*videos)) == 10
    with pytest.raises(ConfigError, match="is split into 3 shards, not 2"):
        run_recipe(recipe, tmp_path / "split", RunOptions(Shard(0, 2)), steps=numbers_steps)


def test_a_bug_in_a_step_ends_the_run_with_its_record_and_what_was_done_is_saved(tmp_path):
    @dataclass(frozen=True)
    class Stumble(Step[int, int]):
        """Has a bug at 9."""

        name, version = "stumble", 1

        def process(self, record: int) -> Outcome[int]:
            return Kept(record // (9 - record)) if record % 2 else Dropped("even")

    class Plugin:
        @hookimpl
        def register_steps(self, register):
            register(Stumble)

    from datapipe.recipe import read_recipe

    (tmp_path / "in.jsonl").write_text("".join(f"{n}\n" for n in range(20)))
    recipe = read_recipe({"input": str(tmp_path / "in.jsonl"), "steps": ["stumble"]}, {})
    with pytest.raises(ZeroDivisionError) as caught:
        run_recipe(recipe, tmp_path / "work", steps=plugin_manager(Plugin()).steps)
    assert caught.value.__notes__[0].startswith("step stumble, record ")
    assert (
        sqlite3.connect(tmp_path / "work" / "shard-00000-of-00001" / STORE)
        .execute("SELECT count(*) FROM units")
        .fetchone()[0]
        < 20
    )


def test_without_a_terminal_each_step_tells_a_line(server, recipe_for, numbers_steps, tmp_path, capsys):
    from rich.console import Console

    with LiveView(Console(force_terminal=False, width=200)) as view:
        run_recipe(recipe_for(server.base_url), tmp_path / "work", steps=numbers_steps, view=view)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("drop_thirds: 30/30, 20 kept 10 dropped 0 failed")
    assert lines[1].startswith("ask_double: 20/20, 20 kept")


def test_the_steps_of_the_tests_are_the_ones_registered():
    assert set(plugin_manager(pipeline_steps).steps) >= {"drop_thirds", "ask_double", "sum_video"}


def test_in_a_terminal_bars_show_what_was_kept_the_rate_and_the_cost(server, recipe_for, numbers_steps, tmp_path):
    import io

    from rich.console import Console

    screen = io.StringIO()
    with LiveView(Console(file=screen, force_terminal=True, width=200)) as view:
        run_recipe(recipe_for(server.base_url), tmp_path / "work", steps=numbers_steps, view=view)
    shown = screen.getvalue()
    assert "ask_double" in shown
    assert "20/20" in shown
    assert "20 kept 0 dropped 0 failed" in shown


def test_a_forecast_is_measured_where_there_are_results_and_never_free_where_nothing_is_known(
    server, recipe_for, numbers_steps, tmp_path
):
    from datapipe.dryrun import forecast, totals
    from datapipe.estimate import Amount
    from datapipe.plan import make_plan
    from datapipe.run import open_toolbox

    recipe = recipe_for(server.base_url)
    amount = Amount(videos=10, seconds=0.0, records=30)
    with open_toolbox(recipe, tmp_path / "cache") as toolbox:
        plan = make_plan(recipe, numbers_steps, toolbox)
        lines = forecast(plan, None, amount)
        assert [(line.name, line.requests, line.basis) for line in lines] == [
            ("drop_thirds", 0.0, "free"),
            ("ask_double", 30.0, "estimated"),
            ("sum_video", 0.0, "unknown"),
        ]
        assert totals(lines)[2], "a step that makes no guess makes the sum a lower bound"
        run_recipe(recipe, tmp_path / "work", RunOptions(until="ask_double"), steps=numbers_steps)
        (store,) = open_stores(tmp_path / "work")
        lines = forecast(plan, store, Amount(videos=20, seconds=0.0, records=60))
        store.close()
    doubled = lines[1]
    assert (doubled.basis, doubled.units, doubled.done) == ("measured", 40.0, 20)
    assert (doubled.requests, doubled.prompt_tokens) == (20.0, 2000.0)
    assert doubled.cost == pytest.approx(20 * 0.002)
