"""Certificates: those that servers present, and those in files. Only the time of their expiry is read."""

import socket
import ssl
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tallystick.domain import limits
from tallystick.extras import MissingExtraError, require_extra
from tallystick.files import reason_of
from tallystick.service.doctor.findings import Judgement, fine, unknown, warning, wrong

# PostgreSQL's request to go on with TLS: its length and a code, and one byte as the answer.
_TLS_REQUEST: Final = struct.pack("!ii", 8, 80877103)
_TLS_ACCEPTED: Final = b"S"


def certificate_of_server(host: str, port: int, *, is_postgresql: bool) -> Judgement:
    """Until when the certificate of a server is valid."""
    name = f"{host}:{port}"
    try:
        found = _presented(host, port, is_postgresql=is_postgresql)
    except OSError as error:
        return unknown(f"the certificate of {name} cannot be read: {reason_of(error)}")
    if found is None:
        return fine(f"{name} has no TLS")
    return _judged(f"the certificate of {name}", found)


def certificate_file(path: Path) -> Judgement:
    """Until when the certificates of a file are valid. The one that expires first counts."""
    try:
        return _judged(f"the certificate in {path}", path.read_bytes())
    except OSError as error:
        return wrong(f"{path} cannot be read: {error.strerror}")


def _judged(what: str, certificate: bytes) -> Judgement:
    """`certificate`: PEM, perhaps several, or DER."""
    try:
        expires_at = _expires_at(certificate)
    except MissingExtraError as error:
        return unknown(f"{what}: {error}")
    except ValueError:
        return wrong(f"{what} cannot be read: expected certificates as PEM")
    left = expires_at - datetime.now(UTC)
    when = f"{expires_at:%Y-%m-%d %H:%M} UTC"
    if left < timedelta(0):
        return wrong(f"{what} expired at {when}: renew it")
    if left < timedelta(days=limits.CERTIFICATE_DAYS_MIN):
        return warning(f"{what} expires at {when}, in {left.days} days: renew it")
    return fine(f"{what} is valid until {when}")


def _expires_at(certificate: bytes) -> datetime:
    require_extra("webhooks", "reading certificates")
    from cryptography import x509  # noqa: PLC0415 - an extra

    if certificate.startswith(b"\x30"):
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc
    return min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(certificate))


def _presented(host: str, port: int, *, is_postgresql: bool) -> bytes | None:
    """The certificate that a server presents; None if it does not speak TLS."""
    # Any certificate will do, also one that has expired: nothing is sent over this connection.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((host, port), timeout=limits.CONNECT_TIMEOUT_SECONDS) as plain:
        if is_postgresql:
            plain.sendall(_TLS_REQUEST)
            if plain.recv(1) != _TLS_ACCEPTED:
                return None
        with context.wrap_socket(plain, server_hostname=host) as connection:
            return connection.getpeercert(binary_form=True)
