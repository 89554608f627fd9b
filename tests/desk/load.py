"""What officers do, for locust: run by `tests/desk/bench.py`.

Server times are those that the desk tells in `Server-Timing`.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN003, ANN201 - locust has no types
import json
import os
import random
import re
from itertools import count
from pathlib import Path

from locust import HttpUser, between, events, task

PEOPLE = json.loads(Path(os.environ["DESK_COOKIES"]).read_text("utf-8"))
OUT = Path(os.environ["DESK_TIMES"])
TIMES = {"queue": [], "rows": [], "case": [], "claim": [], "figures": []}
FAILED = []
_numbers = count()
_CASE = re.compile(r'href="/desk/cases/([0-9a-f]{32})"')


class Officer(HttpUser):
    """Looks at the queue, opens cases, claims some and puts them back."""

    wait_time = between(1, 3)

    def on_start(self) -> None:
        """Somebody who is signed in already."""
        cookie, self.csrf = PEOPLE[next(_numbers) % len(PEOPLE)]
        self.client.cookies.set("sluicegate_desk", cookie, path="/desk")
        self.cases = []

    def ask(self, name, method, path, **options):
        """A request whose server time is noted."""
        answer = self.client.request(method, path, name=name, allow_redirects=False, **options)
        if answer.status_code not in (200, 303):
            FAILED.append((name, answer.status_code))
        found = re.search(r"dur=([0-9.]+)", answer.headers.get("Server-Timing", ""))
        if found:
            TIMES[name].append(float(found[1]))
        return answer

    @task(4)
    def queue(self) -> None:
        """The queue's page: the usual one, or one with filters."""
        query = random.choice(["", "", "?whose=waiting", "?least=50000", "?page=3"])
        page = self.ask("queue", "GET", f"/desk{query}")
        self.cases = _CASE.findall(page.text) or self.cases

    @task(6)
    def rows(self) -> None:
        """What a browser asks for when the live stream says so."""
        self.ask("rows", "GET", "/desk/rows", headers={"HX-Request": "true"})

    @task(4)
    def case(self) -> None:
        """The page of a case."""
        if self.cases:
            self.ask("case", "GET", f"/desk/cases/{random.choice(self.cases)}")

    @task(1)
    def figures(self) -> None:
        """The figures of the week."""
        self.ask("figures", "GET", "/desk/figures")

    @task(1)
    def claim(self) -> None:
        """Claims a case, and puts it back."""
        if self.cases:
            path = f"/desk/cases/{random.choice(self.cases)}"
            self.ask("claim", "POST", f"{path}/claim", data={"csrf": self.csrf})
            self.client.post(
                f"{path}/unclaim", name="unclaim", data={"csrf": self.csrf}, allow_redirects=False
            )


@events.quitting.add_listener
def _write(environment, **_) -> None:
    del environment
    OUT.write_text(json.dumps({"times": TIMES, "failed": FAILED}), "utf-8")
