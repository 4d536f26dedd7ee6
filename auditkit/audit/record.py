"""record.json: every result of one audit with all that is needed to run it again.

The same inputs give the same bytes. No record of a person, no witness and no gate is in it, and
no digest of a record that could be guessed: those go to the confidential annex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import auditkit
from auditkit.audit.compliance import compliance
from auditkit.audit.plan import Plan
from auditkit.audit.record_words import (
    ASSUMPTIONS,
    DRAWN,
    UNDETECTABLE,
    may_conclude,
    must_not_conclude,
    references,
)
from auditkit.audit.shadow_network import dense_widths, described
from auditkit.audit.threat_chapter import threat_rows
from auditkit.audit.verdict import verdict
from auditkit.certificate.claim import guarantee_json
from auditkit.certificate.history import active_records, history_rows
from auditkit.certificate.identity import keyed_bytes
from auditkit.certificate.submission import (
    PATCH,
    UNLEARNED,
    PatchSubmission,
    Submission,
    UnlearnedSubmission,
)
from auditkit.files import canonical_json, sha256_hex
from auditkit.network.graph import Network, constants
from auditkit.network.units import unit_layout
from auditkit.results import overall, plain

if TYPE_CHECKING:
    from auditkit.audit.run import Findings

RECORD_SCHEMA = "auditkit/record/v1"
PICTURES = "pictures"  # of a check's private part: record and reconstruction side by side


def build_record(plan_findings: Findings, libraries: dict[str, str]) -> dict[str, Any]:
    """Return the record of one run as plain JSON values."""
    found, plan = plan_findings, plan_findings.plan
    checks = found.checks
    judged = verdict(checks, found.assertion, found.kind)
    membership, submission = found.membership, found.submission
    radius = submission.assertion_radius if submission is not None else None
    record: dict[str, Any] = {
        "schema": RECORD_SCHEMA,
        "title": plan.title,
        "tool": {"name": "auditkit", "version": auditkit.__version__, "libraries": libraries},
        "auditor": plan.auditor,
        "assertion": {
            "kind": found.assertion,
            "radius": radius,
            "by": "owner" if plan.assertion is None else "auditor",
        },
        "outcome": overall(checks).value,
        "verdict": judged,
        "subject": _subject(found),
        "inputs": _inputs(found),
        "checks": [check.to_json() for check in checks],
        "comparison": _comparison(found),
        "membership": None if membership is None else membership.facts,
        "threats": threat_rows(
            checks, found.threats.references, readable=submission is not None, rates=found.rates
        ),
        "undetectable": list(UNDETECTABLE),
        "charts": found.charts,
        "tables": [
            *_history(found),
            *found.tables,
            *([] if membership is None else membership.tables),
        ],
        "not_examined": [*found.not_examined, *UNDETECTABLE],
        "assumptions": _assumptions(plan),
        "may_conclude": may_conclude(found.kind),
        "must_not_conclude": must_not_conclude(found.kind),
        "methods": {
            "settings": _settings(found),
            "seeds": {"audit": plan.seed},
            "sample_sizes": {} if membership is None else membership.samples,
            "power": [] if membership is None else list(membership.power),
            "plan_digest": sha256_hex(canonical_json(plain(plan.document))),
        },
        "reproduce": [f"auditkit audit {plan.path.name} --out DIR --seed {plan.seed}"],
        "references": references(found.kind, _stated_method(submission)),
        "compliance": compliance(checks, found.kind),
    }
    return dict(plain(record))


def build_annex(found: Findings) -> dict[str, Any] | None:
    """Return what may identify a record, for the confidential annex; None when there is nothing."""
    private, pairs = [], []
    for check in found.checks:
        details = plain(dict(check.private))
        pairs += details.pop(PICTURES, [])
        if any(details.values()):
            private.append({"id": check.id, "private": details})
    if not private and not pairs:
        return None
    annex: dict[str, Any] = {"title": found.plan.title, "checks": private}
    return {**annex, "pairs": pairs} if pairs else annex


def architecture(network: Network) -> str:
    """Return a network's architecture in one line."""
    widths = dense_widths(network)
    if widths is not None:
        return "-".join(map(str, widths)) + ", fully connected, ReLU"
    layers = described(network)
    if layers is not None:
        return f"{'×'.join(map(str, network.input_shape))}: {layers}"
    names = [type(node.operator).__name__ for node in network.nodes]
    return " · ".join(names if len(names) <= 12 else [*names[:11], f"… {len(names) - 11} more"])


def _subject(found: Findings) -> dict[str, Any]:
    submission = found.submission
    if submission is None:
        return {"kind": found.kind, "network": None, "patch": None, "request": None}
    network = submission.network
    records = found.records.get("forget") or submission.forget
    people = None if records is None or records.subject is None else len(set(records.subject))
    parameters = sum(int(np.size(c)) for node in network.nodes for c in constants(node.operator))
    return {
        "kind": found.kind,
        "network": {
            "architecture": architecture(network),
            "inputs": list(network.input_shape),
            "classes": network.classes,
            "units": unit_layout(network).count,
            "parameters": parameters,
        },
        **_unlearnt(submission),
        "request": {
            "records": len(active_records(submission.requests)),
            "subjects": people,
        },
    }


def _unlearnt(submission: Submission) -> dict[str, Any]:
    """Return what was done to the network: a patch, or another method as the owner states it."""
    if isinstance(submission, PatchSubmission):
        return {"patch": _patch(submission)}
    assert isinstance(submission, UnlearnedSubmission)
    return {"patch": None, "unlearning": _method(submission)}


