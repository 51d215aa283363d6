"""Two shards behind one server, and a caller with a wallet on each."""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.service.configuration import Configuration, ShardConfiguration, write_configuration
from tests.api.client import Answer, Client
from tests.api.server import Server
from tests.crash.databases import temporary_shards
from tests.forked import run_forked

SAGA_WAIT_SECONDS = 0.3
OWNERS_TRIED_MAX = 60
END_SECONDS_MAX = 60.0


class TwoShards(NamedTuple):
    """A configuration of two shards, for servers, and the databases behind it."""

    configuration_path: Path
    folder: Path
    dsns: dict[int, str]


class Pair(NamedTuple):
    """A funded wallet on shard 1 and one on shard 2."""

    client: Client
    payer: str
    payee: str

    def pay(self, amount: int, key: str) -> Answer:
        body = {"source": self.payer, "destination": self.payee, "amount": str(amount), "asset": "USD"}
        return self.client.post("/v1/transfers", body, key=key)

    def pay_to_the_end(self, amount: int, key: str) -> Answer:
        """The same, asked again for as long as it is pending."""
        deadline = time.monotonic() + END_SECONDS_MAX
        while (answer := self.pay(amount, key)).status == 202:
            assert time.monotonic() < deadline
        return answer


@contextmanager
def installed(
    postgres: EmbeddedPostgres, folder: Path, numbers: Sequence[int], saga_wait_seconds: float
) -> Iterator[TwoShards]:
    """Empty shards, and the file that tells servers where they are."""
    with temporary_shards(postgres, numbers) as databases:
        shards = [
            ShardConfiguration(number, database.server_dsn, database.owner_dsn)
            for number, database in databases.items()
        ]
        path = folder / "tallystick.toml"
        write_configuration(path, Configuration(shard=shards, saga_wait_seconds=saga_wait_seconds))
        yield TwoShards(path, folder, {shard.number: shard.dsn for shard in shards})


@contextmanager
def wallets_on_two_shards(two_shards: TwoShards) -> Iterator[Pair]:
    """A server, and a caller of it with a wallet on each shard."""
    made = tallystick(two_shards, "keys", "create", "--name", "a test", "--scope", "all")
    with Server(two_shards, "server") as server, Client(server.url, made["key"]) as client:
        wallets: dict[int, str] = {}
        for _ in range(OWNERS_TRIED_MAX):
            if len(wallets) == 2:
                break
            owner = f"owner {uuid.uuid4()}"
            bank = client.post(
                "/v1/accounts", {"owner": owner, "asset": "USD", "kind": "system"}, key=None
            ).ok()["id"]
            wallet = client.post("/v1/accounts", {"owner": owner, "asset": "USD"}, key=None).ok()["id"]
            funding = {"source": bank, "destination": wallet, "amount": "10000", "asset": "USD"}
            client.post("/v1/transfers", funding, key=str(uuid.uuid4())).ok()
            wallets.setdefault(shard_of(parse_identifier(Prefix.ACCOUNT, wallet)), wallet)
        yield Pair(client, wallets[1], wallets[2])


def tallystick(two_shards: TwoShards, *arguments: str) -> dict[str, str]:
    """What a command prints with --json."""
    options = ["--config", str(two_shards.configuration_path), "--json"]
    done = run_forked([*arguments, *options], timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found
