"""The JSON of the public types, and its schema."""

from typing import Any, Final

import msgspec

from tallystick.views.fields import MinorUnits

# Called for types that msgspec does not know: MinorUnits. It raises TypeError for a value that is no integer.
_digits: Final = int.__repr__

encode: Final = msgspec.json.Encoder(enc_hook=_digits).encode


def builtins_of(view: msgspec.Struct) -> dict[str, Any]:
    """A public type as a dictionary of types that JSON has."""
    found: dict[str, Any] = msgspec.to_builtins(view, enc_hook=_digits)
    return found


def schema_of(kind: type) -> dict[str, Any]:
    """The JSON schema of a type that msgspec does not know."""
    if kind is MinorUnits:
        return {"description": "Minor units.", "examples": ["1250"], "type": "string"}
    # For msgspec this means "no schema". It names the type in its own error.
    raise NotImplementedError
