"""Reports: one audit record, rendered as a document that a person can read and sign.

A report is a rendering of a record and adds nothing to it. This package reads JSON only; the
template engine and the plotting library are imported when a report is made, not before.
"""

from __future__ import annotations

from reports.errors import RecordError
from reports.exports import findings_csv, junit_xml
from reports.render import render, render_annex, write_annex, write_report

__all__ = [
    "RecordError",
    "findings_csv",
    "junit_xml",
    "render",
    "render_annex",
    "write_annex",
    "write_report",
]
