"""A record such as an audit writes, with every part filled and every kind of chart."""

from __future__ import annotations

import copy
import hashlib
import math
import random
from typing import Any

Record = dict[str, Any]


def digest(text: str) -> str:
    """Return a digest that looks like those of a record."""
    return hashlib.sha256(text.encode()).hexdigest()


def _check(identifier: str, title: str, outcome: str, reason: str, **more: Any) -> Record:
    check: Record = {
        "id": identifier,
        "title": title,
        "outcome": outcome,
        "required": True,
        "severity": "failure",
        "observed": None,
        "threshold": None,
        "interval": None,
        "n": None,
        "reason": reason,
        "evidence": {},
    }
    return check | more


def _figure(value: float, lower: float, upper: float) -> Record:
    return {"value": value, "interval": [lower, upper]}


def _checks() -> list[Record]:
    margins = [0.21 + 0.013 * k for k in range(50)]
    return [
        _check(
            "submission.format",
            "Every file is of an accepted format and within the limits",
            "pass",
            "Seven files, all accepted.",
            observed=7,
            n=7,
            evidence={"bytes": 1_482_311, "largest": "model.onnx"},
        ),
        _check(
            "submission.binding",
            "Every file is bound by the certificate, and the request list is the auditor's",
            "pass",
            "All digests match; the forgotten records are those of --forget.",
            observed="7 of 7 digests match",
            threshold="all",
            n=7,
        ),
        _check(
            "patch.support",
            "Each gate opens on the network's true linear region",
            "pass",
            "Every pattern is the record's own.",
            observed=50,
            threshold=50,
            n=50,
        ),
        _check(
            "patch.scope",
            "Every gate is owed to an active request",
            "fail",
            "One gate of group 7 belongs to no requested record; an input that triggers it was "
            "found and is in the confidential annex.",
            observed=1,
            threshold=0,
            n=51,
            evidence={
                "gates": 51,
                "owed": 50,
                "group": 7,
                "search": {"starts": 200, "steps": 400, "found": True},
            },
        ),
        _check(
            "certificate.point",
            "At each forgotten record the patched network meets its specification with margin",
            "pass",
            "Proved for all 50 records.",
            observed=0.2104,
            threshold=0.1,
            n=50,
            evidence={"proved": 50, "refuted": 0, "unproved": 0, "margins": margins},
        ),
        _check(
            "certificate.region",
            "On the linear region within the radius the specification holds",
            "inconclusive",
            "Proved for 48 records. For 2 the dual bound is not below zero; no counterexample "
            "was found.",
            observed=48,
            threshold=50,
            n=50,
            evidence={
                "proved": 48,
                "refuted": 0,
                "unproved": 2,
                "radius": 0.05,
                "arithmetic": "float64 with error bounds, exact where needed",
                "bounds": [-0.2 + 0.004 * k for k in range(50)],
            },
        ),
        _check(
            "certificate.locality",
            "Away from its regions the patch changes nothing",
            "pass",
            "Excess reach is below the ceiling.",
            observed=0.00214,
            threshold=0.01,
            interval=[0.00138, 0.00317],
            n=9_800,
        ),
        _check(
            "certificate.separation",
            "Gates of different groups do not act on one another's regions",
            "pass",
            "The least violation of another group is above 1/n on every claimed region.",
            observed=0.0131,
            threshold=0.001,
            n=2_450,
        ),
        _check(
            "certificate.canonical",
            "The offsets are those that the settings give on recomputation",
            "pass",
            "Largest difference within tolerance.",
            observed=3.1e-7,
            threshold=1e-5,
            n=50,
        ),
        _check(
            "certificate.minimality",
            "No patch that meets the claim is smaller",
            "pass",
            "No smaller patch exists within δ.",
            required=False,
            severity="info",
            observed=0.0004,
            threshold=0.001,
        ),
        _check(
            "certificate.deployed",
            "The verdicts hold for float32 execution under the declared profile",
            "pass",
            "The largest error bound is below the least margin.",
            observed=4.7e-5,
            threshold=0.2104,
            n=50,
        ),
        _check(
            "patch.export",
            "patched.onnx is the auditor's own export of model and patch",
            "pass",
            "The bytes are the same.",
            observed="same bytes",
            threshold="same bytes",
        ),
        _check(
            "utility.retained",
            "Accuracy on retained records is as before",
            "pass",
            "Equivalent within the margin.",
            required=False,
            severity="limitation",
            observed=-0.0011,
            threshold=0.01,
            interval=[-0.0034, 0.0012],
            n=4_000,
        ),
        _check(
            "attack.lira-offline",
            "LiRA (offline, pooled variance) does not tell the forgotten records from unseen ones",
            "fail",
            "The forgotten records are still told apart at the planned false-positive rate, on "
            "the model with the patch stripped.",
            required=False,
            severity="limitation",
            observed=0.731,
            threshold=0.55,
            interval=[0.684, 0.778],
            n=350,
            evidence={"auc_before": 0.742, "auc_after": 0.731, "shadows": 64, "holm_p": 2.4e-11},
        ),
        _check(
            "attack.loss",
            "The loss does not tell the forgotten records from unseen ones",
            "inconclusive",
            "The interval contains both equivalence and a difference beyond the margin; about 310 "
            "forgotten records would decide.",
            required=False,
            severity="limitation",
            observed=0.561,
            threshold=0.55,
            interval=[0.498, 0.624],
            n=350,
        ),
        _check(
            "attack.rmia",
            "RMIA does not tell the forgotten records from unseen ones",
            "not_run",
            "No training set was supplied, so no shadow models could be trained.",
            required=False,
            severity="limitation",
        ),
        _check(
            "threats.neglecting",
            "Something was done at all",
            "pass",
            "Patched and original model disagree on every forgotten record.",
            observed=1.0,
            threshold=0.95,
            interval=[0.929, 1.0],
            n=50,
        ),
        _check(
            "threats.lazy",
            "All of the request was unlearned, not part of it",
            "pass",
            "The share of records whose answer changed is consistent with all.",
            observed=1.0,
            threshold=1.0,
            interval=[0.942, 1.0],
            n=50,
        ),
        _check(
            "threats.output-filter",
            "The answers do not depend on the exact input alone",
            "pass",
            "Agreement at the record and at tiny perturbations does not differ.",
            observed=0.02,
            threshold=0.1,
            interval=[0.0005, 0.106],
            n=50,
        ),
        _check(
            "threats.smuggled-gate",
            "The patch acts on no input that nobody asked to forget",
            "fail",
            "A gate outside the request changes the answer from 3 to 8.",
            observed=1,
            threshold=0,
            n=51,
            evidence={"gates_not_owed": 1, "answers_changed": True},
        ),
        _check(
            "threats.forged-training-log",
            "The training log replays to the submitted weights",
            "not_run",
            "No checkpoints were supplied.",
            severity="info",
            required=False,
        ),
        _check(
            "threats.head-only-concealment",
            "The penultimate features do not reveal the forgotten records",
            "not_run",
            "No retrained reference was supplied to compare the probe with.",
        ),
    ]


