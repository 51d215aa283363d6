"""`verify` on a lively log: all is right; and then one thing is changed by someone who may do anything."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.crash.databases import temporary_server
from tests.forgery.books import Books
from tests.forgery.builder import build, posted, serving
from tests.forgery.changes import AT_POSITION, FORGED, FOUND_TOO, WITH_BATCH, batch
from tests.forgery.words import IN_WORDS
from tests.forked import run_forked

from tallystick import TransferRequest
from tallystick.domain import limits
from tallystick.domain.canonical import genesis_hash
from tallystick.service.configuration import Configuration, ShardConfiguration, write_configuration
from tallystick.store.errors import SchemaError, ShardUnavailableError
from tallystick.store.migrate import migrate
from tallystick.verify.log import ShardReport, verify_shard
from tallystick.verify.problems import ProblemKind
from tallystick.verify.streams import LogStreams

# One for each table, and one that holds the snapshot.
CONNECTIONS_OF_LARGE = 8


@pytest.fixture(scope="module")
def books() -> Iterator[Books]:
    with temporary_server() as server:
        server.create_database("books")
        migrate(server.dsn("books"), 1)
        yield Books(server, asyncio.run(build(server.dsn("books"))))


@pytest.fixture(params=("small", "large"))
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The log is read over one connection as it is small, or over many as a large one."""
    if request.param == "large":
        monkeypatch.setattr(limits, "VERIFY_BYTES_AT_ONCE_MAX", 0)
    return str(request.param)


def found(report: ShardReport) -> str:
    """The first problem as one line: kind and place."""
    first = report.first_problem
    if first is None:
        return "nothing"
    place = f"batch {first.batch}" if first.position is None else f"position {first.position}"
    return f"{first.kind} at {place}"


@pytest.mark.usefixtures("size")
def test_a_lively_log_is_right(books: Books) -> None:
    report = verify_shard(books.server.dsn("books"), 1)
    assert report.ok, report.problems[:3]
    assert (report.positions, report.accounts) == (books.marks.head, 7)
    assert report.batches == books.batch_of(books.marks.head)


def test_the_servers_own_role_may_verify(books: Books) -> None:
    assert verify_shard(books.server.dsn("books", role="tallystick_login"), 1).ok


def test_an_empty_log_is_right(books: Books) -> None:
    books.server.create_database("empty")
    migrate(books.server.dsn("empty"), 2)
    report = verify_shard(books.server.dsn("empty"), 2)
    assert report.ok
    assert (report.positions, report.batches, report.head_hash) == (0, 0, genesis_hash(2))


@pytest.mark.usefixtures("size")
def test_nothing_spoiled_is_nothing_found(books: Books) -> None:
    """The tools that the tests below are made with are themselves right."""
    whole = verify_shard(books.server.dsn("books"), 1)
    # Its checks were taken away, so that it can be spoiled.
    assert verify_shard(books.spoiled(), 1)._replace(schema=[]) == whole
    assert verify_shard(books.spoiled(rehash=True), 1)._replace(schema=[]) == whole


@pytest.mark.usefixtures("either_size")
@pytest.mark.parametrize("change", AT_POSITION)
def test_a_change_is_found_at_its_position(books: Books, change: str) -> None:
    mark, kind, statements = AT_POSITION[change]
    report = verify_shard(books.spoiled(*statements), 1)
    assert found(report) == f"{kind} at position {books.marks.positions[mark]}"


@pytest.mark.usefixtures("either_size")
@pytest.mark.parametrize("change", WITH_BATCH)
def test_a_change_is_found_by_the_chain(books: Books, change: str) -> None:
    mark, kind, statements = WITH_BATCH[change]
    report = verify_shard(books.spoiled(*statements), 1)
    assert found(report) == f"{kind} at batch {books.batch_of(books.marks.positions[mark])}"


@pytest.mark.usefixtures("either_size")
@pytest.mark.parametrize("change", FORGED)
def test_a_forged_chain_does_not_help(books: Books, change: str) -> None:
    mark, kind, statements = FORGED[change]
    report = verify_shard(books.spoiled(*statements, rehash=True), 1)
    assert not report.counts.keys() & {ProblemKind.BATCH_HASH, ProblemKind.BATCH_PREVIOUS_HASH}
    assert found(report) == f"{kind} at position {books.marks.positions[mark]}"


@pytest.mark.usefixtures("either_size")
@pytest.mark.parametrize("change", FOUND_TOO)
def test_what_a_change_leads_to_is_found_too(books: Books, change: str) -> None:
    _, kind, statements = FOUND_TOO[change]
    assert kind in verify_shard(books.spoiled(*statements), 1).counts


@pytest.mark.usefixtures("either_size")
@pytest.mark.parametrize("words", IN_WORDS)
def test_what_is_wrong_is_said_in_words(books: Books, words: str) -> None:
    report = verify_shard(books.spoiled(*IN_WORDS[words]), 1)
    assert [problem for problem in report.problems if words in problem.detail], report.problems


