"""The one error of this package: what was given is not a record that can be rendered."""

from __future__ import annotations


class RecordError(ValueError):
    """A file or field is not what the record's schema says; one line tells which and what to do."""

    def __init__(self, subject: str, *, expected: str, found: str, remedy: str) -> None:
        super().__init__(subject, expected, found, remedy)
        self.subject = subject
        self.expected = expected
        self.found = found
        self.remedy = remedy

    def __str__(self) -> str:
        line = f"{self.subject}: expected {self.expected}, found {self.found}; {self.remedy}"
        # The file may carry line breaks or terminal escapes in a name that is quoted here.
        return "".join(ch if ch.isprintable() else "?" for ch in line)
