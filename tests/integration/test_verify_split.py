"""`verify` over sagas with payees on several shards: all is right; then one thing is changed on one of them."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Final, NamedTuple

import pytest
from tests.crash.databases import name_of, one_value, temporary_database, temporary_shards
from tests.crash.split_scenarios import pay, prepare, prepare_promised, prepare_refusal
from tests.crash.two_shards import AWAY, FURTHER, HOME, account_name, serving
from tests.forgery.books import Spoilable
from tests.forgery.split_changes import CHANGES

from tallystick.domain.identifiers import Prefix, local_of, parse_identifier
from tallystick.domain.sagas import Stage
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.service.open_sagas import OpenSagas
from tallystick.verify.crossings import verify_crossings
from tallystick.verify.log import verify_shard

pytestmark = pytest.mark.usefixtures("either_size")

SHARDS: Final = (HOME, AWAY, FURTHER)


class Books(NamedTuple):
    """Three logs, copies to spoil, and what stands where on each: `paid`, `refused`, `undone`, `half`."""

    dsns: dict[int, str]
    copies: dict[int, Spoilable]
    marks: dict[int, dict[str, int]]


@pytest.fixture(scope="module")
def books(postgres: EmbeddedPostgres) -> Iterator[Books]:
    with ExitStack() as databases:
        logs = databases.enter_context(temporary_shards(postgres, SHARDS))
        sagas = asyncio.run(build({number: log.server_dsn for number, log in logs.items()}))
        owners = {number: log.owner_dsn for number, log in logs.items()}
        marks = {number: marks_of(dsn, number, sagas) for number, dsn in owners.items()}
        copies = {
            number: Spoilable(
                databases.enter_context(temporary_database(postgres, name_of(log))).owner_dsn, number
            )
            for number, log in logs.items()
        }
        yield Books(owners, copies, marks)


async def build(dsns: dict[int, str]) -> dict[str, int]:
    """One that is paid, one that is refused, one that is given up, and one that goes no further than half way."""
    async with serving(dsns, workers=False) as ledger:
        (paid,) = await prepare(ledger, 1)
        assert await pay(ledger, paid) == "posted"
        (refused,) = await prepare_refusal(ledger, 1)
        assert await pay(ledger, refused) == "refused"
        undone, half = await prepare_promised(ledger, 2)
        ended = await OpenSagas(ledger._engine).drive(undone.reference, give_up=True)
        assert ended.stage == "released"
        first = (await ledger.entries(account_name(paid.payer), limit=1)).items[0].transaction
        second = one_value(dsns[HOME], "SELECT min(saga) FROM sagas WHERE status = 3")
        return {
            "paid": local_of(parse_identifier(Prefix.TRANSACTION, first)),
            "refused": second,
            "undone": local_of(parse_identifier(Prefix.TRANSACTION, undone.reference)),
            "half": local_of(parse_identifier(Prefix.TRANSACTION, half.reference)),
        }


def marks_of(dsn: str, number: int, sagas: Mapping[str, int]) -> dict[str, int]:
    """Where each kind of step of each saga stands on a shard; 0: nowhere."""
    marks = {}
    for name, saga in sagas.items():
        refers_to = saga if number == HOME else (HOME << 51) + saga
        marks[name] = refers_to
        for kind in (32, 33, 34, 35, 36, 37, 38):
            marks[f"{name}_{kind}"] = one_value(
                dsn,
                "SELECT coalesce(max(position), 0) FROM transactions WHERE kind = %s AND refers_to = %s",
                kind,
                refers_to,
            )
    return marks


def test_all_shards_are_right_and_what_is_half_way_is_named(books: Books) -> None:
    for number, dsn in books.dsns.items():
        report = verify_shard(dsn, number)
        assert report.ok, report.problems[:3]
    crossings = verify_crossings(books.dsns)
    assert crossings.ok, crossings.problems[:3]
    (half,) = crossings.open_sagas
    assert (half.payee_shards, half.stage) == ((AWAY, FURTHER), Stage.RESERVED)
    assert {pair.shards: pair.difference for pair in crossings.pairs} == {(1, 2): -100, (1, 3): 0}
    assert not any(pair.unexplained for pair in crossings.pairs)


def test_a_shard_that_is_not_there_is_not_compared(books: Books) -> None:
    crossings = verify_crossings({HOME: books.dsns[HOME], AWAY: books.dsns[AWAY]})
    assert crossings.ok, crossings.problems[:3]
    assert crossings.not_compared == {(HOME, FURTHER): 4}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found(books: Books, name: str) -> None:
    changed, statements, kind, between = CHANGES[name]
    for number, copy in books.copies.items():
        copy.spoil(statements if number == changed else (), books.marks[number], rehash=True)
    own = {number: verify_shard(copy.dsn, number) for number, copy in books.copies.items()}
    across = verify_crossings({number: copy.dsn for number, copy in books.copies.items()})
    if between:
        assert not any(report.counts for report in own.values()), [one.problems[:3] for one in own.values()]
        assert kind in across.counts, across.problems
    else:
        assert kind in own[changed].counts, own[changed].problems
