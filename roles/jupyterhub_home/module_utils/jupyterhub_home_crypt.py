"""crypt(3) of the system's libxcrypt, which PAM uses too; Python 3.13 no longer has a module for it."""

from __future__ import annotations

import ctypes
import hmac

# crypt(5): yescrypt at the cost that Debian's own passwd(1) takes.
DEFAULT_PREFIX = b"$y$"


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    library.crypt_gensalt.restype = ctypes.c_char_p
    library.crypt_gensalt.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
    return library


def hash_password(password: str) -> str:
    """A new yescrypt hash with a random salt, as shadow(5) holds it. Raises ValueError if crypt(3) refuses."""
    library = _library()
    setting = library.crypt_gensalt(DEFAULT_PREFIX, 0, None, 0)
    result = library.crypt(password.encode(), setting)
    if not result or result.startswith(b"*"):
        raise ValueError("the system's crypt(3) could not hash the password")
    return str(result.decode())


def verifies(password: str, hashed: str) -> bool:
    """Whether a password gives this hash; false for an empty, locked or malformed one."""
    if not hashed.startswith("$"):
        return False
    result = _library().crypt(password.encode(), hashed.encode())
    return result is not None and hmac.compare_digest(result, hashed.encode())