def _threats() -> list[Record]:
    """Return a row for each of the sixteen behaviours."""
    names = (
        *("neglecting", "lazy", "deceiving", "output-filter", "point-patch", "strippable"),
        *("invalid-certificate", "head-only-concealment", "fragile-suppression"),
        *("over-forgetting", "canary-only", "forged-training-log", "guided-retraining"),
        *("substitution", "smuggled-gate", "patch-bait"),
    )
    found = {check["id"]: check for check in _checks()}
    rows = []
    for number, name in enumerate(names, 1):
        check = found.get(f"threats.{name}")
        row: Record = {
            "number": number,
            "name": name,
            "title": f"The owner does not do what is called {name.replace('-', ' ')}",
            "id": f"threats.{name}",
            "needs": ["forgotten records", "references"],
            "hiding": f"what makes {name} look honest to this test",
            "rates": None,
            "tested": check is not None and check["outcome"] != "not_run",
            "outcome": "not_run" if check is None else check["outcome"],
            "reason": "not planned" if check is None else check["reason"],
        }
        if row["tested"] and check is not None:
            row |= {
                "severity": check["severity"],
                "p": 0.31 if name == "output-filter" else None,
                "p_adjusted": 0.62 if name == "output-filter" else None,
                "p_support": 0.004 if name == "output-filter" else None,
                "power": 0.97 if name == "output-filter" else None,
                "interval": check["interval"],
                "n": check["n"],
                "references": "3 networks retrained without the requested records",
                "rates": {
                    "false_alarm": [0, 400, 0.0, 0.0092],
                    "power": [100, 100, 0.9638, 1.0],
                    "data": "digits and Location-30",
                },
            }
        rows.append(row)
    return rows


