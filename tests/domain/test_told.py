"""The contracts of profiles and directives: what is accepted, what is refused and by which name."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.domain.directive import (
    Action,
    Directive,
    DirectiveKind,
    directive_schema,
    parse_directive,
)
from sluicegate.domain.fields import Rules
from sluicegate.domain.profile import (
    EnterpriseStatus,
    HolderKind,
    Profile,
    parse_profile,
    profile_schema,
)
from sluicegate.domain.refusal import Refusal, Refused

PROFILE: dict[str, Any] = {
    "account": "6222020000000000017",
    "holder_id": "b1c9",
    "holder_kind": "person",
    "birth_year": 1951,
    "opened_at": "2019-05-04T10:00:00+08:00",
    "declared_monthly_income": "4200.00",
    "documents_expire_on": "2031-01-31",
    "device_hashes": ["d1", "d2"],
    "tier": 2,
}
WHITELIST: dict[str, Any] = {
    "id": "W-7",
    "account": "6222020000000000017",
    "kind": "whitelisted",
    "counterparty": "6222020000000000044",
    "patterns": ["far-above-own-largest"],
    "issued_at": "2026-03-01T09:00:00+08:00",
    "expires_at": "2026-06-01T00:00:00+08:00",
    "reason": "bought a house",
}


def profile(**changed: object) -> Profile | Refused:
    return parse_profile(json.dumps({**PROFILE, **changed}).encode(), 0, Rules())


def directive(**changed: object) -> Directive | Refused:
    return parse_directive(json.dumps({**WHITELIST, **changed}).encode(), 0, Rules())


def test_a_profile_is_read_as_it_is_written() -> None:
    read = profile()
    assert isinstance(read, Profile)
    assert (read.holder_kind, read.birth_year, read.tier) == (HolderKind.PERSON, 1951, 2)
    assert read.declared_monthly_income_minor == 420_000
    assert read.opened_at_ms == 1_556_935_200_000
    assert str(read.documents_expire_on) == "2031-01-31"
    assert read.device_hashes == ("d1", "d2")
    assert parse_profile(read.wire(), 0, Rules()) == read


def test_all_but_the_account_may_be_missing_or_null() -> None:
    bare = parse_profile(b'{"account": "A"}', 0, Rules())
    assert isinstance(bare, Profile)
    nulls = dict.fromkeys([name for name in PROFILE if name != "account"])
    assert profile(**nulls, account="A") == bare
    closed = profile(enterprise_status="revoked")
    assert isinstance(closed, Profile)
    assert closed.enterprise_status is EnterpriseStatus.REVOKED


@pytest.mark.parametrize(
    ("field", "value", "refusal"),
    [
        ("account", None, Refusal.WRONG_TYPE),
        ("account", "帐户", Refusal.NOT_PRINTABLE_ASCII),
        ("holder_kind", "dog", Refusal.UNKNOWN_VALUE),
        ("holder_kind", 1, Refusal.WRONG_TYPE),
        ("birth_year", 1849, Refusal.NUMBER_OUT_OF_RANGE),
        ("birth_year", "1951", Refusal.WRONG_TYPE),
        ("birth_year", 1951.0, Refusal.WRONG_TYPE),
        ("tier", True, Refusal.WRONG_TYPE),
        ("tier", -1, Refusal.NUMBER_OUT_OF_RANGE),
        ("opened_at", "2019-05-04", Refusal.TIME_MALFORMED),
        ("opened_at", "1969-05-04T10:00:00Z", Refusal.TIME_OUT_OF_RANGE),
        ("documents_expire_on", "2031-02-30", Refusal.DATE_MALFORMED),
        ("declared_monthly_income", -1, Refusal.AMOUNT_NOT_POSITIVE),
        ("device_hashes", "d1", Refusal.WRONG_TYPE),
        ("device_hashes", ["d"] * 33, Refusal.TOO_LONG),
        ("device_hashes", [""], Refusal.TOO_LONG),
        ("device_hashes", [7], Refusal.WRONG_TYPE),
        ("enterprise_status", "bankrupt", Refusal.UNKNOWN_VALUE),
        ("region", "x" * 65, Refusal.TOO_LONG),
    ],
)
def test_a_profile_is_refused_by_name(field: str, value: object, refusal: Refusal) -> None:
    refused = profile(**{field: value})
    assert isinstance(refused, Refused)
    assert (refused.refusal, refused.field) == (refusal, field)


def test_a_directive_is_read_as_it_is_written() -> None:
    read = directive()
    assert isinstance(read, Directive)
    assert (read.kind, read.action) == (DirectiveKind.WHITELISTED, Action.ADD)
    assert read.patterns == ("far-above-own-largest",)
    assert parse_directive(read.wire(), 0, Rules()) == read


def test_what_ends_needs_no_reason() -> None:
    ended = directive(action="end", reason=None, patterns=None, expires_at=None, counterparty=None)
    assert isinstance(ended, Directive)
    assert ended.action is Action.END


def test_only_a_whitelist_has_to_expire() -> None:
    plain = directive(kind="involved", patterns=None, counterparty=None, expires_at=None)
    assert isinstance(plain, Directive)
    assert plain.expires_at_ms is None


@pytest.mark.parametrize(
    ("changed", "refusal", "field"),
    [
        ({"id": ""}, Refusal.EMPTY, "id"),
        ({"kind": "hated"}, Refusal.UNKNOWN_VALUE, "kind"),
        ({"kind": None}, Refusal.WRONG_TYPE, "kind"),
        ({"action": "renew"}, Refusal.UNKNOWN_VALUE, "action"),
        ({"issued_at": None}, Refusal.WRONG_TYPE, "issued_at"),
        ({"patterns": ["p"] * 9}, Refusal.TOO_LONG, "patterns"),
        ({"reason": None}, Refusal.DIRECTIVE_INCOMPLETE, "kind"),
        ({"patterns": None}, Refusal.DIRECTIVE_INCOMPLETE, "kind"),
        ({"expires_at": None}, Refusal.DIRECTIVE_INCOMPLETE, "kind"),
        ({"kind": "involved"}, Refusal.DIRECTIVE_CONTRADICTORY, "kind"),
        ({"kind": "watched", "patterns": None}, Refusal.DIRECTIVE_CONTRADICTORY, "kind"),
        ({"counterparty": WHITELIST["account"]}, Refusal.DIRECTIVE_CONTRADICTORY, "kind"),
    ],
)
def test_a_directive_is_refused_by_name(
    changed: dict[str, object], refusal: Refusal, field: str
) -> None:
    refused = directive(**changed)
    assert isinstance(refused, Refused)
    assert (refused.refusal, refused.field) == (refusal, field)


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(max_size=70),
        st.sampled_from(["add", "end", "involved", "person", "2026-03-01T09:00:00Z", "2026-03-01"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from([*PROFILE, *WHITELIST, "enterprise_status", "action"]), JSON)
)
@settings(derandomize=True, deadline=None, max_examples=400)
def test_whatever_comes_is_read_or_refused_by_name(changed: dict[str, object]) -> None:
    assert isinstance(profile(**changed), Profile | Refused)
    assert isinstance(directive(**changed), Directive | Refused)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (profile_schema(), PROFILE, {**PROFILE, "birth_year": "1951"}),
        (profile_schema(), {"account": "A", "tier": None}, {**PROFILE, "holder_kind": "dog"}),
        (directive_schema(), WHITELIST, {**WHITELIST, "kind": "hated"}),
        (directive_schema(), {**WHITELIST, "patterns": None}, {**WHITELIST, "patterns": "p"}),
    ],
)
def test_the_schema_describes_the_message(
    schema: dict[str, Any], good: dict[str, Any], bad: dict[str, Any]
) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    assert validator.is_valid(good)
    assert not validator.is_valid(bad)
