"""From profiles, directives and published patterns to the records of the legs log."""

from typing import Final

import numpy as np

from sluicegate.domain.directive import DIRECTIVE_CODES, Action, Directive
from sluicegate.domain.profile import HOLDER_CODES, STATUS_CODES, Profile
from sluicegate.memory.accounts import Records
from sluicegate.memory.features import DAY
from sluicegate.memory.row import ACTIVATION, DIRECTIVE, FOR_EVER, PROFILE, TIER_UNIT
from sluicegate.memory.words import ACCOUNT_WORDS, TRANSACTION_WORDS, name_hash, text_words

_EPOCH_DAY: Final = 719_163
"""1970-01-01 as Python counts days."""


def profile_record(profile: Profile, partition: int, position: int, utc_offset_s: int) -> Records:
    """One `PROFILE` (shape `[1]`), told at this place of the `accounts` topic."""
    made: Records = np.zeros(1, PROFILE)
    made["account"] = text_words(profile.account, ACCOUNT_WORDS)
    made["position"], made["source_partition"] = position, partition
    made["income"] = (profile.declared_monthly_income_minor or 0) / 100
    if profile.opened_at_ms is not None:
        made["opened_day"] = (profile.opened_at_ms // 1000 + utc_offset_s) // DAY
    if profile.documents_expire_on is not None:
        day = profile.documents_expire_on.toordinal() - _EPOCH_DAY
        made["documents_day"] = min(max(day, 1), np.iinfo(np.uint16).max)
    made["birth_year"] = profile.birth_year or 0
    made["holder_kind"] = HOLDER_CODES[profile.holder_kind] if profile.holder_kind else 0
    status = STATUS_CODES[profile.enterprise_status] if profile.enterprise_status else 0
    tier = 0 if profile.tier is None else profile.tier + 1
    made["standing"] = status + TIER_UNIT * tier
    return made


def no_profile(account: str, partition: int, position: int) -> Records:
    """One `PROFILE` of which nothing is known any more: the bank has deleted it."""
    return profile_record(Profile(account=account), partition, position, 0)


def activation_record(version: str, partition: int, position: int) -> Records:
    """One `ACTIVATION` (shape `[1]`), told at this place of the `patterns` topic."""
    made: Records = np.zeros(1, ACTIVATION)
    made["version"], made["position"], made["source_partition"] = version, position, partition
    return made


def directive_records(
    directive: Directive, partition: int, position: int, paired_before: str | None = None
) -> Records:
    """One `DIRECTIVE` for its account, and one for the other account of a pair.

    Both accounts judge legs of the pair: the payer's its departures, the payee's its arrivals.
    `paired_before` is the other account that an earlier message of this id named: there it ends.
    """
    pairs = [(directive.account, directive.counterparty)]
    others = {directive.counterparty, paired_before} - {None, directive.account}
    pairs += [(other, directive.account) for other in sorted(filter(None, others))]
    made: Records = np.zeros(len(pairs), DIRECTIVE)
    made["id"] = text_words(directive.id, TRANSACTION_WORDS)
    made["position"], made["source_partition"] = position, partition
    expires_at_ms = directive.expires_at_ms
    made["until_s"] = FOR_EVER if expires_at_ms is None else -(-expires_at_ms // 1000)
    made["patterns"][:, : len(directive.patterns)] = [name_hash(n) for n in directive.patterns]
    made["kind"] = DIRECTIVE_CODES[directive.kind]
    made["is_ended"] = directive.action is Action.END
    for record, (account, counterparty) in zip(made, pairs, strict=True):
        record["account"] = text_words(account, ACCOUNT_WORDS)
        record["counterparty"] = text_words(counterparty, ACCOUNT_WORDS)
        record["is_mirrored"] = account != directive.account
        if account == paired_before != directive.counterparty:
            record["is_ended"] = 1
    return made
