"""``workbench keys``: exchange keys and the signing key, kept in the vault."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import load_config
from workbench.core.errors import SecretError

if TYPE_CHECKING:
    from workbench.core.vault import Entry, Request, Secret, Vault

app = typer.Typer(no_args_is_help=True, help="Keep exchange keys and the signing key.")

_SIGNING: Final = "signing"


class Kind(StrEnum):
    """What a key is for."""

    EXCHANGE = "exchange"
    TOKEN = "token"  # noqa: S105 (the name of a kind)
    SIGNING = "signing"


_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    Kind.EXCHANGE: ("api_key", "api_secret"),
    Kind.TOKEN: ("token",),
}

Name = Annotated[str, typer.Argument(help="Name of the key in the vault, such as bybit.demo.")]
By = Annotated[str, typer.Option(help="Who does it; by default the user of the system.")]


@app.command()
def add(
    name: Name,
    *,
    kind: Annotated[Kind, typer.Option(help="What the key is for; a signing key is made here.")],
) -> None:
    """Keep a key: asked for without echo, or read from standard input, one part per line."""
    if (kind is Kind.SIGNING) is not (name == _SIGNING):
        raise SecretError(
            f"The key {name!r} cannot be of the kind {kind}.",
            "The one key that signs permits is `workbench keys add signing --kind signing`.",
        )
    vault = open_vault(create=True)
    if name in vault.names():
        raise SecretError(
            f"The vault has a key {name!r} already.",
            f"Choose another name, or `workbench keys rotate {name}` to replace it.",
        )
    if kind is Kind.SIGNING:
        from workbench.core.vault import public_path, signing_key

        key = signing_key(vault)
        out.print(Text(f"made the signing key {key.key_id}; public: {public_path(vault.path)}"))
        return
    entry = vault.add(name, kind, _read_secret(kind))
    out.print(Text(f"kept {entry.name} ({entry.kind}, fingerprint {entry.fingerprint})"))


@app.command("list")
def list_keys() -> None:
    """Print names, kinds, fingerprints and dates; no secret is opened."""
    from workbench.core.vault import load_public_keys, public_path

    vault = open_vault()
    table = Table("name", "kind", "fingerprint", "since", title=str(vault.path))
    for entry in vault.entries():
        words = (entry.name, entry.kind, entry.fingerprint, f"{entry.created:%Y-%m-%d %H:%M} UTC")
        table.add_row(*(Text(word, overflow="fold") for word in words))
    out.print(table)
    if public_path(vault.path).exists():
        for key in load_public_keys(public_path(vault.path)):
            end = f"retired {key.retired:%Y-%m-%d}" if key.retired else "in use"
            out.print(Text(f"public key {key.key_id} since {key.created:%Y-%m-%d}, {end}"))


@app.command("test")
def test_key(name: Name) -> None:
    """Open a key; a signing key also signs, and its public half verifies."""
    vault = open_vault()
    kinds = {entry.name: entry.kind for entry in vault.entries()}
    vault.get(name)
    if kinds[name] == Kind.SIGNING:
        _test_signing(vault)
        out.print(Text(f"{name}: opens, signs, and its public key verifies"))
        return
    out.print(Text(f"{name}: opens"))
    if kinds[name] == Kind.EXCHANGE:
        out.print(Text("Not checked with the exchange: `workbench doctor --account` does."))


@app.command()
def rotate(
    name: Annotated[
        str | None, typer.Argument(help="The key to replace; without it, the passphrase.")
    ] = None,
    *,
    keep_passphrase: Annotated[
        bool, typer.Option("--keep-passphrase", help="Encrypt anew under the same passphrase.")
    ] = False,
) -> None:
    """Replace the passphrase and encrypt all anew, or replace one key under its name."""
    vault = open_vault()
    if name is None:
        _rotate_vault(vault, keep_passphrase=keep_passphrase)
        return
    kind = next((entry.kind for entry in vault.entries() if entry.name == name), None)
    if kind == Kind.SIGNING:
        from workbench.core.vault import rotate_signing_key

        key = rotate_signing_key(vault)
        out.print(Text(f"made the signing key {key.key_id}; permits of the one before end now"))
        return
    if kind is None or kind not in _FIELDS:
        raise SecretError(
            f"The vault has no key {name!r} that could be replaced.",
            f"It holds {', '.join(vault.names()) or 'nothing'}.",
        )
    entry = vault.add(name, kind, _read_secret(kind), replaces=True)
    out.print(Text(f"replaced {name} (fingerprint {entry.fingerprint} now)"))


@app.command()
def remove(
    name: Name,
    *,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget a key; it cannot be brought back."""
    vault = open_vault()
    if not is_sure:
        typer.confirm(f"Forget {name}? It cannot be brought back.", abort=True)
    vault.remove(name)
    out.print(Text(f"removed {name}"))


