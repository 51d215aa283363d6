"""The pages that the types of problems name: `/errors/{code}`, from the table of error codes."""

import re
from html import escape
from typing import Final

import falcon
from falcon.asgi import Request, Response

from tallystick.api.error_codes import ERROR_CODES, ErrorCode, page_of

_CODE: Final = re.compile("`([^`]*)`")
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>{title}</title>
  <link rel="icon" href="data:,">
</head>
<body>
{body}
</body>
</html>
"""


class ErrorPage:
    """`/errors/{code}`."""

    def __init__(self) -> None:
        self._pages = {one.code: _page(one.code, _about(one)) for one in ERROR_CODES}

    async def on_get(self, _request: Request, response: Response, code: str) -> None:
        """Send the page about one code."""
        if code not in self._pages:
            raise falcon.HTTPNotFound
        _send(response, self._pages[code])

    on_head = on_get


class ErrorPages:
    """`/errors`: the list of all pages."""

    def __init__(self) -> None:
        items = "\n".join(
            f'    <li><a href="{page_of(one.code)}"><code>{one.code}</code></a>: {_html(one.meaning)}</li>'
            for one in ERROR_CODES
        )
        self._page = _page("Errors", f"  <h1>Errors</h1>\n  <ul>\n{items}\n  </ul>")

    async def on_get(self, _request: Request, response: Response) -> None:
        """Send the list."""
        _send(response, self._page)

    on_head = on_get


def _send(response: Response, page: bytes) -> None:
    response.content_type = "text/html; charset=utf-8"
    response.cache_control = ["public", "max-age=3600"]
    response.data = page


def _page(title: str, body: str) -> bytes:
    return _PAGE.format(title=escape(title), body=body).encode()


def _about(one: ErrorCode) -> str:
    after = one.retry_after_seconds
    parts = [
        f"  <h1><code>{one.code}</code></h1>",
        f"  <p>Status: {escape(one.statuses)}</p>",
        f"  <h2>What it means</h2>\n  <p>{_html(one.meaning)}</p>",
        f"  <h2>What to do</h2>\n  <p>{_html(one.remedy)}</p>",
        *([] if after is None else [f"  <p><code>Retry-After</code> is {after} seconds.</p>"]),
        '  <p><a href="/errors">All errors</a>, <a href="/docs">all calls</a></p>',
    ]
    return "\n".join(parts)


def _html(text: str) -> str:
    """A text of the table, in which code is between backticks."""
    return _CODE.sub(r"<code>\1</code>", escape(text))