def _stated_method(submission: Submission | None) -> str | None:
    return submission.claim.method.name if isinstance(submission, UnlearnedSubmission) else None


def _method(submission: UnlearnedSubmission) -> dict[str, Any]:
    claim = submission.claim
    return {
        "method": claim.method.name,
        "scenario": claim.method.scenario,
        "settings": dict(claim.method.settings),
        "seed": claim.method.seed,
        "classes": list(claim.classes),
        "used": {
            "retained": claim.used.retained,
            "unseen": claim.used.unseen,
            "history": claim.used.history,
        },
        "guarantee": guarantee_json(claim.guarantee),
        "reached": claim.reached,
        "shortfall": claim.shortfall,
        "weight_change": weight_change(submission.network, submission.unlearned),
    }


def weight_change(original: Network, unlearned: Network) -> float | None:
    """Return the 2-norm of the change of all weights over that of the original's.

    None where the two are not of the same shapes. Small is no sign of anything: outputs of rescaled
    units are the same, and the same weights can be reached from other data.
    """
    one, other = (
        [np.asarray(c) for node in n.nodes for c in constants(node.operator)]
        for n in (original, unlearned)
    )
    if [c.shape for c in one] != [c.shape for c in other]:
        return None
    with np.errstate(all="ignore"):
        sizes = [float(np.linalg.norm(c.astype(np.float64))) for c in one]
        steps = [
            float(np.linalg.norm(b.astype(np.float64) - a.astype(np.float64)))
            for a, b in zip(one, other, strict=True)
        ]
        change = float(np.linalg.norm(steps)) / (float(np.linalg.norm(sizes)) or 1.0)
    return change if np.isfinite(change) else None


def _patch(submission: PatchSubmission) -> dict[str, Any]:
    settings, patch = submission.certificate.settings, submission.patch
    return {
        "spec": settings.spec.value,
        "scope": settings.scope.value,
        "groups": sum(group.units_of for group in patch.groups),
        "gates": patch.gates,
        "bytes": (submission.directory / PATCH).stat().st_size,
    }


def _assumptions(plan: Plan) -> list[str]:
    drawn = plan.threats is not None and plan.threats.drawn
    return [*ASSUMPTIONS, *([DRAWN] if drawn else [])]


def _history(found: Findings) -> list[dict[str, Any]]:
    """Return the list of requests as a table, where there is more than the one to be examined."""
    submission = found.submission
    if submission is None or len(submission.requests) < 2:
        return []
    rows = history_rows(submission.requests)
    return [
        {
            "id": "requests",
            "title": "Deletion requests",
            "description": "In the order in which they were added. The patch is a function of the "
            "active ones; of a withdrawn one nothing is left but this line.",
            "columns": ["request", "status", "records", "groups of gates"],
            "rows": [[row["id"], row["status"], row["records"], row["groups"]] for row in rows],
        }
    ]


def _inputs(found: Findings) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    submission, key = found.submission, None
    if submission is not None:
        for name, digest in sorted(submission.files.items()):
            if name == "forget.npz":  # its digest would tell a guess at a single record
                continue
            model = name.startswith("model.")
            semantic = submission.network_digest if model else None
            if isinstance(submission, UnlearnedSubmission) and name == UNLEARNED:
                semantic = submission.unlearned_digest
            rows.append(
                {
                    "role": "model" if model else name.split(".")[0],
                    "name": name,
                    "sha256": digest,
                    "semantic": semantic,
                    "keyed": None,
                    "note": None,
                }
            )
        key = None if submission.forget is None else submission.forget.key
    forget = found.records.get("forget")
    key = key or (None if forget is None else forget.key)
    for role, path in sorted(found.plan.records.items()):
        named = path.is_file()
        rows.append(
            {
                "role": role,
                "name": path.name,
                "sha256": None,
                "semantic": None,
                "keyed": keyed_bytes(path.read_bytes(), key) if named and key else None,
                "note": None if named and key else "no key: no digest is given",
            }
        )
    return [*rows, *found.threats.inputs]


def _comparison(found: Findings) -> dict[str, Any] | None:
    if found.comparison is None:
        return None
    details = found.comparison.details
    return {name: details[name] for name in ("columns", "rows", "sentence")}


def _settings(found: Findings) -> dict[str, Any]:
    plan = found.plan
    settings: dict[str, Any] = {
        "policy": {name: getattr(plan.policy, name) for name in plan.policy.__dataclass_fields__},
        "required_by_plan": list(plan.required) or "defaults",
    }
    if found.submission is not None:
        settings["patch" if found.kind == PatchSubmission.KIND else "unlearning"] = (
            found.submission.settings_json()
        )
    if plan.attack is not None:
        settings["attack"] = {
            "names": list(plan.attack.names) or "all",
            "margin": plan.attack.margin,
            "alpha": plan.attack.alpha,
            "fpr": plan.attack.fpr,
            "shadows": plan.attack.shadows,
            "retrain": plan.attack.retrain,
        }
    if plan.threats is not None:
        used = found.threats.references
        settings["threats"] = {
            "names": list(plan.threats.names) or "all",
            "reference": used.kind.value,
            "reference_networks": len(used.networks),
            "retrained": plan.threats.references.retrain,
            "order_seed": plan.threats.order_seed,
            "drawn": plan.threats.drawn,
            "endpoint": found.threats.endpoint,
        }
    return settings
