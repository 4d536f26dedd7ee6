"""The fixed sentences of a report: outcome words, remedies and the glossary.

They belong to the report and not to the record, so that a record stays data.
"""

from __future__ import annotations

from typing import Any

OUTCOME_WORDS = {
    "pass": "PASS",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    "not_run": "NOT RUN",
}

OUTCOME_MEANING = {
    "pass": "Every required check ran and passed.",
    "fail": "At least one check found the assertion contradicted.",
    "inconclusive": "What was measured does not decide it. This is neither a pass nor a failure.",
}

SEVERITY_WORDS = {"failure": "failure", "limitation": "limitation", "info": "information"}

SEVERITY_MEANING = {
    "failure": "contradicts what the owner asserts",
    "limitation": "outside what the owner asserts, and material to a reader",
    "info": "for information",
}

ASSERTIONS = {
    "redirected": "The owner asserts that the outputs at the forgotten records are redirected{}.",
    "erased": "The owner asserts that the information about the forgotten records is erased.",
}

SCOPE_WORDS = {"in": "in scope", "out": "out of scope", "partly": "partly in scope"}

# What to do about a check that did not pass: by its whole identifier, else by its first part.
REMEDIES = {
    "submission.format": "Ask the owner for a submission in the accepted formats, with every file "
    "listed and nothing else in the directory.",
    "submission.binding": "Ask the owner which files are meant and for a certificate whose digests "
    "are of those files. Check the request list against your own.",
    "patch.support": "Ask the owner to rebuild the patch from the network that was submitted: a "
    "gate does not open on the region it is meant for.",
    "patch.scope": "Ask the owner which request each additional gate answers, and to withdraw "
    "those that answer none.",
    "certificate.point": "Ask for a patch that meets its specification at every requested record, "
    "or for the request to be met by another method.",
    "certificate.region": "Ask for a larger margin or a smaller claimed region. If the claim is "
    "unproved, verify again with exact arithmetic or with sharper proof objects.",
    "certificate.locality": "Ask for a larger sharpness or a smaller bound, or for gates narrowed "
    "to fewer inputs. Supply retained and unseen records if none were given.",
    "certificate.separation": "Ask the owner to merge groups whose regions touch, or to claim only "
    "within the radius at which they are separate.",
    "certificate.canonical": "Compare the offsets with those recomputed from the stated settings, "
    "and ask the owner to explain the difference.",
    "certificate.minimality": "Ask whether the larger patch is intended; a smaller one meets the "
    "same claim.",
    "certificate.deployed": "Ask for a larger margin or a wider dead zone, or restrict deployment "
    "to the profile for which the claim is proved.",
    "patch.export": "Do not deploy the delivered file. Export the model and the patch again and "
    "compare the bytes.",
    "unlearning.changed": "Ask the owner for the network that was unlearned: this one answers the "
    "requested records as the original does.",
    "unlearning.class": "Ask the owner to remove the class again, or to retrain without it. Give "
    "more of its records if they were too few to tell.",
    "unlearning.guarantee": "Read nothing into the stated guarantee. Ask the owner for its "
    "premises, and how the bound and the noise can be checked.",
    "unlearning.trigger": "Ask the owner to remove the poisoned records and retrain. Give "
    "reference networks, and more records with the trigger, if it could not be told.",
    "utility.retained": "Ask the owner to narrow the patch, to repair the network on retained "
    "records, or to retrain, and measure them again.",
    "compare.weights": "Ask the owner for seed, settings and the data used, and recompute with "
    "those; other weights alone are no finding.",
    "audit.erasure": "Say that erasure was asserted and not shown. Where it must be certain, ask "
    "for retraining without the records under supervision.",
    "audit.redirection": "Ask for a patch with a certificate, or for an assertion that fits the "
    "method.",
    "attack.patch-support": "Let nobody hold the patched weights who must not know whose records "
    "were forgotten; a retrained network carries no such list.",
    "attack.difference": "Let nobody hold both versions who must not know whose records were "
    "forgotten.",
    "attack": "Treat the records as still recognisable. Retraining without them is the remedy; "
    "a patch or an output filter is a mitigation.",
    "threats": "Put the finding to the owner, ask for the evidence that the behaviour leaves "
    "behind, and repeat the check on new data.",
    "submission": "Ask the owner for a complete and consistent submission.",
    "patch": "Ask the owner to explain the patch, and to submit it again.",
    "certificate": "Ask the owner for a certificate that can be re-checked.",
    "unlearning": "Ask the owner how the network was unlearned, and to unlearn it again.",
    "utility": "Measure again on more retained records.",
}

REMEDY_OTHERWISE = "Put the finding to the owner and repeat the check with the evidence it lacks."

