"""Short turns on the processor, for the parts that a person waits for.

On busy cores Linux lets whoever runs finish a turn of some milliseconds before it lets in one who
has just been woken, unless that one asks for shorter turns: since Linux 6.12, by `sched_setattr(2)`
(Documentation/scheduler/sched-eevdf.rst). It takes no more of the processor for it, and needs no
privilege. A check wakes up half a dozen threads in a row.
"""

import ctypes
import os
import platform
from typing import Final

TURN_NANOSECONDS: Final = 100_000
"""The shortest that Linux takes."""
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, which Python does not have."""


class _Attributes(ctypes.Structure):
    """`struct sched_attr`, version 0; for ordinary scheduling `runtime` is the length of a turn."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def take_short_turns() -> bool:
    """Asks for short turns for this thread and those that it will start; False where it cannot."""
    number = _SCHED_SETATTR.get(platform.machine()) if platform.system() == "Linux" else None
    if number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    attributes = _Attributes(
        size=ctypes.sizeof(_Attributes),
        policy=os.SCHED_OTHER,
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        runtime=TURN_NANOSECONDS,
    )
    system = ctypes.CDLL(None, use_errno=True)
    return bool(system.syscall(number, 0, ctypes.byref(attributes), 0) == 0)
