import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longvt_plugins import create_plugin_manager
from longvt_plugins.errors import ConfigError
from longvt_plugins.judges import JudgeConfig
from longvt_plugins.judges.exact import exact_score, read_interval
from longvt_plugins.types import TimeSpan

calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


COLOURS = ["black", "blue", "dark blue"]
LONG = "a man in a green coat walks slowly to the parked car"


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        ("red", "Red."),
        ("the red car", "  a RED   car!"),
        ("café", "cafe\u0301"),
        ("ＡＢＣ", "abc"),
        ("don't stop", "don’t stop"),
        ("3", "three"),
        ("twelve cars", "12 cars"),
        ("twenty-five cars", "25 cars"),
        ("Twenty five.", "25"),
        ("1,000", "1000.0"),
        ("0.5", ".5"),
        ("-5", "-5.00"),
        ("-0", "0"),
        ("007", "7"),
        ("A", "a"),
        ("red", "**red**"),
        ("+5", "5"),
        ("?", "?"),
        ("走る", "走る。"),
        ("सेब", "सेब।"),
        ("٥ كتب", "5 كتب"),
        (LONG, LONG + " now"),
        (LONG + " now", LONG),
    ],
)
def test_the_same_answer_in_another_dress_is_right(reference, prediction):
    judgement = exact_score(reference, prediction)
    assert (judgement.score, judgement.verdict, judgement.fingerprint) == (1.0, "correct", "exact/2")


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        ("Black", "Blue"),  # the published code takes any reference with a capital A to H as multiple choice
        ("Adam", "Alice"),
        ("A", "A red car"),
        ("blue", "B"),
        ("red", ""),
        ("red", "   "),
        ("", ""),
        ("red", "?"),
        ("?", "!"),
        ("red", "red or blue or green"),
        ("3", "4"),
        ("5", "-5"),
        ("1.5", "15"),
        ("1234567890", "12345678901"),
        ("12:30", "12:31"),
        ("C++", "C"),
        ("सेब", "साब"),
        ("ไป", "ไปา"),
        ("x < 3", "x > 3"),
        ("2+3", "2-3"),
        ("x^2", "x 2"),
        ("1/2 apple", "1-2 apple"),
        (LONG, "not " + LONG),
        (LONG, LONG + " 2"),
    ],
)
def test_another_answer_is_wrong(reference, prediction):
    judgement = exact_score(reference, prediction)
    assert (judgement.score, judgement.verdict) == (0.0, "wrong")


@pytest.mark.parametrize(
    "prediction",
    ["B", "b", "(B)", "B.", "(b).", "B)", "B. blue", "B: Blue.", "blue", "The answer is B", "Option (B)", "Ｂ"],
)
@pytest.mark.parametrize("reference", ["B", "blue"])
def test_with_options_a_letter_or_the_options_text_is_accepted(reference, prediction):
    assert exact_score(reference, prediction, COLOURS).score == 1.0


@pytest.mark.parametrize(
    "prediction", ["A", "D", "I", "B. black", "A. blue", "dark blue", "black or blue", "", "A blue black"]
)
def test_with_options_another_choice_or_a_contradiction_is_wrong(prediction):
    assert exact_score("blue", prediction, COLOURS).score == 0.0


def test_ten_options_have_letters():
    options = [f"{letter}. {number} km" for number, letter in enumerate("ABCDEFGHIJ")]
    assert exact_score("J", "(J)", options).score == 1.0
    assert exact_score("I", "8 km", options).score == 1.0
    assert exact_score("I", "J. 9 km", options).score == 0.0


def test_options_may_carry_their_own_letters():
    options = ["A. red", "B. green", "C. a car"]
    assert exact_score("B", "green", options).score == 1.0
    assert exact_score("C. a car", "C", options).score == 1.0
    assert exact_score("A", "a car", options).score == 0.0


