"""Numbers with and without units: whether two texts measure the same.

>>> same_quantity("5 km", "5000 m")
True
>>> same_quantity("1 h 30 min", "90 minutes")
True
>>> same_quantity("$5", "€5")
False
>>> same_quantity("5 km", "far away") is None
True

The whole text must be a quantity: no number is picked out of a sentence. In one unit the numbers must be equal.
Otherwise rounding is allowed for, as :func:`same_quantity` says. A number without a unit takes the unit that the
question names, else that of a reference that has one. Currencies are not converted.

The table is our own and short. A general library reads more than an answer means: pint takes "3 cats" for
centi-atmospheres and "5 pm" for picometres, and knows no other language.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 80
"""Characters of the longest text that is read as a quantity."""

RELATIVE_TOLERANCE = Fraction(1, 100)
"""How far rounding may lead, as a share of the larger value: 3 miles are 4.8 km, but not 5 km."""

_NUMBER_NAMES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
"""

NUMBER_WORDS = {name: place if place <= 20 else 10 * (place - 18) for place, name in enumerate(_NUMBER_NAMES.split())}
"""English names of whole numbers that are one word."""

_MAGNITUDES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}

# What is measured, how many base units one is, how it is written (casefolded; "_" stands for a space).
_TABLE = (
    ("length", "1/1000", "mm millimeter millimeters millimetre millimetres 毫米"),
    ("length", "1/100", "cm centimeter centimeters centimetre centimetres zentimeter centimètres centímetros 厘米"),
    ("length", "1", "m meter meters metre metres mètre mètres metro metros 米"),
    ("length", "1000", "km kilometer kilometers kilometre kilometres kilomètres kilómetros kms 公里 千米"),
    ("length imperial", "0.0254", "in inch inches"),
    ("length imperial", "0.3048", "ft foot feet"),
    ("length imperial", "0.9144", "yd yard yards"),
    ("length imperial", "1609.344", "mi mile miles"),
    ("mass", "1/1000", "mg milligram milligrams"),
    ("mass", "1", "g gram grams gramm grammes gramos 克"),
    ("mass", "1000", "kg kilo kilos kilogram kilograms kilogramm kilogrammes kilogramos 公斤 千克"),
    ("mass", "1000000", "tonne tonnes"),
    ("mass imperial", "28.349523125", "oz ounce ounces"),
    ("mass imperial", "453.59237", "lb lbs pound pounds"),
    ("time", "1/1000", "ms millisecond milliseconds 毫秒"),
    ("time", "1", "s sec secs second seconds sekunde sekunden seconde secondes segundo segundos 秒 秒钟"),
    ("time", "60", "min mins minute minutes minuten minuto minutos 分 分钟"),
    ("time", "3600", "h hr hrs hour hours stunde stunden heure heures hora horas 小时 时"),
    ("time", "86400", "day days tag tage tagen jour jours día días 天"),
    ("time", "604800", "week weeks woche wochen semaine semaines semana semanas 周"),
    ("month", "1", "month months monat monate monaten mois mes meses 个月"),
    ("month", "12", "yr yrs year years jahr jahre jahren an ans année années año años 年"),
    ("length^3", "1/1000000", "ml milliliter milliliters millilitre millilitres 毫升"),
    ("length^3", "1/1000", "l liter liters litre litres litro litros 升"),
    ("length^3 imperial", "0.003785411784", "gallon gallons"),
    ("length/time", "1000/3600", "kmh kph"),
    ("length/time imperial", "1609.344/3600", "mph"),
    ("degree", "1", "° degree degrees grad degré degrés grados 度"),
    ("temperature", "1", "°c degree_celsius degrees_celsius celsius grad_celsius 摄氏度"),
    ("temperature imperial", "5/9", "°f degree_fahrenheit degrees_fahrenheit fahrenheit"),
    ("temperature", "1", "kelvin"),
    ("number", "1/100", "% percent per_cent pct prozent pour_cent por_ciento"),
    ("usd", "1", "$ us$ usd dollar dollars dólares 美元"),
    ("usd", "1/100", "cent cents"),
    ("eur", "1", "€ eur euro euros 欧元"),
    ("gbp", "1", "£ gbp pound pounds"),
    ("jpy", "1", "¥ jpy yen 円 日元"),
    ("cny", "1", "¥ cny rmb yuan 元 人民币"),
    ("inr", "1", "₹ inr rupee rupees"),
)
# Zero of a scale in its base unit, kelvin.
_OFFSETS = {"°c": "273.15", "celsius": "273.15", "摄氏度": "273.15", "°f": "255.372222", "fahrenheit": "255.372222"}
_CURRENCY_SIGNS = "$€£¥₹"
_SIGN_FIRST = re.compile(rf"(-?)\s?(us\$|usd|eur|gbp|jpy|cny|rmb|inr|[{_CURRENCY_SIGNS}])\s?(.+)")
_JOINING = r"(?:\s|,|\band\b|\bund\b|\bet\b|\by\b|和|又)+"

