"""A line of the log names the request that was served when it was written."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tallystick.service.current_request import REQUEST_ID, serve
from tallystick.service.logging import configure_logging


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    before = structlog.get_config(), logging.getLogger().handlers, logging.getLogger().level
    yield
    structlog.configure(**before[0])
    logging.getLogger().handlers, logging.getLogger().level = before[1], before[2]
    logging.captureWarnings(capture=False)


@pytest.mark.usefixtures("logging_as_before")
async def test_a_line_names_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(for_people=False)
    log = structlog.get_logger("tallystick.test")

    async def request(identifier: str) -> None:
        serve({REQUEST_ID: identifier.encode()})
        await asyncio.sleep(0)
        log.warning("ours", number=identifier)
        logging.getLogger("another").warning("of a library %s", identifier)

    await asyncio.gather(*(asyncio.create_task(request(one)) for one in ("a", "b")))
    log.warning("of no request")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line.get("request_id")) for line in lines if line["event"] != "ours"] == [
        ("of a library a", "a"),
        ("of a library b", "b"),
        ("of no request", None),
    ]
    assert {(line["number"], line["request_id"]) for line in lines if line["event"] == "ours"} == {
        ("a", "a"),
        ("b", "b"),
    }
