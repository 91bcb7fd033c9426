"""The client's side of SCRAM-SHA-256 (RFC 5802, section 3), written from the RFC alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os


class ScramClient:
    def __init__(self, username: str, password: str, nonce: str = "", header: str = "n,,") -> None:
        self.username = username.replace("=", "=3D").replace(",", "=2C")
        self.password = password
        self.nonce = nonce or base64.b64encode(os.urandom(18)).decode()
        self.header = header
        self.signature = b""

    def first(self) -> bytes:
        self.bare = f"n={self.username},r={self.nonce}"
        return (self.header + self.bare).encode()

    def final(self, server_first: bytes | None) -> bytes:
        assert server_first is not None
        fields = dict(part.split("=", 1) for part in server_first.decode().split(","))
        assert fields["r"].startswith(self.nonce)
        assert len(fields["r"]) > len(self.nonce)
        salted = hashlib.pbkdf2_hmac(
            "sha256", self.password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
        )
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        stored_key = hashlib.sha256(client_key).digest()
        without_proof = f"c={base64.b64encode(self.header.encode()).decode()},r={fields['r']}"
        message = f"{self.bare},{server_first.decode()},{without_proof}".encode()
        proof = bytes(
            a ^ b for a, b in zip(client_key, hmac.digest(stored_key, message, "sha256"), strict=True)
        )
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.signature = hmac.digest(server_key, message, "sha256")
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def trusts(self, server_final: bytes | None) -> bool:
        return server_final == b"v=" + base64.b64encode(self.signature)
