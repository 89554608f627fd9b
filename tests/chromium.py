"""A real Chromium for tests, without which they say that they are skipped, but never in CI."""

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = os.environ.get("SCREENSHOTS")
"""A folder to leave pictures in, for looking at them."""

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true",
    reason="there is no chromium: `apt-get install chromium` brings it",
)