_DIGITS = r"(?:[0-9]+(?:[.,][0-9]+)*|\.[0-9]+)"
_NUMBER = re.compile(rf"(?<![0-9^.,])-?{_DIGITS}(?:(?:\s+[0-9]+)?\s?/\s?[0-9]+(?![\w.,]))?")
_CLOCK = re.compile(r"(?:([0-9]{1,2}):)?([0-9]{1,3}):([0-9]{2})")
_POWER = re.compile(r"(?<=[a-z])\^?([23])(?![\w.,])")
_MIXED = re.compile(r"(-?)(?:([0-9]+)\s+)?([0-9]+)\s?/\s?([0-9]+)")
_ASKED_UNIT = re.compile(r"\b(?:how many|number of|in|what)\s+([^\W\d_]+(?:\s(?:per|an)\s[^\W\d_]+|/[^\W\d_]+)?)")


@dataclass(frozen=True)
class _Unit:
    dimension: str
    factor: Fraction
    system: str = ""
    offset: Fraction = Fraction(0)


_BARE = _Unit("number", Fraction(1))


@dataclass(frozen=True)
class _Quantity:
    """What one reading of a text measures.

    Attributes:
        number: As written; of a sum, in its smallest unit.
        unit: None for a bare number.
        digit: Value of the last written digit, 0 where nothing was rounded.
    """

    number: Fraction
    unit: _Unit | None
    digit: Fraction
    is_clock: bool = False


def same_quantity(reference: str, prediction: str, question: str = "") -> bool | None:
    """Whether two texts measure the same; None if they are not both quantities, so that the words must decide.

    Args:
        reference: The right answer.
        prediction: The answer under test.
        question: A bare number is in the unit that it asks for: "How many seconds ...", "... in km".

    Returns:
        In one unit, whether the numbers are equal. Between units, whether they differ by no more than half of a
        last digit that stands behind a decimal point, and by 1 % at most; between systems, as miles and
        kilometres, the last digit counts also where it stands before the point. None also for two times of a
        clock, and for a bare reference against a unit that the question does not name.
    """
    right, given = _readings(reference), _readings(prediction)
    if not right or not given or (right[0].is_clock and given[0].is_clock):
        return None
    asked = _asked(question)
    verdicts = [_agree(one, other, asked) for one in right for other in given]
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _agree(right: _Quantity, given: _Quantity, asked: _Unit | None) -> bool | None:
    if right.unit is None and given.unit is None:
        return right.number == given.number
    if right.unit is None:
        if asked is None:
            return True if given.unit is not None and _same(right, _BARE, given, given.unit) else None
        return _same(right, asked, given, given.unit or asked)
    if given.unit is None:
        taken = asked or right.unit
        return _same(right, right.unit, given, taken) or _same(right, right.unit, given, _BARE)
    return _same(right, right.unit, given, given.unit)


