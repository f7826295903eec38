"""The layers of the configuration: files, environment, arguments, merged with their origins."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from workbench.core.errors import ConfigError, SecretError

DEFAULT: Final = "default"
ARGUMENT: Final = "argument"
FILE: Final = "workbench.toml"
PREFIX: Final = "WORKBENCH_"
OTHERS: Final = frozenset(
    {
        *("WORKBENCH_SHARED_DATA", "WORKBENCH_REQUIRE_SHARED_DATA", "WORKBENCH_RUN_ID"),
        *("WORKBENCH_VAULT_PASSPHRASE", "WORKBENCH_VAULT_PASSPHRASE_FILE"),
    }
)
"""Variables that are not settings: two of the tests, one of a job, two that open the vault."""


@dataclass
class Layers:
    """The merged values and, for each leaf that was given, where from."""

    schema: type[BaseSettings]
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def add(self, values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
        """Lay values over those below, key by key."""
        for key, value in leaves(values):
            *sections, name = key.split(".")
            place = self.values
            for section in sections:
                place = place.setdefault(section, {})
            place[name] = value
            self.origins[key] = origins[key]

    def origin(self, key: str) -> str:
        """Return the layer that gave a leaf its value."""
        return self.origins.get(key, DEFAULT)

    def given(self, key: str) -> list[str]:
        """Return the leaves that were given at or under a key."""
        return [k for k in self.origins if not key or k == key or k.startswith(f"{key}.")]

    def show(self, key: str) -> str:
        """Return the value of a leaf as it may be shown."""
        place: Any = self.values
        for part in key.split("."):
            place = place[part]
        if _is_secret(self.schema, key):
            return str(SecretStr("*"))
        return re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", repr(place))


def variable_name(key: str) -> str:
    """Return the environment variable that sets a key."""
    return PREFIX + key.upper().replace(".", "__")


def find_root(start: Path | None = None) -> Path:
    """Return the project folder, looking upward from the working directory.

    It is the nearest one with a ``workbench.toml``, or with a ``pyproject.toml`` whose project is
    or needs workbench; else the folder itself.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file() or _names_workbench(folder / "pyproject.toml"):
            return folder
    return here


