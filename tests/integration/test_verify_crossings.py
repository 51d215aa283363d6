"""`verify` across two shards: all is right, also while it moves; and then one thing is changed on one of them."""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from tests.crash.databases import temporary_server
from tests.forgery.books import Spoilable
from tests.forgery.crossing_changes import CHANGES, FOUND_TOO, REFUSALS, REFUSED_TOO
from tests.forgery.crossings import ONE, TWO, CrossingBuilder, build_crossings, two_shards
from tests.forked import run_forked
from tests.whole import WHOLE, some_of

from tallystick.domain import limits
from tallystick.domain.identifiers import Prefix, format_identifier
from tallystick.domain.sagas import Stage
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.service.configuration import Configuration, ShardConfiguration, write_configuration
from tallystick.store.migrate import migrate
from tallystick.verify.crossing_streams import CrossingStreams, ShardLostError
from tallystick.verify.crossings import CrossingsReport, judge_crossings, verify_crossings
from tallystick.verify.log import verify_shard
from tallystick.verify.problems import LogProblem, ProblemKind

pytestmark = pytest.mark.usefixtures("either_size")

MOVING_SECONDS = 10 if WHOLE else 4
MOVING_SECONDS_MAX = 300
"""How long a machine that does other things may need for as much as is to be seen."""
ROUNDS_MIN = 10
CROSSED_MIN = 100
NAMES = {ONE: "one", TWO: "two"}


class TwoBooks(NamedTuple):
    """The logs of two shards, and copies of them to spoil."""

    server: EmbeddedPostgres
    dsns: dict[int, str]
    marks: dict[str, int]
    copies: dict[int, Spoilable]


@pytest.fixture(scope="module")
def books() -> Iterator[TwoBooks]:
    with temporary_server() as server:
        for shard, name in NAMES.items():
            server.create_database(name)
            migrate(server.dsn(name), shard)
        dsns = {shard: server.dsn(name) for shard, name in NAMES.items()}
        marks = asyncio.run(build_crossings(dsns))
        copies = {}
        for shard, name in NAMES.items():
            server.create_database(f"spoiled_{name}", template=name)
            copies[shard] = Spoilable(server.dsn(f"spoiled_{name}"), shard)
        yield TwoBooks(server, dsns, marks, copies)


def test_each_shard_is_right_on_its_own(books: TwoBooks) -> None:
    for shard, dsn in books.dsns.items():
        report = verify_shard(dsn, shard)
        assert report.ok, report.problems[:3]


def test_both_shards_agree(books: TwoBooks) -> None:
    report = verify_crossings(books.dsns)
    assert report.ok, report.problems[:3]
    assert (report.shards, report.lost, report.not_compared) == ((ONE, TWO), {}, {})
    assert report.halves == 3
    (pair,) = report.pairs
    marks = books.marks
    assert (pair.shards, pair.tenant, pair.asset) == ((ONE, TWO), 1, "USD")
    assert (pair.difference, pair.unexplained) == (-22 - 33, 0)
    assert pair.crossings == (marks["credited_saga"], marks["credited_there_saga"])
    assert {saga.saga: saga.stage for saga in report.open_sagas} == {
        marks["reserved_saga"]: Stage.RESERVED,
        marks["credited_saga"]: Stage.CREDITED,
        marks["credited_there_saga"]: Stage.CREDITED,
        marks["refused_open_saga"]: Stage.REFUSED,
        marks["capturing_saga"]: Stage.RESERVED,
    }


def test_the_servers_own_role_may_compare(books: TwoBooks) -> None:
    report = verify_crossings(
        {shard: books.server.dsn(name, role="tallystick_login") for shard, name in NAMES.items()}
    )
    assert (report.ok, report.shards) == (True, (ONE, TWO))


def found(books: TwoBooks) -> str:
    """The first problem as one line: what, and where on which shard; on the shards themselves, then between them."""
    dsns = {shard: copy.dsn for shard, copy in books.copies.items()}
    for shard, dsn in dsns.items():
        first = verify_shard(dsn, shard).first_problem
        if first is not None:
            return f"{first.kind} at {place(first)} of shard {shard}"
    across = verify_crossings(dsns).first_problem
    if across is None:
        return "nothing"
    shard, first = across
    return f"{first.kind} between shards, at {place(first)} of shard {shard}"