def _same(a: _Quantity, unit_a: _Unit, b: _Quantity, unit_b: _Unit) -> bool:
    if unit_a.dimension != unit_b.dimension:
        return False
    if unit_a == unit_b:
        return a.number == b.number
    one = a.number * unit_a.factor + unit_a.offset
    other = b.number * unit_b.factor + unit_b.offset
    between_systems = unit_a.system != unit_b.system
    rounding = max(
        (
            value.digit * unit.factor / 2
            for value, unit in ((a, unit_a), (b, unit_b))
            if between_systems or value.digit < 1
        ),
        default=Fraction(0),
    )
    apart = abs(one - other)
    return apart <= rounding and apart <= RELATIVE_TOLERANCE * max(abs(one), abs(other))


@functools.lru_cache(maxsize=4096)
def _readings(text: str) -> tuple[_Quantity, ...]:
    """What a text may measure; several where a name has two meanings, none where it is no quantity."""
    if len(text) > LONGEST:
        return ()
    # "2½" would become "21⁄2".
    spaced = re.sub(r"(?<=[0-9])(?=[¼-¾⅐-⅞])", " ", text)
    plain = unicodedata.normalize("NFKC", spaced).casefold().replace("\u2044", "/").replace("\u2212", "-")
    plain = _POWER.sub(r"^\1", " ".join(plain.split()).rstrip(".!。 "))
    if clock := _CLOCK.fullmatch(plain):
        return _clock(clock)
    plain = _with_digits(plain)
    if found := _SIGN_FIRST.fullmatch(plain):
        plain = f"{found[1]}{found[3]} {found[2]}"
    parts = _parts(plain)
    if len(parts) != 1:
        return _sum(parts)
    number, digit, phrase = parts[0]
    units: Sequence[_Unit | None] = _units(phrase) if phrase else [None]
    return tuple(_Quantity(number, unit, digit) for unit in units)


def _clock(found: re.Match[str]) -> tuple[_Quantity, ...]:
    """What a player shows: 1:30 is a minute and a half."""
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    if seconds >= 60 or (found[1] and minutes >= 60):
        return ()
    return (_Quantity(Fraction(3600 * hours + 60 * minutes + seconds), _UNITS["s"][0], Fraction(1), is_clock=True),)


def _sum(parts: Sequence[tuple[Fraction, Fraction, str]]) -> tuple[_Quantity, ...]:
    """One quantity of several parts, from the larger to the smaller unit: 1 h 30 min; none of none."""
    if not parts:
        return ()
    units: list[_Unit] = []
    is_time = any(unit.dimension == "time" for _, _, phrase in parts for unit in _units(phrase))
    for _, _, phrase in parts:
        found = _units("min" if phrase == "m" and is_time else phrase)  # 5 m are metres, 1 h 5 m are not
        found = [unit for unit in found if unit.dimension in ("time", "length", "mass", "month")]
        if not found or (units and (found[0].dimension != units[-1].dimension or found[0].factor >= units[-1].factor)):
            return ()
        units.append(found[0])
    if any(number < 0 for number, _, _ in parts):
        return ()
    last = units[-1]
    total = sum((number * unit.factor for (number, _, _), unit in zip(parts, units, strict=True)), Fraction(0))
    return (_Quantity(total / last.factor, last, parts[-1][1]),)


def _parts(plain: str) -> list[tuple[Fraction, Fraction, str]]:
    """Numbers with the words after each; empty if the text does not begin with a number or one cannot be read."""
    found = list(_NUMBER.finditer(plain))
    if not found or found[0].start() != 0:
        return []
    parts = []
    ends = [match.start() for match in found[1:]] + [len(plain)]
    for match, end in zip(found, ends, strict=True):
        read = _number(match[0])
        if read is None:
            return []
        number, digit = read
        phrase = re.sub(rf"^{_JOINING}|{_JOINING}$", "", plain[match.end() : end])
        first, _, rest = phrase.partition(" ")
        if first in _MAGNITUDES:
            number, digit, phrase = number * _MAGNITUDES[first], digit * _MAGNITUDES[first], rest.strip()
        parts.append((number, digit, phrase))
    return parts


