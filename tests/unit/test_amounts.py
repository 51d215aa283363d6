from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.amounts import AmountError, parse_amount, parse_integer

LARGEST = 2**63 - 1
SMALLEST = -(2**63)


@given(st.integers(1, LARGEST))
def test_amounts_are_read_from_text_and_from_integers(amount: int) -> None:
    assert parse_amount(str(amount)) == amount
    assert parse_amount(amount) == amount


@given(st.integers(SMALLEST, LARGEST))
def test_integers_are_read_from_text_and_from_integers(number: int) -> None:
    assert parse_integer(str(number)) == number
    assert parse_integer(number) == number


@given(st.one_of(st.integers(min_value=LARGEST + 1), st.integers(max_value=SMALLEST - 1)))
def test_what_does_not_fit_is_refused(number: int) -> None:
    for value in (number, str(number)):
        with pytest.raises(AmountError):
            parse_integer(value)
        with pytest.raises(AmountError):
            parse_amount(value)


@pytest.mark.slow
@given(st.text())
def test_only_the_one_way_of_writing_a_number_is_accepted(text: str) -> None:
    try:
        number = parse_integer(text)
    except AmountError:
        return
    assert str(number) == text


@pytest.mark.parametrize("value", [0, -1, "0", "-1", "-9223372036854775808", SMALLEST])
def test_zero_and_less_is_no_amount(value: str | int) -> None:
    parse_integer(value)
    with pytest.raises(AmountError, match="more than zero"):
        parse_amount(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-",
        "--1",
        "+1",
        "12.50",
        "12,50",
        "1.0",
        "1.",
        ".5",
        "1e3",
        "1E3",
        "-1e3",
        "00",
        "01",
        "0012",
        "-0",
        "-01",
        "0x10",
        "0b1",
        "1_000",
        "1 000",
        " 1",
        "1 ",
        "1\n",
        "1\0",
        "\ud800",
        "NaN",
        "Infinity",
        "true",
        "null",
        "١٢٣",
        "１２３",  # noqa: RUF001 - meant
        "²",
        "①",
        "−1",  # noqa: RUF001 - meant
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "9" * 5000,  # longer than Python would convert
        "-" + "9" * 5000,
    ],
)
def test_bad_text_is_refused(text: str) -> None:
    with pytest.raises(AmountError):
        parse_integer(text)
    with pytest.raises(AmountError):
        parse_amount(text)


@pytest.mark.parametrize("number", [LARGEST + 1, 10**30, 10**4000])
def test_integers_too_large_are_refused(number: int) -> None:
    with pytest.raises(AmountError, match="at most 9223372036854775807"):
        parse_integer(number)


@pytest.mark.parametrize("value", [1.0, 1250.5, True, False, None, b"1", Decimal(1), [1]])
def test_what_is_neither_a_text_nor_an_integer_is_refused_by_its_name(value: object) -> None:
    for parse in (parse_amount, parse_integer):
        with pytest.raises(AmountError, match=rf'such as "1250", not {type(value).__name__}$'):
            parse(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [(SMALLEST - 1, "at least -922"), (f"{SMALLEST}0", "at least -922"), (LARGEST + 1, "at most 922")],
)
def test_what_does_not_fit_is_told_the_bound_that_it_passed(value: str | int, words: str) -> None:
    with pytest.raises(AmountError, match=words):
        parse_integer(value)
