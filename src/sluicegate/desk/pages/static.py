"""Style and scripts, which come with the package: nothing is loaded from elsewhere."""

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, HTTPException, Response

from sluicegate.desk.pages.shell import HEADERS, PREFIX

TYPES: Final = {"desk.css": "text/css", "desk.js": "text/javascript",
                "htmx.min.js": "text/javascript", "sse.min.js": "text/javascript"}  # fmt: skip
_CONTENT: Final = {
    name: (files("sluicegate.desk") / "static" / name).read_bytes() for name in TYPES
}


def static_router() -> APIRouter:
    """The addresses of these files, for everybody."""
    router = APIRouter(prefix=f"{PREFIX}/static", include_in_schema=False)

    @router.get("/{name}", response_model=None)
    async def static(name: str) -> Response:
        if name not in TYPES:
            raise HTTPException(404)
        kept = {**HEADERS, "Cache-Control": "max-age=3600"}
        return Response(_CONTENT[name], media_type=TYPES[name], headers=kept)

    del static
    return router
