"""What is told of an account, in words: its profile and its directives."""

from collections.abc import Iterator
from typing import Any

from sluicegate.domain.alert import moment_of
from sluicegate.domain.directive import DIRECTIVE_CODES
from sluicegate.domain.profile import HOLDER_CODES, STATUS_CODES
from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.features import DAY
from sluicegate.memory.row import FOR_EVER, TIER_UNIT
from sluicegate.memory.words import ACCOUNT_WORDS, text_words, words_text

_HOLDERS = {code: kind.value for kind, code in HOLDER_CODES.items()}
_STATUSES = {code: status.value for status, code in STATUS_CODES.items()}
_KINDS = {code: kind.value for kind, code in DIRECTIVE_CODES.items()}


def profile_of(row: Any) -> dict[str, str | int | float]:  # noqa: ANN401 - a numpy record
    """What is known of the holder, by field of the profile; nothing that is not known."""
    status, tier = int(row["standing"]) % TIER_UNIT, int(row["standing"]) // TIER_UNIT
    known: dict[str, str | int | float] = {}
    if row["holder_kind"]:
        known["holder_kind"] = _HOLDERS[int(row["holder_kind"])]
    if row["birth_year"]:
        known["birth_year"] = int(row["birth_year"])
    if row["opened_day"]:
        known["opened_on"] = _day(int(row["opened_day"]))
    if row["documents_day"]:
        known["documents_expire_on"] = _day(int(row["documents_day"]))
    if row["income"]:
        known["declared_monthly_income"] = float(row["income"])
    if status:
        known["enterprise_status"] = _STATUSES[status]
    if tier:
        known["tier"] = tier - 1
    return known


def directives_of(memory: AccountMemory, account: str) -> list[dict[str, Any]]:
    """The directives about this account that have not ended; some may have expired."""
    return [
        {
            "id": words_text(each["id"][None])[0],
            "kind": _KINDS[int(each["kind"])],
            "until": None if each["until_s"] == FOR_EVER else _moment(int(each["until_s"])),
            "counterparty": words_text(each["counterparty"][None])[0] or None,
        }
        for each in memory.directives_of(text_words(account, ACCOUNT_WORDS))
        if not each["is_ended"]
    ]


def told_in_words(
    profile: dict[str, str | int | float], directives: list[dict[str, Any]]
) -> Iterator[str]:
    """Lines for a terminal; none where nothing is told."""
    if profile:
        said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in profile.items())
        yield f"holder      {said}"
    for each in directives:
        until = f" until {each['until']}" if each["until"] else ""
        pair = f" with {each['counterparty']}" if each["counterparty"] else ""
        yield f"directive   {each['kind']}{pair}{until} ({each['id']})"


def _day(day: int) -> str:
    return moment_of(day * DAY * 1000).date().isoformat()


def _moment(seconds: int) -> str:
    return moment_of(seconds * 1000).isoformat()
