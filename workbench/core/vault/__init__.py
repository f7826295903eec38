"""The vault: secrets in one encrypted file, and the key that signs permits.

What it holds against: somebody who reads or edits the file without the passphrase. What it cannot
see: the whole file put back as it was before (keep ``Vault.revision`` elsewhere to notice), and
somebody who already runs code as the same user.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "book": ["Vault"],
        "document": ["Entry"],
        "passphrase": [
            "PASSPHRASES",
            "Request",
            "find_passphrase",
            "forget_passphrase",
            "passphrase_source",
        ],
        "rsa": ["is_rsa_signature"],
        "secret": ["Secret"],
        "signing": [
            "PublicKey",
            "SigningKey",
            "load_public_key",
            "load_public_keys",
            "public_path",
            "rotate_signing_key",
            "signing_key",
        ],
    },
)
