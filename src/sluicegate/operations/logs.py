"""One line to stderr for each thing that happens, with the time in UTC."""

import logging
import sys
import time

# What these say at INFO is about themselves, many times a minute.
TALKATIVE = ("aiokafka", "faust", "kafka", "mode", "numba", "sqlalchemy")


def start_logging(part: str, level: int = logging.INFO) -> None:
    """Send the log lines of this process to stderr under the name of the part.

    Call it before Faust starts: Faust puts something else in the place of stderr.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(part))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def mask_account(account: str) -> str:
    """An account as it may stand in a log: its last four characters, and all others hidden."""
    if len(account) <= 4:
        return "*" * len(account)
    return "*" * (len(account) - 4) + account[-4:]


class _OneLine(logging.Formatter):
    """`2026-03-01T09:30:00.125Z INFO router: text`; tracebacks follow on their own lines."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, part: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)s {part.replace('%', '%%')}: %(message)s")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        line = super().formatMessage(record)
        return line.replace("\r", "\\r").replace("\n", "\\n")
