"""Options that several commands share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tallystick.service.authentication import DEFAULT_TENANT
from tallystick.service.configuration import (
    CONFIGURATION_VARIABLE,
    OWNER_FILE,
    OWNER_VARIABLE,
    ConfigurationError,
)

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_PLACES: Final = (Path("tallystick.toml"), Path(".data/tallystick.toml"))


def configuration_option(command: Decorated) -> Decorated:
    """`--config FILE`, as the parameter `configuration_path`."""
    return click.option(
        "--config",
        "configuration_path",
        metavar="FILE",
        callback=_configuration_path,
        help=f"The configuration file. Default: ${CONFIGURATION_VARIABLE}, else {_PLACES[0]}, else {_PLACES[1]}.",
    )(command)


def owner_option(command: Decorated) -> Decorated:
    """`--owner-config FILE`, as the parameter `owner_path`."""
    return click.option(
        "--owner-config",
        "owner_path",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help=f"The file with the address for the owner of the tables. Default: ${OWNER_VARIABLE}, else "
        f"{OWNER_FILE} beside the configuration file.",
    )(command)


def tenant_option(command: Decorated) -> Decorated:
    """`--tenant NAME`, as the parameter `tenant`."""
    return click.option(
        "--tenant", metavar="NAME", default=DEFAULT_TENANT, show_default=True, help="The tenant."
    )(command)


def json_option(command: Decorated) -> Decorated:
    """`--json`, as the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one line of JSON, for scripts.")(
        command
    )


def _configuration_path(_context: click.Context, _option: click.Parameter, named: str | None) -> Path:
    if named:
        return Path(named).absolute()
    if from_environment := os.environ.get(CONFIGURATION_VARIABLE):
        return Path(from_environment).absolute()
    for place in _PLACES:
        if place.is_file():
            return place.absolute()
    raise ConfigurationError(
        f"there is no {_PLACES[0]} and no {_PLACES[1]} here: name a configuration file with --config, "
        f"or start everything with: tallystick up"
    )
