"""Who may do what at the desk: the role matrix, once."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What somebody is at the desk."""

    BANK_OFFICER = "bank_officer"
    POLICE_OFFICER = "police_officer"
    SUPERVISOR = "supervisor"
    ANALYST = "analyst"
    """Sees no names and no account numbers."""
    AUDITOR = "auditor"
    """Reads all, changes nothing."""
    ADMINISTRATOR = "administrator"
    """Manages people, and sees no cases."""


class Right(StrEnum):
    """One thing that a role may do or not."""

    SEE_CASES = "see_cases"
    UNMASK = "unmask"
    """See full account numbers; each time is logged."""
    CLAIM = "claim"
    DISMISS = "dismiss"
    REASSIGN = "reassign"
    NOTE = "note"
    """Write notes and attach files."""
    PROPOSE = "propose"
    """Ask for a measure; a light one needs nobody else."""
    APPROVE = "approve"
    """Approve or reject what somebody else asked for."""
    LIST = "list"
    """Put an account on a list, or ask to."""
    QUERY_IDENTITY = "query_identity"
    SEE_QUERIES = "see_queries"
    """Read identity queries and their receipts; who asks reads their own, others all, masked."""
    EXPORT = "export"
    SEE_FIGURES = "see_figures"
    SEE_WALL = "see_wall"
    HAND_OVER = "hand_over"
    SEE_AUDIT = "see_audit"
    MANAGE_PEOPLE = "manage_people"


_READS: Final = {Right.SEE_CASES, Right.SEE_FIGURES, Right.SEE_WALL}
_WORKS: Final = _READS | {
    Right.UNMASK,
    Right.CLAIM,
    Right.DISMISS,
    Right.NOTE,
    Right.PROPOSE,
    Right.APPROVE,
    Right.LIST,
    Right.EXPORT,
    Right.HAND_OVER,
}

MATRIX: Final[Mapping[Role, frozenset[Right]]] = {
    Role.BANK_OFFICER: frozenset(_WORKS),
    Role.POLICE_OFFICER: frozenset(_WORKS | {Right.QUERY_IDENTITY, Right.SEE_QUERIES}),
    Role.SUPERVISOR: frozenset(_WORKS | {Right.REASSIGN, Right.SEE_AUDIT, Right.SEE_QUERIES}),
    Role.ANALYST: frozenset(_READS),
    Role.AUDITOR: frozenset(
        _READS | {Right.UNMASK, Right.EXPORT, Right.SEE_AUDIT, Right.SEE_QUERIES}
    ),
    Role.ADMINISTRATOR: frozenset({Right.MANAGE_PEOPLE, Right.SEE_WALL}),
}


def may(role: Role, right: Right) -> bool:
    """Whether a role has a right."""
    return right in MATRIX[role]
