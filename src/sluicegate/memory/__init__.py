"""What is remembered of each account, and the kernel that reads and updates it. No IO.

Compiled kernels are cached on disk in a folder named by the content of this package: numba looks
only at the file of a function, but the loops of `step` carry all of `kernel`, `row` and `features`
inside them, and an old kernel must never be taken for a new one.
"""

import hashlib
import os
import sys
from pathlib import Path

import platformdirs


def _name_the_kernel_cache() -> None:
    content = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        content.update(source.read_bytes())
    name = content.hexdigest()[:16]
    base = Path(
        os.environ.get("NUMBA_CACHE_DIR")
        or platformdirs.user_cache_path("sluicegate", appauthor=False) / "kernels"
    )
    folder = str(base if base.name == name else base / name)
    os.environ["NUMBA_CACHE_DIR"] = folder  # child processes inherit it
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = folder


_name_the_kernel_cache()
