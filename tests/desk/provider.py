"""A small OpenID provider on a port of its own: real codes, keys, signatures, and chosen faults."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "sluicegate-desk"
SECRET = "only the desk and its provider know"  # noqa: S105 - of a provider made up here


class RunningProvider:
    """Signs in at once whoever `person` says; `told` and `header` change what a token says."""

    def __init__(self) -> None:
        self.person = {"sub": "248289761001", "preferred_username": "li.wei"}
        self.told: dict[str, Any] = {}
        self.signs: RSAKey | None = None
        """Another key than the one that is shown."""
        self.declines = False
        self.rotate()
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
                if parts.path == "/authorize":
                    self.send_response(302)
                    self.send_header("Location", provider.authorized(fields))
                    self.end_headers()
                else:
                    self._answer(200, provider.shown(parts.path))

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                fields = {name: values[0] for name, values in parse_qs(text).items()}
                self._answer(*provider.token(fields, self.headers.get("Authorization", "")))

            def _answer(self, status: int, shown: dict[str, Any]) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(shown).encode())

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Another site than the desk's 127.0.0.1, as a bank's provider is.
        self.issuer = f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def rotate(self) -> None:
        """Another key from now on."""
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})

    def shown(self, path: str) -> dict[str, Any]:
        """What anybody may read."""
        if path == "/jwks":
            return {"keys": [self.key.as_dict(private=False)]}
        assert path == "/.well-known/openid-configuration"
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
        }

    def authorized(self, asked: dict[str, str]) -> str:
        """Where the browser is sent back to."""
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split()
        told = {"state": asked["state"]}
        if self.declines:
            told["error"] = "access_denied"
        else:
            told["code"] = secrets.token_urlsafe(16)
            self._codes[told["code"]] = asked
        return f"{asked['redirect_uri']}?{urlencode(told)}"

    def token(self, fields: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """A token for a code, once, for who has the verifier and the secret."""
        asked = self._codes.pop(fields["code"], None)
        digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        name, _, secret = (
            base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        )
        is_client = (unquote(name), unquote(secret)) == (CLIENT, SECRET)
        if not is_client:
            return 401, {"error": "invalid_client"}
        if (
            asked is None
            or asked["code_challenge"] != challenge
            or asked["redirect_uri"] != fields["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.person,
            **self.told,
        }
        header = {"alg": "RS256", "kid": self.key.kid}
        token = jwt.encode(header, claims, self.signs or self.key)
        return 200, {"access_token": "unused", "token_type": "Bearer", "id_token": token}
