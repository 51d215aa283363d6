import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.identifiers import (
    IdentifierError,
    Prefix,
    format_identifier,
    local_of,
    make_identifier,
    parse_identifier,
    shard_of,
)

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"

prefixes = st.sampled_from(Prefix)
shards = st.integers(1, 4095)
locals_ = st.integers(1, 2**51 - 1)


@given(prefix=prefixes, shard=shards, local=locals_)
def test_round_trip(prefix: Prefix, shard: int, local: int) -> None:
    identifier = make_identifier(shard, local)
    assert 0 < identifier < 2**63
    assert (shard_of(identifier), local_of(identifier)) == (shard, local)
    text = format_identifier(prefix, identifier)
    assert text.startswith(f"{prefix.value}_")
    assert len(text) == len(prefix.value) + 1 + 14
    assert parse_identifier(prefix, text) == identifier


@given(first=st.tuples(shards, locals_), second=st.tuples(shards, locals_))
def test_order_is_shard_then_number(first: tuple[int, int], second: tuple[int, int]) -> None:
    assert (make_identifier(*first) < make_identifier(*second)) == (first < second)
    texts = [format_identifier(Prefix.TRANSACTION, make_identifier(*pair)) for pair in (first, second)]
    # Without the check character, texts sort as numbers do.
    assert (texts[0][:-1] < texts[1][:-1]) == (first < second)


@given(prefix=prefixes, shard=shards, local=locals_)
def test_every_wrong_character_is_caught(prefix: Prefix, shard: int, local: int) -> None:
    text = format_identifier(prefix, make_identifier(shard, local))
    start = len(prefix.value) + 1
    for place in range(start, len(text)):
        for character in CROCKFORD:
            if character != text[place]:
                with pytest.raises(IdentifierError):
                    parse_identifier.__wrapped__(prefix, text[:place] + character + text[place + 1 :])


@given(prefix=prefixes, shard=shards, local=locals_)
def test_every_swap_of_neighbours_is_caught(prefix: Prefix, shard: int, local: int) -> None:
    text = format_identifier(prefix, make_identifier(shard, local))
    for place in range(len(prefix.value) + 1, len(text) - 1):
        swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        if swapped != text:
            with pytest.raises(IdentifierError):
                parse_identifier(prefix, swapped)


def test_check_catches_swaps_and_wrong_characters_without_exception() -> None:
    # The two properties hold for all identifiers if they hold for each pair of characters: all 32² of them,
    # in the last places, where every value is a valid number.
    for high in CROCKFORD:
        valid: dict[str, str] = {}
        for low in CROCKFORD:
            number = int(f"{CROCKFORD.index(high):05b}{CROCKFORD.index(low):05b}", 2) + 1024
            valid[low] = format_identifier(Prefix.ACCOUNT, make_identifier(1, number))
        assert len({text[-1] for text in valid.values()}) == 32
        for low, text in valid.items():
            if low != high:
                with pytest.raises(IdentifierError, match="check character"):
                    parse_identifier(Prefix.ACCOUNT, text[:-3] + low + high + text[-1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acct",
        "acct_",
        "txn_00800000000014",
        "acct_0080000000001",
        "acct_008000000000140",
        "ACCT_00800000000014",
        " acct_00800000000014",
        "acct_00800000000014\n",
        "acct_0080000000001i",
        "acct_0080000000001l",
        "acct_0080000000001o",
        "acct_0080000000001u",
        "acct_0080000000001-",
        "acct_0080000000_014",
        "acct_+0800000000014",
        "acct_٠٠٨٠٠٠٠٠٠٠٠٠١٤",
        "acct_\ud800080000000014",
        "acct_\x0000800000000014",
        "acct_00000000000000",
        "acct_zzzzzzzzzzzzzz",
    ],
)
def test_what_is_no_identifier_is_refused(text: str) -> None:
    with pytest.raises(IdentifierError):
        parse_identifier(Prefix.ACCOUNT, text)


def test_capital_letters_are_refused() -> None:
    text = format_identifier(Prefix.ACCOUNT, make_identifier(4095, 2**51 - 1))
    assert text.upper() != text
    with pytest.raises(IdentifierError):
        parse_identifier(Prefix.ACCOUNT, "acct_" + text.removeprefix("acct_").upper())


@given(prefix=prefixes, shard=shards, local=locals_)
def test_another_kind_is_refused(prefix: Prefix, shard: int, local: int) -> None:
    text = format_identifier(prefix, make_identifier(shard, local))
    for other in set(Prefix) - {prefix}:
        with pytest.raises(IdentifierError, match=f"starts with {other.value}_"):
            parse_identifier(other, text)


@pytest.mark.parametrize(("shard", "local"), [(0, 1), (4096, 1), (-1, 1), (1, 0), (1, -1), (1, 2**51)])
def test_numbers_out_of_range_make_no_identifier(shard: int, local: int) -> None:
    with pytest.raises(IdentifierError):
        make_identifier(shard, local)


@pytest.mark.parametrize("identifier", [1, 2**51 - 1, 1 << 51, 4096 << 51 | 1, 2**63 + (1 << 51) + 5])
def test_well_written_text_of_no_shard_is_refused(identifier: int) -> None:
    with pytest.raises(IdentifierError):
        parse_identifier(Prefix.ACCOUNT, format_identifier(Prefix.ACCOUNT, identifier))