def place(problem: LogProblem) -> str:
    return f"batch {problem.batch}" if problem.position is None else f"position {problem.position}"


def spoil(books: TwoBooks, statements: Mapping[int, tuple[str, ...]], *, rehash: bool = True) -> None:
    for shard, copy in books.copies.items():
        copy.spoil(statements.get(shard, ()), books.marks, rehash=rehash)


def test_nothing_spoiled_is_nothing_found(books: TwoBooks) -> None:
    spoil(books, {})
    assert found(books) == "nothing"


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found(books: TwoBooks, name: str) -> None:
    change = CHANGES[name]
    spoil(books, change.statements)
    between = " between shards," if change.between else ""
    where = f"position {books.marks[change.mark]} of shard {change.shard}"
    assert found(books) == f"{change.kind}{between} at {where}"


@pytest.mark.parametrize("name", FOUND_TOO)
def test_what_a_change_leads_to_is_found_too(books: TwoBooks, name: str) -> None:
    change = FOUND_TOO[name]
    spoil(books, change.statements)
    if change.between:
        across = verify_crossings({shard: copy.dsn for shard, copy in books.copies.items()})
        problems = [problem for shard, problem in across.problems if shard == change.shard]
    else:
        problems = verify_shard(books.copies[change.shard].dsn, change.shard).problems
    places = [problem.position for problem in problems if problem.kind == change.kind]
    assert places == [books.marks[change.mark]]


@pytest.mark.parametrize(
    "name",
    some_of(
        "changes between shards and the chain",
        [name for name, change in CHANGES.items() if change.kind != ProblemKind.BEYOND_HEAD],
        12,
    ),
)
def test_no_change_gets_past_the_chain(books: TwoBooks, name: str) -> None:
    spoil(books, CHANGES[name].statements, rehash=False)
    for shard in CHANGES[name].statements:
        assert ProblemKind.BATCH_HASH in verify_shard(books.copies[shard].dsn, shard).counts


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_between_shards_is_found_with_its_batch(books: TwoBooks, name: str) -> None:
    saga, kind = REFUSALS[name]
    spoil(books, {TWO: (REFUSED_TOO.replace("SAGA", f"{{{saga}}}"),)})
    assert found(books) == f"{kind} between shards, at batch 3 of shard 2"


# While it moves.


async def test_crossing_transfers_raise_no_alarm(books: TwoBooks) -> None:
    """Two writers keep crossing in both directions; whatever is on its way is no difference."""
    dsns = moving_copies(books, "moving")
    clock = asyncio.get_running_loop().time
    began_at = clock()
    done = asyncio.Event()
    crossed: Counter[str] = Counter()
    seen_open = rounds = 0
    async with two_shards(dsns) as shards:
        builder = CrossingBuilder(shards)
        builder.marks = books.marks
        writers = [
            asyncio.create_task(keep_crossing(builder, f"writer {writer}", shard, crossed, done))
            for writer, shard in enumerate((ONE, TWO, ONE, TWO))
        ]
        writers.append(asyncio.create_task(keep_posting_together(builder, crossed, done)))
        try:
            while (
                clock() < began_at + MOVING_SECONDS
                or rounds < ROUNDS_MIN
                or crossed.total() < CROSSED_MIN
                or not seen_open
            ):
                assert clock() < began_at + MOVING_SECONDS_MAX, (
                    f"{rounds} rounds, {crossed.total()} crossed, {seen_open} seen on their way"
                )
                report = await asyncio.to_thread(verify_crossings, dsns)
                assert report.ok, report.problems[:3]
                assert not any(pair.unexplained for pair in report.pairs)
                seen_open += report.open_count - 5
                rounds += 1
            for shard, dsn in dsns.items():
                own = await asyncio.to_thread(verify_shard, dsn, shard)
                assert own.ok, own.problems[:3]
        finally:
            done.set()
            await asyncio.gather(*writers)
    report = verify_crossings(dsns)
    assert (report.ok, report.open_count) == (True, 5)


