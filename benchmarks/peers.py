"""Side by side with adversarial-robustness-toolbox and sacroml, on digits, the same target model.

    pip install 'auditkit[peers]'
    python benchmarks/peers.py [--shadows 64] [--rounds 3] [--out results.md]

The target is scikit-learn's 64-64-10 network, trained for 200 epochs on half of the digits. Every
tool gets the model, the members and the others; every attack runs in a process of its own, the
tools in turn. Times are medians over the rounds and leave out imports and the target's training.
The AUC is taken by scikit-learn from the scores a tool gives out, on the records it scored; beside
it stands what the tool itself reports. A tool that is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from measuring import in_child

EPOCHS, BATCH, RATE = 200, 200, 1e-3
Scored = tuple[Any, Any, str]  # scores of members, of the others, what the tool itself reports


def target() -> tuple[Any, Any, Any, Any, Any]:
    """Return the target model, then records and labels of its members and of the others."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    digits = load_digits()
    x, y = (digits.data / 16.0).astype(np.float32), digits.target
    rows = np.random.default_rng(0).permutation(len(y))
    a, b = np.split(rows, [len(rows) // 2])
    model = MLPClassifier(
        (64,), alpha=0.0, batch_size=BATCH, learning_rate_init=RATE, max_iter=EPOCHS, tol=0.0,
        n_iter_no_change=EPOCHS, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is meant to stop after so many epochs
        model.fit(x[a], y[a])
    return model, x[a], y[a], x[b], y[b]


def logits_of(model: Any, x: Any) -> Any:
    """Return what the model adds up before its softmax, float64 [N, C]."""
    (first, last), (a, b) = model.coefs_, model.intercepts_
    return np.maximum(x.astype(np.float64) @ first + a, 0.0) @ last + b


def ours(name: str, shadows: int) -> Callable[[Any], Scored]:
    """Return a run of one of this project's attacks."""
    import attacks
    from attacks.shadows import Recipe, train_shadows

    def run(case: Any) -> Scored:
        model, x, y, others, labels = case
        everything, classes = np.concatenate([x, others]), np.concatenate([y, labels])
        outputs, n = logits_of(model, everything), len(x)
        evidence: dict[str, Any] = {
            "logits": outputs,
            "labels": classes,
            "population_logits": outputs[n:],
            "population_labels": labels,
            "population_records": others,
            "population_rows": np.arange(n, len(classes)),
            "records": everything,
            "predict": lambda z: logits_of(model, np.asarray(z)),
        }
        attack = attacks.attack(name)
        if "shadows" in attack.needs:
            recipe = Recipe(EPOCHS, RATE, BATCH)
            found = train_shadows((64, 64, 10), everything, classes, shadows=shadows, recipe=recipe)
            evidence |= {"shadows": found.pool, "member_mask": found.member_mask}
        scores = attack.score(attacks.Evidence(**evidence))
        figures = attacks.evaluate(scores[:n], scores[n:])
        area, rate = figures.auc, figures.tprs[0]
        told = f"AUC {area.auc:.3f} [{area.lower:.3f}, {area.upper:.3f}]"
        if isinstance(rate, attacks.statistics.TprAtFpr):
            told += f", TPR at 1 % {rate.tpr:.3f} [{rate.lower:.3f}, {rate.upper:.3f}]"
        return scores[:n], scores[n:], told + f", n = {n} + {len(labels)}"

    return run


def art_black_box(kind: str) -> Callable[[Any], Scored]:
    """Return a run of ART's learned attack, fitted on half of the records, judged on the rest."""
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox
    from art.estimators.classification import SklearnClassifier

    def run(case: Any) -> Scored:
        model, x, y, others, labels = case
        attack = MembershipInferenceBlackBox(SklearnClassifier(model), attack_model_type=kind)
        m, n = len(x) // 2, len(others) // 2
        attack.fit(x[:m], y[:m], others[:n], labels[:n])
        a = attack.infer(x[m:], y[m:], probabilities=True)
        b = attack.infer(others[n:], labels[n:], probabilities=True)
        return np.ravel(a), np.ravel(b), "probabilities or 0/1 per record, no figure"

    return run


def art_gap() -> Callable[[Any], Scored]:
    """Return a run of ART's rule-based (gap) attack."""
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBoxRuleBased
    from art.estimators.classification import SklearnClassifier

    def run(case: Any) -> Scored:
        model, x, y, others, labels = case
        attack = MembershipInferenceBlackBoxRuleBased(SklearnClassifier(model))
        a, b = attack.infer(x, y), attack.infer(others, labels)
        return np.ravel(a), np.ravel(b), "0/1 per record, no figure"

    return run


def sacro(kind: str, shadows: int) -> Callable[[Any], Scored]:
    """Return a run of one of sacroml's attacks with its report off."""
    logging.disable(logging.CRITICAL)
    from sacroml.attacks.likelihood_attack import LIRAAttack
    from sacroml.attacks.qmia_attack import QMIAAttack
    from sacroml.attacks.target import Target
    from sacroml.attacks.worst_case_attack import WorstCaseAttack

    def run(case: Any) -> Scored:
        model, x, y, others, labels = case
        subject = Target(
            model=model, dataset_name="digits", X_train=x, y_train=y, X_test=others, y_test=labels
        )
        with tempfile.TemporaryDirectory() as out:
            shared = {"output_dir": out, "write_report": False, "report_individual": True}
            attack: Any
            if kind == "qmia":
                attack = QMIAAttack(**shared)
            elif kind == "worst-case":
                attack = WorstCaseAttack(n_reps=1, **shared)
            else:
                attack = LIRAAttack(n_shadow_models=shadows, mode=kind, **shared)
            attack.attack(subject)
        metrics = attack.attack_metrics[0]
        rates = ", ".join(f"at {p:g} % {metrics[f'TPR@{p:g}%']:.3f}" for p in (0.1, 1e-5))
        told = f"AUC {metrics['AUC']:.3f}, TPR {rates}"
        individual = metrics["individual"]
        values = np.asarray(individual["member_prob"], dtype=float)
        member = np.asarray(individual["member"]).astype(bool)
        return values[member], values[~member], told + ", p-value of the AUC, no interval"

    return run


RUNS: dict[str, tuple[str, str, Callable[[int], Callable[[Any], Scored]]]] = {
    "loss": ("auditkit", "loss threshold", lambda k: ours("loss", k)),
    "gap": ("auditkit", "gap, labels only", lambda k: ours("gap", k)),
    "art-gap": ("art", "rule based (gap)", lambda k: art_gap()),
    "learned": ("auditkit", "learned, cross-fitted", lambda k: ours("learned-direct", k)),
    "art-rf": ("art", "black box, random forest", lambda k: art_black_box("rf")),
    "art-nn": ("art", "black box, network", lambda k: art_black_box("nn")),
    "sacro-worst": ("sacroml", "worst case, random forest", lambda k: sacro("worst-case", k)),
    "quantile": ("auditkit", "quantile, cross-fitted", lambda k: ours("quantile", k)),
    "sacro-qmia": ("sacroml", "QMIA", lambda k: sacro("qmia", k)),
    "lira-online": ("auditkit", "LiRA online", lambda k: ours("lira-online", k)),
    "sacro-online": ("sacroml", "LiRA online-carlini", lambda k: sacro("online-carlini", k)),
    "lira-offline": ("auditkit", "LiRA offline", lambda k: ours("lira-offline", k)),
    "sacro-offline": ("sacroml", "LiRA offline", lambda k: sacro("offline", k)),
    "rmia": ("auditkit", "RMIA", lambda k: ours("rmia", k)),
}
PACKAGES = {"art": "adversarial-robustness-toolbox", "sacroml": "sacroml", "auditkit": None}


def one(name: str, shadows: int) -> dict[str, Any]:
    """Run one attack here and return its time, AUC and what the tool said."""
    from sklearn.metrics import roc_auc_score

    case, run = target(), RUNS[name][2](shadows)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        members, others, told = run(case)
        seconds = time.perf_counter() - started
    truth = np.repeat([1, 0], [len(members), len(others)])
    area = roc_auc_score(truth, np.concatenate([members, others]))
    return {"seconds": seconds, "auc": float(area), "n": len(truth), "told": told}


def main() -> None:
    """Run every attack of every tool that is installed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shadows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--one", choices=RUNS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.shadows)))
        return
    versions = {tool: installed(package) for tool, package in PACKAGES.items()}
    runs = [name for name in RUNS if versions[RUNS[name][0]]]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name in runs:
            arguments = ("--one", name, "--shadows", str(args.shadows))
            found[name].append(in_child(Path(__file__), *arguments))
    lines = [
        f"{args.shadows} shadow models, {args.rounds} rounds, {os.cpu_count()} cores; "
        + ", ".join(f"{tool} {v or 'not installed'}" for tool, v in versions.items() if v != "here")
        + ".",
        "",
        "| tool | attack | seconds | AUC | records scored | the tool itself reports |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in runs:
        tool, title, _ = RUNS[name]
        seconds = statistics.median(r["seconds"] for r in found[name])
        last = found[name][-1]
        lines.append(
            f"| {tool} | {title} | {seconds:.2f} | {last['auc']:.3f} | {last['n']} | "
            f"{last['told']} |"
        )
    text = "\n".join(lines)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def installed(package: str | None) -> str | None:
    """Return the version of a package, None when it is not installed, "here" for this project."""
    if package is None:
        return "here"
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
