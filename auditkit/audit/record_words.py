"""What a record assumes and what may be concluded from it, by the kind of submission."""

from __future__ import annotations

from auditkit.certificate.submission import PatchSubmission

ASSUMPTIONS = (
    "The forgotten, retained and unseen records are what the auditor was told they are.",
    "The deployed runtime computes in IEEE floats with rounding to nearest, without TF32, "
    "bfloat16, Winograd convolution or flush-to-zero.",
    "The model that was submitted is the model that is served.",
)

UNDETECTABLE = (
    "a second model kept in secret",
    "whether the served model is the submitted one",
    "closeness of weights as proof: the same weights are reachable from other data",
)

_NO_DETERMINATION = "That this is a determination of legal compliance."

_MAY = {
    "patch": (
        "Where a certificate claim is proved, the patched network answers as claimed on the "
        "claimed set, for the files whose digests are listed.",
    ),
    "model": (
        "Where a check of severity failure fails, the delivered network contradicts what is "
        "asserted of it, for the files whose digests are listed.",
        "Where an attack passes, that attack finds no more of the forgotten records than its "
        "margin and its sample allow.",
    ),
}
_MUST_NOT = {
    "patch": (
        "That the information was removed from the model: a patch leaves the original weights in "
        "place and can be taken off.",
        "That inputs outside the claimed radius answer differently than before.",
        "That the digests of patch and patched network hide a record: whoever guesses a single "
        "record and has the model can make the patch again.",
        _NO_DETERMINATION,
    ),
    "model": (
        "That the information was removed from the model: outputs that look forgotten can be had "
        "without forgetting, and the weights do not say what they still hold.",
        "That the stated method was used, with the stated settings and data: that is the owner's "
        "word.",
        "That outputs are redirected at or around the forgotten records: there is no certificate "
        "of it.",
        "That the digest of the delivered network hides a record: whoever guesses a single record "
        "and has the original, the retained data and the seed can unlearn it again.",
        _NO_DETERMINATION,
    ),
}


def may_conclude(kind: str) -> list[str]:
    """Return what may be concluded; `kind` is the submission's KIND."""
    return list(_MAY[kind])


def must_not_conclude(kind: str) -> list[str]:
    """Return what must not be concluded; `kind` is the submission's KIND."""
    return list(_MUST_NOT[kind])


def compliance_words(kind: str) -> dict[str, str]:
    """Return the notes on the usual frames that depend on the kind of submission."""
    if kind == PatchSubmission.KIND:
        return {
            "erasure": "a patch is a mitigation, not erasure",
            "verification": "claims of the certificate re-checked",
            "robustness": "accuracy and robustness beyond the patch are not examined",
        }
    return {
        "erasure": "erasure is asserted; tests may refute it and cannot show it",
        "verification": "the claim's files re-checked; method and data used are the owner's word",
        "robustness": "accuracy on retained records only; robustness is not examined",
    }
