"""The standard variables of OpenTelemetry: what asks for traces, and what is refused."""

import pytest

from tallystick.service.configuration import ConfigurationError
from tallystick.service.telemetry import expect_traces_possible, start_tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:secret@collector:4318"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "SDK_DISABLED",
        "TRACES_EXPORTER",
        "EXPORTER_OTLP_ENDPOINT",
        "EXPORTER_OTLP_TRACES_ENDPOINT",
    ):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"OTEL_SERVICE_NAME": "ledger"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "True"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_none_are_asked_for(told: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert start_tracing() is None


@pytest.mark.parametrize(
    ("told", "refusal"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER is 'console': expected otlp or none"),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc': expected http/protobuf, the only one that is spoken",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "user:secret@collector:4318"},
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT must begin with http:// or https://",
        ),
    ],
)
def test_what_is_refused(told: dict[str, str], refusal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        expect_traces_possible()
    assert str(raised.value) == refusal


@pytest.mark.parametrize("told", [ENDPOINT, {"OTEL_TRACES_EXPORTER": "otlp"}])
def test_what_asks_for_them(told: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    expect_traces_possible()
