"""The HTTP interface: one function an endpoint, and its OpenAPI document with examples."""

import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Path, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from starlette import types

from sluicegate.counter import problems
from sluicegate.counter.contract import (
    MOST_CHECKS,
    CheckKept,
    CheckTold,
    OutcomeAsked,
    OutcomeTold,
    check_schema,
)
from sluicegate.counter.examples import CHECK, CHECKS
from sluicegate.counter.keys import Key, Scope
from sluicegate.counter.page.routes import add_page
from sluicegate.counter.problems import ApiProblem, ProblemDetails, answer_with_problems, responses
from sluicegate.counter.service import CounterService
from sluicegate.counter.summary import AccountTold, account_told
from sluicegate.domain.message import read_object
from sluicegate.domain.refusal import Refused
from sluicegate.domain.transaction import ACCOUNT_LENGTH

CHECK_BYTES: Final = 16_384
BATCH_BYTES: Final = 2_097_152
DESCRIPTION: Final = """\
Ask before the money goes. A check judges an intended transaction against what is remembered of
payer and payee at this moment, and remembers nothing of it. Problems are told as RFC 9457 says.
"""

_bearer = HTTPBearer(auto_error=False, description="A key of `sluicegate counter keys create`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
_ONCE: Final = re.compile("[!-~]{1,64}")
IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and the same check: the same answer, judged once.",
    "schema": {"type": "string", "pattern": f"^{_ONCE.pattern}$"},
}
CheckId = Annotated[str, Path(pattern="^c[0-9a-f]{27}$")]
AccountPath = Annotated[str, Path(min_length=1, max_length=ACCOUNT_LENGTH, pattern="^[ -~]+$")]


class Checks(BaseModel):
    """The answers of a batch, in order."""

    checks: list[CheckTold]


def create_app(service: CounterService, utc_offset_hours: float = 8) -> FastAPI:
    """The application around a service, which it opens and closes; pages tell local time."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.open()
        yield
        await service.close()

    app = FastAPI(
        title="sluicegate counter",
        version=version("sluicegate"),
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        redoc_url=None,
        docs_url=None,  # its page loads scripts from elsewhere
    )
    answer_with_problems(app)
    _count_refusals(app, service)
    _add_checks(app, service)
    _add_rest(app, service)
    add_page(app, service, utc_offset_hours)
    _describe(app)
    return app


def _count_refusals(app: FastAPI, service: CounterService) -> None:
    @app.exception_handler(ApiProblem)
    async def counted(_: Request, problem: ApiProblem) -> Response:
        service.refused(problem)
        return problem.response()

    del counted


def key_with(service: CounterService, scope: Scope) -> Callable[..., Coroutine[Any, Any, Key]]:
    """A dependency: the key of the request, which must have the scope."""

    async def key(credentials: Credentials) -> Key:
        return await _known(service, credentials.credentials if credentials else None, scope)

    return key


async def _known(service: CounterService, shown: str | None, scope: Scope) -> Key:
    key = None if shown is None else await service.keys.recognise(shown)
    if key is None:
        raise ApiProblem(
            problems.UNAUTHORIZED,
            "Authorization: Bearer and a key that is not revoked",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if scope not in key.scopes:
        raise ApiProblem(problems.FORBIDDEN, f"it has no scope {scope.value!r}")
    return key


_COMMON: Final = responses(
    problems.NOT_JSON,
    problems.UNAUTHORIZED,
    problems.FORBIDDEN,
    problems.TOO_LARGE,
    problems.INVALID,
    problems.RATE_LIMITED,
    problems.OVERLOADED,
)


def _add_checks(app: FastAPI, service: CounterService) -> None:
    checker = Annotated[Key, Depends(key_with(service, Scope.CHECK))]

    @app.post(
        "/v1/checks",
        response_model=CheckTold,
        responses=_COMMON,
        openapi_extra={
            **_body_of({"$ref": "#/components/schemas/Check"}, CHECK),
            "security": [{"HTTPBearer": []}],
            "parameters": [IDEMPOTENCY_KEY],
        },
        summary="Check an intended transaction",
    )
    async def check(request: Request) -> Response:
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        key = await _known(service, shown if scheme.lower() == "bearer" else None, Scope.CHECK)
        once = request.headers.get("Idempotency-Key")
        if once is not None and not _ONCE.fullmatch(once):
            error = {"field": "Idempotency-Key", "reason": "malformed", "detail": _ONCE.pattern}
            raise ApiProblem(problems.INVALID, errors=[error])
        (told,) = await service.check(key, [await _fields(request, CHECK_BYTES)], once)
        return _json(told)

    @app.post(
        "/v1/checks/batch",
        response_model=Checks,
        responses=_COMMON,
        openapi_extra=_body_of(
            {
                "type": "object",
                "required": ["checks"],
                "additionalProperties": False,
                "properties": {
                    "checks": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MOST_CHECKS,
                        "items": {"$ref": "#/components/schemas/Check"},
                    }
                },
            },
            CHECKS,
        ),
        summary="Check up to 500 intended transactions at one moment",
    )
    async def batch(
        request: Request,
        key: checker,
    ) -> Response:
        asked = _listed(await _fields(request, BATCH_BYTES))
        told = await service.check(key, asked)
        return _json(Checks.model_construct(checks=told))

    _shorten(app, "/v1/checks", check)
    del check, batch


class _Short:
    """An endpoint without what FastAPI does around each: that took two thirds of its time again."""

    def __init__(self, endpoint: Callable[[Request], Coroutine[Any, Any, Response]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        response = await self._endpoint(Request(scope, receive))
        await response(scope, receive, send)


def _shorten(
    app: FastAPI, path: str, endpoint: Callable[[Request], Coroutine[Any, Any, Response]]
) -> None:
    """Lets a route, which stays in the OpenAPI document, lead straight to its endpoint."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.path == path:
            route.app = _Short(endpoint)


