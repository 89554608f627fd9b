"""Nobody may work on a state that is being replaced: waits for groups to be empty, or refuses."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from sluicegate.errors import Problem
from sluicegate.settings import Settings

LOOK_SECONDS: Final = 0.5
GRACE_SECONDS: Final = 3.0
"""Beyond the session timeout, after which the broker forgets a member that is away."""


def router_group(settings: Settings) -> str:
    """The group of the routers, whose offsets say how far the transactions are routed."""
    return f"{settings.topics.prefix}{settings.router.group}"


def worker_group(settings: Settings) -> str:
    """The group of the workers."""
    return f"{settings.topics.prefix}{settings.worker.app_id}"


def require_nobody(
    settings: Settings,
    config: dict[str, Any],
    groups: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Returns once these groups have no member; `say` tells what is waited for.

    A member that has just been stopped counts for its session timeout: it may be coming back.

    Raises:
        Problem: somebody stays.
    """
    admin = AdminClient({**config, "log_level": 4})
    longest = max(settings.router.session_timeout_seconds, settings.worker.session_timeout_seconds)
    give_up_at = time.monotonic() + longest + GRACE_SECONDS
    told = False
    while members := _members(admin, groups):
        if time.monotonic() > give_up_at:
            raise Problem(
                f"{', '.join(members)} at work",
                "a state must not be replaced under those who work on it",
                "stop all routers and workers, then give the command again",
            )
        if not told:
            say(f"waits for {', '.join(members)} to be gone")
            told = True
        time.sleep(LOOK_SECONDS)


def _members(admin: AdminClient, groups: Sequence[str]) -> list[str]:
    """The members of all groups, by the names of their slots where they have one."""
    return [
        f"{group}/{member.group_instance_id or member.member_id}"
        for group, answer in admin.describe_consumer_groups(list(groups)).items()
        for member in _members_of(answer)
    ]


def _members_of(answer: Any) -> list[Any]:  # noqa: ANN401 - a future; poor stubs
    try:
        return list(answer.result().members)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return []
        raise Problem("the groups cannot be described", error.args[0].str()) from error
