"""A typed client of the counter, for core banking systems and tools.

with CounterClient("http://127.0.0.1:6200", key) as counter:
    told = counter.check(amount="98000.00", payer_account=payer, payee_account=payee)
    if told.verdict is not Verdict.ALLOW:
        ask(told.questions)
"""

import secrets
import ssl
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from sluicegate.counter.contract import (
    CheckKept,
    CheckTold,
    CustomerFacts,
    OutcomeKind,
    OutcomeTold,
)
from sluicegate.counter.problems import ProblemDetails
from sluicegate.counter.summary import AccountTold
from sluicegate.counter.verdict import Verdict

__all__ = ["CounterClient", "CounterError", "CustomerFacts", "OutcomeKind", "Verdict"]

TIMEOUT_SECONDS: Final = 5.0


class CounterError(Exception):
    """The counter did not answer the question.

    Without an answer nothing was allowed: treat it as `verify`. `retry_after_seconds` says when it
    is worth asking again, where the counter said so.
    """

    def __init__(self, problem: ProblemDetails, retry_after_seconds: float | None) -> None:
        super().__init__(f"{problem.title} {problem.detail} {problem.errors or ''}".strip())
        self.problem = problem
        self.retry_after_seconds = retry_after_seconds


class CounterClient:
    """Connections to one counter; keep it open, it is meant to be used again and again."""

    def __init__(
        self, url: str, key: str, *, timeout_seconds: float = TIMEOUT_SECONDS, ca_file: str = ""
    ) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=timeout_seconds,
            verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def check(
        self,
        *,
        amount: Decimal | int | str,
        payer_account: str | None = None,
        payee_account: str | None = None,
        customer: CustomerFacts | None = None,
        idempotency_key: str | None = None,
        **fields: str,
    ) -> CheckTold:
        """Asks about one transaction; `fields` are others of the contract, as `kind` or `id`.

        A key is made up if none is given, so that a repeat after a lost connection is the same
        check.

        Raises:
            CounterError: the question was refused, or too much is being asked.
            httpx.TransportError: the counter cannot be reached.
        """
        asked = intended(
            amount=amount,
            payer_account=payer_account,
            payee_account=payee_account,
            customer=customer,
            **fields,
        )
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        try:
            answer = self._http.post("/v1/checks", json=asked, headers=headers)
        except httpx.RemoteProtocolError:  # a connection that had rested for too long
            answer = self._http.post("/v1/checks", json=asked, headers=headers)
        return CheckTold.model_validate_json(_good(answer))

    def check_all(self, asked: Iterable[Mapping[str, Any]]) -> list[CheckTold]:
        """Asks about up to 500 transactions, made by `intended`; answers in order.

        Raises:
            CounterError: as `check`.
            httpx.TransportError: as `check`.
        """
        answer = self._http.post("/v1/checks/batch", json={"checks": [dict(e) for e in asked]})
        _good(answer)
        return [CheckTold.model_validate(each) for each in answer.json()["checks"]]

    def kept(self, check_id: str) -> CheckKept:
        """An earlier check with its outcomes.

        Raises:
            CounterError: this branch has none of this id.
            httpx.TransportError: as `check`.
        """
        return CheckKept.model_validate_json(_good(self._http.get(f"/v1/checks/{check_id}")))

    def add_outcome(
        self,
        check_id: str,
        outcome: OutcomeKind,
        note: str = "",
        answers: Mapping[str, str] | None = None,
    ) -> OutcomeTold:
        """Says how a check ended.

        Raises:
            CounterError: this branch has none of this id.
            httpx.TransportError: as `check`.
        """
        body = {"outcome": outcome.value, "note": note, "answers": dict(answers or {})}
        answer = self._http.post(f"/v1/checks/{check_id}/outcome", json=body)
        return OutcomeTold.model_validate_json(_good(answer))

    def account(self, account: str) -> AccountTold | None:
        """What is remembered of an account; None if nothing is.

        Raises:
            CounterError: its worker cannot say now.
            httpx.TransportError: as `check`.
        """
        answer = self._http.get(f"/v1/accounts/{quote(account, safe='')}/summary")
        return None if answer.status_code == 404 else AccountTold.model_validate_json(_good(answer))


def intended(
    *, amount: Decimal | int | str, customer: CustomerFacts | None = None, **fields: str | None
) -> dict[str, Any]:
    """A check as it goes over the wire; an amount is never a float."""
    asked: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    asked["amount"] = str(amount)
    if customer is not None:
        asked["customer"] = customer.model_dump(mode="json", exclude_none=True)
    return asked


def _good(answer: httpx.Response) -> bytes:
    if answer.is_success:
        return answer.content
    try:
        problem = ProblemDetails.model_validate_json(answer.content)
    except ValidationError:  # something between here and the counter answered
        problem = ProblemDetails(
            type="about:blank", title=answer.reason_phrase, status=answer.status_code
        )
    after = answer.headers.get("Retry-After", "")
    raise CounterError(problem, float(after) if after.isdigit() else None)