async def keep_crossing(
    builder: CrossingBuilder, name: str, shard: int, crossed: Counter[str], done: asyncio.Event
) -> None:
    """Transfers to the other shard, some of them refused, given up, or given back."""
    source, destination = ("bob", "dave") if shard == ONE else ("dave", "bob")
    while not done.is_set():
        give_up = crossed[name] % 5 == 4
        await builder.saga(name, builder.transfer(source, destination, 1), shard, give_up=give_up)
        if crossed[name] % 3 == 0 and shard == ONE:
            await builder.saga(name, builder.transfer("alice", "capped", 501), shard)
        crossed[name] += 1


async def keep_posting_together(builder: CrossingBuilder, crossed: Counter[str], done: asyncio.Event) -> None:
    while not done.is_set():
        await builder.together("both", builder.transfer("bob", "dave", 1), ONE)
        await builder.together("both", builder.transfer("dave", "bob", 1), TWO)
        crossed["both"] += 2


def moving_copies(books: TwoBooks, name: str) -> dict[int, str]:
    for shard, template in NAMES.items():
        books.server.create_database(f"{name}_{shard}", template=template)
    return {shard: books.server.dsn(f"{name}_{shard}") for shard in NAMES}


STEPS = ("read_payers", "read_payees", "read_latest")


@pytest.mark.parametrize("after", STEPS)
async def test_whatever_happens_between_two_moments_is_no_alarm(books: TwoBooks, after: str) -> None:
    """Whole sagas in both directions, and steps of those that are open, between any two of the moments."""
    dsns = moving_copies(books, f"between_{after}")
    report = await verify_with_sagas_after(books, dsns, after, STEPS)
    assert report.ok, report.problems[:3]
    assert not report.not_compared


async def test_in_another_order_it_would_be_an_alarm(books: TwoBooks) -> None:
    """The payees' shards read before the payers': what was credited in between seems to be missing."""
    dsns = moving_copies(books, "reversed")
    report = await verify_with_sagas_after(
        books, dsns, "read_payees", ("read_payees", "read_payers", "read_latest")
    )
    assert report.counts.keys() >= {ProblemKind.CREDIT_MISSING, ProblemKind.REFUSAL_MISSING}


async def test_without_the_third_moment_it_would_be_an_alarm(books: TwoBooks) -> None:
    """What began after the payers were read, and was credited before the payees were."""
    dsns = moving_copies(books, "twice")
    report = await verify_with_sagas_after(
        books, dsns, "read_payers", ("read_latest", "read_payers", "read_payees")
    )
    assert report.counts.keys() >= {ProblemKind.CREDIT_OF_NO_SAGA}


async def verify_with_sagas_after(
    books: TwoBooks, dsns: dict[int, str], after: str, order: tuple[str, ...]
) -> CrossingsReport:
    """Verify with moments chosen in this order, and let sagas begin, go on and end after one of them."""
    async with two_shards(dsns) as shards:
        builder = CrossingBuilder(shards)
        builder.marks = dict(books.marks)
        with CrossingStreams(dsns) as streams:
            for step in order:
                await asyncio.to_thread(getattr(streams, step))
                if step == after:
                    await let_sagas_pass(builder)
            return await asyncio.to_thread(judge_crossings, streams, {})


async def let_sagas_pass(builder: CrossingBuilder) -> None:
    await builder.saga("new", builder.transfer("bob", "carol", 3), ONE)
    await builder.saga("new_back", builder.transfer("carol", "bob", 4), TWO)
    await builder.saga("new_refused", builder.transfer("alice", "capped", 700), ONE)
    await builder.saga("new_given_up", builder.transfer("bob", "dave", 5), ONE, give_up=True)
    begun = await builder.reserve("new_open", builder.transfer("bob", "dave", 6), ONE)
    await builder.credit("new_open", begun)
    await builder.together("new_together", builder.transfer("bob", "dave", 7), ONE)
    await builder.together("new_together_back", builder.transfer("dave", "bob", 8), TWO)


# When a shard cannot be reached; and the command.


def test_a_shard_that_is_lost_is_left_out(books: TwoBooks) -> None:
    report = verify_crossings(books.dsns | {3: books.server.dsn("no such database")})
    assert report.ok
    assert report.shards == (ONE, TWO)
    assert set(report.lost) == {3}
    report = verify_crossings({ONE: books.dsns[ONE], TWO: "host=/nowhere dbname=two"})
    assert report.shards == (ONE,)
    assert set(report.lost) == {TWO}
    assert report.ok
    assert report.not_compared.keys() == {(ONE, TWO), (TWO, ONE)}
    assert not report.pairs