def _add_rest(app: FastAPI, service: CounterService) -> None:
    checker = Annotated[Key, Depends(key_with(service, Scope.CHECK))]
    reporter = Annotated[Key, Depends(key_with(service, Scope.OUTCOME))]
    reader = Annotated[Key, Depends(key_with(service, Scope.SUMMARY))]
    common = responses(
        problems.NOT_JSON,
        problems.UNAUTHORIZED,
        problems.FORBIDDEN,
        problems.NOT_FOUND,
        problems.INVALID,
        problems.AUDIT_AWAY,
    )

    @app.get("/v1/checks/{check_id}", responses=common, summary="A check of this branch")
    async def kept(
        check_id: CheckId,
        key: checker,
    ) -> CheckKept:
        return await service.kept(key, check_id)

    @app.post(
        "/v1/checks/{check_id}/outcome",
        status_code=201,
        responses=common,
        summary="Record how a check ended",
    )
    async def outcome(
        check_id: CheckId,
        asked: OutcomeAsked,
        key: reporter,
    ) -> OutcomeTold:
        return await service.add_outcome(key, check_id, asked)

    @app.get(
        "/v1/accounts/{account:path}/summary",
        responses={**common, **responses(problems.RATE_LIMITED, problems.ACCOUNT_AWAY)},
        summary="What is remembered of an account",
    )
    async def account(
        account: AccountPath,
        key: reader,
    ) -> AccountTold:
        view = await service.account(key, account)
        return account_told(view, masked=Scope.LEGS not in key.scopes)

    @app.get("/healthz", include_in_schema=False)
    async def health() -> Response:
        return Response("ok", media_type="text/plain")

    @app.get("/readyz", include_in_schema=False)
    async def ready() -> Response:
        reasons = service.readiness.reasons()
        return Response("\n".join(reasons) or "ready", 503 if reasons else 200)

    del kept, outcome, account, health, ready


async def _fields(request: Request, most_bytes: int) -> Mapping[str, object]:
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > most_bytes:
            raise ApiProblem(problems.TOO_LARGE, f"at most {most_bytes} bytes")
    fields = read_object(bytes(read))
    if isinstance(fields, Refused):
        raise ApiProblem(problems.NOT_JSON, fields.detail)
    return fields


def _listed(fields: Mapping[str, object]) -> list[Mapping[str, object]]:
    asked = fields.get("checks")
    if (
        set(fields) != {"checks"}
        or not isinstance(asked, list)
        or not 1 <= len(asked) <= MOST_CHECKS
        or not all(isinstance(each, dict) for each in asked)
    ):
        detail = f"one field, `checks`: an array of 1 to {MOST_CHECKS} objects"
        raise ApiProblem(problems.INVALID, detail)
    return asked


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")


def _body_of(schema: Mapping[str, Any], example: Mapping[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def _describe(app: FastAPI) -> None:
    """Adds to the document what FastAPI does not see: the check itself, and problems."""
    made = app.openapi()
    schemas = made["components"]["schemas"]
    schemas["Check"] = check_schema()
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    app.openapi_schema = made
