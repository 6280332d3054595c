"""Exercises of lesson 06 on sampling: the probabilities from which the next token is drawn."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson06_attention import normals, softmax

# 6.8 top_k(logits, *, temperature, k): (V,) -> (V,). Fan, Lewis and Dauphin 2018.


def _k_cases() -> dict:
    rng = np.random.default_rng(68)
    return {
        "five tokens": {"logits": np.float32([1.0, 3.0, 0.5, 2.0, -1.0]), "temperature": 1.0, "k": 2},
        "a low temperature": {"logits": normals(rng, 8), "temperature": 0.5, "k": 4},
        "a high temperature": {"logits": normals(rng, 7, scale=3.0), "temperature": 2.5, "k": 3},
        "three tokens that tie for two places": {
            "logits": np.float32([2.0, 0.0, 1.0, 1.0, 3.0, 1.0]),
            "temperature": 0.8,
            "k": 4,
        },
        "more places than tokens": {"logits": normals(rng, 4), "temperature": 1.5, "k": 9},
        "huge logits": {"logits": normals(rng, 6, scale=400.0), "temperature": 3.0, "k": 3},
        "one place": {"logits": normals(rng, 5), "temperature": 0.7, "k": 1},
        "every second logit of a longer list": {"logits": normals(rng, 12)[::2], "temperature": 1.3, "k": 3},
    }


def _run_k(answer: Callable, logits: Any, temperature: float, k: int) -> Any:
    return answer(logits, temperature=temperature, k=k)


def _best(logits: np.ndarray, k: int) -> np.ndarray:
    """True for the k largest, ties to the lower number."""
    kept = np.zeros(len(logits), dtype=bool)
    kept[np.argsort(-logits, kind="stable")[: max(k, 0)]] = True
    return kept


def _best_late(logits: np.ndarray, k: int) -> np.ndarray:
    """Ties to the higher number."""
    return _best(logits[::-1], k)[::-1]


def _without_max(z: np.ndarray) -> np.ndarray:
    e = np.exp(z.astype(np.float32))
    return e / e.sum()


def _top_k(
    keep: Callable = _best,
    *,
    heated: Callable = lambda logits, temperature: logits / temperature,
    hide: float = -np.inf,
    weigh: Callable = softmax,
    finish: Callable = lambda p, kept: p,
) -> Callable:
    """finish(weigh(the logits heated and, where not kept, hidden), kept)."""

    def top_k(logits: np.ndarray, *, temperature: float, k: int) -> np.ndarray:
        logits = logits.astype(float)
        kept = keep(logits, k)
        return finish(weigh(np.where(kept, heated(logits, temperature), hide)), kept)

    return top_k


def _after_the_softmax(finish: Callable) -> Callable:
    def top_k(logits: np.ndarray, *, temperature: float, k: int) -> np.ndarray:
        return finish(softmax(logits / temperature), _best(logits, k))

    return top_k


def _sorted_top(logits: np.ndarray, *, temperature: float, k: int) -> np.ndarray:
    return np.sort(top_k(logits, temperature=temperature, k=k))[::-1]


def _probabilities_heated(logits: np.ndarray, *, temperature: float, k: int) -> np.ndarray:
    return np.where(_best(logits, k), softmax(logits) / temperature, 0)


top_k = _top_k()
_OVERFLOW = (
    "The softmax overflows: exp(100) is infinite in float32, and inf/inf is nan. Subtract the largest logit first, or take "
    "the library's softmax."
)
_MULTIPLIED = (
    "The logits were multiplied by the temperature. Divide: a low temperature makes the differences larger, and the most "
    "likely token likelier."
)

TOP_K = Exercise(
    id="6.8",
    name="top_k",
    title="Temperature and top-k",
    minutes=15,
    difficulty=2,
    cases=_k_cases,
    reference=top_k,
    run=_run_k,
    mistakes=(
        Mistake(
            "One token too many was kept. Python counts from 0: the k-th largest stands at place k - 1 of the sorted list.",
            _top_k(lambda logits, k: _best(logits, k + 1)),
        ),
        Mistake("One token too few was kept.", _top_k(lambda logits, k: _best(logits, max(k - 1, 1)))),
        Mistake(
            "More than k tokens were kept where several tie for the last place: `logits >= the k-th largest` keeps them all. "
            "Keep k, those with the lower numbers first: a stable sort does it.",
            _top_k(lambda logits, k: logits >= np.sort(logits)[::-1][min(k, len(logits)) - 1]),
        ),
        Mistake(
            "Of tokens that tie, those with the higher numbers were kept. Take the lower ones: sort -logits with a stable sort "
            "instead of reading a sorted list from its end.",
            _top_k(_best_late),
        ),
        Mistake(_MULTIPLIED, _top_k(heated=lambda logits, temperature: logits * temperature)),
        Mistake("The temperature was not used.", _top_k(heated=lambda logits, temperature: logits)),
        Mistake(
            "The probabilities were cut after the softmax and not renormalised: they add up to less than 1. Cut the logits "
            "(set them to -inf), or divide by the sum of what is left.",
            _after_the_softmax(lambda p, kept: p * kept),
        ),
        Mistake(
            "The tokens that fall out have a logit of 0, and exp(0) = 1 is a chance like others. Set them to -inf.",
            _top_k(hide=0.0),
        ),
        Mistake(
            "The softmax was taken twice, of logits and then of probabilities, which makes nearly equal chances of them.",
            _after_the_softmax(lambda p, kept: softmax(np.where(kept, p, -np.inf))),
        ),
        Mistake(
            "The *probabilities* were divided by the temperature, which leaves their ratios as they were. Divide the logits.",
            _probabilities_heated,
        ),
        Mistake("The k *least* likely tokens were kept.", _top_k(lambda logits, k: _best(-logits, k))),
        Mistake(
            "The probabilities are sorted, so nobody knows whose they are. Place i belongs to token i.",
            _sorted_top,
        ),
        Mistake(_OVERFLOW, _top_k(weigh=_without_max)),
        Mistake("These are the logits. Return probabilities: the softmax of them.", _top_k(weigh=lambda z: z)),
        Mistake("All tokens were kept.", _top_k(lambda logits, k: np.ones(len(logits), dtype=bool))),
        Mistake(
            "All k tokens got the same chance. They share it by the softmax of their logits.",
            _top_k(weigh=lambda z: np.isfinite(z) / np.isfinite(z).sum()),
        ),
    ),
    hints=(
        "Dividing by the temperature does not change the order, so it does not matter which comes first, heat or choice. The "
        "softmax comes last.",
        "Sort the token numbers by logit, the largest first, and keep the first k of them; all other logits become -inf.",
        '`best = np.argsort(-logits, kind="stable")[:k]`; fill an array with -inf, and put `logits[best] / temperature` '
        "into it.",
    ),
)


# 6.9 top_p(logits, *, temperature, p): (V,) -> (V,). Holtzman et al. 2020, section 3.1.


def _p_cases() -> dict:
    rng = np.random.default_rng(69)
    return {
        "probabilities 0.1, 0.5, 0.15, 0.25": {
            "logits": np.log(np.float32([0.1, 0.5, 0.15, 0.25])),
            "temperature": 1.0,
            "p": 0.7,
        },
        "one token that is enough": {"logits": np.log(np.float32([0.05, 0.1, 0.85])), "temperature": 1.0, "p": 0.6},
        "a high temperature": {"logits": normals(rng, 8, scale=2.0), "temperature": 2.0, "p": 0.75},
        "a low temperature": {"logits": normals(rng, 9), "temperature": 0.4, "p": 0.8},
        "nearly everything": {"logits": normals(rng, 6), "temperature": 1.2, "p": 0.995},
        "huge logits": {"logits": normals(rng, 6, scale=300.0), "temperature": 150.0, "p": 0.9},
        "every second logit of a longer list": {"logits": normals(rng, 14)[::2], "temperature": 1.5, "p": 0.55},
    }


def _run_p(answer: Callable, logits: Any, temperature: float, p: float) -> Any:
    return answer(logits, temperature=temperature, p=p)


def _nucleus(probabilities: np.ndarray, p: float) -> np.ndarray:
    """True for the likeliest tokens whose sum *before* each of them is still below p."""
    order = np.argsort(-probabilities, kind="stable")
    kept = np.zeros(len(order), dtype=bool)
    kept[order] = np.cumsum(probabilities[order]) - probabilities[order] < p
    return kept


def _in_order(decide: Callable) -> Callable:
    """`decide(sorted probabilities, p)` says for each, from the likeliest on, whether it is kept."""

    def keep(probabilities: np.ndarray, p: float) -> np.ndarray:
        order = np.argsort(-probabilities, kind="stable")
        kept = np.zeros(len(order), dtype=bool)
        kept[order] = decide(probabilities[order], p)
        return kept

    return keep


def _top_p(
    keep: Callable = _nucleus,
    *,
    heated: Callable = lambda logits, temperature: logits / temperature,
    weigh: Callable = softmax,
    finish: Callable = lambda kept: kept / kept.sum(),
) -> Callable:
    def top_p(logits: np.ndarray, *, temperature: float, p: float) -> np.ndarray:
        probabilities = weigh(heated(logits.astype(float), temperature))
        return finish(np.where(keep(probabilities, p), probabilities, 0.0))

    return top_p


def _cut_cold(logits: np.ndarray, *, temperature: float, p: float) -> np.ndarray:
    return softmax(np.where(_nucleus(softmax(logits), p), logits / temperature, -np.inf))


def _mask_in_sorted_order(probabilities: np.ndarray, p: float) -> np.ndarray:
    ordered = np.sort(probabilities)[::-1]
    return np.cumsum(ordered) - ordered < p


def _least_likely(probabilities: np.ndarray, p: float) -> np.ndarray:
    order = np.argsort(probabilities, kind="stable")
    kept = np.zeros(len(order), dtype=bool)
    kept[order] = np.cumsum(probabilities[order]) - probabilities[order] < p
    return kept


TOP_P = Exercise(
    id="6.9",
    name="top_p",
    title="Top-p: as many as it takes",
    minutes=15,
    difficulty=3,
    cases=_p_cases,
    reference=_top_p(),
    run=_run_p,
    mistakes=(
        Mistake(
            "The token that crosses p was left out, so the rest adds up to less than p; and where the first token alone is "
            "above p, nothing is left. Keep a token if the sum *before* it is below p.",
            _top_p(_in_order(lambda ordered, p: np.cumsum(ordered) <= p)),
        ),
        Mistake(
            "The token that crosses p was left out, except where nothing would be left. Keep a token if the sum *before* it is "
            "below p.",
            _top_p(_in_order(lambda ordered, p: (np.cumsum(ordered) <= p) | (np.arange(len(ordered)) == 0))),
        ),
        Mistake(
            "One token too many was kept: the set is full as soon as its sum reaches p.",
            _top_p(_in_order(lambda ordered, p: np.append(True, np.cumsum(ordered) - ordered < p)[:-1])),
        ),
        Mistake("The temperature was not used.", _top_p(heated=lambda logits, temperature: logits)),
        Mistake(_MULTIPLIED, _top_p(heated=lambda logits, temperature: logits * temperature)),
        Mistake(
            "The set was chosen before the temperature had its say. First the temperature, then the sum up to p.", _cut_cold
        ),
        Mistake(
            "The probabilities that are left were not renormalised: they add up to less than 1.",
            _top_p(finish=lambda kept: kept),
        ),
        Mistake(
            "p was taken for a limit on each probability by itself. It is the sum of the likeliest ones that has to reach p.",
            _top_p(lambda probabilities, p: probabilities >= 1 - p),
        ),
        Mistake(
            "p was taken for a share of the largest probability. That is min-p, another rule: here the sum has to reach p.",
            _top_p(lambda probabilities, p: probabilities >= p * probabilities.max()),
        ),
        Mistake("The sum began with the *least* likely tokens. Sort from the largest down.", _top_p(_least_likely)),
        Mistake(
            "The probabilities were added up in the order of the token numbers. Sort them first, from the largest down.",
            _top_p(lambda probabilities, p: np.cumsum(probabilities) - probabilities < p),
        ),
        Mistake(
            "The mask is in sorted order, but was used in the order of the tokens. Bring it back: `kept[order] = mask`.",
            _top_p(_mask_in_sorted_order),
        ),
        Mistake(
            "The probabilities are sorted, so nobody knows whose they are. Place i belongs to token i.",
            _top_p(finish=lambda kept: np.sort(kept)[::-1] / kept.sum()),
        ),
        Mistake(
            "All kept tokens got the same chance. They keep their ratios.",
            _top_p(finish=lambda kept: (kept > 0) / (kept > 0).sum()),
        ),
        Mistake("All tokens were kept.", _top_p(lambda probabilities, p: probabilities >= 0)),
    ),
    hints=(
        "A softmax of logits / temperature first. Then the order of the tokens, the likeliest first, and the running sum in "
        "that order.",
        "A token belongs to the set if the sum of those *before* it is still below p: the running sum less its own "
        "probability. The first always belongs.",
        "`kept[order] = np.cumsum(q[order]) - q[order] < p` brings the answer back to the tokens' own order; then renormalise.",
    ),
)
