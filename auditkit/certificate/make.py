"""Make a submission: patch, claims, certificate, export, in one directory."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.history import (
    active,
    derive_patch,
    history_rows,
    new_request,
    with_groups,
)
from auditkit.certificate.identity import random_key, record_digests
from auditkit.certificate.prove import Proved, prove
from auditkit.certificate.request import Request
from auditkit.certificate.statement import Certificate
from auditkit.certificate.submission import write_submission
from auditkit.errors import UsageError
from auditkit.network.digest import semantic_digest
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.network.scale import typical_activation
from auditkit.parallel import single_products
from auditkit.patch.generate import Made as MadePatch
from auditkit.patch.generate import Request as PatchRequest
from auditkit.patch.published import published_patch
from auditkit.patch.region_rows import ExplicitMade, make_explicit_patch
from auditkit.patch.settings import Domain, Settings, Spec
from auditkit.records import Records, write_records


@dataclass(frozen=True)
class Made:
    """What was written: counts for people, and the directory."""

    out: Path
    records: int
    gates: int
    groups: int
    claims: int
    narrower: int
    unclaimed: Mapping[str, int]
    patch_bytes: int
    bounds: Mapping[str, int]
    settings: Mapping[str, Any]
    requests: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**dataclasses.asdict(self), "out": str(self.out)}

    def lines(self) -> list[str]:
        """Return the summary as lines of text."""
        radius = self.settings["radius"]
        lines = [
            f"{self.out}: {self.records} record(s), {self.gates} gate(s) in {self.groups} group(s)",
            f"claims: {self.claims} of {self.records} proved by the checker, "
            f"{self.narrower} of them within less than the radius {radius}",
        ]
        by = [f"{n} by {bound}" for bound, n in sorted(self.bounds.items())]
        lines += [f"proved: {', '.join(by)}"] if by else []
        lines += [f"no claim for {n} record(s): {why}" for why, n in sorted(self.unclaimed.items())]
        return lines

    def history(self) -> list[str]:
        """Return one line of text for each request."""
        return [
            f"{r['id']}: {r['status']}, {r['records']} record(s), {r['groups']} group(s)"
            for r in self.requests
        ]


def make_submission(
    network: Network,
    forget: Records,
    settings: Settings,
    out: Path,
    *,
    reference: Records | None = None,
    reference_network: Network | None = None,
    assertion: str = "redirected",
    key: bytes | None = None,
    model_files: Mapping[str, bytes] | None = None,
    withhold_to: Path | None = None,
    requests: Sequence[Request] | None = None,
    targets: NDArray[np.float64] | None = None,
    replace: bool = False,
    form: str = "gated",
) -> Made:
    """Patch `network` for `forget` and write the submission to `out`.

    `reference` are unseen records, `reference_network` a model that never saw the forgotten ones;
    `neutralise` needs the first, `reference` either. With `withhold_to` the forgotten records and
    their key are written there and not into the submission. `requests` say who asked for which of
    the records, by their digests under `key`; without them it is one request for all. `targets`
    take the place of what the reference gives. `form` is "gated", "explicit" (the same gates with
    their rows written out) or "published" (PRUNE's own algorithm), these two for one request.
    Raises UsageError when the settings cannot be met or what they need is missing.
    """
    _within(forget, settings.domain)
    key = key or forget.key or random_key()
    keyed = dataclasses.replace(forget, key=key)
    digests = record_digests(forget, key)
    requests = requests or (new_request(digests, None),)
    try:
        if targets is None:
            targets = history_targets(
                network, forget, digests, requests, settings, reference, reference_network
            )
        made: MadePatch | ExplicitMade
        if form == "gated":
            domain = settings.domain
            settings = settings.resolved(typical_activation(network, domain.lower, domain.upper))
            with single_products():
                made = derive_patch(network, requests, forget, digests, settings, targets)
        else:
            request = PatchRequest(forget.x.astype(network.dtype), forget.y)
            made, settings = _in_explicit_form(network, request, settings, targets, form)
    except ValueError as error:
        raise UsageError(
            "patch",
            expected="a request that can be met",
            found=str(error),
            remedy="change the settings or the records",
        ) from error
    with single_products():
        proved = prove(network, made, forget, digests, settings)
    requests = with_groups(requests, made, digests)
    certificate = build_certificate(network, requests, proved, settings, assertion)
    write_submission(
        out,
        network,
        made.patch,
        certificate,
        None if withhold_to else keyed,
        model_files=model_files,
        proofs=proved.proofs,
        replace=replace,
    )
    if withhold_to:
        write_records(withhold_to, keyed)
    return Made(
        out=out,
        records=len(forget),
        gates=made.patch.gates,
        groups=sum(group.units_of for group in made.patch.groups),
        claims=len(proved.claims),
        narrower=sum(claim.radius < settings.radius for claim in proved.claims),
        unclaimed=Counter(proved.unclaimed.values()),
        patch_bytes=(out / "patch.safetensors").stat().st_size,
        bounds=dict(proved.bounds),
        settings=settings.to_json(),
        requests=history_rows(requests),
    )


def _within(records: Records, domain: Domain) -> None:
    """Raise UsageError where a record lies outside of the domain that claims are made on."""
    flat = records.x.reshape(len(records), int(np.prod(records.x.shape[1:])))
    outside = ~((flat >= domain.lower) & (flat <= domain.upper)).all(axis=1)
    if outside.any():
        low, high = float(flat[outside].min()), float(flat[outside].max())
        raise UsageError(
            "patch",
            expected=f"records within the domain, from {domain.lower:g} to {domain.upper:g}",
            found=f"{int(outside.sum())} of {len(records)} beyond it, from {low:g} to {high:g}",
            remedy="say what the network's inputs range over (--domain)",
        )


def _in_explicit_form(
    network: Network,
    request: PatchRequest,
    settings: Settings,
    targets: NDArray[np.float64] | None,
    form: str,
) -> tuple[ExplicitMade, Settings]:
    """Return a patch with its rows written out, and its settings with a sharpness."""
    if settings.bands:
        raise ValueError("bands narrow gates of patterns: the explicit form has none")
    if form == "explicit":
        return make_explicit_patch(network, request, settings, targets=targets)
    if form == "published":
        return published_patch(network, request, settings)
    raise ValueError(f"the form {form!r} is not gated, explicit or published")


def build_certificate(
    network: Network,
    requests: tuple[Request, ...],
    proved: Proved,
    settings: Settings,
    assertion: str,
) -> Certificate:
    """Return the certificate of a history of requests, its files still to be bound."""
    radii = [claim.radius for claim in proved.claims]
    return Certificate(
        assertion=assertion,
        assertion_radius=min(radii) if assertion == "redirected" and radii else None,
        network=semantic_digest(network, (settings.domain.lower, settings.domain.upper)),
        floats=network.dtype.name,
        settings=settings,
        requests=requests,
        claims=proved.claims,
        unclaimed=proved.unclaimed,
        files={},
    )


def history_targets(
    network: Network,
    forget: Records,
    digests: Sequence[str],
    requests: Sequence[Request],
    settings: Settings,
    reference: Records | None,
    reference_network: Network | None,
) -> NDArray[np.float64] | None:
    """Return `reference_targets` request by request, so that no request depends on another.

    Of a record in several requests, which may have drawn several unseen records, the vector that
    comes first in order counts; of a record in none it is NaN.
    """
    if settings.spec is not Spec.REFERENCE:
        return reference_targets(network, forget, settings, reference, reference_network)
    place = {digest: row for row, digest in reversed(list(enumerate(digests)))}
    found: dict[str, list[float]] = {}
    for request in active(requests):
        mine = [digest for digest in request.records if digest in place]
        if not mine:
            continue
        rows = forget.take([place[digest] for digest in mine])
        vectors = reference_targets(network, rows, settings, reference, reference_network)
        assert vectors is not None
        for digest, vector in zip(mine, vectors.astype(np.float32).tolist(), strict=True):
            found[digest] = min(vector, found.get(digest, vector))
    none = [np.nan] * network.classes
    return np.array([found.get(digest, none) for digest in digests], dtype=np.float64)


def reference_targets(
    network: Network,
    forget: Records,
    settings: Settings,
    reference: Records | None,
    reference_network: Network | None,
) -> NDArray[np.float64] | None:
    """Return the vectors q that the outputs shall become: [C], [N, C], or None for redirect.

    `neutralise`: the mean logits of unseen records. `reference`: the reference model's logits at
    the record, or this model's at random unseen records of the same label, each used once.
    """
    if settings.spec is Spec.REDIRECT:
        return None
    if settings.spec is Spec.REFERENCE and reference_network is not None:
        if reference_network.classes != network.classes:
            raise ValueError(
                f"a reference model of {reference_network.classes} classes "
                f"for a network of {network.classes}"
            )
        x = forget.x.reshape(len(forget), *reference_network.input_shape)
        return logits(reference_network, x.astype(np.float64))
    if reference is None:
        what = "unseen records" + (
            " or a reference model" if settings.spec is Spec.REFERENCE else ""
        )
        raise ValueError(f"{settings.spec.value} needs {what} (--reference, --reference-model)")
    unseen = logits(network, reference.x.astype(np.float64))
    if settings.spec is Spec.NEUTRALISE:
        return np.asarray(unseen.mean(axis=0))
    generator = np.random.default_rng([settings.seed, 20520])
    chosen = np.empty((len(forget), network.classes))
    for label in np.unique(forget.y):
        mine = np.flatnonzero(forget.y == label)
        theirs = generator.permutation(np.flatnonzero(reference.y == label))
        if len(theirs) < len(mine):
            raise ValueError(
                f"{len(mine)} records of label {label} to forget, "
                f"but only {len(theirs)} unseen ones of that label"
            )
        chosen[mine] = unseen[theirs[: len(mine)]]
    return chosen
