"""What judges, as it is published: a pattern set, and the model beside it if there is one.

Without a model the content is that of the pattern set itself.
"""

import json
import zlib
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from sluicegate.errors import Problem
from sluicegate.judging.patterns import PatternSet, published_patterns, version_of

if TYPE_CHECKING:
    from sluicegate.judging.model import Model

_MODEL: Final = '{"model":"'


class Together(BaseModel):
    """A pattern set and a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    """The text of its file, deflated, in base 64."""
    patterns: str
    """The content of the pattern set."""


def published_as(pattern_set: PatternSet, model: "Model | None") -> tuple[str, str]:
    """Version and content under which they are published; the version is the content's hash."""
    if model is None:
        return pattern_set.version, pattern_set.content
    packed = b64encode(zlib.compress(model.text().encode(), 9)).decode()
    together = {"model": packed, "patterns": pattern_set.content}
    content = json.dumps(together, ensure_ascii=False, separators=(",", ":"))
    return version_of(content), content


def read_published(content: str, version: str) -> "tuple[PatternSet, Model | None]":
    """The set whose content was published under a version, and its model.

    Raises:
        Problem: it is of another version, or this program does not know all of it.
    """
    if not content.startswith(_MODEL):
        return published_patterns(content, version), None
    from sluicegate.judging.model import parse_model  # noqa: PLC0415 - most sets have none

    origin = f"pattern set {version}"
    try:
        together = Together.model_validate_json(content)
        text = zlib.decompress(b64decode(together.model, validate=True)).decode()
    except (ValidationError, ValueError, zlib.error) as error:
        raise Problem(
            f"{origin}: cannot be read",
            str(error).partition("\n")[0],
            "another version of sluicegate has published it: publish it again with this one",
        ) from error
    patterns = published_patterns(together.patterns, version_of(together.patterns))
    return patterns, parse_model(text, patterns, f"the model of {origin}")
