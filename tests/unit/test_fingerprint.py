import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.commands import RequestKey
from tallystick.domain.fingerprint import (
    FIELDS,
    Field,
    RequestKind,
    differing_field,
    fingerprint,
    request_key,
)
from tallystick.domain.sagas import Step, credit_request, promise_end_request

fields: st.SearchStrategy[Field] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(codec="utf-8"), max_size=80),
    st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2), max_size=4),
)
operations = st.sampled_from(RequestKind)


@given(data=st.data(), operation=operations)
def test_the_first_field_that_differs_is_named(data: st.DataObject, operation: RequestKind) -> None:
    names = FIELDS[operation]
    values = data.draw(st.lists(fields, min_size=len(names), max_size=len(names)))
    place = data.draw(st.integers(0, len(names) - 1))
    other = data.draw(fields.filter(lambda value: value != values[place]))
    changed = [*values[:place], other, *data.draw(st.permutations(values[place + 1 :]))]
    recorded, requested = fingerprint(operation, *values), fingerprint(operation, *changed)
    assert recorded != requested
    assert differing_field(recorded, requested) == names[place]
    assert differing_field(requested, recorded) == names[place]


@pytest.mark.parametrize(
    ("operation", "place"),
    [(operation, place) for operation in RequestKind for place in range(len(FIELDS[operation]))],
)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", "b"),
        ("a", None),
        (None, 0),
        (None, False),
        (0, "0"),
        (1, 2),
        (True, False),
        ("x" * 33, "x" * 34),
        ("x" * 5000 + "a", "x" * 5000 + "b"),
        ([[1, 2]], [[1, 3]]),
        ([[1, 2], [3, 4]], [[3, 4], [1, 2]]),
        ([], None),
    ],
)
def test_each_field_of_each_operation(
    operation: RequestKind, place: int, first: Field, second: Field
) -> None:
    names = FIELDS[operation]
    values: list[Field] = ["same"] * len(names)
    one = fingerprint(operation, *values[:place], first, *values[place + 1 :])
    two = fingerprint(operation, *values[:place], second, *values[place + 1 :])
    assert one != two
    assert differing_field(one, two) == names[place]


@given(first=operations, second=operations, values=st.lists(fields, max_size=4))
def test_another_call_is_named_path(first: RequestKind, second: RequestKind, values: list[Field]) -> None:
    if first is not second:
        assert differing_field(fingerprint(first, *values), fingerprint(second, *values)) == "path"


@pytest.mark.parametrize("step", [credit_request(7), promise_end_request(7, Step.REVOKE)])
def test_a_step_of_a_saga_is_another_call(step: RequestKey) -> None:
    confirmed = promise_end_request(7, Step.CONFIRM).fingerprint
    for other in (confirmed, fingerprint(RequestKind.VOID, "hold")):
        assert differing_field(step.fingerprint, other) == "path"
        assert differing_field(other, step.fingerprint) == "path"


@given(operation=operations, values=st.lists(fields, max_size=4), absent=st.integers(0, 5))
def test_the_same_request_has_the_same_fingerprint(
    operation: RequestKind, values: list[Field], absent: int
) -> None:
    assert fingerprint(operation, *values) == fingerprint(operation, *values, *([None] * absent))


def test_fingerprints_stay_small() -> None:
    for operation, names in FIELDS.items():
        assert len(fingerprint(operation, *["é" * 5000 for _ in names])) <= 2 + len(names) * 18


def test_operations_have_fields_of_their_own() -> None:
    assert FIELDS.keys() == set(RequestKind)
    for names in FIELDS.values():
        assert len(set(names)) == len(names)


def test_stored_numbers_never_change() -> None:
    assert {operation.name: int(operation) for operation in RequestKind} == {
        "OPEN_ACCOUNT": 1,
        "CHANGE_ACCOUNT": 2,
        "TRANSFER": 3,
        "TRANSACTION": 4,
        "HOLD": 5,
        "CAPTURE": 6,
        "VOID": 7,
        "REVERSE": 8,
    }


@given(
    first=st.tuples(st.integers(0, 2**32 - 1), st.text(st.characters(codec="utf-8"), max_size=255)),
    second=st.tuples(st.integers(0, 2**32 - 1), st.text(st.characters(codec="utf-8"), max_size=255)),
)
def test_keys_of_tenants_are_apart(first: tuple[int, str], second: tuple[int, str]) -> None:
    assert len(request_key(*first)) == 16
    assert (request_key(*first) == request_key(*second)) == (first == second)


def test_key_is_always_the_same() -> None:
    # Stored: computed once with `printf '\0\0\0\1order 7' | sha256sum`.
    assert request_key(1, "order 7").hex() == "e05cbb0783c5259170b4d0ea4289996a"
