"""The service against its own OpenAPI document, with data that fits it and data that does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.counter.counter import RunningCounter

if TYPE_CHECKING:
    from sluicegate.streaming.scoring import Scoring

SCHEMATHESIS = Path(sys.executable).with_name("st")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
# Not `positive_data_acceptance`: that a time lies in the future, or an amount has a third decimal
# as a JSON number, is refused although no schema can say so.


def test_what_the_document_says_is_so(tmp_path: Path, scoring: Scoring) -> None:
    with RunningCounter(tmp_path, scoring, key_checks_per_second=1e6) as counter:
        key = counter.key("*")["Authorization"]
        done = subprocess.run(
            [
                *(SCHEMATHESIS, "run", f"{counter.client.base_url}/v1/openapi.json"),
                *("--header", f"Authorization: {key}"),
                *("--checks", ",".join(CHECKS)),
                *("--phases", "examples,coverage,fuzzing"),
                *("--max-examples", os.environ.get("SCHEMATHESIS_EXAMPLES", "30")),
                *("--seed", "1", "--no-color", "--generation-database", "none"),
            ],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr
    assert "Tested: 5" in done.stdout, done.stdout
