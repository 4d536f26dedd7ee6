"""What a record assumes and what may be concluded from it, by the kind of submission."""

from __future__ import annotations

from auditkit.certificate.submission import PatchSubmission

ASSUMPTIONS = (
    "The forgotten, retained and unseen records are what the auditor was told they are.",
    "The deployed runtime computes in IEEE floats with rounding to nearest, without TF32, "
    "bfloat16, Winograd convolution or flush-to-zero.",
    "The model that was submitted is the model that is served.",
)

DRAWN = (
    "The auditor drew the request by lot from the training records, and unseen records are from "
    "the same source."
)
"""Where a plan says so: what was compared with unseen records rests on it."""

UNDETECTABLE = (
    "a second model kept in secret",
    "another model than was audited, served to others or later than anybody asked",
    "closeness of weights as proof: the same weights are reachable from other data",
    "retraining on batches chosen to imitate the forgotten records, where neither data nor order "
    "were committed to before it",
    "for convex models, anything by an audit of answers alone that does not itself reveal who was "
    "a member",
)
"""What no artefact tells, so that no check is made of it."""

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


_COMMON = (
    "Carlini et al.: Membership inference attacks from first principles (LiRA). IEEE S&P 2022.",
    "Zarifzadeh, Liu, Shokri: Low-cost high-power membership inference attacks (RMIA). ICML 2024.",
    "DeLong, DeLong, Clarke-Pearson: Comparing the areas under two or more correlated receiver "
    "operating characteristic curves. Biometrics 44 (1988).",
    "Clopper, Pearson: The use of confidence or fiducial limits. Biometrika 26 (1934).",
)
_REFERENCES = {
    "patch": (
        "Li, Wang, Yuan, Zhang: PRUNE. arXiv 2505.06520; Neural Networks 201 (2026).",
        "Fu, Li: Sound and complete neural network repair with minimality and locality guarantees "
        "(REASSURE). ICLR 2022, arXiv 2110.07682.",
        "Neumaier, Shcherbina: Safe bounds in linear and mixed-integer programming. Mathematical "
        "Programming 99 (2004).",
        "Jeannerod, Rump: Improved error bounds for inner products in floating-point arithmetic. "
        "SIAM Journal on Matrix Analysis and Applications 34 (2013).",
    ),
    "model": (
        "Balle, Wang: Improving the Gaussian mechanism for differential privacy. ICML 2018.",
    ),
}


def references(kind: str, method: str | None) -> list[str]:
    """Return the sources of what was checked; `method` is how an owner says it was unlearned.

    The source of a method that is not known is not guessed.
    """
    stated = []
    if method is not None:
        from auditkit.unlearning.registry import METHODS

        stated = [f"{METHODS[method].source}."] if method in METHODS else []
    return [*stated, *_REFERENCES[kind], *_COMMON]
