"""The shard that takes a new owner, and the shards that may have taken an owner before, by rendezvous hashing."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Final

import msgspec

_KEY_NUMBER_BYTES: Final = 8
_WEIGHT_MASK: Final = 2**64 - 1
# 2^64 divided by the golden ratio, made odd: D. Knuth, "The Art of Computer Programming", volume 3, section 6.4.
_MULTIPLIER: Final = 0x9E3779B97F4A7C15

Generation = tuple[int, ...]
"""The shards that took new owners during one period."""


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where owners are placed, and where they were placed before. `tallystick migrate` records it in every shard.

    `version` counts the changes; 0 was never recorded. `shards` are all shards. `generations` only grows: the last
    one is in force, and an owner may live where any of them would have placed it.
    """

    version: int
    shards: tuple[int, ...]
    generations: tuple[Generation, ...]

    def choice(self, tenant: int, owner: str) -> int:
        """The shard that takes this owner, if the owner is new."""
        return _choose(self.generations[-1:], tenant, owner)[0]

    def candidates(self, tenant: int, owner: str) -> list[int]:
        """Every shard that this owner may live on, the one that takes it now first."""
        chosen = _choose(self.generations, tenant, owner)
        # Without a record, earlier choices are unknown.
        return chosen if self.version else list(dict.fromkeys((*chosen, *self.shards)))

    def homes_of_key(self, key: bytes) -> list[int]:
        """Every shard that may know a request's key, in the order of the generations."""
        number = int.from_bytes(key[:_KEY_NUMBER_BYTES], "big")
        if len(self.generations) == 1:
            return [_home(self.generations[0], number)]
        return list(dict.fromkeys(_home(generation, number) for generation in self.generations))

    def followed_by(self, shards: Collection[int], open_shards: Collection[int]) -> "Placement":
        """The next version, with these shards; the same version if nothing has changed."""
        generation = tuple(sorted(open_shards))
        # Only the last place of a generation matters: a shard that is filled and opened again adds nothing.
        generations = (*(earlier for earlier in self.generations if earlier != generation), generation)
        following = Placement(self.version, tuple(sorted(shards)), generations)
        return self if following == self else msgspec.structs.replace(following, version=self.version + 1)


def unrecorded(shards: Collection[int], open_shards: Collection[int]) -> Placement:
    """The placement of shards without a record: the open shards take new owners."""
    return Placement(0, tuple(sorted(shards)), (tuple(sorted(open_shards)),))


NOTHING_PLACED: Final = Placement(0, (), ())
"""The placement of a shard without a record."""


def following(
    recorded: Mapping[int, Placement], with_accounts: Collection[int], open_shards: Collection[int]
) -> Placement:
    """The placement that follows the recorded ones.

    Args:
        recorded: the recorded placement of each shard, by number. These are all shards from now on.
        with_accounts: the shards that have any account.
        open_shards: those that take new owners from now on.
    """
    newest = max(recorded.values(), key=lambda placement: placement.version)
    # It is unknown how owners were placed on these shards: any owner may live there.
    served_before = tuple((shard,) for shard in sorted(with_accounts) if shard not in newest.shards)
    generations = (*served_before, *newest.generations)
    return msgspec.structs.replace(newest, generations=generations).followed_by(recorded, open_shards)


def read_placement(text: str | None) -> Placement:
    """A placement as it was recorded."""
    return NOTHING_PLACED if text is None else _decode(text)


def write_placement(placement: Placement) -> str:
    """A placement as it is recorded."""
    return msgspec.json.encode(placement).decode()


_decode: Final = msgspec.json.Decoder(Placement).decode


def _home(generation: Generation, number: int) -> int:
    """The shard of a generation for a number that is evenly distributed already, such as a hash.

    Rendezvous hashing as for owners, with a multiplication in place of a hash, because every request needs it.
    """
    return max(generation, key=lambda shard: (number ^ _salt(shard)) * _MULTIPLIER & _WEIGHT_MASK)


@cache
def _salt(shard: int) -> int:
    return int.from_bytes(hashlib.sha256(b"home of keys %d" % shard).digest()[:_KEY_NUMBER_BYTES], "big")


def _choose(generations: Sequence[Generation], tenant: int, owner: str) -> list[int]:
    """The choice of each generation, the last first, each shard once."""
    weights: dict[int, bytes] = {}

    def weight(shard: int) -> bytes:
        if shard not in weights:
            weights[shard] = hashlib.sha256(f"{shard}/{tenant}/{owner}".encode()).digest()
        return weights[shard]

    # Rendezvous hashing: a shard that is added takes its share from all others alike.
    # D. Thaler and C. Ravishankar described it in "A name-based mapping scheme for rendezvous", 1996.
    return list(dict.fromkeys(max(generation, key=weight) for generation in reversed(generations)))
