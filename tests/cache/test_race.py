"""What a reader never sees, whatever happens to the cache meanwhile; and that this test would notice."""

import os
import time

import pytest
import redis

from tallystick.embedded.valkey import EmbeddedValkey
from tallystick.store.cache import balances as cache
from tallystick.store.cache import scripts
from tests.cache.conftest import Serve
from tests.cache.race import Race, ViolationError
from tests.whole import WHOLE

SECONDS = float(os.environ.get("TALLYSTICK_RACE_SECONDS", "4" if WHOLE else "2.5"))
# As a rule in one: it depends on who comes first.
FOUND_SECONDS_MAX = 200.0
SEED = int(os.environ.get("TALLYSTICK_RACE_SEED", "7"))


@pytest.mark.slow
async def test_nothing_is_seen_to_go_back(serve: Serve) -> None:
    async with serve() as one, serve() as other:
        race = Race([one, other], SEED)
        await race.run(SECONDS, reads_min=100)
        await race.check_quiet()


@pytest.mark.slow
async def test_nothing_is_seen_to_go_back_while_the_cache_is_emptied(
    serve: Serve, keys: "redis.Redis"
) -> None:
    async with serve() as one, serve() as other:
        race = Race([one, other], SEED)
        await race.run(SECONDS, keys.flushall, reads_min=100)
        await race.check_quiet()


@pytest.mark.slow
async def test_nothing_is_seen_to_go_back_while_the_cache_is_killed(
    serve: Serve, valkey: EmbeddedValkey
) -> None:
    def kill() -> None:
        valkey.kill()
        time.sleep(0.2)
        valkey.start()

    async with serve() as one, serve() as other:
        race = Race([one, other], SEED)
        await race.run(SECONDS, kill)
        await race.check_quiet()


@pytest.mark.timeout(600)
async def test_a_plain_set_is_found_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the guard taken out of the script, the same race sees a position go back."""
    guarded = scripts.script("write")
    plain = guarded.replace("tonumber(known_position) < position", "true")
    plain = plain.replace("position >= passed or as_of >= passed", "true")
    assert plain != guarded
    texts = {"write": plain}
    monkeypatch.setattr(cache, "script", lambda name: texts.get(name) or scripts.script(name))
    monkeypatch.setattr(cache, "digest", lambda name: "0" * 40 if name in texts else scripts.digest(name))
    with pytest.raises(ExceptionGroup) as found:
        async with serve() as one, serve() as other:
            # It ends as soon as it is seen.
            await Race([one, other], SEED).run(FOUND_SECONDS_MAX)
    assert found.group_contains(ViolationError)
