"""The role matrix, cell by cell, and that every page asks for its right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from sluicegate.desk.roles import MATRIX, Right, Role, may

if TYPE_CHECKING:
    from tests.desk.desk import RunningDesk

# bank, police, supervisor, analyst, auditor, administrator
CELLS = """
see_cases       x x x x x .
unmask          x x x . x .
claim           x x x . . .
dismiss         x x x . . .
reassign        . . x . . .
note            x x x . . .
propose         x x x . . .
approve         x x x . . .
list            x x x . . .
query_identity  . x . . . .
see_queries     . x x . x .
export          x x x . x .
see_figures     x x x x x .
see_wall        x x x x x x
hand_over       x x x . . .
see_audit       . . x . x .
manage_people   . . . . . x
"""
TABLE = {
    (role, Right(name)): cell == "x"
    for name, *cells in (line.split() for line in CELLS.strip().splitlines())
    for role, cell in zip(Role, cells, strict=True)
}


@pytest.mark.parametrize(("role", "right"), [(role, right) for role in Role for right in Right])
def test_each_cell_of_the_matrix_is_as_agreed(role: Role, right: Right) -> None:
    assert may(role, right) is TABLE[role, right]


def test_the_matrix_has_every_role_and_an_auditor_changes_nothing() -> None:
    assert set(MATRIX) == set(Role)
    changes = {Right.CLAIM, Right.DISMISS, Right.NOTE, Right.PROPOSE, Right.APPROVE, Right.LIST}
    assert not MATRIX[Role.AUDITOR] & (changes | {Right.REASSIGN, Right.MANAGE_PEOPLE})


@pytest.mark.parametrize("role", list(Role))
def test_every_page_opens_for_those_who_have_its_right_and_for_nobody_else(
    desk: RunningDesk, role: Role
) -> None:
    pages = desk.shell.rights
    assert len(pages) > 25
    with desk.signed_in(role) as browser:
        for (method, path), right in pages.items():
            if right is None:
                continue
            address = re.sub(r"{\w+_id}", "0", path)
            assert "{" not in address
            answer = browser.get(address) if method == "GET" else browser.post(address)
            assert (answer.status_code == 403) is not may(role, right), (method, path, answer.text)
            assert answer.status_code < 500


def test_without_signing_in_there_is_only_the_way_to_sign_in(desk: RunningDesk) -> None:
    for method, path in desk.shell.rights:
        answer = httpx.request(method, desk.base + path.replace("{case_id}", "0"))
        assert answer.status_code == 303, path
        assert answer.headers["location"] == "/desk/sign-in"
    opened = {path for _, path in desk.shell.public}
    assert opened == {"/desk/sign-in", "/desk/language"}
    assert httpx.get(f"{desk.base}/desk/live").status_code == 204