@app.command()
def enable(
    name: Name,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    by: By = "",
    confirm: Annotated[str | None, typer.Option(help="The key's name again; else asked.")] = None,
) -> None:
    """Let a key trade real money, on the record; exchange.mainnet must be true besides."""
    from workbench.exchange.optin import record_opt_in
    from workbench.store import Store

    entry = _find_exchange_key(open_vault(), name)
    typed = confirm if confirm is not None else typer.prompt(f"Type {name} to let it trade money")
    with Store.open() as store:
        record_opt_in(store, entry, by=by or getpass.getuser(), reason=reason, confirmed=typed)
    out.print(Text(f"{name} ({entry.fingerprint}) may trade where exchange.mainnet is true"))


@app.command()
def disable(
    name: Name,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    by: By = "",
) -> None:
    """Take back that a key may trade real money; clients that are open keep it until they end."""
    from workbench.exchange.optin import withdraw_opt_in
    from workbench.store import Store

    entry = _find_exchange_key(open_vault(), name)
    with Store.open() as store:
        withdraw_opt_in(store, entry, by=by or getpass.getuser(), reason=reason)
    out.print(Text(f"{name} ({entry.fingerprint}) may trade real money no more"))


def _find_exchange_key(vault: Vault, name: str) -> Entry:
    for entry in vault.entries():
        if entry.name == name and entry.kind == Kind.EXCHANGE:
            return entry
    raise SecretError(
        f"The vault has no exchange key {name!r}.",
        f"It holds {', '.join(vault.names()) or 'nothing'}.",
    )


def open_vault(*, create: bool = False) -> Vault:
    """Open the vault of the configuration; a person at a terminal is asked for the passphrase."""
    from workbench.core.vault import Vault, find_passphrase

    ask = _ask_passphrase if sys.stdin.isatty() else None
    passphrase = partial(find_passphrase, ask=ask)
    return Vault.open(load_config().vault_path, passphrase=passphrase, create=create)


def _ask_passphrase(request: Request) -> Secret[str]:
    from workbench.core.vault import Secret

    words = "New passphrase of the vault" if request.is_new else "Passphrase of the vault"
    return Secret(typer.prompt(words, hide_input=True, confirmation_prompt=request.is_new))


def _rotate_vault(vault: Vault, *, keep_passphrase: bool) -> None:
    from workbench.core.vault import find_passphrase, forget_passphrase, passphrase_source

    old = vault.slot
    source = passphrase_source(old)
    if keep_passphrase:
        vault.rotate()
    elif source == "keyring":
        # The new one is in the keyring before the file needs it; the old one goes afterwards.
        vault.rotate(find_passphrase)
        forget_passphrase(old)
    else:
        vault.rotate(_new_passphrase)
    out.print(Text(f"encrypted anew: {len(vault.names())} keys"))
    if source not in (None, "keyring") and not keep_passphrase:
        out.print(Text(f"Now put the new passphrase where {source} has the old one."))


def _new_passphrase(request: Request) -> Secret[str]:
    from workbench.core.vault import Secret

    if sys.stdin.isatty():
        return _ask_passphrase(request)
    # Spaces may belong to it, as they may in the variable and in the file.
    return Secret(sys.stdin.readline().rstrip("\r\n"))


def _read_secret(kind: str) -> Secret[Mapping[str, str]]:
    from workbench.core.vault import Secret

    *_, last = _FIELDS[kind]
    return Secret({part: _read_part(part, is_last=part == last) for part in _FIELDS[kind]})


def _read_part(part: str, *, is_last: bool) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(part.replace("_", " "), hide_input=True)).strip()
    # The last part may have many lines: a private RSA key does.
    found = (sys.stdin.read() if is_last else sys.stdin.readline()).strip()
    if not found:
        raise SecretError(
            f"Standard input has no {part}.", "Give each part on a line of its own, or use a tty."
        )
    return found


def _test_signing(vault: Vault) -> None:
    from workbench.core.vault import load_public_key, public_path, signing_key

    message = b"workbench keys test\n"
    signature = signing_key(vault).sign(message)
    if not load_public_key(public_path(vault.path)).verifies(message, signature):
        raise SecretError(
            f"The public key in {public_path(vault.path)} is not that of the signing key.",
            "Remove that file: it is made anew from the vault.",
        )