def _charts() -> list[Record]:
    rng = random.Random(7)
    fpr = [10 ** (-3 + 3 * k / 600) for k in range(601)]

    def roc(label: str, power: float, width: float) -> Record:
        tpr = [v**power for v in fpr]
        return {
            "label": label,
            "fpr": fpr,
            "tpr": tpr,
            "lower": [max(0.0, t - width * math.sqrt(t * (1 - t)) - 0.002) for t in tpr],
            "upper": [min(1.0, t + width * math.sqrt(t * (1 - t)) + 0.002) for t in tpr],
        }

    def counts(centre: float, total: int) -> list[int]:
        bins = [0] * 28
        for _ in range(total):
            bins[min(27, max(0, int((rng.gauss(centre, 1.6) + 6) / 14 * 28)))] += 1
        return bins

    radii = [0.0005 * 1.2**k for k in range(32)]
    curve = [1 / (1 + math.exp(-(math.log(r) + 3.0) * 2.6)) for r in radii]
    reference = [0.62 + 0.05 * math.tanh(k / 10) for k in range(32)]
    return [
        {
            "id": "margins",
            "section": "certificate",
            "kind": "strip",
            "title": "Margin at each forgotten record",
            "description": "Each point is one record; all should lie right of the threshold.",
            "x_label": "Margin of the intended answer (logits)",
            "values": sorted(rng.gauss(0.6, 0.22) for _ in range(50)),
            "threshold": {"value": 0.1, "label": "least margin 0.1"},
        },
        {
            "id": "neighbourhood",
            "section": "certificate",
            "kind": "curve",
            "title": "How often the old answer returns near a forgotten record",
            "description": "Share of perturbed copies answered as before the patch, by radius in "
            "the ∞-norm.",
            "x_label": "Radius",
            "y_label": "Answered as before",
            "log_x": True,
            "x": radii,
            "series": [
                {
                    "label": "patched",
                    "y": curve,
                    "lower": [max(0, v - 0.04) for v in curve],
                    "upper": [min(1, v + 0.04) for v in curve],
                },
                {"label": "retrained reference", "y": reference},
            ],
            "markers": [{"x": 0.05, "label": "certified radius"}],
        },
        {
            "id": "roc",
            "section": "membership",
            "kind": "roc",
            "title": "LiRA: forgotten against unseen records",
            "description": "Log axes; the dotted diagonal is guessing. Bands are pointwise 95 % "
            "intervals.",
            "resolvable": 0.01,
            "series": [
                roc("before", 0.42, 0.05),
                roc("after, patch stripped", 0.45, 0.05),
                {**roc("retrained", 0.95, 0.0), "role": "reference"},
            ],
        },
        {
            "id": "auc",
            "section": "membership",
            "kind": "intervals",
            "title": "Every attack, before and after",
            "description": "Area under the curve with 95 % intervals.",
            "x_label": "area under the curve (0.5 is guessing)",
            "categories": ["Loss threshold", "LiRA, offline, one-sided, pooled variance"],
            "series": [
                {
                    "label": "before unlearning",
                    "values": [0.587, 0.742],
                    "lower": [0.524, 0.695],
                    "upper": [0.65, 0.789],
                },
                {
                    "label": "after unlearning",
                    "values": [0.561, None],
                    "lower": [0.498, None],
                    "upper": [0.624, None],
                },
            ],
            "zone": {
                "label": "reference ± 0.05",
                "centre": [0.5, 0.51],
                "lower": [0.45, 0.46],
                "upper": [0.55, 0.56],
            },
        },
        {
            "id": "exposure",
            "section": "membership",
            "kind": "p-values",
            "title": "Single records: who stands out",
            "description": "p-values in order of size, with the limit of false discoveries.",
            "values": [1e-6, 3e-5, *sorted(rng.random() for _ in range(348))],
            "rate": 0.05,
            "exposed": 2,
            "least": 1 / 401,
        },
        {
            "id": "scores",
            "section": "membership",
            "kind": "histogram",
            "title": "Scores of the loss attack after unlearning",
            "description": "Groups of different size are drawn as shares.",
            "x_label": "Score (higher means member)",
            "edges": [-6 + 0.5 * k for k in range(29)],
            "series": [
                {"label": "forgotten", "counts": counts(0.6, 50)},
                {"label": "retained", "counts": counts(1.4, 4_000)},
                {"label": "unseen", "counts": counts(0.2, 300)},
                {"label": "retrained", "counts": counts(0.25, 50)},
            ],
        },
        {
            "id": "behaviours",
            "section": "threats",
            "kind": "bars",
            "title": "Strength of the evidence for each behaviour",
            "description": "Observed statistic with its 95 % interval, beside the honest null.",
            "categories": ["neglecting", "lazy", "output filter", "smuggled gate"],
            "y_label": "Statistic, as a share of its threshold",
            "series": [
                {
                    "label": "observed",
                    "values": [0.02, 0.05, 0.2, 1.0],
                    "lower": [0.0, 0.0, 0.01, 0.93],
                    "upper": [0.07, 0.11, 0.55, 1.0],
                },
                {"label": "honest null", "values": [0.03, 0.04, 0.18, 0.02]},
            ],
        },
        {
            "id": "offsets",
            "section": "comparison",
            "kind": "bars",
            "title": "Size of the offsets, owner against recomputed",
            "description": "Largest absolute offset of each group, in logits.",
            "categories": [f"group {k}" for k in range(1, 8)],
            "y_label": "Largest offset (logits)",
            "series": [
                {"label": "owner", "values": [3.1, 2.8, 4.0, 3.3, 2.9, 3.7, 6.2]},
                {"label": "recomputed", "values": [3.1, 2.8, 4.0, 3.3, 2.9, 3.7, 0.0]},
            ],
        },
    ]


