"""Keys that secrets of webhooks are encrypted with, and the file that they stand in."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tallystick.domain.webhooks import Secret, StoredSecret, WebhookEndpoint
from tallystick.followers.errors import SecretUnreadableError, WebhookKeyMissingError
from tallystick.followers.webhooks.secret_keys import SecretKey, SecretKeys
from tallystick.service.configuration import Configuration, ConfigurationError, ShardConfiguration
from tallystick.service.engine import Engine
from tallystick.service.webhooks.key_file import KeyFile, add_key, read_keys
from tests.webhook_keys import key_file

SECRET = Secret(b"s" * 32)
FIRST, SECOND = SecretKey.new(), SecretKey.new()


def test_what_is_encrypted_for_one_endpoint_is_of_no_use_in_the_row_of_another() -> None:
    keys = SecretKeys([FIRST])
    stored = keys.encrypt(SECRET, 1, "hook_1")
    assert keys.decrypt(stored, 1, "hook_1") == SECRET
    for tenant, endpoint in ((1, "hook_2"), (2, "hook_1")):
        with pytest.raises(SecretUnreadableError, match=f"{endpoint} is not what key {FIRST.name}"):
            keys.decrypt(stored, tenant, endpoint)


@pytest.mark.parametrize("place", [0, 12, -1])
def test_a_secret_that_was_altered_is_none(place: int) -> None:
    keys = SecretKeys([FIRST])
    stored = keys.encrypt(SECRET, 1, "hook_1")
    altered = bytearray(stored.value)
    altered[place] ^= 1
    with pytest.raises(SecretUnreadableError, match="hook_1"):
        keys.decrypt(stored._replace(value=bytes(altered)), 1, "hook_1")


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    before = SecretKeys([SECOND]).encrypt(SECRET, 1, "hook_1")
    keys = SecretKeys([FIRST, SECOND])
    after = keys.encrypt(SECRET, 1, "hook_1")
    assert (before.key_name, after.key_name) == (SECOND.name, FIRST.name)
    assert keys.decrypt(before, 1, "hook_1") == keys.decrypt(after, 1, "hook_1") == SECRET
    assert (keys.is_newest(before), keys.is_newest(after), keys.is_newest(None)) == (False, True, True)
    assert after != keys.encrypt(SECRET, 1, "hook_1")
    with pytest.raises(SecretUnreadableError, match=f"hook_1 is encrypted with key {SECOND.name}"):
        SecretKeys([FIRST]).decrypt(before, 1, "hook_1")
    with pytest.raises(WebhookKeyMissingError, match="make-key"):
        SecretKeys().encrypt(SECRET, 1, "hook_1")


def test_an_older_secret_that_is_unreadable_holds_nothing_up() -> None:
    now = datetime.now(UTC)
    lost, kept = (
        SecretKeys([SECOND]).encrypt(SECRET, 1, "hook_1"),
        SecretKeys([FIRST]).encrypt(SECRET, 1, "hook_1"),
    )
    endpoint = WebhookEndpoint(
        "hook_1",
        1,
        "https://example.com",
        (),
        None,
        "active",
        kept,
        lost,
        now + timedelta(1),
        now,
        1,
        now,
    )
    assert SecretKeys([FIRST]).secrets(endpoint, now) == [SECRET]
    assert SecretKeys([FIRST, SECOND]).secrets(endpoint, now) == [SECRET, SECRET]
    with pytest.raises(SecretUnreadableError, match=FIRST.name):
        SecretKeys([SECOND]).secrets(endpoint, now)


def test_a_file_is_read_by_those_who_need_it(tmp_path: Path) -> None:
    shard = ShardConfiguration(1, "dbname=nothing")
    engine = Engine.of(Configuration([shard], webhooks_key_file=str(tmp_path / "missing")), recover=False)
    with pytest.raises(ConfigurationError, match="missing"):
        engine.secret_keys.expect_one()


def test_what_is_not_encrypted_yet_is_read() -> None:
    assert SecretKeys().decrypt(StoredSecret(b"s" * 32, None), 1, "hook_1") == SECRET
    assert not SecretKeys([FIRST]).is_newest(StoredSecret(b"s" * 32, None))


def test_neither_key_nor_secret_shows_itself() -> None:
    keys = SecretKeys([FIRST])
    hidden = FIRST.text().removeprefix("whkey_")
    shown = (
        f"{FIRST!r} {FIRST} {keys!r} {keys.encrypt(SECRET, 1, 'hook_1')!r} {StoredSecret(b's' * 32, None)}"
    )
    assert hidden not in shown
    assert "sss" not in shown
    assert SecretKey.read(FIRST.text()).name == FIRST.name


def test_a_new_key_is_the_first_of_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    before = os.umask(0)
    try:
        first = add_key(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    path.chmod(0o640)
    second = add_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [key.name for key in read_keys(path)] == [second.name, first.name]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no key"),
        ("# only words\n\n", "holds no key"),
        ("secret\n", "line 1: expected a key"),
        ("# one\nwhkey_c2VjcmV0\n", "line 2: expected whkey_ and base 64 of 32 bytes"),
        (f"whkey_{'c2VjcmV0!' * 5}\n", "line 1: expected whkey_"),
        (f"{FIRST.text()}\n{FIRST.text()}\n", "twice"),
        ("ü\n", "something else"),
    ],
)
def test_a_file_that_holds_something_else_is_named_and_not_quoted(
    tmp_path: Path, text: str, why: str
) -> None:
    path = Path(key_file(tmp_path))
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=why) as raised:
        read_keys(path)
    for word in ("c2VjcmV0", "secret", FIRST.text()):
        assert word not in str(raised.value)
    if text.strip():
        with pytest.raises(ConfigurationError):
            add_key(path)
        assert path.read_text(encoding="utf-8") == text


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = Path(key_file(tmp_path))
    path.chmod(0o604)
    with pytest.raises(ConfigurationError, match="chmod o="):
        read_keys(path)
    with pytest.raises(ConfigurationError, match="there is no webhooks_key_file"):
        read_keys(tmp_path / "missing")


def test_a_file_is_followed_and_what_is_wrong_changes_nothing(tmp_path: Path) -> None:
    path = Path(key_file(tmp_path, FIRST))
    followed = KeyFile(path)
    assert followed.keys.names == [FIRST.name]
    added = add_key(path)
    followed.look()
    assert followed.keys.names == [added.name, FIRST.name]
    path.write_text("nothing\n")
    followed.look()
    assert followed.keys.names == [added.name, FIRST.name]
    path.unlink()
    followed.look()
    assert followed.keys.names == [added.name, FIRST.name]
