"""The health check of the container image: is the part that runs here alive?

One container runs one part. Each part's metrics port is known from the settings; one that answers
is enough.
"""

import sys
from http.client import HTTPConnection, HTTPException

from sluicegate.errors import Problem
from sluicegate.operations.readiness import ALIVE
from sluicegate.settings import load_settings

TIMEOUT_SECONDS = 2.0


def is_alive(port: int) -> bool:
    """Whether a part on that port of this machine says that it is alive."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", ALIVE)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def main() -> int:
    """0 if one of the parts answers, else 1."""
    try:
        settings = load_settings()
    except Problem as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    parts = (settings.router, settings.worker, settings.liaison, settings.counter)
    return 0 if any(is_alive(part.metrics_port) for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main())
