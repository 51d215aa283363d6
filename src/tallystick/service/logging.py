"""Logging of processes: JSON lines for machines, coloured lines for people. Neither contains a secret."""

import logging
import os
import re
import sys
from typing import Final

import structlog

from tallystick.service.configuration import ConfigurationError
from tallystick.service.current_request import current_request_id

LEVEL_VARIABLE: Final = "TALLYSTICK_LOG_LEVEL"

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# The password of an address or a connection string, the secret half of an API key, the secret of a webhook, and the
# key that encrypts such secrets.
_SECRETS: Final = (
    (re.compile(r"(\bpostgres(?:ql)?://[^\s:@/]*:)[^\s@]*@"), r"\1***@"),
    (re.compile(r"(\bpassword\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s'\"]+)", re.IGNORECASE), r"\1***"),
    (re.compile(r"(\btally_[0-9a-f]+_)[\w-]+"), r"\1***"),
    (re.compile(r"(\bwh(?:sec|key)_)[\w+/=-]+"), r"\1***"),
)


def configure_logging(*, default_level: str = "info", for_people: bool | None = None) -> None:
    """Write the log of this process to stderr, from the level in TALLYSTICK_LOG_LEVEL on.

    Lines are JSON or for people. By default they are for people on a terminal, and JSON elsewhere.

    Raises:
        ConfigurationError: there is no such level.
    """
    name = os.environ.get(LEVEL_VARIABLE, "").lower() or default_level
    if name not in _LEVELS:
        raise ConfigurationError(f"{LEVEL_VARIABLE} is {name!r}: expected one of {', '.join(_LEVELS)}")
    common: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    _log_through_logging(*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter)
    ends: list[structlog.typing.Processor] = (
        # Without the values of variables, because they may be passwords.
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if (sys.stderr.isatty() if for_people is None else for_people)
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ends],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_LEVELS[name])
    logging.captureWarnings(capture=True)


def leave_logging_to_application() -> None:
    """Pass the log to the `logging` of an application, unless the application has configured structlog itself.

    An application that configures neither gets warnings and errors on stderr, as `logging` does it.
    """
    if not structlog.is_configured():
        _log_through_logging(
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
            _take_secrets_out,
        )


def _log_through_logging(*processors: structlog.typing.Processor) -> None:
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *processors],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _add_request_id(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Name the HTTP request in each line that is written while it is served."""
    if (request_id := current_request_id()) is not None:
        line.setdefault("request_id", request_id)
    return line


def _take_secrets_out(_: object, __: str, line: structlog.typing.EventDict | str) -> str:
    return _without_secrets(str(line))


def _without_secrets(line: str) -> str:
    for pattern, replacement in _SECRETS:
        line = pattern.sub(replacement, line)
    return line


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Removes secrets from the finished line, so that messages of libraries and tracebacks contain none."""

    def format(self, record: logging.LogRecord) -> str:
        return _without_secrets(super().format(record))
