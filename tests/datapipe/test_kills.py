"""Kills, -9, at random moments: the outputs are those of a run that nobody killed, and nothing is paid for twice."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from datapipe.workdir import open_stores
from longvt_plugins.testing_server import Reply, ScriptedChatServer, slow

from .conftest import contents, reply_to, start_run, write_numbers, write_recipe

RECORDS, CONCURRENCY = 200, 8
STEPS = [{"step": "drop_thirds", "set": {"multiple": 1000}}, "ask_double", "sum_video"]
STARTUP_SECONDS = 2.0
REQUEST_DOLLARS = (100 * 10.0 + 10 * 100.0) / 1e6


class Bill:
    """What the server charges for: every request that it is sent, by its exact body."""

    def __init__(self) -> None:
        self.runs: list[Counter[str]] = [Counter()]
        self._lock = threading.Lock()

    def charge(self, request: dict) -> Reply:
        with self._lock:
            self.runs[-1][json.dumps(request, sort_keys=True)] += 1
        return slow(reply_to(request), 0.1)

    @property
    def charged(self) -> int:
        return sum(map(Counter.total, self.runs))

    def next_run(self) -> None:
        with self._lock:
            self.runs.append(Counter())

    def paid_again(self) -> list[int]:
        """For each run but the first, how many of its requests had been charged for before."""
        seen: set[str] = set()
        again = []
        for run in self.runs:
            again.append(sum(run[body] for body in run if body in seen) + sum(n - 1 for n in run.values() if n > 1))
            seen |= set(run)
        return again


def kill_at_a_random_moment(process, bill: Bill, draw: random.Random) -> bool:
    """Kills it before, in the middle of, or between its requests; False if it had ended."""
    if draw.random() < 0.2:
        time.sleep(draw.uniform(0, STARTUP_SECONDS))
    else:
        until = bill.charged + draw.randint(1, 16)
        while bill.charged < until and process.poll() is None:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.05))
    process.kill()
    return process.wait() < 0


def check_kills(tmp_path: Path, site: Path, kills: int, seed: int) -> None:
    """Kills a run so often, lets it end, and compares it with one that nobody killed."""
    source, draw, bill = write_numbers(tmp_path / "in.jsonl", RECORDS), random.Random(seed), Bill()
    with ScriptedChatServer(bill.charge) as server:
        recipe = write_recipe(tmp_path / "recipe.yaml", server.base_url, source, steps=STEPS, concurrency=CONCURRENCY)
        killed = 0
        while killed < kills:
            killed += kill_at_a_random_moment(start_run(recipe, tmp_path / "killed", site), bill, draw)
            bill.next_run()
            assert len(bill.runs) <= 3 * kills, "it ends before it can be killed"
        process = start_run(recipe, tmp_path / "killed", site)
        err = process.communicate()[1]
        assert process.returncode == 0, err
        again = bill.paid_again()
        charged = bill.charged
    (store,) = open_stores(tmp_path / "killed")
    ledger = float(store.meta("spent") or 0.0)
    store.close()
    with ScriptedChatServer(reply_to) as server:
        recipe = write_recipe(tmp_path / "recipe.yaml", server.base_url, source, steps=STEPS, concurrency=CONCURRENCY)
        process = start_run(recipe, tmp_path / "whole", site)
        err = process.communicate()[1]
        assert process.returncode == 0, err
        needed = len(server.requests)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert needed == RECORDS + 10
    assert ledger >= needed * REQUEST_DOLLARS, "what a kill lost is in the ledger all the same"
    assert charged - needed == sum(again)
    assert all(more <= CONCURRENCY for more in again), f"after each kill, at most what was in flight: {again}"


def test_two_kills_change_nothing_and_cost_only_what_was_in_flight(tmp_path, steps_site):
    check_kills(tmp_path, steps_site, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_thirty_kills_change_nothing_and_cost_only_what_was_in_flight(tmp_path, steps_site):
    check_kills(tmp_path, steps_site, kills=30, seed=20)


@pytest.mark.slow
def test_a_schedulers_signal_stops_cleanly_and_the_next_run_asks_nothing_twice(tmp_path, steps_site):
    source, bill = write_numbers(tmp_path / "in.jsonl", RECORDS), Bill()
    with ScriptedChatServer(bill.charge) as server:
        recipe = write_recipe(tmp_path / "recipe.yaml", server.base_url, source, steps=STEPS, concurrency=CONCURRENCY)
        process = start_run(recipe, tmp_path / "work", steps_site)
        while bill.charged < 50:
            time.sleep(0.01)
        process.terminate()
        err = process.communicate()[1]
        assert process.returncode == 3
        assert "SIGTERM: what is under way is finished and saved; run again to go on" in err
        bill.next_run()
        assert start_run(recipe, tmp_path / "work", steps_site).wait() == 0
    assert bill.paid_again() == [0, 0]
    assert bill.charged == RECORDS + 10
