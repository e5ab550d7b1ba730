"""The benchmark of segmenting: its film tells the truth about itself, and its scores count as they say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def film_module():
    """``segmenting_film``; its folder holds a script of the package's name and is searched for no longer than that."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import segmenting_film
    finally:
        sys.path.remove(str(BENCHMARKS))
    return segmenting_film


def test_the_film_has_its_transitions_where_it_says_and_is_kept(film_module, tmp_path):
    from datapipe.steps.scenes.signals import read_signals

    path = tmp_path / "cuts.mp4"
    film = film_module.write_film(path, 6, material="drawn", seed=4, repeats=2)
    assert film.seconds == pytest.approx(read_signals(path).duration, abs=0.2)
    length = film.seconds / 2
    joint = [one for one in film.transitions if one.start == pytest.approx(length)]
    assert [one.kind for one in joint] == ["cut"], "where the film is joined to itself"
    cuts = [one for one in film.transitions if one.kind == "cut"]
    signals = read_signals(path)
    for cut in cuts:
        near = abs(signals.times - cut.start) < 0.2
        assert signals.change[near].max() > 3 * signals.change.mean()
    written = path.stat().st_mtime_ns
    assert film_module.write_film(path, 6, material="drawn", seed=4, repeats=2) == film
    assert path.stat().st_mtime_ns == written


def test_a_cut_finds_one_transition_and_the_others_are_false(film_module):
    found = film_module.Transition
    film = film_module.CutFilm(Path("x"), 60.0, (found("cut", 10, 10), found("dissolve", 20, 22), found("cut", 40, 40)))
    scores = film_module.recall_and_precision(film, [10.2, 10.4, 21.0, 21.5, 50.0])
    assert scores["recall"] == pytest.approx(2 / 3)
    assert scores["precision"] == pytest.approx(2 / 5)
    assert (scores["recall_cut"], scores["recall_dissolve"]) == (0.5, 1.0)
    assert film_module.recall_and_precision(film, [])["recall"] == 0
