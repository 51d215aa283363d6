"""TLS for `serve`: the certificate and its key, checked before anything listens."""

import ssl
import stat
from pathlib import Path
from typing import NamedTuple

import structlog

from tallystick.cli.errors import CommandError
from tallystick.files import reason_of
from tallystick.service.configuration import Configuration

_log = structlog.get_logger(__name__)


class Tls(NamedTuple):
    """A certificate with its chain, and its key, both as PEM."""

    certificate: Path
    key: Path


def tls_of(configuration: Configuration, certificate: Path | None, key: Path | None) -> Tls | None:
    """The certificate of the options, or else of the configuration; None: plain HTTP.

    Raises:
        CommandError: one of the two is missing, or they cannot be read, or do not belong together.
    """
    named = certificate or key
    wanted = (certificate, key) if named else (configuration.tls_certificate, configuration.tls_key)
    if wanted == (None, None):
        return None
    if None in wanted:
        raise CommandError("--tls-certificate and --tls-key belong together: name both")
    found = Tls(*(Path(str(one)).absolute() for one in wanted))
    _expect_pair(found)
    if found.key.stat().st_mode & stat.S_IROTH:
        _log.warning("every user of this machine can read the key of TLS: chmod o= it", path=str(found.key))
    return found


def _expect_pair(tls: Tls) -> None:
    for path in tls:
        try:
            path.read_bytes()
        except OSError as error:
            raise CommandError(
                f"{path} cannot be read ({reason_of(error, path)}): name a file as PEM"
            ) from None
    try:
        # The password: a key that needs one is refused, and not asked for at a terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key, password="")  # nosec B106  # none is accepted
    except (ssl.SSLError, ValueError):
        raise CommandError(
            f"{tls.certificate} and {tls.key}: expected a certificate as PEM, and its key without a password"
        ) from None
