"""crypt(3) of the system's libxcrypt, which PAM uses too; Python 3.13 no longer has a module for it."""

from __future__ import annotations

import ctypes
import hmac
import unicodedata

# crypt(5): yescrypt at the cost that Debian's own passwd(1) takes.
DEFAULT_PREFIX = b"$y$"
# Bytes of crypt.h's struct crypt_data and CRYPT_GENSALT_OUTPUT_SIZE, which are part of the library's ABI.
SCRATCH = 32768
SALT = 192


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt_r.restype = ctypes.c_char_p
    library.crypt_r.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p]
    library.crypt_gensalt_rn.restype = ctypes.c_char_p
    library.crypt_gensalt_rn.argtypes = [
        ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int,
    ]  # fmt: skip
    return library


# Both in the form that gets its memory from the caller, so that several threads may call them.
def _setting() -> bytes | None:
    """A random salt, and how it is to be used, for `_crypt`."""
    scratch = ctypes.create_string_buffer(SALT)
    result: bytes | None = _library().crypt_gensalt_rn(DEFAULT_PREFIX, 0, None, 0, scratch, SALT)
    return result


def _crypt(password: str, setting: bytes | None) -> bytes | None:
    """A password's hash; None or beginning with `*` if it could not be made."""
    scratch = ctypes.create_string_buffer(SCRATCH)
    # Keyboards send the composed form of a letter with an accent; editors and clipboards may have the other one.
    composed = unicodedata.normalize("NFC", password)
    result: bytes | None = _library().crypt_r(composed.encode(), setting, scratch)
    return result


def hash_password(password: str) -> str:
    """A new yescrypt hash with a random salt, as shadow(5) holds it. Raises ValueError if crypt(3) refuses."""
    result = _crypt(password, _setting())
    if not result or result.startswith(b"*"):
        raise ValueError("the system's crypt(3) could not hash the password")
    return str(result.decode())


def verifies(password: str, hashed: str) -> bool:
    """Whether a password gives this hash; false for an empty, locked or malformed one."""
    if not hashed.startswith("$"):
        return False
    result = _crypt(password, hashed.encode())
    return result is not None and hmac.compare_digest(result, hashed.encode())
