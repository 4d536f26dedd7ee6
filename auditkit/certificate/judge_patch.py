"""Checks of the submission as a whole: files, who each gate is owed to, reach, export, utility."""

from __future__ import annotations

import numpy as np

from auditkit.certificate import judge_files
from auditkit.certificate.case import Case
from auditkit.certificate.export_check import TOLERANCE, examine_export
from auditkit.certificate.history import active, history_faults, owed_gates
from auditkit.certificate.identity import record_digests
from auditkit.certificate.intervals import share_interval
from auditkit.certificate.openness import relative_sharpness
from auditkit.network.evaluate import logits
from auditkit.network.scale import random_inputs
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.settings import Method, Scope
from auditkit.results import CheckResult, Outcome, Severity, not_run

MOST_AJAR = 0.25  # of random inputs; beyond it gates have no shell worth the name


def submission_format(case: Case) -> CheckResult:
    """Reached only when every file could be read."""
    return judge_files.submission_format(case.submission)


def binding(case: Case) -> CheckResult:
    """Every file is the one the certificate lists, and the records are the ones requested."""
    faults = history_faults(case.submission.certificate)
    if case.matched is not None and case.matched.unknown:
        faults.append(f"{case.matched.unknown} claim(s) about records that are not there")
    return judge_files.binding(case.submission, case.forget, "certificate", faults)


def scope(case: Case) -> CheckResult:
    """Every gate is fully open at some record of an active request that lists its group."""
    name, title = "patch.scope", "Every gate is owed to a request"
    submission = case.submission
    certificate, table = submission.certificate, submission.patch.table
    known = {g for r in active(certificate.requests) for g in r.groups}
    stray = sorted({g.name for g in submission.patch.groups} - known)
    if stray:
        return CheckResult(
            name, title, Outcome.FAIL,
            f"{len(stray)} group(s) belong to no active request: {', '.join(stray[:5])}",
            observed=len(stray), threshold=0,
        )  # fmt: skip
    settings = certificate.settings
    always = int(table.always.sum())
    if always and settings.method is not Method.SUPPRESS:
        return CheckResult(
            name, title, Outcome.FAIL,
            f"{always} group(s) act on every input, which only class suppression may",
            observed=always, threshold=0,
        )  # fmt: skip
    if case.records is None or case.key is None:
        return not_run(name, title, case.why_no_records)
    records = case.records
    if settings.scope is Scope.CLASS and (records.y != settings.target_class).any():
        return CheckResult(
            name, title, Outcome.FAIL,
            f"a class patch for label {settings.target_class}, but "
            f"{int((records.y != settings.target_class).sum())} requested record(s) have another",
        )  # fmt: skip
    owes = owed_gates(submission, records, record_digests(records, case.key))
    owed, extra = owes.gates, int((~owes.gates).sum())
    if owes.idle and not extra:
        request, group = owes.idle[0]
        return CheckResult(
            name, title, Outcome.FAIL,
            f"{len(owes.idle)} time(s) a request lists a group that does nothing at its records: "
            f"{request} lists {group}",
            observed=len(owes.idle), threshold=0, n=len(owed),
        )  # fmt: skip
    return CheckResult(
        name,
        title,
        Outcome.FAIL if extra else Outcome.PASS,
        (
            f"{extra} gate(s) are open at no record of a request that lists them: the patch acts "
            "where nobody asked"
            if extra
            else f"all {len(owed)} gate(s) open at a requested record"
        ),
        observed=extra,
        threshold=0,
        n=len(owed),
        private={"gates": np.flatnonzero(~owed).tolist()},
    )


