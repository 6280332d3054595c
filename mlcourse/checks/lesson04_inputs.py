"""Exercises of lesson 04 that change the inputs: adversarial examples by the sign of the gradient, and mixup."""

import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake, Property
from mlcourse.checks.randomness import GLOBAL_GENERATOR, repeats, seed_matters

# 4.6 fgsm(loss, params, x, y, *, epsilon) -> x like x. Goodfellow, Shlens and Szegedy 2015, section 4.


def mean_cross_entropy(params: Any, x: Any, y: Any) -> Any:
    """loss(params, x, y): the mean cross-entropy of the classifier with the logits x @ params"""
    root = type(x).__module__.split(".")[0]
    xp = sys.modules["torch"] if root == "torch" else sys.modules["jax.numpy"] if root.startswith("jax") else np
    z = x @ params  # (n, num_classes)
    label = z[xp.arange(len(y)), y]
    return (xp.log(xp.exp(z).sum(1)) - label).mean()


def _fgsm_cases() -> dict:
    rng = np.random.default_rng(46)

    def case(n: int, d: int, num_classes: int, epsilon: float, dead: tuple[int, ...] = ()) -> dict:
        params = rng.normal(size=(d, num_classes)).astype(np.float32)
        params[list(dead)] = 0.0
        x = rng.uniform(0.2, 0.8, (n, d)).astype(np.float32)
        x[0, 0], x[-1, -1] = 0.0, 1.0
        return {
            "loss": mean_cross_entropy,
            "params": params,
            "x": x,
            "y": rng.integers(0, num_classes, n).astype(np.int32),
            "epsilon": epsilon,
        }

    wide = case(4, 12, 3, 0.07)
    return {
        "4 images of 4 pixels": case(4, 4, 4, 0.1),
        "pixels at 0 and 1, a large epsilon": case(4, 6, 3, 0.4),
        "two pixels that the model does not look at": case(4, 6, 3, 0.05, dead=(1, 4)),
        "every second pixel of larger images": {**wide, "x": wide["x"][:, ::2], "params": wide["params"][:6]},
        "an epsilon of 0": case(4, 6, 3, 0.0),
    }


def _run_fgsm(answer: Callable, loss: Callable, params: Any, x: Any, y: Any, epsilon: float) -> Any:
    return answer(loss, params, x, y, epsilon=epsilon)


