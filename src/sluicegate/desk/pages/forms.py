"""What comes with a request by POST: fields, files, and whether the form is of this site."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

FORM_FIELDS: Final = 1_000
FORM_BYTES: Final = 64 * 1024
"""Longest field of a form that is no file."""
FILE_BYTES: Final = 5 * 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """A file that came with a form."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """What was posted: fields by name, without spaces around, and files."""

    fields: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, Upload] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.fields.get(name, "")


def is_own(request: Request) -> bool:
    """Whether a form is of this site: browsers say where it comes from."""
    origin = request.headers.get("Origin")
    if origin is not None:
        return urlsplit(origin).netloc == request.headers.get("Host")
    return request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


async def read_form(request: Request) -> Form:
    """The form of a request; of a file one byte more than is taken, so that it shows."""
    posted: FormData = await request.form(
        max_files=4, max_fields=FORM_FIELDS, max_part_size=FORM_BYTES
    )
    fields: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    files: dict[str, Upload] = {}
    for name, value in posted.multi_items():
        if isinstance(value, UploadFile):
            content = await value.read(FILE_BYTES + 1)
            if content:
                files[name] = Upload(value.filename or "", value.content_type or "", content)
        else:
            text = value.replace("\0", "").strip()
            fields[name] = text
            lists[name] = (*lists.get(name, ()), text)
    with suppress(OSError):
        await posted.close()
    return Form(fields, lists, files)
