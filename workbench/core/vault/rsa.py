"""RSA signatures as exchanges take them: PKCS 1 version 1.5 over SHA-256, in base64."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from workbench.core.errors import SecretError
from workbench.core.vault.secret import Secret


def is_rsa_signature(public_pem: str, message: bytes, signature: str) -> bool:
    """Return whether a base64 signature of a message is that of the key's owner.

    Raises
    ------
    SecretError
        If the key is no RSA public key.
    """
    try:
        key = load_pem_public_key(public_pem.encode())
    except ValueError as error:
        raise SecretError("A public key cannot be read.", "Give it in PEM form.") from error
    if not isinstance(key, RSAPublicKey):
        raise SecretError("A public key is not of the RSA kind.", "Make an RSA key of 2048 bits.")
    try:
        key.verify(base64.b64decode(signature, validate=True), message, PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def sign_rsa(private_pem: Secret[str], message: bytes) -> str:
    """Return the base64 signature of a message.

    Raises
    ------
    SecretError
        If the key is no RSA private key.
    """
    fix = "Store the private half of the RSA key in PEM form, without a passphrase."
    try:
        key = load_pem_private_key(private_pem.reveal().encode(), password=None)
    except (ValueError, TypeError) as error:
        raise SecretError("A private key cannot be read.", fix) from error
    if not isinstance(key, RSAPrivateKey):
        raise SecretError("A private key is not of the RSA kind.", fix)
    return base64.b64encode(key.sign(message, PKCS1v15(), SHA256())).decode()