def test_an_options_text_wins_over_a_letter():
    assert exact_score("A", "B", ["B", "A"]).score == 0.0
    assert exact_score("A", "A", ["B", "A"]).score == 1.0


def test_an_option_may_look_as_if_it_had_a_letter():
    names = ["G. Washington", "B. Franklin", "T. Jefferson"]
    assert exact_score("B. Franklin", "b. franklin", names).score == 1.0
    assert exact_score("G. Washington", "G. Washington", names).score == 1.0


def test_an_option_listed_twice_is_right_in_both_places():
    assert exact_score("red", "C", ["red", "blue", "red"]).score == 1.0


def test_a_reference_that_is_no_option_is_compared_as_text():
    assert exact_score("violet", "Violet", COLOURS).score == 1.0
    assert exact_score("violet", "B", COLOURS).score == 0.0


@pytest.mark.parametrize(
    ("prediction", "score"),
    [
        ("[10, 20]", 1.0),
        ("[15, 20]", 0.5),
        ("10s - 20s", 1.0),
        ("10.0 to 20.0 seconds", 1.0),
        ("[0, 40]", 0.25),
        ("[30, 40]", 0.0),
        ("[20, 10]", 0.0),
        ("[15, 15]", 0.0),
        ("10", 0.0),
        ("[10, 20] or [30, 40]", 0.0),
        ("[nan, inf]", 0.0),
        ("", 0.0),
        ("1" + " " * 1_000_000 + "x", 0.0),
    ],
)
def test_a_grounding_answer_scores_its_overlap(prediction, score):
    assert exact_score("[10, 20]", prediction, kind="grounding").score == score


def test_a_grounding_reference_that_is_no_interval_is_a_fault_of_the_data():
    with pytest.raises(ConfigError, match=r"must be an interval \[start, end\], not 'noon'"):
        exact_score("noon", "[1, 2]", kind="grounding")


def test_intervals_are_read_as_spans():
    assert read_interval("(12.5, 20)") == TimeSpan(12.5, 20)
    assert read_interval("9" * 500) is None


def test_the_judge_comes_through_the_plugin_door():
    factory = create_plugin_manager(entry_points=False).judges.get("exact")
    judge = factory(JudgeConfig("exact"))
    judgement = asyncio.run(judge("Which colour?", "blue", "B", options=["red", "blue"], kind="choice"))
    assert judgement.score == 1.0
    with pytest.raises(ConfigError, match="takes no options but maths and audit, not strict"):
        factory(JudgeConfig("exact", {"strict": True}))


@calmly
@given(st.text(), st.text(), st.none() | st.lists(st.text(), max_size=10))
def test_any_text_gets_a_verdict(reference, prediction, options):
    assert exact_score(reference, prediction, options).score in (0.0, 1.0)


@calmly
@given(st.text(alphabet="[]()., -–tos0123456789", max_size=40))
def test_any_grounding_answer_gets_a_score(prediction):
    assert 0.0 <= exact_score("[10, 20]", prediction, kind="grounding").score <= 1.0


@calmly
@given(st.text(min_size=1).filter(str.strip))
def test_every_answer_agrees_with_itself(text):
    assert exact_score(text, text).score == 1.0


def test_the_words_in_common_are_told_and_decide_nothing():
    judgement = exact_score("a man in a red coat", "the man in red")
    assert judgement.score == 0.0
    assert judgement.scores == {"exact": 0.0, "token_f1": pytest.approx(2 * 3 / 7)}
    assert exact_score("红色的汽车", "红色汽车").scores["token_f1"] == pytest.approx(2 * 4 / 9)
    assert exact_score("red", "").scores == {"exact": 0.0, "token_f1": 0.0}


def test_a_choice_and_an_interval_have_no_words_in_common():
    assert exact_score("blue", "B", COLOURS).scores == {"exact": 1.0}
    assert exact_score("[10, 20]", "[15, 20]", kind="grounding").scores == {"exact": 0.5}