def example_record() -> Record:
    """Return a fresh record of a failed audit, every optional part present."""
    record: Record = {
        "schema": "auditkit/record/v1",
        "title": "Deletion request 2026-014, digit classifier of Example Health Ltd",
        "tool": {
            "name": "auditkit",
            "version": "0.1.0",
            "libraries": {"numpy": "2.4.6", "onnx": "1.22.0", "scipy": "1.17.1"},
        },
        "auditor": "A. Auditor, Independent Assurance",
        "assertion": {"kind": "redirected", "radius": 0.05, "by": "owner"},
        "outcome": "fail",
        "verdict": {
            "sentence": "The patch redirects the requested records, but it carries a gate that "
            "answers no request and changes the prediction on other inputs.",
            "outputs_redirected": {
                "outcome": "inconclusive",
                "sentence": "Proved at all 50 records, and within the radius of 0.05 at 48 of "
                "them.",
            },
            "information_removed": {
                "outcome": "fail",
                "sentence": "The original weights are in the model; with the patch stripped the "
                "records are recognised as well as before.",
            },
        },
        "subject": {
            "network": {
                "architecture": "dense 64-256-256-10, ReLU",
                "inputs": [64],
                "classes": 10,
                "units": 512,
                "parameters": 85_002,
            },
            "patch": {
                "spec": "redirect",
                "scope": "point",
                "groups": 7,
                "gates": 51,
                "bytes": 12_204,
            },
            "request": {"records": 50, "subjects": 31},
        },
        "inputs": [
            {
                "role": role,
                "name": name,
                "sha256": digest(name) if not keyed else None,
                "semantic": digest("semantic") if role == "model" else None,
                "keyed": digest("key" + name) if keyed else None,
                "note": note,
            }
            for role, name, keyed, note in (
                ("model", "model.onnx", False, None),
                ("patch", "patch.safetensors", False, None),
                ("certificate", "certificate.json", False, "signed; the key was not supplied"),
                ("forget", "forget.npz", True, "50 records of 31 people"),
                ("holdout", "holdout.npz", False, "300 unseen records"),
                ("retain", "retain.npz", False, None),
                ("plan", "audit.toml", False, None),
            )
        ],
        "checks": _checks(),
        "comparison": {
            "columns": ["owner", "recomputed"],
            "rows": [
                {"name": "Specification", "values": ["redirect", "redirect"], "note": None},
                {"name": "Groups", "values": [7, 6], "note": "group 7 has no counterpart"},
                {"name": "Gates", "values": [51, 50], "note": None},
                {"name": "Sharpness n", "values": [1000, 1000], "note": None},
                {"name": "Largest offset", "values": [6.2, 4.0], "note": "offsets may differ"},
                {"name": "Digest of the core", "values": [digest("core"), digest("core")]},
            ],
            "sentence": "The owner's patch has one gate more than the request calls for.",
        },
        "membership": {
            "tier": "C",
            "groups": {"forgotten": 350, "people": 214, "unseen": 300, "retained": 4_000},
            "references": 1,
            "comparable": True,
            "comparability": "no classifier without the model separates them",
            "shadows": {"models": 64, "pool": 4_650, "recipe": {"epochs": 30, "optimizer": "adam"}},
            "no_shadows": None,
            "attacks": {
                "ran": 2,
                "judged": 2,
                "skipped": [{"title": "RMIA", "reason": "No training set was supplied"}],
            },
            "rule": {"margin": 0.05, "alpha": 0.05, "fpr": 0.01},
            "cohort": True,
            "resolvable_fpr": 0.01,
            "power": ["A chance of 80 % takes 310 forgotten records."],
        },
        "threats": _threats(),
        "undetectable": [
            "a second model kept in secret",
            "closeness of weights as proof: the same weights are reachable from other data",
        ],
        "charts": _charts(),
        "tables": [
            {
                "id": "attacks",
                "section": "membership",
                "title": "Membership inference, before and after",
                "description": "AUC with DeLong intervals.",
                "columns": ["Attack", "Phase", "AUC", "TPR at 1 % FPR", "Finding"],
                "rows": [
                    ["LiRA offline", "before", _figure(0.7421, 0.6952, 0.789), 0.182, None],
                    ["LiRA offline", "after", _figure(0.7312, 0.6841, 0.7783), 0.171, "remembered"],
                    ["loss", "before", _figure(0.5873, 0.5241, 0.6505), {"needs": 300}, None],
                    ["loss", "after", _figure(0.5611, 0.4983, 0.6239), {"needs": 300}, "undecided"],
                ],
            },
            {
                "id": "groups",
                "section": "certificate",
                "title": "Groups of the patch",
                "description": None,
                "columns": ["Group", "Gates", "Bound K", "Sharpness n", "Least margin"],
                "rows": [[k, 8 if k < 7 else 3, 4.0, 1000, 0.2 + k / 100] for k in range(1, 8)],
            },
        ],
        "not_examined": [
            "Copies of the model that the owner did not submit.",
            "Whether the records were in the training set in the first place.",
        ],
        "assumptions": [
            "The deployed model is patched.onnx, run in float32 under the declared profile.",
            "The unseen records come from the same population as the forgotten ones.",
        ],
        "may_conclude": ["At the 50 requested records the submitted model answers otherwise."],
        "must_not_conclude": [
            "That the information about the records is gone.",
            "That inputs beyond the radius are answered otherwise.",
        ],
        "methods": {
            "settings": {
                "tier": "B",
                "attack": {"alpha": 0.05, "margin": 0.05, "names": ["lira-offline", "loss"]},
                "policy": {"least_radius": 0.05, "least_margin": 0.1, "excess_reach": 0.01},
            },
            "seeds": {"audit": 20260714, "bootstrap": 11},
            "sample_sizes": {"forgotten": 50, "retained": 4_000, "unseen": 300, "shadows": 64},
            "power": [
                "With 50 forgotten and 300 unseen records, an AUC of 0.60 is found in 71 % of "
                "audits; a PASS by equivalence is impossible below about 90."
            ],
            "plan_digest": digest("plan"),
        },
        "reproduce": [
            "auditkit audit audit.toml --out audit-2026-014 --seed 20260714",
            "auditkit report audit-2026-014/record.json -o report.html",
        ],
        "references": [
            "Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022.",
            "Li, Wang, Yuan, Zhang, PRUNE, arXiv 2505.06520, https://arxiv.org/abs/2505.06520",
        ],
        "compliance": [
            {
                "frame": "EDPB Opinion 28/2024",
                "item": "Membership inference",
                "scope": "in",
                "note": "attack.lira-offline, attack.loss",
            },
            {
                "frame": "EDPB Opinion 28/2024",
                "item": "Model inversion, reconstruction",
                "scope": "out",
                "note": None,
            },
            {
                "frame": "GDPR",
                "item": "Art. 17",
                "scope": "partly",
                "note": "A patch is a mitigation, not erasure.",
            },
        ],
    }
    return copy.deepcopy(record)


def passing_record() -> Record:
    """Return the smallest record of an audit that passed: no optional part present."""
    return {
        "schema": "auditkit/record/v1",
        "title": "Small audit",
        "outcome": "pass",
        "verdict": {
            "sentence": "Every required check passed.",
            "outputs_redirected": {"outcome": "pass", "sentence": "Proved at every record."},
            "information_removed": {"outcome": "inconclusive", "sentence": "Not decided."},
        },
        "checks": [
            {
                "id": "certificate.point",
                "title": "At each record the specification holds",
                "outcome": "pass",
                "required": True,
                "severity": "failure",
                "reason": "Proved.",
            }
        ],
    }