def _slope(of: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The gradient by central differences in float64; exactly 0 where nothing changes."""
    gradient, at = np.zeros(at.shape), at.astype(float)
    for index in np.ndindex(*at.shape):
        nudge = np.zeros(at.shape)
        nudge[index] = step
        gradient[index] = (of(at + nudge) - of(at - nudge)) / (2 * step)
    return np.where(abs(gradient) < 1e-8, 0.0, gradient)


def _gradient(loss: Callable, params: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _slope(lambda x: loss(params.astype(float), x, y), x)


def _attack(
    change: Callable = lambda g, x, epsilon: epsilon * np.sign(g),
    *,
    limit: Callable = lambda new, x, epsilon: np.clip(new, 0, 1),
    gradient: Callable = _gradient,
) -> Callable:
    def fgsm(loss: Callable, params: np.ndarray, x: np.ndarray, y: np.ndarray, *, epsilon: float) -> np.ndarray:
        return limit(x + change(gradient(loss, params, x, y), x, epsilon), x, epsilon)

    return fgsm


def _by_prediction(loss: Callable, params: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _gradient(loss, params, x, (x @ params).argmax(axis=1))


def _per_row(g: np.ndarray) -> np.ndarray:
    return g / np.sqrt((g**2).sum(axis=1, keepdims=True))


_UNCLIPPED = "Some pixels are below 0 or above 1, and no image has those. Clip x + epsilon * sign(g) to [0, 1]."

FGSM = Exercise(
    id="4.6",
    name="fgsm",
    title="The smallest change that hurts most",
    minutes=10,
    difficulty=2,
    cases=_fgsm_cases,
    reference=_attack(),
    run=_run_fgsm,
    mistakes=(
        Mistake(
            "The gradient itself was added. Take its sign, so that every pixel moves by epsilon.",
            _attack(lambda g, x, epsilon: epsilon * g),
        ),
        Mistake(
            "The gradient was scaled to length 1. That bounds the length of the change; here each *pixel* may move by "
            "epsilon, and the sign of the gradient uses that up.",
            _attack(lambda g, x, epsilon: epsilon * _per_row(g)),
        ),
        Mistake(
            "The image moved down the gradient, so the loss falls. An attack makes it rise: add epsilon * sign(g).",
            _attack(lambda g, x, epsilon: -epsilon * np.sign(g)),
        ),
        Mistake(_UNCLIPPED, _attack(limit=lambda new, x, epsilon: new)),
        Mistake(
            "The change was clipped, not the image. Add first, and clip the sum to [0, 1].",
            _attack(limit=lambda new, x, epsilon: x + np.clip(new - x, 0, 1)),
        ),
        Mistake(
            "Pixels below 0 were cut off, but not those above 1.", _attack(limit=lambda new, x, epsilon: np.maximum(new, 0))
        ),
        Mistake(
            "Pixels above 1 were cut off, but not those below 0. The range is [0, 1], not [-1, 1].",
            _attack(limit=lambda new, x, epsilon: np.minimum(new, 1)),
        ),
        Mistake(
            "epsilon was squared: each pixel moves by epsilon itself.", _attack(lambda g, x, epsilon: epsilon**2 * np.sign(g))
        ),
        Mistake(
            "epsilon was divided by 255. The pixels lie from 0 to 1 already, and so does epsilon.",
            _attack(lambda g, x, epsilon: epsilon / 255 * np.sign(g)),
        ),
        Mistake("epsilon is missing: the pixels move by 1.", _attack(lambda g, x, epsilon: np.sign(g))),
        Mistake(
            "This is the gradient with respect to the *parameters*. An attack leaves them alone and changes x: "
            "`jax.grad(loss, argnums=1)`.",
            _attack(gradient=lambda loss, params, x, y: _slope(lambda p: loss(p, x.astype(float), y), params)),
        ),
        Mistake(
            "The loss was taken with the model's predictions as labels. Use the labels y: where the model is wrong already, "
            "the two gradients point to different sides.",
            _attack(gradient=_by_prediction),
        ),
        Mistake(
            "Pixels whose gradient is exactly 0 were moved. Their sign is 0: use `jnp.sign(g)`, not a choice between +1 and "
            "-1.",
            _attack(lambda g, x, epsilon: np.where(g > 0, epsilon, -epsilon)),
        ),
        Mistake(
            "Pixels whose gradient is exactly 0 were moved. Their sign is 0: use `jnp.sign(g)`, not a choice between +1 and "
            "-1.",
            _attack(lambda g, x, epsilon: np.where(g >= 0, epsilon, -epsilon)),
        ),
        Mistake(
            "This is the change alone. Add it to x, and clip the sum to [0, 1].",
            _attack(limit=lambda new, x, epsilon: new - x),
        ),
        Mistake(
            "This is the change alone, clipped. Add it to x first.",
            _attack(limit=lambda new, x, epsilon: np.clip(new - x, 0, 1)),
        ),
        Mistake("x came back as it was. Add epsilon * sign(g).", _attack(lambda g, x, epsilon: 0 * g)),
        Mistake(
            "The sign of x was taken. It is the sign of the gradient.", _attack(lambda g, x, epsilon: epsilon * np.sign(x))
        ),
    ),
    hints=(
        "You want the loss as a function of x, with params and y held. Which way does it rise fastest, if every pixel may "
        "move by at most epsilon?",
        "`jax.grad(loss, argnums=1)(params, x, y)` is the gradient with respect to the second argument. In PyTorch: "
        "`x = x.clone().requires_grad_()`, then `torch.autograd.grad(loss(params, x, y), x)`.",
        "`jnp.clip(x + epsilon * jnp.sign(g), 0, 1)`.",
    ),
)


# 4.7 mixup(x, y, *, num_classes, alpha, seed) -> x like x, labels (n, num_classes). Zhang et al. 2018.

DRAWS = 30
_known: WeakKeyDictionary = WeakKeyDictionary()  # run -> its mixes over many seeds, so that all properties share them


def _mixup_cases() -> dict:
    """Examples are the rows of a unit matrix, so a mixture shows which examples are in it and with what weights."""

    def case(n: int, num_classes: int, alpha: float, seed: int) -> dict:
        y = np.random.default_rng(47 + n).permutation(np.arange(n) % num_classes)
        x = np.eye(n, dtype=np.float32)
        return {"x": x, "y": y.astype(np.int32), "num_classes": num_classes, "alpha": alpha, "seed": seed}

    images, doubled = case(12, 3, 1.0, 5), case(15, 5, 2.0, 8)
    return {
        "20 examples of 4 classes": case(20, 4, 0.4, 0),
        "images of 3 by 4 pixels": {**images, "x": images["x"].reshape(12, 3, 4)},
        "every second entry of larger arrays, a class that does not occur": {
            **doubled,
            "x": np.repeat(doubled["x"], 2, axis=0)[::2],
            "y": np.repeat(doubled["y"], 2)[::2],
            "num_classes": 6,
        },
    }


def _run_mixup(answer: Callable, x: Any, y: Any, num_classes: int, alpha: float, seed: int) -> Any:
    return answer(x, y, num_classes=num_classes, alpha=alpha, seed=seed)


def _mixup(x: np.ndarray, y: np.ndarray, *, num_classes: int, alpha: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    partner, weight = rng.permutation(len(x)), rng.beta(alpha, alpha, len(x))
    labels = np.eye(num_classes)[y]
    share = weight.reshape(-1, *[1] * (x.ndim - 1))
    return share * x + (1 - share) * x[partner], weight[:, None] * labels + (1 - weight)[:, None] * labels[partner]


class _Mix:
    """One result, read back: `weights` (n, n) says how much of example j is in row i; `labels` (n, num_classes)."""

    def __init__(self, case: dict, result: tuple) -> None:
        n = len(case["x"])
        self.weights, self.labels = (np.asarray(part, dtype=float).reshape(n, -1) for part in result)
        self.one_hot = np.eye(case["num_classes"])[case["y"]]
        self.own = self.weights.diagonal().copy()
        others = self.weights - np.diag(self.own)
        self.mixed = others.max(axis=1) > 1e-6  # a smaller share can't be told from none
        self.partner = np.where(self.mixed, others.argmax(axis=1), np.arange(n))

    def expected(self, own: np.ndarray, partner: np.ndarray) -> np.ndarray:
        return own[:, None] * self.one_hot + (1 - own)[:, None] * self.one_hot[partner]


def _near(a: Any, b: Any) -> bool:
    return bool(np.allclose(a, b, atol=1e-4))


def _of_one(holds: Callable[[_Mix], bool]) -> Callable:
    return lambda run, **case: bool(holds(_Mix(case, run(**case))))


def _of_many(holds: Callable[[list[_Mix], dict], bool]) -> Callable:
    def wrapped(run: Callable, **case: Any) -> bool:
        if run not in _known:
            _known[run] = [_Mix(case, run(**{**case, "seed": 100 + i})) for i in range(DRAWS)]
        return bool(holds(_known[run], case))

    return wrapped


def _shares(mixes: list[_Mix]) -> np.ndarray:
    return np.concatenate([mix.own[mix.mixed] for mix in mixes])


def _weights_are_beta(mixes: list[_Mix], case: dict) -> bool:
    """Mean 1/2 and variance 1 / (4 (2 alpha + 1)), within 6 standard errors (1.1 variances for that of the variance)."""
    shares, variance = _shares(mixes), 1 / (4 * (2 * case["alpha"] + 1))
    error = 6 / len(shares) ** 0.5
    return abs(shares.mean() - 0.5) < error * variance**0.5 and abs(shares.var() - variance) < 1.1 * error * variance


def _partners_are_random(mixes: list[_Mix], case: dict) -> bool:
    return not all((a.partner == b.partner)[a.mixed & b.mixed].all() for a, b in pairwise(mixes))


def _partners_are_no_neighbours(mix: _Mix) -> bool:
    steps = (mix.partner - np.arange(len(mix.partner))) % len(mix.partner)
    return len(set(steps[mix.mixed])) > 1


def _partners_come_once(mix: _Mix) -> bool:
    return len(set(mix.partner[mix.mixed])) == mix.mixed.sum()


def _labels_are(own: Callable, partner: Callable) -> Callable:
    """Holds unless the labels are those of these weights and partners, and not the right ones."""

    def holds(mix: _Mix) -> bool:
        right = _near(mix.labels, mix.expected(mix.own, mix.partner))
        return right or not _near(mix.labels, mix.expected(own(mix), partner(mix)))

    return _of_one(holds)


MIXUP = Exercise(
    id="4.7",
    name="mixup",
    title="Mixup: between two examples",
    minutes=15,
    difficulty=2,
    cases=_mixup_cases,
    reference=_mixup,
    run=_run_mixup,
    compare="shapes",
    seconds=20.0,  # jax.random.beta takes long to compile
    mistakes=(
        Mistake(
            "The labels are still class numbers. A mixture of two classes needs a probability for each: mix the rows of "
            "`jax.nn.one_hot(y, num_classes)`.",
            lambda x, y, **how: (_mixup(x, y, **how)[0], y),
        ),
        Mistake(
            "The labels have a column for each class that occurs in this batch. They need one for each of the `num_classes`.",
            lambda x, y, **how: (_mixup(x, y, **how)[0], _mixup(x, y, **{**how, "num_classes": int(y.max()) + 1})[1]),
        ),
        Mistake(
            "The labels are missing: return the mixed x, then the mixed labels.", lambda x, y, **how: _mixup(x, y, **how)[0]
        ),
        Mistake(
            "The mixtures were added to the batch. Return as many examples as came in.",
            lambda x, y, **how: tuple(np.concatenate([part, part]) for part in _mixup(x, y, **how)),
        ),
        Mistake(
            "x and the labels are exchanged: return the mixed x first.",
            lambda x, y, **how: _mixup(x, y, **how)[::-1],
        ),
    ),
    properties=(
        Property(
            "Nothing was mixed: every example is still itself. Row i becomes weight * x[i] + (1 - weight) * x[partner[i]].",
            _of_one(lambda mix: mix.mixed.any() or not _near(mix.own, 1)),
        ),
        Property(
            "The examples were shuffled and not mixed. Row i becomes weight * x[i] + (1 - weight) * x[partner[i]].",
            _of_one(lambda mix: not (_near(mix.weights.max(axis=1), 1) and _near(mix.weights.sum(axis=1), 1))),
        ),
        Property(
            "More than two examples are in a mixture. Each row gets one partner.",
            _of_one(lambda mix: ((mix.weights > 1e-4).sum(axis=1) <= 2).all()),
        ),
        Property(
            "The weights of the two examples do not add up to 1. One weight for an example, the same for all its features: "
            "`weight * x + (1 - weight) * x[partner]`.",
            _of_one(lambda mix: _near(mix.weights.sum(axis=1), 1)),
        ),
        Property(
            "The labels of the partners are missing: each mixture has the label of its first example alone. Mix the labels "
            "with the same partners and weights as x.",
            _labels_are(lambda mix: np.ones(len(mix.own)), lambda mix: mix.partner),
        ),
        Property(
            "The weights of the labels are exchanged: the example with the small share of x has the large share of the label.",
            _labels_are(lambda mix: 1 - mix.own, lambda mix: mix.partner),
        ),
        Property(
            "Each label is half and half, whatever the weight. Mix the labels with the same weights as x.",
            _labels_are(lambda mix: np.full(len(mix.own), 0.5), lambda mix: mix.partner),
        ),
        Property(
            "The labels were rounded to the larger share. Keep both: the loss of a mixture is the mixture of the losses.",
            _labels_are(lambda mix: (mix.own >= 0.5).astype(float), lambda mix: mix.partner),
        ),
        Property(
            "The labels of a row do not add up to 1.",
            _of_one(lambda mix: _near(mix.labels.sum(axis=1), 1)),
        ),
        Property(
            "The labels do not belong to the mixtures: they were mixed with other partners or other weights than x. Draw both "
            "once, and use them for x and for the labels.",
            _of_one(lambda mix: _near(mix.labels, mix.expected(mix.own, mix.partner))),
        ),
        Property(
            "Some examples are partners twice and others never. Take a permutation: `rng.permutation(len(x))`.",
            _of_one(_partners_come_once),
        ),
        Property(
            "Each example is mixed with a fixed neighbour. Draw the partners: `rng.permutation(len(x))`.",
            _of_one(_partners_are_no_neighbours),
        ),
        Property(
            "Two calls with the same seed give different mixtures. Make the generator from the seed.",
            repeats,
        ),
        Property(
            "Another seed gives the same mixtures, so `seed` is not used. Make the generator from it.",
            seed_matters,
        ),
        Property(
            "The partners are the same whatever the seed. Draw them with the generator that the seed made.",
            _of_many(_partners_are_random),
        ),
        Property(
            "One weight was drawn for the whole batch. Draw one for each example: `rng.beta(alpha, alpha, size=len(x))`.",
            _of_one(lambda mix: not _near(mix.own[mix.mixed], mix.own[mix.mixed][0])),
        ),
        Property(
            "The weights are not those of a Beta distribution with both parameters alpha. A small alpha makes weights near "
            "0 and 1, alpha = 1 uniform ones: `rng.beta(alpha, alpha, size=len(x))`.",
            _of_many(_weights_are_beta),
        ),
        GLOBAL_GENERATOR,
    ),
    hints=(
        "Draw two things once: who is mixed with whom (a permutation), and how much of each (a weight for every example).",
        "`weight` has the shape (n,). To multiply images with it, give it axes of length 1: `weight.reshape(-1, 1, 1)`, or "
        "for any shape `weight.reshape(-1, *[1] * (x.ndim - 1))`.",
        "The labels take the very same formula, applied to `jax.nn.one_hot(y, num_classes)`.",
    ),
)
