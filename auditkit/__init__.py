"""Third-party audits of machine unlearning: certificates, attacks, threat checks, reports.

The names below are imported when first used, so that `import auditkit` is fast.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "compare": "auditkit.audit.compare",
    "load_network": "auditkit.network.read",
    "load_submission": "auditkit.certificate.submission",
    "make_patch": "auditkit.patch.generate",
    "make_submission": "auditkit.certificate.make",
    "read_records": "auditkit.records",
    "resolve_settings": "auditkit.patch.settings",
    "run_audit": "auditkit.audit.run",
    "submission_from_arrays": "auditkit.certificate.from_arrays",
    "unlearn": "auditkit.unlearning.registry",
    "unlearn_to": "auditkit.unlearning.submission",
    "verify": "auditkit.certificate.verify",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'auditkit' has no attribute {name!r}")
    module = importlib.import_module(_PUBLIC[name])
    return getattr(module, {"verify": "verify_submission"}.get(name, name))