GLOSSARY = (
    (
        "Activation pattern",
        "Which units of the network are active for an input, one bit for each unit.",
    ),
    (
        "Area under the curve (AUC)",
        "The chance that an attack ranks a forgotten record above an "
        "unseen one. One half is guessing.",
    ),
    ("Certificate", "The owner's claims about each record, with what is needed to check them."),
    ("Confidence interval", "The range of values that the measurement does not rule out."),
    (
        "Forgotten, retained, unseen records",
        "Records that were to be forgotten; records of the "
        "training set that were not; records that were never in it.",
    ),
    ("Gate", "The part of a patch that decides on which inputs it acts."),
    (
        "Information removed",
        "Nothing about the forgotten records can be learnt from the model any "
        "more. No file can show this; after a patch the original weights are still there.",
    ),
    (
        "Keyed digest",
        "A digest made with a secret key, so that it reveals nothing to whoever can "
        "guess the record.",
    ),
    (
        "Linear region",
        "A set of inputs with one activation pattern, on which the network is an affine function.",
    ),
    ("Margin", "How far the intended answer is above the next one, in the units of the logits."),
    (
        "Membership inference",
        "An attack that tells from a model's answers whether a record was in its training set.",
    ),
    (
        "Outputs redirected",
        "The model's answers at the forgotten records, and within the stated "
        "radius of them, are other than before.",
    ),
    (
        "Shadow model",
        "A model trained by the auditor, with or without a record, to learn what "
        "membership looks like.",
    ),
    (
        "True-positive rate at a false-positive rate",
        "The share of forgotten records that an attack "
        "finds when it may accuse that share of unseen ones.",
    ),
)

READING = (
    "PASS: ran and passed. FAIL: found the claim contradicted. INCONCLUSIVE: ran and could not "
    "decide. NOT RUN: did not run, for the reason given. No evidence is never a pass."
)

EVIDENCE_DIGEST = (
    "An evidence digest is the SHA-256 of the check's object in record.json, written with sorted "
    "keys, without white space, in ASCII."
)

LIMITS = (
    "A certificate speaks of regions. It does not say that the information is gone: the original "
    "weights are still in the patched model, and whoever has the files can take the patch off. "
    "What else it cannot say was measured here."
)
LIMITS_NOT_JUDGED = (
    "These figures are shown and not judged: they make the audit neither pass nor fail. Whether "
    "they are acceptable is for the reader to say."
)

MEMBERSHIP = (
    "Can it still be told that the forgotten records were used? An attack gives every record a "
    "score, higher for those it takes for members. Where forgotten records score as unseen ones "
    "do, as they would in a model that never saw them, nothing is told."
)
MEMBERSHIP_WITHOUT = "Nothing was measured: the checks of this chapter did not run."

THREATS = (
    "An owner who wants to be thought honest may cheat. For each way to cheat that the threat "
    "model knows, this chapter says whether it was looked for, what was seen, how sure that is, "
    "and what it would take to hide from the test."
)
THREATS_TWO = (
    "Each test asks two questions. FAIL: an honest owner would hardly be seen so. PASS: an owner "
    "who behaves so would hardly be. Neither is INCONCLUSIVE, and then the power says what these "
    "samples could have shown. p-values are adjusted over all tests of this audit (Holm 1979)."
)
THREATS_UNCALIBRATED = (
    "How often the tests accuse honest owners was not calibrated for this record; "
    "auditkit calibrate measures it."
)
UNDETECTABLE = (
    "No test of files or answers can exclude what follows. That no check found it is no sign that "
    "it is not there."
)

TIERS = {
    "A": "Tier A: scores that someone else computed; the auditor did not have the model.",
    "B": "Tier B: the model, the forgotten records and unseen ones.",
    "C": "Tier C: the model, the forgotten records and unseen ones, and the training records with "
    "a recipe, so that shadow models could be trained.",
}

TIER_UNKNOWN = {
    "A": "Whether the scores are those of the model that is served, whether the groups are "
    "comparable, and whatever an attack that queries the model or trains shadow models would find.",
    "B": "What attacks with shadow models would find. They know what is usual for each record and "
    "find several times as much at few false alarms; without them a record that is merely easy "
    "looks remembered, and a remembered one that is hard does not.",
    "C": "What attacks that are not listed here would find, and what shadow models would show that "
    "were trained by the owner’s own recipe, should it differ from the one used.",
}

NO_COHORT = (
    "The request is too small for a statement about a cohort: records are judged one by one, and "
    "the figures of whole groups are shown for information."
)

NOT_A_DETERMINATION = (
    "This annex lists what the audit examined for each framework. It is not a determination of "
    "compliance. An output filter or a patch is a mitigation; it is not erasure."
)

CONFIDENTIAL = (
    "CONFIDENTIAL. This contains personal data and data from which records can be identified. Do "
    "not file it with the report, publish it, or send it to anyone who may not see the records."
)


REMEDY_UNDECIDED = (
    "Nothing follows from this attack either way. More records, references or shadow models, as "
    "the chapter on membership inference says, would let it decide."
)
BEHAVIOUR_UNDECIDED = (
    "Nothing follows either way. Its reason says what is missing; more records, or the training "
    "records for shadow models, let more be told."
)


def remedy(check: dict[str, Any]) -> str:
    """Return what to do about a check that did not pass."""
    identifier = check["id"]
    if identifier.startswith("attack.") and check["outcome"] == "inconclusive":
        return REMEDY_UNDECIDED
    if identifier.startswith("threats.") and check["outcome"] == "inconclusive":
        return BEHAVIOUR_UNDECIDED
    return REMEDIES.get(identifier) or REMEDIES.get(identifier.split(".")[0], REMEDY_OTHERWISE)


def assertion_sentence(assertion: dict[str, Any] | None, radius: str | None) -> str:
    """Return the owner's assertion as a sentence."""
    if assertion is None:
        return "The record states no assertion of the owner's."
    within = f", within {radius} of them in the ∞-norm" if radius is not None else ""
    return ASSERTIONS[assertion["kind"]].format(within)
