"""Settings of services: a TOML file, then the environment, then flags; the last one wins.

A service's settings are a msgspec Struct. Every field is a key of the TOML file and, behind the service's
prefix and in capitals, a variable of the environment.
"""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from penstock.errors import InvalidValue

__all__ = ["Settings"]

Config = TypeVar("Config", bound=msgspec.Struct)


class Settings(Generic[Config]):
    """Where the settings of a service may stand.

    Args:
        kind: the Struct of the settings.
        prefix: of the environment's variables, such as `PENSTOCK_PING_`.
        as_json: fields whose variable holds JSON.
        flags: names of flags that are not called as their field is, by field.
    """

    def __init__(
        self,
        kind: type[Config],
        prefix: str,
        as_json: tuple[str, ...] = (),
        flags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._kind = kind
        self._prefix = prefix
        self._as_json = as_json
        self._flags = flags

    def load(
        self,
        file: Path | None = None,
        *,
        flags: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Config:
        """The settings out of `file`, `environment` (os.environ when None) and `flags`, later ones winning.

        Raises:
            ValueError: a setting is unknown, of the wrong type or out of range; the message names its place.
            OSError: the file cannot be read.
        """
        settings: dict[str, Any] = {}
        if file is not None:
            settings = self._from_toml(file)
        settings |= self._from_environment(os.environ if environment is None else environment)
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        for name, value in given.items():
            self._converted({name: value}, self._flags.get(name) or f"--{name.replace('_', '-')}")
        return self._converted(settings | given, "settings")

    def _from_toml(self, file: Path) -> dict[str, Any]:
        """The settings of a TOML file, checked by themselves so that an error can name the file."""
        try:
            settings: dict[str, Any] = msgspec.toml.decode(file.read_bytes())
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
            raise InvalidValue(f"{file}: no valid TOML: {error}") from None
        for name in settings:
            self._must_be_a_setting(name, f"{file}: {name}")
        self._converted(settings, str(file))
        return settings

    def _from_environment(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """The settings among the environment's variables; an unknown one with our prefix is an error."""
        settings: dict[str, Any] = {}
        for variable, text in environment.items():
            if not variable.startswith(self._prefix):
                continue
            field = variable.removeprefix(self._prefix).lower()
            self._must_be_a_setting(field, variable)
            settings[field] = from_json(text, variable) if field in self._as_json else text
            self._converted({field: settings[field]}, variable)
        return settings

    def _must_be_a_setting(self, name: str, as_written: str) -> None:
        fields = self._kind.__struct_fields__
        if name not in fields:
            near = get_close_matches(name, fields, 1)
            advice = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(fields))}"
            raise InvalidValue(f"{as_written} is no setting; {advice}")

    def _converted(self, settings: Mapping[str, Any], origin: str) -> Config:
        try:
            return msgspec.convert(settings, self._kind, strict=False)
        except (msgspec.ValidationError, OverflowError) as error:
            raise InvalidValue(f"{origin}: {error}") from None


def from_json(text: str, variable: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidValue(f"{variable} must be JSON: {error}") from None
