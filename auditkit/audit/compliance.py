"""Which items of the usual frames an audit touched: by what ran in it, and no determination.

Names of attacks are those of EDPB Opinion 28/2024 (17 December 2024) on AI models and personal
data, and of NIST AI 100-2. A check that did not run puts nothing in scope.
"""

from __future__ import annotations

from collections.abc import Sequence

from auditkit.audit.record_words import compliance_words
from auditkit.certificate.submission import PatchSubmission
from auditkit.results import CheckResult, Outcome

EDPB = "EDPB Opinion 28/2024"
TAMPERING = ("threats.smuggled-gate", "threats.patch-bait", "unlearning.trigger")


def compliance(
    checks: Sequence[CheckResult], kind: str = PatchSubmission.KIND
) -> list[dict[str, str]]:
    """Return frame, item, scope (in, partly, out) and note, for an audit of these checks.

    `kind` is the submission's KIND.
    """
    ran = {check.id for check in checks if check.outcome is not Outcome.NOT_RUN}
    parts = {name.split(".")[0] for name in ran}
    words = compliance_words(kind)

    def scope(given: bool, how: str = "in") -> str:
        return how if given else "out"

    behaviours = sorted(name for name in ran if name.startswith("threats."))
    membership = scope("attack" in parts)
    reconstruction = scope("limits.reconstruction" in ran, "partly")
    proved = "in" if "certificate" in parts else scope("unlearning" in parts, "partly")
    tampering = [name for name in TAMPERING if name in ran]
    tested = f"{len(behaviours)} checks for dishonest behaviour ran" if behaviours else "none ran"
    rows = [
        (EDPB, "membership inference", membership, "attacks before and after, with intervals"),
        (EDPB, "attribute inference", "out", "not tested"),
        (EDPB, "exfiltration", "out", "not tested: no attack extracted the model or its data"),
        (EDPB, "regurgitation of training data", "out",
         "not tested: a classifier answers with scores and not with records"),
        (EDPB, "model inversion", "out", "not tested: no input was sought for an output"),
        (EDPB, "reconstruction", reconstruction,
         "what the patch alone gives away of its records was measured, no more"
         if reconstruction != "out" else "not tested"),
        (EDPB, "documentation of tests and measures", "partly",
         "the tests of this audit, their metrics, results and limits, and who might defeat them; "
         "not the design, the training, the risk analysis or the deployment"),
        ("GDPR Art. 5(2)", "accountability", "partly",
         "this record documents the tests that were run; the rest is the controller's to show"),
        ("GDPR Art. 17", "erasure", "partly", words["erasure"]),
        ("GDPR Art. 25", "data protection by design and by default", "out",
         "how the model was designed is not examined"),
        ("GDPR Art. 32(1)(d)", "regular testing of measures", "partly",
         f"one test of one measure; {tested}"),
        ("GDPR Art. 35", "data protection impact assessment", "out",
         "the record may be given to one; it is none"),
        ("NIST AI 100-2", "privacy attacks: membership inference", membership,
         "names of attacks follow the literature"),
        ("NIST AI 100-2", "privacy attacks: data reconstruction", reconstruction,
         "of the forgotten records from the patch alone"
         if reconstruction != "out" else "not tested"),
        ("NIST AI 100-2", "privacy attacks: property inference, model extraction", "out",
         "not tested"),
        ("NIST AI 100-2", "poisoning: backdoors and tampering with the model",
         scope(bool(tampering), "partly"),
         f"by the deletion alone: {', '.join(tampering)}; not of the original network"
         if tampering else "not tested"),
        ("NIST AI RMF", "MEASURE 2.10: privacy risk is examined and documented", "partly",
         "privacy risk of the audited records only"),
        ("ISO/IEC 42001", "A.6.2.4 verification and validation", proved, words["verification"]),
        ("AI Act", "Art. 15: accuracy, robustness, cybersecurity", "out", words["robustness"]),
        ("AI Act", "Annex IV: technical documentation", "out",
         "the record may become part of it; it was not examined"),
    ]  # fmt: skip
    names = ("frame", "item", "scope", "note")
    return [dict(zip(names, row, strict=True)) for row in rows]