@pytest.mark.parametrize("at_once", [0, limits.VERIFY_BYTES_AT_ONCE_MAX])
def test_a_shard_that_is_lost_on_the_way_is_named(
    books: TwoBooks, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "VERIFY_BYTES_AT_ONCE_MAX", at_once)
    with CrossingStreams(books.dsns) as streams:
        streams.read_payers()
        streams.read_payees()
        streams.read_latest()
        with psycopg.connect(books.dsns[TWO]) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'tallystick verify' AND datname = 'two'"
            )
        with pytest.raises(ShardLostError) as lost:
            judge_crossings(streams, {})
    assert lost.value.shard == TWO


@pytest.fixture
def run_verify(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(dsns: Mapping[int, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "tallystick.toml"
        shards = [ShardConfiguration(shard, dsn) for shard, dsn in dsns.items()]
        write_configuration(path, Configuration(shards))
        return run_forked(["verify", "--config", str(path), *arguments], timeout=60)

    return run


RunVerify = Callable[..., subprocess.CompletedProcess[str]]


def test_the_command_compares_shards(books: TwoBooks, run_verify: RunVerify) -> None:
    ended = run_verify(books.dsns, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    across = json.loads(ended.stdout)["across"]
    assert (across["ok"], across["shards"], across["first_problem"]) == (True, [ONE, TWO], None)
    (pair,) = across["pairs"]
    assert (pair["difference"], pair["on_its_way"]["amount"], pair["unexplained"]) == ("-55", "-55", "0")
    stages = {saga["saga"]: saga["stage"] for saga in across["open_sagas"]["listed"]}
    credited = format_identifier(Prefix.TRANSACTION, books.marks["credited_saga"])
    assert stages[credited] == "credited"
    assert credited in pair["on_its_way"]["listed"]
    ended = run_verify(books.dsns)
    assert ended.returncode == 0
    assert "across shards 1, 2: all is right" in ended.stdout
    assert f"open: {credited} from shard 1 to shard 2, credited: 22 USD" in ended.stdout


def test_the_command_names_the_first_position_that_differs(books: TwoBooks, run_verify: RunVerify) -> None:
    spoil(books, CHANGES["a credit of another amount"].statements)
    dsns = {shard: copy.dsn for shard, copy in books.copies.items()}
    ended = run_verify(dsns, "--json")
    assert ended.returncode == 1
    answer = json.loads(ended.stdout)
    assert answer["ok"] is False
    assert all(shard["problems"] == 0 for shard in answer["shards"])
    first = answer["across"]["first_problem"]
    position = books.marks["paid_again_credit"]
    assert (first["shard"], first["position"], first["kind"]) == (TWO, position, "credit_wrong")
    ended = run_verify(dsns)
    assert ended.returncode == 1
    assert f"first at position {position} of shard 2: credits saga txn_" in ended.stdout


def test_the_command_verifies_what_it_can_reach(books: TwoBooks, run_verify: RunVerify) -> None:
    for dsn, why in (
        (books.server.dsn("no such database"), "shard 2 cannot be verified: the database is missing"),
        ("host=/nowhere dbname=two", "shard 2 cannot be reached ("),
    ):
        ended = run_verify({ONE: books.dsns[ONE], TWO: dsn}, "--json")
        assert (ended.returncode, bool(ended.stdout)) == (1, True), ended.stderr
        answer = json.loads(ended.stdout)
        one, two = answer["shards"]
        assert (one["shard"], one["ok"], two["shard"], two["ok"]) == (ONE, True, TWO, False)
        assert two["not_verified"].startswith(why)
        assert ended.stderr == f"error: {two['not_verified']}\n"
        not_compared = {tuple(pair["shards"]) for pair in answer["across"]["not_compared"]}
        assert not_compared == {(ONE, TWO), (TWO, ONE)}
    # Nobody asked for shard 2: that it was not compared is said, and is no failure.
    ended = run_verify(books.dsns, "--shard", "1")
    assert ended.returncode == 0
    assert "shards 1 and 2:" in ended.stdout
