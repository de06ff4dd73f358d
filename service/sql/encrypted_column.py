"""Columns that only a holder of the database key can read, and one by which they are found.

A column's value is sealed with AES-256-GCM as ``nonce ‖ ciphertext ‖ tag`` and bound to the
name of table and column, so that a value moved to another column is refused. That it was not
moved to another row of the same column is not proved here; what matters is in the log as well.

The key reaches a column through the dialect, of which every engine has its own: two databases
with two keys may be open in one process.
"""

import hmac
import json
import secrets
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, Dialect, Engine, LargeBinary
from sqlalchemy.types import TypeDecorator

from pipelines.sealing import KEY_BYTES, NONCE_BYTES, TAG_BYTES, derive
from verifier.errors import InputError, LedgerError

_CIPHER: Final = "_zhenxue_column_cipher"


class ColumnCipher:
    """Seals and opens column values under subkeys of one database key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise InputError(f"the database key has {len(key)} bytes; {KEY_BYTES} were wanted")
        self._aead = AESGCM(derive(key, "database-column"))
        self._index_key = derive(key, "database-blind-index")
        self.key_check = hmac.digest(derive(key, "database-key-check"), b"", "sha256")
        """32 bytes by which the key is recognised, and nothing more."""

    def __repr__(self) -> str:
        return "ColumnCipher()"

    def seal(self, column: str, plaintext: bytes) -> bytes:
        """Encrypt a value of ``column``, named ``table.column``."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plaintext, _associated(column))

    def open(self, column: str, sealed: bytes) -> bytes:
        """Decrypt a value; ``LedgerError`` if it was changed or belongs to another column."""
        if len(sealed) < NONCE_BYTES + TAG_BYTES:
            raise LedgerError(f"a value of {column} has {len(sealed)} bytes: it was cut short")
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._aead.decrypt(nonce, ciphertext, _associated(column))
        except InvalidTag:
            raise LedgerError(f"a value of {column} was changed") from None

    def blind_index(self, column: str, text: str) -> bytes:
        """Return 32 bytes by which a text is found again and that mean nothing without the key."""
        return hmac.digest(self._index_key, f"{column}\n{text}".encode(), "sha256")


def give_cipher(engine: Engine, cipher: ColumnCipher) -> None:
    """Let the encrypted columns of this engine's databases use ``cipher``."""
    # The dialect is the one object that a column type is handed with each value.
    setattr(engine.dialect, _CIPHER, cipher)


def cipher_of(dialect: Dialect) -> ColumnCipher:
    """Return the cipher that was given to a dialect's engine; ``LedgerError`` without one."""
    cipher = getattr(dialect, _CIPHER, None)
    if not isinstance(cipher, ColumnCipher):
        raise LedgerError("this engine was opened without a database key")
    return cipher


def blind_index(tx: Connection, column: str, text: str) -> bytes:
    """Return the 32 bytes by which ``text`` is found in ``column``, named ``table.column``."""
    return cipher_of(tx.dialect).blind_index(column, text)


class EncryptedBytes(TypeDecorator[bytes]):
    """Bytes, sealed. Only for keeping: a comparison in SQL never holds."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Seal what goes in."""
        return None if value is None else cipher_of(dialect).seal(self.column, value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Open what comes out."""
        return None if value is None else cipher_of(dialect).open(self.column, bytes(value))


class EncryptedJSON(TypeDecorator[Any]):
    """A JSON value, sealed; every finite float comes back as it was."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        """Seal what goes in; ``None`` is SQL's NULL."""
        if value is None:
            return None
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return cipher_of(dialect).seal(self.column, text.encode())

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        """Open what comes out."""
        if value is None:
            return None
        return json.loads(cipher_of(dialect).open(self.column, bytes(value)))


def _associated(column: str) -> bytes:
    return f"zhenxue/column/v1\n{column}".encode()
