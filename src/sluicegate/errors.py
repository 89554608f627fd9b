"""The error that speaks to the person who can act."""


class Problem(Exception):  # noqa: N818 - it is a fact for a person, not a programming error
    """A fact, its detail and the way out; the command line prints it and exits with 1."""

    def __init__(self, fact: str, detail: str = "", hint: str = "") -> None:
        super().__init__("\n".join(part for part in (fact, detail, hint) if part))
        self.fact = fact
        self.detail = detail
        self.hint = hint
