"""People at a running desk, as their browsers speak to it."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
from tests.system.pipeline import COMMAND, ROOT

if TYPE_CHECKING:
    from tests.system.pipeline import Pipeline

PASSWORD = "a passphrase for the night"  # noqa: S105 - of people made up here
TOKEN = re.compile(r'name="csrf" value="([^"]+)"')


def desk(pipeline: Pipeline, *arguments: str) -> str:
    """`sluicegate desk ARGUMENTS` beside the running desk."""
    done = subprocess.run(
        [COMMAND, "--config", pipeline._config, "desk", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def signed_in(pipeline: Pipeline, base: str, name: str, role: str) -> httpx.Client:
    """A new person of this role, signed in with a password of their own."""
    once = desk(pipeline, "people", "add", name, "--full-name", name, "--role", role)
    client = httpx.Client(base_url=base, timeout=30)
    client.post("/desk/sign-in", data={"name": name, "password": once.strip()})
    fields = {"old": once.strip(), "new": PASSWORD, "again": PASSWORD}
    changed = post(client, "/desk/me/password", form="/desk/me/password", **fields)
    assert changed.status_code == 303
    return client


def post(
    client: httpx.Client, path: str, form: str = "/desk/me", files: Any = None, **fields: Any
) -> httpx.Response:
    """Sends a form with the token that the page `form` gave."""
    token = TOKEN.search(client.get(form).text)
    assert token is not None
    return client.post(path, data={"csrf": token[1], **fields}, files=files)