def leaves(node: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each dotted key of nested mappings, models and dataclasses, with its value."""
    children = _children(node)
    if children is None:
        yield prefix, node
        return
    for name, child in children.items():
        yield from leaves(child, f"{prefix}.{name}" if prefix else str(name))


def read_layers(schema: type[BaseSettings], arguments: Mapping[str, object]) -> Layers:
    """Read every layer for a schema, refusing keys that it does not know.

    Raises
    ------
    ConfigError
        If a file cannot be read, or a key is unknown or stands where a section belongs.
    """
    given = _nest(arguments)
    environment, variables = _read_environment(schema)
    root = find_root()
    base = _read_file(root / FILE)
    profile = next(
        (layer["profile"] for layer in (given, environment, base) if "profile" in layer),
        schema.model_fields["profile"].default,
    )
    layers = Layers(schema)
    for values, name in ((base, FILE), (_read_profile(root, profile), f"workbench.{profile}.toml")):
        keys = _check(schema, values, name)
        secret = next((key for key in keys if _is_secret(schema, key)), None)
        if secret:
            raise SecretError(
                f"{name} holds the secret {secret}.",
                f"Files get shared and committed: take it out and set {variable_name(secret)}.",
            )
        layers.add(values, dict.fromkeys(keys, name))
    origins = {key: _variable(key, variables) for key, _ in leaves(environment)}
    for key, name in origins.items():
        _check_leaf(schema, key, name)
    layers.add(environment, origins)
    layers.add(given, dict.fromkeys(_check(schema, given, ARGUMENT), ARGUMENT))
    return layers


def _children(node: object) -> dict[str, Any] | None:
    if isinstance(node, BaseModel):
        return {name: getattr(node, name) for name in type(node).model_fields}
    if is_dataclass(node) and not isinstance(node, type):
        return {f.name: getattr(node, f.name) for f in fields(node)}
    return dict(node) if isinstance(node, Mapping) else None


def _nest(values: Mapping[str, object]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in leaves(values):
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return nested


def _names_workbench(pyproject: Path) -> bool:
    if not pyproject.is_file():
        return False
    try:
        project = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("project", {})
    except tomllib.TOMLDecodeError:
        return False
    needs = (re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in project.get("dependencies", []))
    return "workbench" in (project.get("name"), *needs)


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.", "Correct that line.") from error


def _read_profile(root: Path, profile: object) -> dict[str, Any]:
    name = f"workbench.{profile}.toml"
    values = _read_file(root / name) if str(profile).isidentifier() else {}
    if values.get("profile", profile) != profile:
        raise ConfigError(
            f"{name} asks for the profile {values['profile']!r}.",
            f"Take the line out: the file is read for the profile {profile} only.",
        )
    return values


def _read_environment(schema: type[BaseSettings]) -> tuple[dict[str, Any], dict[str, str]]:
    variables = {
        name.upper().removeprefix(PREFIX).lower().replace("__", "."): name
        for name in os.environ
        if name.upper().startswith(PREFIX) and name.upper() not in OTHERS
    }
    for key, name in variables.items():
        _check_key(schema, key, name)
    try:
        return EnvSettingsSource(schema)(), variables
    except SettingsError as error:
        # The chain holds the text of the variable, which may be a secret.
        raise ConfigError(
            f"An environment variable cannot be read: {error}.",
            f"Set one variable per key of a section, such as {PREFIX}STORE__URL.",
        ) from None


def _variable(key: str, variables: Mapping[str, str]) -> str:
    while key not in variables:
        key = key.rpartition(".")[0]
    return variables[key]


def _check(schema: type[BaseSettings], values: Mapping[str, Any], origin: str) -> list[str]:
    for name, part in values.items():
        if isinstance(part, Mapping):  # a misspelt section without keys has no leaf to betray it
            _check_key(schema, name, origin)
    keys = [key for key, _ in leaves(values)]
    for key in keys:
        _check_leaf(schema, key, origin)
    return keys


def _check_leaf(schema: type[BaseSettings], key: str, origin: str) -> None:
    _check_key(schema, key, origin)
    kind = _type_at(schema, key)
    if _section(kind) is not None or kind is dict:
        raise ConfigError(
            f"{key} (from {origin}) is a single value.",
            f"It is a section: give it keys ([{key}] in a file, {variable_name(key)}__KEY).",
        )


def _check_key(schema: type[BaseSettings], key: str, origin: str) -> None:
    known: Any = schema
    path: list[str] = []
    for part in key.split("."):
        names = _section(known)
        if known is dict:
            return
        if names is None or part not in names:
            where = ".".join(path)
            near = get_close_matches(part, names or [], n=1, cutoff=0.5)
            hint = f"Did you mean {'.'.join([*path, near[0]])}? " if near else ""
            raise ConfigError(
                f"{key} (from {origin}) is not a setting.",
                f"{hint}{where or 'The configuration'} knows {', '.join(names or ['no keys'])}.",
            )
        path.append(part)
        known = names[part]


def _type_at(schema: type[BaseSettings], key: str) -> Any:
    known: Any = schema
    for part in key.split("."):
        names = _section(known)
        known = str if names is None else names.get(part)
    return known


def _section(kind: Any) -> dict[str, Any] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        hints = {name: info.annotation for name, info in kind.model_fields.items()}
    elif isinstance(kind, type) and is_dataclass(kind):
        hints = {f.name: get_type_hints(kind)[f.name] for f in fields(kind)}
    else:
        return None
    return {name: getattr(hint, "__origin__", hint) for name, hint in hints.items()}


def _is_secret(schema: type[BaseSettings], key: str) -> bool:
    kind = _type_at(schema, key)
    return kind is SecretStr or SecretStr in get_args(kind)