@pytest.mark.usefixtures("size")
def test_all_problems_are_counted(books: Books) -> None:
    dsn = books.spoiled(
        "UPDATE entries SET bound = -1 WHERE position IN ({transfer}, {unfrozen}) AND amount < 0",
        f"UPDATE batches SET recorded_at = recorded_at - interval '1 day' WHERE number = {batch('transfer')}",
        "UPDATE requests SET batch = 1000000 WHERE batch = (SELECT min(batch) FROM requests)",
    )
    report = verify_shard(dsn, 1)
    assert report.counts == {
        ProblemKind.BOUND_WRONG: 2,
        ProblemKind.TRANSACTION_TIME: 1,
        ProblemKind.BATCH_TIME: 1,
        ProblemKind.REQUEST_WRONG: 1,
        ProblemKind.BATCH_HASH: 3,
    }
    assert report.problem_count == 8
    assert [problem.order for problem in report.problems] == sorted(
        problem.order for problem in report.problems
    )


@pytest.mark.usefixtures("size")
def test_a_batch_of_any_size_is_read_in_slices(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VERIFY_POSITIONS_PER_SLICE", 5)
    report = verify_shard(books.server.dsn("books"), 1)
    # Nothing but the batch of 28 is found: its slices are judged like all else.
    assert report.counts == {ProblemKind.BATCH_POSITION: 1}
    assert found(report) == f"batch_position at batch {books.batch_of(books.marks.positions['many'])}"


def test_a_log_that_is_written_to_raises_no_alarm(books: Books, size: str) -> None:
    dsn = books.copy(f"written {size}")
    heads = asyncio.run(_verify_while_writing(dsn, books.marks.accounts, rounds=3))
    assert heads == sorted(heads)
    assert heads[-1] > heads[0]


async def _verify_while_writing(dsn: str, accounts: dict[str, int], rounds: int) -> list[int]:
    done = asyncio.Event()
    heads: list[int] = []
    async with serving(dsn) as ledger:

        async def write() -> None:
            bank = posted(await ledger.open_account("other bank", "USD", kind="system")).id
            shop = posted(await ledger.open_account("shop", "USD")).id
            number = 0
            while not done.is_set():
                requests = [
                    TransferRequest(bank, shop, 1, "USD", f"moving {number} {part}") for part in range(20)
                ]
                await ledger.transfers(requests)
                posted(await ledger.hold(shop, bank, 1, "USD", idempotency_key=f"moving {number}"))
                number += 1

        writer = asyncio.create_task(write())
        for _ in range(rounds):
            report = await asyncio.to_thread(verify_shard, dsn, 1)
            assert report.ok, report.problems[:3]
            heads.append(report.positions)
        done.set()
        await writer
    return heads


def connections_of(dsn: str) -> int:
    """How many connections a verification has, before it reads the batches."""
    with LogStreams(dsn), psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'tallystick verify' AND datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_only_a_large_log_has_a_connection_for_each_table(books: Books, size: str) -> None:
    assert connections_of(books.server.dsn("books")) == (1 if size == "small" else CONNECTIONS_OF_LARGE)


def add_many_transactions(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE transactions DISABLE TRIGGER ALL")
        connection.execute(
            "INSERT INTO transactions SELECT p, now(), 1, 1 FROM generate_series(1000, 300000) AS p"
        )


def test_a_server_that_is_lost_on_the_way_is_no_false_alarm(books: Books) -> None:
    dsn = books.copy("lost")
    add_many_transactions(dsn)
    # They are not kept in memory, though the head of the log is as low as before.
    assert connections_of(dsn) == CONNECTIONS_OF_LARGE
    with LogStreams(dsn) as log:
        assert len(log.take(10, 10).transactions) == 10
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'tallystick verify' AND datname = 'lost'"
            )
        with pytest.raises(ShardUnavailableError):
            log.take(limits.INT64_MAX, 10)


# The command.


def run_verify(configuration: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_forked(["verify", "--config", str(configuration), *arguments], timeout=60)


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Path]:
    def configure(dsn: str) -> Path:
        path = tmp_path / "tallystick.toml"
        write_configuration(path, Configuration([ShardConfiguration(1, dsn)]))
        return path

    return configure


def test_the_command_says_that_all_is_right(books: Books, configured: Callable[[str], Path]) -> None:
    ended = run_verify(configured(books.server.dsn("books")), "--json", "--shard", "1")
    assert (ended.returncode, ended.stderr) == (0, "")
    answer = json.loads(ended.stdout)
    assert answer["ok"] is True
    (shard,) = answer["shards"]
    assert shard["positions"] == books.marks.head
    assert (shard["ok"], shard["first_problem"], shard["problems"]) == (True, None, 0)


def test_the_command_names_the_first_problem(books: Books, configured: Callable[[str], Path]) -> None:
    dsn = books.spoiled("UPDATE entries SET balance = balance + 1 WHERE position = {transfer} AND amount > 0")
    path = configured(dsn)
    position = books.marks.positions["transfer"]
    ended = run_verify(path, "--json")
    assert ended.returncode == 1
    answer = json.loads(ended.stdout)
    assert answer["ok"] is False
    first = answer["shards"][0]["first_problem"]
    assert (first["position"], first["kind"]) == (position, "balance_wrong")
    ended = run_verify(path)
    assert ended.returncode == 1
    assert f"first at position {position}: account acct_" in ended.stdout


def test_a_lost_database_is_one_line(books: Books, configured: Callable[[str], Path]) -> None:
    ended = run_verify(configured(books.server.dsn("no such database")))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    ended = run_verify(configured(books.server.dsn("books")), "--shard", "7")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)


def test_another_shards_database_is_refused(books: Books) -> None:
    with pytest.raises(SchemaError):
        verify_shard(books.server.dsn("books"), 2)
    with pytest.raises(ShardUnavailableError):
        verify_shard("host=/nowhere dbname=books", 1)