def locality(case: Case) -> CheckResult:
    """Gates are sharp enough to end near their regions, and open at few other records."""
    name, title = "certificate.locality", "Elsewhere the network is unchanged"
    submission, policy = case.submission, case.policy
    settings = submission.certificate.settings
    if settings.method is Method.SUPPRESS:
        return CheckResult(
            name, title, Outcome.PASS, "class suppression acts everywhere by design: exempt",
            severity=Severity.LIMITATION,
        )  # fmt: skip
    relative, zone = relative_sharpness(
        submission, None if case.records is None else case.records.x
    )
    evidence: dict[str, object] = {
        "relative_sharpness": relative,
        "relative_dead_zone": zone,
        "gates": submission.patch.gates,
    }
    faults = []
    if not relative >= policy.least_sharpness:
        explicit = isinstance(submission.patch, ExplicitPatch)
        unit = "distance to a row" if explicit else "pre-activation"
        faults.append(
            f"sharpness {relative:.3g} times the typical {unit} is below the policy's "
            f"{policy.least_sharpness:g}: the gates are open far beyond their regions"
        )
    if not zone * policy.least_sharpness <= 1:
        faults.append(f"a dead zone of {zone:.3g} typical pre-activations is wider than the shell")
    ajar = _ajar(case)
    evidence["random_inputs_in_a_shell"] = ajar
    if ajar > MOST_AJAR:
        faults.append(
            f"at {ajar:.0%} of random inputs a gate is partly open, which is no gate's region"
        )
    worst, count, interval, total, crowded = None, 0, None, 0, 0
    for kind, x in case.others():
        opened = submission.patched.openness(x)
        reached, caught = int((opened > 0).sum()), int((opened == 1).sum())
        low, high = share_interval(reached, len(x))
        evidence[f"excess_reach_{kind}"] = reached / len(x)
        evidence[f"excess_reach_{kind}_n"] = len(x)
        evidence[f"excess_reach_{kind}_interval"] = [low, high]
        evidence[f"caught_whole_{kind}"] = caught  # in a forgotten record's own region
        if worst is None or reached / len(x) > worst:
            worst, count, interval, total = reached / len(x), reached, (low, high), len(x)
            crowded = caught
    if worst is not None and worst > policy.excess_reach:
        faults.append(
            f"a gate is at least partly open at {count} of {total} other records "
            f"({worst:.2%}), above the policy's {policy.excess_reach:.2%}"
            + (
                f"; {crowded} of these lie in a forgotten record's own region, which is crowded"
                if crowded
                else ""
            )
        )
    reason = "where every gate is closed the network is the original, bit for bit; "
    if faults:
        reason = "; ".join(faults)
    elif worst is None:
        reason += (
            "the gates are sharp enough; how many other records they reach was not measured: "
            "give --retain"
        )
    else:
        reason += f"a gate is at all open at {count} of {total} other records"
    return CheckResult(
        name,
        title,
        Outcome.FAIL if faults else Outcome.PASS,
        reason,
        observed=worst,
        threshold=policy.excess_reach,
        interval=interval,
        n=total or None,
        evidence=evidence,
    )


def export(case: Case) -> CheckResult:
    """The delivered ONNX file has the bytes of the auditor's own export."""
    name, title = "patch.export", "patched.onnx is the export of model and patch"
    records = None if case.records is None else case.records.x
    finding = examine_export(case.submission, records, case.seed)
    if finding.same_bytes:
        return CheckResult(name, title, Outcome.PASS, "the auditor's own export has the same bytes")
    if finding.error:
        return CheckResult(
            name, title, Outcome.FAIL,
            f"the delivered file is another one and does not serve: {finding.error}",
        )  # fmt: skip
    assert finding.largest is not None
    differs = finding.witness is not None
    return CheckResult(
        name,
        title,
        Outcome.FAIL if differs else Outcome.INCONCLUSIVE,
        (
            f"the delivered file computes something else, for instance on {finding.where}"
            if differs
            else "the delivered file is another one; a search found no disagreement, "
            "which proves nothing"
        ),
        observed=finding.largest,
        threshold=TOLERANCE,
        n=finding.inputs,
        private={} if finding.witness is None else {"witness": finding.witness.tolist()},
    )


def utility(case: Case) -> CheckResult:
    """Retained records are predicted as before the patch."""
    name, title = "utility.retained", "Retained records keep their predictions"
    if case.retain is None:
        return not_run(name, title, "no retained records were given (--retain)")
    sets = [x for kind, x in case.others() if kind == "retained"]
    if not sets:
        return not_run(name, title, "every retained record is one to be forgotten")
    x = sets[0]
    network = case.submission.network
    before = logits(network, x.astype(network.dtype)).argmax(axis=1)
    after = case.submission.patched.logits(x).argmax(axis=1)
    agree = int((before == after).sum())
    share = agree / len(x)
    floor = case.policy.least_retained_agreement
    low, high = share_interval(agree, len(x))
    if share < floor:
        outcome = Outcome.FAIL
    else:
        outcome = Outcome.PASS if low >= floor else Outcome.INCONCLUSIVE
    return CheckResult(
        name,
        title,
        outcome,
        f"{agree} of {len(x)} retained records are predicted as before",
        observed=share,
        threshold=floor,
        interval=(low, high),
        n=len(x),
    )


def _ajar(case: Case) -> float:
    """Return the share of random inputs where a gate is partly open and none is fully.

    Full openness is a matter of how crowded the regions are; a gate that is open in part at inputs
    all over the domain was made so, by a small sharpness or by rescaled units.
    """
    submission = case.submission
    if not submission.patch.gates:
        return 0.0
    domain = submission.certificate.settings.domain
    x = random_inputs(submission.network, domain.lower, domain.upper)
    opened = submission.patched.openness(x)
    return float(((opened > 0) & (opened < 1)).mean())
