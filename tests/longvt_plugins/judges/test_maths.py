"""Formulas: what is equal, what is no formula, and that nothing a model writes stops the judge."""

import asyncio
import threading

import pytest

from longvt_plugins.errors import ConfigError, JudgeError, MissingExtraError
from longvt_plugins.judges import JudgeConfig, close_judge, maths
from longvt_plugins.judges.exact import exact_judge, exact_score
from longvt_plugins.judges.maths import Maths, formula


@pytest.fixture(scope="module")
def compare():
    compare = Maths()
    yield compare
    compare.close()


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        (r"\frac{1}{2}", "2^{-1}"),
        ("x^2 + 2x + 1", "$(x+1)^2$"),
        ("sqrt(8)", r"\(2\sqrt{2}\)"),
        ("2*pi*r", r"2\pi r"),
        ("x = 5", "5"),
        ("2**10", "1024"),
    ],
)
def test_equal_formulas_are_right(compare, reference, prediction):
    assert compare.agree(reference, prediction) is True
    judgement = exact_score(reference, prediction, maths=compare)
    assert (judgement.score, judgement.fingerprint) == (1.0, f"exact/2 math-verify/{compare.version}")


@pytest.mark.parametrize(("reference", "prediction"), [("x^2", "x^3"), (r"\sqrt{2}", "1.4"), ("2^10", "1025")])
def test_other_formulas_are_wrong(compare, reference, prediction):
    assert compare.agree(reference, prediction) is False
    assert exact_score(reference, prediction, maths=compare).score == 0.0


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        ("red", "blue"),
        ("2-1", "1"),  # a score, not a difference
        ("2024-05-01", "2018"),
        ("2^10", "it is 1024, not 5"),  # no number is picked out of a sentence
        ("2^10", "__import__('os')"),
        ("2^10", "1" * 500),
        ("2^10", ""),
    ],
)
def test_what_is_no_formula_is_left_to_the_words(compare, reference, prediction):
    assert compare.agree(reference, prediction) is None


def test_signs_around_a_formula_are_not_part_of_it():
    assert [formula(text) for text in ("$x+1$", "$$x+1$$", r"\(x+1\)", r"\[x+1\]", "x+1.")] == ["x+1"] * 5
    assert formula("$") is None


def test_a_formula_that_never_ends_has_no_result_and_the_next_one_has(compare):
    assert compare.agree("5", "9^{9^{9^{9}}}") is None
    assert exact_score("5", "9^{9^{9^{9}}}", maths=compare).score == 0.0
    assert compare.agree("2^3", "8") is True


def test_any_thread_may_ask(compare):
    """math-verify's own time-out works in the main thread alone."""
    found = []
    threads = [threading.Thread(target=lambda n=n: found.append(compare.agree(f"2^{n}", str(2**n)))) for n in (3, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 3


def test_the_judge_compares_formulas_where_it_was_told_to():
    judge = exact_judge(JudgeConfig("exact", {"maths": True}))
    assert asyncio.run(judge("What is it?", "2^10", "1024")).score == 1.0
    asyncio.run(close_judge(judge))
    assert asyncio.run(exact_judge(JudgeConfig())("What is it?", "2^10", "1024")).score == 0.0


def test_without_the_library_the_judge_says_what_to_install(monkeypatch):
    monkeypatch.setattr(maths.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'longvt-plugins\[eval\]'"):
        exact_judge(JudgeConfig("exact", {"maths": True}))
    exact_judge(JudgeConfig("exact"))


def test_maths_is_true_or_false():
    with pytest.raises(ConfigError, match="maths must be true or false, not 'yes'"):
        exact_judge(JudgeConfig("exact", {"maths": "yes"}))


def test_a_worker_that_cannot_start_is_our_fault_and_told(monkeypatch):
    monkeypatch.setattr(maths.sys, "executable", "/bin/true")
    broken = Maths()
    with pytest.raises(JudgeError, match="the process that compares formulas did not start: /bin/true -m"):
        broken.agree("2^3", "8")
