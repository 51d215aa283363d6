"""Errors of commands: one line that says what to do, and an exit status.

- `CommandError`: the command could not do what was asked
  - `PortTakenError` (in `ports`): another program uses the port
- `StopRequestedError` (in `stop_signals`): the operator asked the command to stop
"""

from typing import Final

import click

from tallystick.cluster.errors import ClusterError
from tallystick.embedded.errors import EmbeddedServerError
from tallystick.extras import MissingExtraError
from tallystick.followers.errors import WebhookKeyMissingError
from tallystick.ledger.errors import NotTakenError, OwnerPlacementError
from tallystick.service.configuration import ConfigurationError
from tallystick.service.errors import ParameterError, TooManyWebhooksError, WebhookNotFoundError
from tallystick.service.restoration import NotRestoredError
from tallystick.store.errors import StoreError

EXPECTED_ERRORS: Final = (
    ClusterError,
    ConfigurationError,
    EmbeddedServerError,
    MissingExtraError,
    NotRestoredError,
    NotTakenError,
    OwnerPlacementError,
    ParameterError,
    StoreError,
    TooManyWebhooksError,
    WebhookKeyMissingError,
    WebhookNotFoundError,
)
"""Errors that are not bugs. The message of each says in one line what happened and what to do."""


class CommandError(click.ClickException):
    """A command could not do what was asked; exit status 1."""
