"""What can go wrong with a request, as problem details (RFC 9457)."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from sluicegate.domain.refusal import Refused

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:sluicegate:problem:"


class ProblemDetails(BaseModel):
    """RFC 9457; `errors` names fields where there are some to name."""

    type: str
    title: str
    status: int
    detail: str = ""
    errors: list[dict[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem, under its name in `type`."""

    name: str
    status: int
    title: str


NOT_JSON: Final = Kind("not-json", 400, "The body is not a JSON object")
UNAUTHORIZED: Final = Kind("unauthorized", 401, "A good key is needed")
FORBIDDEN: Final = Kind("forbidden", 403, "The key may not do this")
NOT_FOUND: Final = Kind("not-found", 404, "There is no such thing")
TOO_LARGE: Final = Kind("too-large", 413, "The body is too long")
INVALID: Final = Kind("invalid", 422, "A field breaks the contract")
KEY_REUSED: Final = Kind("idempotency-key-reused", 422, "The key belongs to another check")
RATE_LIMITED: Final = Kind("rate-limited", 429, "The key has asked for too much")
OVERLOADED: Final = Kind("overloaded", 503, "Too much is being worked on")
AUDIT_AWAY: Final = Kind(
    "audit-unavailable", 503, "The audit cannot be written: no verdict is told"
)
ACCOUNT_AWAY: Final = Kind("account-unavailable", 503, "The account's memory cannot be read now")


@dataclass
class ApiProblem(Exception):  # noqa: N818 - it is an answer, not a programming error
    """A problem on its way to the client."""

    kind: Kind
    detail: str = ""
    errors: list[dict[str, str]] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """The answer."""
        details = ProblemDetails(
            type=_TYPE + self.kind.name,
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            errors=self.errors,
        )
        return _response(details, self.headers)


def refused_field(refused: Refused, place: str = "") -> dict[str, str]:
    """An entry of `errors`; `place` is put before the field."""
    return {
        "field": place + (refused.field or ""),
        "reason": refused.refusal.value,
        "detail": refused.detail,
    }


def responses(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of these problems."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {
        kind.status: {"description": kind.title, "content": {MEDIA_TYPE: {"schema": schema}}}
        for kind in kinds
    }


def answer_with_problems(app: FastAPI) -> None:
    """Lets every error of the API leave as problem details."""

    @app.exception_handler(ApiProblem)
    async def own(_: Request, problem: ApiProblem) -> Response:
        return problem.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        errors = [
            {
                "field": ".".join(map(str, each["loc"][1:])),
                "reason": str(each["type"]),
                "detail": str(each["msg"]),
            }
            for each in error.errors()
        ]
        return ApiProblem(INVALID, errors=errors).response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        details = ProblemDetails(
            type="about:blank", title=str(error.detail), status=error.status_code
        )
        return _response(details, dict(error.headers or {}))

    del own, invalid, http  # FastAPI keeps them


def _response(details: ProblemDetails, headers: dict[str, str]) -> Response:
    body = json.dumps(details.model_dump(exclude_none=True), ensure_ascii=False)
    return Response(body, details.status, headers, MEDIA_TYPE)