def _number(text: str) -> tuple[Fraction, Fraction] | None:
    """A number, and the value of its last digit; None for one that cannot be told, such as 1.234.5."""
    if mixed := _MIXED.fullmatch(text):
        sign, whole, above, below = mixed.groups()
        if int(below) == 0:
            return None
        value = int(whole or 0) + Fraction(int(above), int(below))
        return (-value if sign else value), Fraction(0)
    if re.fullmatch(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?", text):
        text = text.replace(",", "")
    elif re.fullmatch(r"-?[0-9]{1,3}(?:\.[0-9]{3}){2,}", text):
        text = text.replace(".", "")
    elif re.fullmatch(r"-?[0-9]+,[0-9]{1,2}", text):
        text = text.replace(",", ".")  # the decimal comma
    if not re.fullmatch(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)", text):
        return None
    decimals = len(text.partition(".")[2])
    return Fraction(text), Fraction(1, 10**decimals)


def _with_digits(plain: str) -> str:
    """Number words at the start and inside as digits: "twenty-five cars", "one hour"."""
    words = re.split(r"(\s|(?<=[a-z])-(?=[a-z]))", plain)
    tokens, separators = words[::2], [*words[1::2], ""]
    written: list[str] = []
    place = 0
    while place < len(tokens):
        word = tokens[place]
        number = NUMBER_WORDS.get(word)
        following = NUMBER_WORDS.get(tokens[place + 1]) if place + 1 < len(tokens) else None
        if number is not None and number >= 20 and following is not None and 0 < following < 10:
            number, place = number + following, place + 1
        written += [word if number is None else str(number), separators[place]]
        place += 1
    return "".join(written)


def _units(phrase: str) -> list[_Unit]:
    """The units that a phrase may name, those of "km/h" and "square metres" among them."""
    phrase = phrase.strip()
    if phrase in _UNITS:
        return _UNITS[phrase]
    if squared := re.fullmatch(r"(square|sq|cubic|cu)\.? (\w+)|(\w+)\^([23])", phrase):
        power = int(squared[4] or (2 if squared[1] in ("square", "sq") else 3))
        name = squared[2] or squared[3]
        return [
            _Unit("length^3" if power == 3 else "length^2", unit.factor**power, unit.system)
            for unit in _UNITS.get(name, [])
            if unit.dimension == "length"
        ]
    above, slash, below = re.sub(r"\s?(?:/|\bper\b|\ban\b)\s?", "/", phrase).partition("/")
    if not slash:
        return []
    return [
        _Unit(f"{one.dimension}/{other.dimension}", one.factor / other.factor, one.system)
        for one in _UNITS.get(above.strip(), [])
        for other in _UNITS.get(below.strip(), [])
    ]


@functools.lru_cache(maxsize=1024)
def _asked(question: str) -> _Unit | None:
    """The one unit in which a question wants its answer; None if it names none, or several."""
    plain = unicodedata.normalize("NFKC", question[:2000]).casefold().replace("percentage", "percent")
    named = {unit for phrase in _ASKED_UNIT.findall(plain) for unit in _units(phrase)}
    return named.pop() if len(named) == 1 else None


def _read_table() -> dict[str, list[_Unit]]:
    units: dict[str, list[_Unit]] = {}
    for measured, base, names in _TABLE:
        dimension, _, system = measured.partition(" ")
        above, _, below = base.partition("/")
        factor = Fraction(above) / Fraction(below or 1)
        for name in names.split():
            spelled = name.replace("_", " ")
            offset = Fraction(_OFFSETS.get(spelled.rpartition(" ")[2], 0))
            units.setdefault(spelled, []).append(_Unit(dimension, factor, system, offset))
    return units


_UNITS = _read_table()
