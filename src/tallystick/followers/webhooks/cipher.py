"""AES-256-GCM: a value that is encrypted for one purpose cannot be decrypted for another, or altered."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Cipher:
    """Encrypts and decrypts with one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def encrypt(self, nonce: bytes, value: bytes, purpose: bytes) -> bytes:
        """Encrypt a value. A nonce is used once."""
        return self._cipher.encrypt(nonce, value, purpose)

    def decrypt(self, nonce: bytes, encrypted: bytes, purpose: bytes) -> bytes:
        """The value; raises ValueError if it was altered, or encrypted for another purpose or with another key."""
        try:
            return self._cipher.decrypt(nonce, encrypted, purpose)
        except InvalidTag:
            raise ValueError("not what was encrypted") from None
