"""`tallystick bench`: short runs, whose figures mean nothing and whose books must balance."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from click.testing import CliRunner
from tests.crash.databases import temporary_server
from tests.waiting import wait_for
from tests.whole import some_of

from tallystick.store.migrate import migrate
from tallystick_bench import command, engine_load, neighbours_run, reads, rows_baseline
from tallystick_bench import settings as settings_of_a_run
from tallystick_bench.command import bench
from tallystick_bench.measurement import MeasuredTurn, latency, percentile
from tallystick_bench.neighbour_floods import Flood
from tallystick_bench.payments import Payments, Recipe
from tallystick_bench.settings import Baseline, Settings, Through, Workload

ACCOUNTS = 2_000
RUN_SECONDS_MAX = 60.0
FLOODS = [
    *some_of("floods that pay", [Flood.BATCH, Flood.BATCHES, Flood.STREAMS]),
    *some_of("floods that do not", [Flood.PAST, Flood.REFUSALS]),
]


@pytest.fixture(autouse=True)
def _log_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs in this process, whose log it must leave as it is."""
    monkeypatch.setattr(command, "configure_logging", lambda **_: None)


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures mean nothing here, so what takes turns takes short ones."""
    monkeypatch.setattr(settings_of_a_run, "TURN_SECONDS_MIN", 0.25)
    monkeypatch.setattr(reads, "_READS", 20)
    # Payments are prepared before each turn, as many as it could take.
    monkeypatch.setattr(engine_load, "_FIRST_GUESS_PER_SECOND", 8_000)
    # Its program counts whole seconds.
    monkeypatch.setattr(rows_baseline, "CONNECTIONS_TRIED", (8,))
    monkeypatch.setattr(neighbours_run, "_SETTLE_SECONDS", 0.4)
    monkeypatch.setattr(neighbours_run, "Flood", FLOODS)


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """A database that exists, of shard 7."""
    with temporary_server() as server:
        server.create_database("shard")
        migrate(server.dsn("shard"), 7)
        yield server.dsn("shard")


def test_engine_with_both_baselines() -> None:
    answer = CliRunner().invoke(
        bench,
        [
            *("--accounts", "500", "--seconds", "0.5", "--concurrency", "200"),
            *("--baseline", "copy", "--baseline", "rows", "--json"),
        ],
    )

    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["transfers_per_second"] > 0
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p95"] <= found["latency_ms"]["p99"]
    assert found["bytes_per_transfer"] > 0
    assert found["ratio_to"].keys() == {
        "copy",
        "copy_encoding_included",
        "rows",
        "rows_in_a_function",
    }
    assert all(ratio > 0 for ratio in found["ratio_to"].values())
    # Encoding takes time of its own, so with it the baseline is lower and the ratio higher.
    assert found["ratio_to"]["copy_encoding_included"] > found["ratio_to"]["copy"]
    assert found["refused"] == found["failed"] == 0
    assert found["money"]["conserved"] is True
    assert found["money"]["acknowledged"] == found["money"]["logged"] >= found["transfers"] > 0
    assert len(found["rounds"]) == 2
    assert found["machine"]["cores"] >= 1


@pytest.mark.parametrize(
    ("through", "workload"), some_of("bench over HTTP", [("http", "hot"), ("http-batch", "zipf")])
)
def test_http(through: str, workload: str, dsn: str) -> None:
    answer = CliRunner().invoke(
        bench,
        [
            *("--dsn", dsn, "--through", through, "--workload", workload),
            *("--accounts", "100", "--seconds", "0.5", "--json"),
        ],
    )

    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["through"] == through
    assert found["refused"] == found["failed"] == 0
    assert found["money"]["conserved"] is True
    assert found["money"]["acknowledged"] == found["money"]["logged"] > 0
    assert any("written in Python" in note for note in found["notes"])


def test_plot_and_report(tmp_path: Path, dsn: str) -> None:
    picture = tmp_path / "throughput.svg"

    answer = CliRunner().invoke(
        bench,
        [
            *(
                "--dsn",
                dsn,
                "--accounts",
                "100",
                "--transfers",
                "2000",
                "--seconds",
                "0.5",
                "--concurrency",
                "4",
            ),
            *("--plot", str(picture)),
        ],
    )

    assert answer.exit_code == 0, answer.stderr
    assert "transfers/s" in answer.stdout
    assert "money       conserved" in answer.stdout
    assert "</svg>" in picture.read_text(encoding="utf-8")


def test_existing_database_is_left_as_it_was_but_for_the_payments(dsn: str) -> None:
    answer = CliRunner().invoke(
        bench,
        ["--dsn", dsn, "--accounts", "50", "--seconds", "0.5", "--baseline", "copy", "--json"],
    )

    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["money"]["conserved"] is True
    with psycopg.connect(dsn) as connection:
        schemas = connection.execute("SELECT nspname FROM pg_namespace").fetchall()
        logged = connection.execute("SELECT count(*) FROM transactions WHERE kind = 10").fetchone()
    assert not [name for (name,) in schemas if name.startswith("bench")]
    assert logged is not None
    assert logged[0] >= found["money"]["acknowledged"] + 50


def pays(pid: int) -> bool:
    """Whether its own server has sessions of the role that pays."""
    processes = psutil.Process(pid).children(recursive=True)
    with suppress(psutil.NoSuchProcess):
        return any("tallystick_login" in part for one in processes for part in one.cmdline())
    return False


# Scripts let what they start in the background ignore Ctrl-C.
@pytest.mark.parametrize(
    "trapped",
    some_of(
        "ended measurement",
        [pytest.param("", id="in the foreground"), pytest.param("trap '' INT; ", id="in the background")],
    ),
)
def test_termination_removes_the_temporary_server(trapped: str) -> None:
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        process = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                f'{trapped}exec "$0" -m tallystick.cli bench --accounts 100 --seconds 60',
                sys.executable,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"TMPDIR": folder, "PATH": "/usr/bin:/bin"},
        )
        try:
            wait_for(lambda: pays(process.pid), "it pays", RUN_SECONDS_MAX)
            time.sleep(0.5)

            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=RUN_SECONDS_MAX)
        finally:
            process.kill()

        assert process.returncode == 130
        assert errors.decode().strip().splitlines()[-1] == "error: interrupted"
        assert not list(Path(folder).iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dsn", "dbname=a", "--config", "b"], "use one of them"),
        (["--wrk"], "add --through http"),
        (["--through", "http", "--wrk", "--transfers", "5"], "use --seconds"),
        (["--plot", "picture.bmp"], ".png and .svg"),
        (["--workload", "crosswise"], "is not one of"),
        (["--workload", "cross", "--through", "http"], "two servers of its own"),
        (["--workload", "cross", "--baseline", "copy"], "two servers of its own"),
        (["--workload", "cross", "--cache", "off"], "two servers of its own"),
        (["--workload", "reads"], "add --through http"),
        (["--workload", "reads", "--through", "http", "--transfers", "10"], "leave --transfers"),
        (["--workload", "reads", "--through", "http", "--streams", "10"], "--streams out"),
        (["--streams", "10"], "add --through http"),
        (["--rate", "10"], "needs --workload cross or reads"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    answer = CliRunner().invoke(bench, arguments)

    assert answer.exit_code == 2
    assert said in answer.stderr


def test_database_that_is_not_there() -> None:
    answer = CliRunner().invoke(bench, ["--dsn", "host=/nonexistent dbname=tallystick"])

    assert answer.exit_code == 1
    assert len(answer.stderr.strip().splitlines()) == 1


def payments_of(workload: Workload, number: int) -> list[tuple[str, str, int, str]]:
    accounts = [f"account {rank}" for rank in range(1, 101)]
    return list(Payments(Recipe(workload, accounts, seed=1, run="run")).take(number))


@pytest.mark.parametrize("workload", list(Workload))
def test_nobody_pays_himself_and_no_key_is_used_twice(workload: Workload) -> None:
    payments = payments_of(workload, 10_000)

    assert len(payments) == 10_000
    assert all(source != destination for source, destination, _, _ in payments)
    assert len({key for *_, key in payments}) == 10_000
    assert payments == payments_of(workload, 10_000)


def test_hot_pays_one_account() -> None:
    assert {destination for _, destination, _, _ in payments_of(Workload.HOT, 1_000)} == {"account 1"}


def test_zipf_pays_the_nth_account_in_proportion() -> None:
    counts = Counter(source for source, *_ in payments_of(Workload.ZIPF, 200_000))

    # Payments to oneself are left out, which takes a little more from those who are paid most.
    assert counts["account 1"] / counts["account 10"] == pytest.approx(10, rel=0.25)
    assert counts["account 10"] / counts["account 100"] == pytest.approx(10, rel=0.25)


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert percentile([], 50) == 0
    assert percentile([7.0], 99) == 7
    assert [percentile(range(1, 101), percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    found = latency([MeasuredTurn(1, 1.0, array("d", [0.001])), MeasuredTurn(1, 1.0, array("d", [0.003]))])
    assert (found.p50, found.p99) == (1, 3)


def test_rounds_share_the_time() -> None:
    settings = Settings(
        workload=Workload.UNIFORM,
        through=Through.ENGINE,
        concurrency=100,
        accounts=ACCOUNTS,
        seconds=10,
        transfers=None,
        batch_size=500,
        baselines=(Baseline.COPY,),
        seed=1,
        wrk=False,
        ladder=True,
    )

    assert settings.rounds == 5
    assert settings.stint.seconds == 2
    assert settings.concurrencies == [1, 4, 16, 64, 100]


def test_transfers_between_two_shards_beside_the_same_load_inside() -> None:
    """Every crossing transfer that was counted has ended, on both shards, and no money is gone."""
    answer = CliRunner().invoke(
        bench,
        [
            *("--workload", "cross", "--crossing", "0.5", "--accounts", "40"),
            *("--seconds", "0.5", "--concurrency", "200", "--json"),
        ],
    )

    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["money"]["conserved"]
    assert found["crossing"] == 0.5
    assert found["ratio_to"]["inside"] > 0
    assert found["transfers"] > 0
    assert (found["refused"], found["failed"]) == (0, 0)


def test_reads_from_the_cache_and_from_the_database() -> None:
    answer = CliRunner().invoke(
        bench,
        ["--workload", "reads", "--through", "http", "--accounts", "1100", "--seconds", "0.5", "--json"],
    )

    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    calls = {(one["call"], one["source"]): one for one in found["calls"]}
    assert len(calls) == 4
    assert all(one["balances_per_second"] > 0 and one["not_read"] == 0 for one in calls.values())
    assert {one["ratio_to_database"] is None for one in found["calls"] if one["source"] == "cache"} == {False}
    assert found["payments_failed"] == 0
    assert found["money"]["conserved"] is True
    assert found["money"]["logged"] == found["money"]["acknowledged"] > 0


def test_reads_without_a_cache(dsn: str) -> None:
    answer = CliRunner().invoke(
        bench,
        [
            *("--dsn", dsn, "--workload", "reads", "--through", "http", "--cache", "off", "--rate", "20"),
            *("--accounts", "50", "--seconds", "0.5"),
        ],
    )

    assert answer.exit_code == 0, answer.stderr
    assert "payments/s meanwhile (20 were wanted)" in answer.stdout
    assert "cache" not in answer.stdout
    assert "money       conserved" in answer.stdout


def test_streams_that_listen_to_what_is_paid(dsn: str) -> None:
    answer = CliRunner().invoke(
        bench,
        [
            *("--dsn", dsn, "--through", "http", "--streams", "20", "--accounts", "50"),
            *("--seconds", "0.5", "--json"),
        ],
    )

    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    heard = found["streams"]
    assert heard["streams"] == 20
    assert heard["events"] > found["transfers"] / 4
    assert heard["pay_to_stream_ms"]["p50"] > 0
    assert heard["server_memory_mb"] > 10
    assert found["ratio_to"]["without_streams"] > 0
    assert found["money"]["conserved"] is True


def test_a_quiet_tenant_beside_anothers_floods(dsn: str) -> None:
    answer = CliRunner().invoke(
        bench,
        ["--dsn", dsn, "--workload", "neighbours", "--accounts", "200", "--seconds", "2", "--json"],
    )

    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert [one["flood"] for one in found["floods"]] == [flood.value for flood in FLOODS]
    for one in found["floods"]:
        assert one["alone"]["requests"] >= 2
        assert one["beside"]["payment_ms"]["p99"] > 0
        assert one["beside"]["balance_ms"]["p99"] > 0
        assert one["alone"]["failed"] == one["beside"]["failed"] == 0
        assert one["flood_answered"] > 0, f"{one['flood']} flooded nothing"
    assert found["money"]["conserved"] is True
    assert found["money"]["logged"] > found["money"]["acknowledged"] > 0
