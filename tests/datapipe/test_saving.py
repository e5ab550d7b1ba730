"""Outcomes of many units are written together as they would be one by one."""

from __future__ import annotations

import itertools

import pytest

from datapipe.records import Dropped, Failed, Kept
from datapipe.store import Store, Unit, UnitResult


def result(key, *outcomes, step="count"):
    return UnitResult(step=step, unit=Unit(key, f"v-{key}", "input"), fingerprint="f", outcomes=outcomes)


def everything(store, step="count"):
    counts = store.counts(step)
    return {
        "kept": list(store.kept(step)),
        "dropped": sorted((one["unit"], one["reason"], str(one["record"])) for one in store.rejected(step, "dropped")),
        "failed": sorted((one["unit"], one["reason"]) for one in store.rejected(step, "failed")),
        "counts": (counts.units, counts.kept, counts.dropped, counts.failed),
    }


@pytest.fixture
def stores(tmp_path):
    opened = []

    def new():
        opened.append(Store(tmp_path / f"{len(opened)}.sqlite3"))
        return opened[-1]

    yield new
    for store in opened:
        store.close()


RESULTS = (
    result("a", Kept({"id": "1", "n": 1}), Kept({"id": "2", "n": 2}), Dropped("dull", {"id": "x"})),
    result("b", Kept({"id": "2", "n": "of the larger unit"}), Failed("broken")),
    result("c", Kept({"id": "3"}), Kept({"id": "3", "n": "twice in one unit"})),
    result("d"),
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_in_whatever_order_and_company_units_are_done_the_same_records_stay(stores, order):
    together, alone = stores(), stores()
    together.save([RESULTS[place] for place in order])
    for place in order:
        alone.save([RESULTS[place]])
    assert everything(together) == everything(alone)
    kept = everything(together)
    assert [record["id"] for record in kept["kept"]] == ["1", "2", "3"]
    assert kept["kept"][1]["n"] == 2
    assert kept["counts"] == (4, 3, 3, 1)


def test_a_unit_that_is_done_again_leaves_nothing_of_what_was_made_of_it_before(stores):
    store = stores()
    store.save([result("a", Kept({"id": "1"}), Dropped("dull")), result("b", Failed("broken"))])
    store.save([result("a", Kept({"id": "9"})), result("b", Kept({"id": "8"}))])
    assert everything(store) == {
        "kept": [{"id": "8"}, {"id": "9"}],
        "dropped": [],
        "failed": [],
        "counts": (2, 2, 0, 0),
    }


def test_a_unit_that_comes_twice_in_one_batch_is_what_it_was_last(stores):
    store = stores()
    store.save([result("a", Kept({"id": "1"})), result("a", Kept({"id": "2"}))])
    assert everything(store)["kept"] == [{"id": "2"}]


def test_more_units_than_a_statement_takes_and_steps_in_between_are_all_written(stores):
    store = stores()
    store.save(
        [result(f"u{n:04}", Kept({"id": f"r{n:04}"}), Dropped("dull"), step=("one", "two")[n % 2]) for n in range(700)]
    )
    assert [store.counts(step).kept for step in ("one", "two")] == [350, 350]
    assert [len(list(store.rejected(step, "dropped"))) for step in ("one", "two")] == [350, 350]


def test_half_a_character_and_a_quote_are_kept_as_text(stores):
    store = stores()
    store.save([result('it\'s "a"', Kept({"id": "1", "text": "\ud83d '"}))])
    assert list(store.kept("count")) == [{"id": "1", "text": "? '"}]
    store.save([result('it\'s "a"', Kept({"id": "2"}))])
    assert list(store.kept("count")) == [{"id": "2"}]
