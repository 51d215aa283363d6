"""Whether a server is asked for traces, by the standard variables of OpenTelemetry."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tallystick.extras import require_extra
from tallystick.service.configuration import ConfigurationError

if TYPE_CHECKING:
    from tallystick.background.tracing import Tracing

_DISABLED: Final = "OTEL_SDK_DISABLED"
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP: Final = "otlp"
_NONE: Final = "none"
_HTTP: Final = "http/protobuf"


def expect_traces_possible() -> None:
    """Check that the traces which the environment asks for, if any, can be sent.

    Raises:
        ConfigurationError: it asks for another way to send them.
        MissingExtraError: the extra is not installed.
    """
    asked_by = _asked_by(os.environ)
    if asked_by is not None:
        require_extra("telemetry", asked_by)


def start_tracing() -> "Tracing | None":
    """Begin to trace, if the environment asks for it. Raises like `expect_traces_possible`."""
    expect_traces_possible()
    if _asked_by(os.environ) is None:
        return None
    from tallystick.background.tracing import Tracing  # noqa: PLC0415 - an extra

    return Tracing()


def _asked_by(environment: Mapping[str, str]) -> str | None:
    """The variable that asks for traces. None: no variable does."""
    told = {name: value.strip() for name, value in environment.items() if value.strip()}
    if told.get(_DISABLED, "").lower() == "true":
        return None
    exporter = told.get(_EXPORTER)
    if exporter not in {None, _OTLP, _NONE}:
        raise ConfigurationError(f"{_EXPORTER} is {exporter!r}: expected {_OTLP} or {_NONE}")
    endpoint = next((name for name in _ENDPOINTS if name in told), None)
    if exporter == _NONE or (exporter is None and endpoint is None):
        return None
    protocol = next((name for name in _PROTOCOLS if name in told), None)
    if protocol is not None and told[protocol] != _HTTP:
        raise ConfigurationError(
            f"{protocol} is {told[protocol]!r}: expected {_HTTP}, the only one that is spoken"
        )
    if endpoint is not None and not told[endpoint].startswith(("http://", "https://")):
        # Its value may have a password.
        raise ConfigurationError(f"{endpoint} must begin with http:// or https://")
    return endpoint or _EXPORTER
