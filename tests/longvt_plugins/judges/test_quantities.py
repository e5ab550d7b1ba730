"""Numbers with units: what is the same, what is another quantity, and what is left to the words."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longvt_plugins.judges.exact import exact_score
from longvt_plugins.judges.quantities import same_quantity

calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        ("5 km", "5000 m"),
        ("5km", "5,000 metres"),
        ("200 g", "0.2 kg"),
        ("1 l", "1000 ml"),
        ("1 h 30 min", "90 minutes"),
        ("1h30m", "1 hour and 30 minutes"),
        ("90 seconds", "1:30"),
        ("1:02:03", "3723 s"),
        ("one hour", "60 minutes"),
        ("1 day", "24 hours"),
        ("1 year", "12 months"),
        ("6 ft 2 in", "74 inches"),
        ("36 km/h", "10 metres per second"),
        ("2 m²", "2 square metres"),
        ("25 °C", "77°F"),
        ("25 degrees Celsius", "25 ℃"),
        ("50%", "50 percent"),
        ("50%", "0.5"),
        ("50%", "1/2"),
        ("½", "0.5"),
        ("2½ hours", "150 min"),
        ("2 million", "2,000,000"),
        ("twenty-five", "25"),
        ("$5", "5 dollars"),
        ("$5", "USD 5"),
        ("$0.05", "5 cents"),
        ("£5", "5 pounds"),
        ("5 lb", "5 pounds"),
        ("¥500", "500 yen"),
        ("¥500", "500元"),
        ("5 km", "5"),
        ("−5", "-5"),
        ("3,5 km", "3500 m"),
        ("1,5 Stunden", "90 Minuten"),
        ("10 secondes", "10 s"),
        ("3 metros", "300 cm"),
        ("1小时30分钟", "90分钟"),
        ("5公里", "5 km"),
    ],
)
def test_the_same_quantity_in_another_spelling(reference, prediction):
    assert same_quantity(reference, prediction) is True
    assert exact_score(reference, prediction).score == 1.0


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        ("5 km", "6 km"),
        ("5 km", "5 m"),
        ("5 km", "5 kg"),
        ("5 km", "5001 m"),
        ("5 km", "6"),
        ("10 s", "10 min"),
        ("1 min 41 s", "100 s"),
        ("2 hours", "121 min"),
        ("$5", "€5"),
        ("50%", "5"),
        ("20 °C", "20 °F"),
        ("5", "-5"),
        ("3.14", "3.1416"),
    ],
)
def test_another_quantity_is_wrong(reference, prediction):
    assert same_quantity(reference, prediction) is False
    assert exact_score(reference, prediction).score == 0.0


@pytest.mark.parametrize(
    ("reference", "prediction", "same"),
    [
        ("3 miles", "4.83 km", True),
        ("3 miles", "4.8 km", True),
        ("3 miles", "5 km", False),  # 3.5 % apart
        ("21 °C", "70 °F", True),
        ("100 s", "1.67 min", True),
        ("1.67 min", "100 s", True),
        ("100 s", "1.6 min", False),
        ("100 s", "2 min", False),
    ],
)
def test_a_conversion_may_round(reference, prediction, same):
    assert same_quantity(reference, prediction) is same


@pytest.mark.parametrize(
    ("question", "reference", "prediction", "same"),
    [
        ("How many seconds does it take?", "90", "1.5 min", True),
        ("How many seconds does it take?", "90", "90 min", False),
        ("How far is it, in km?", "5", "5000 m", True),
        ("How many metres is it?", "5 km", "5", False),
        ("How many metres is it?", "5 km", "5000", True),
        ("What percentage is sold?", "50", "50%", True),
        ("How many laps do they run?", "3", "3 min", None),
        ("How far, in miles or in km?", "5", "5 km", None),  # two units: neither is taken
        ("", "90", "90 s", None),
    ],
)
def test_a_bare_number_is_in_the_unit_that_the_question_names(question, reference, prediction, same):
    assert same_quantity(reference, prediction, question) is same


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        ("red", "5"),
        ("5 km", "it is 5 km away"),
        ("12:30", "12:31"),  # two times of day
        ("3 cats", "3"),
        ("5 pm", "5"),
        ("B2", "2"),
        ("1.2.3", "4"),
        ("12:99", "99 s"),
        ("5/0", "0"),
        ("", ""),
        ("1" * 1000, "1"),
    ],
)
def test_what_is_no_quantity_is_left_to_the_words(reference, prediction):
    assert same_quantity(reference, prediction) is None


@calmly
@given(st.text(alphabet="0123456789.,:/-− $€%°²½kmsinhc公里 and", max_size=40), st.sampled_from(["5 km", "1:30", "$5"]))
def test_no_text_raises_or_loops(text, reference):
    assert same_quantity(reference, text, text) in (True, False, None)


@calmly
@given(st.integers(0, 10**9), st.sampled_from(["km", "s", "%", "kg", "dollars", "°C"]))
def test_a_quantity_is_itself_and_not_the_next_one(number, unit):
    assert same_quantity(f"{number} {unit}", f"{number}.0 {unit}") is True
    assert same_quantity(f"{number} {unit}", f"{number + 1} {unit}") is False
