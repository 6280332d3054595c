"""Exercises of lesson 03 that hand over code with a bug: a variance never kept, axes of another layout, the batch used
where nothing should depend on it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson03_batchnorm import LIBRARIES, of_every_call

# 3.9 normalise(x, state, *, training, momentum, epsilon) -> y (n, d), state; only y is compared


def _normalise_cases() -> dict:
    rng = np.random.default_rng(39)

    def case(x: tuple, training: tuple, momentum: float, epsilon: float) -> dict:
        state = {"mean": rng.normal(size=3), "variance": rng.uniform(0.5, 3.0, 3)}
        return {"x": x, "state": state, "training": training, "momentum": momentum, "epsilon": epsilon}

    def batch(n: int) -> np.ndarray:
        return rng.normal(2.0, [2, 4, 6], (n, 3))

    wide = rng.normal(1.0, 3.0, (5, 6))
    return {
        "one step of training, then evaluation": case((batch(5), batch(5)), (True, False), 0.9, 0.25),
        "three steps of training, then evaluation twice": case(
            (batch(5), batch(3), batch(5), batch(5), batch(3)), (True, True, True, False, False), 0.6, 0.1
        ),
        "evaluation first, then training, then evaluation": case(
            (batch(3), batch(5), batch(1)), (False, True, False), 0.3, 0.5
        ),
        "every second column of a larger array": case((wide[:, ::2], wide[:, 1::2]), (True, False), 0.8, 0.4),
    }


def _run_normalise(answer: Callable, x: tuple, state: dict, training: tuple, momentum: float, epsilon: float) -> Any:
    def call(batch: Any, mode: bool) -> Any:
        nonlocal state
        result = answer(batch, state, training=mode, momentum=momentum, epsilon=epsilon)
        if isinstance(result, (tuple, list)) and len(result) == 2:
            y, state = result
            return y
        return result

    return of_every_call(call, x, training)


def _mixed(momentum: float, old: tuple, new: tuple) -> tuple:
    """Mean and variance, each `momentum` old and the rest new."""
    return tuple(momentum * o + (1 - momentum) * n for o, n in zip(old, new, strict=True))


def _normalise(
    *,
    kept: Callable = lambda momentum, old, batch, x: _mixed(momentum, old, batch),
    evaluation: Callable = lambda old, batch: old,
    always: bool = False,
    scale: Callable = lambda x, mean, variance, epsilon: (x - mean) / np.sqrt(variance + epsilon),
) -> Callable:
    """An answer to exercise 3.9 with any part replaced; with `always` evaluation keeps statistics as well."""

    def normalise(x: np.ndarray, state: dict, *, training: bool, momentum: float, epsilon: float) -> tuple:
        old, batch = (state["mean"], state["variance"]), (x.mean(axis=0), x.var(axis=0))
        mean, variance = batch if training else evaluation(old, batch)
        new = kept(momentum, old, batch, x) if training or always else old
        return scale(x, mean, variance, epsilon), dict(zip(("mean", "variance"), new, strict=True))

    return normalise


NORMALISE = Exercise(
    id="3.9",
    name="normalise",
    title="Find the bug: fine in training, useless afterwards",
    minutes=10,
    difficulty=2,
    cases=_normalise_cases,
    reference=_normalise(),
    run=_run_normalise,
    rtol=1e-4,
    atol=1e-5,
    mistakes=(
        Mistake(
            "The running variance is never updated: evaluation still divides by the root of its first value. Look at the name "
            f"under which the new one is kept, and at the one that is read. {LIBRARIES}",
            _normalise(kept=lambda momentum, old, batch, x: (_mixed(momentum, old, batch)[0], old[1])),
        ),
        Mistake(
            "Now neither the running mean nor the running variance is updated. Return a state with both.",
            _normalise(kept=lambda momentum, old, batch, x: old),
        ),
        Mistake(
            "Now the running mean is no longer updated. Both belong in the new state.",
            _normalise(kept=lambda momentum, old, batch, x: (old[0], _mixed(momentum, old, batch)[1])),
        ),
        Mistake(
            "The running variance is replaced by that of the last batch. Mix it, as the mean is mixed.",
            _normalise(kept=lambda momentum, old, batch, x: (_mixed(momentum, old, batch)[0], batch[1])),
        ),
        Mistake(
            "The running statistics are replaced by those of the last batch. Mix old and new.",
            _normalise(kept=lambda momentum, old, batch, x: batch),
        ),
        Mistake(
            "The running variance is updated with the standard deviation. Mix in the variance: the root is taken at the end.",
            _normalise(kept=lambda momentum, old, batch, x: _mixed(momentum, old, (batch[0], np.sqrt(batch[1])))),
        ),
        Mistake(
            "The new variance is mixed with the old *mean*. Mix it with the old variance.",
            _normalise(
                kept=lambda momentum, old, batch, x: (
                    _mixed(momentum, old, batch)[0],
                    momentum * old[0] + (1 - momentum) * batch[1],
                )
            ),
        ),
        Mistake(
            "The momentum of the variance is swapped. As for the mean, and as in Flax, it is the share of the old value: "
            "momentum * old + (1 - momentum) * new. (In PyTorch it is the share of the new one.)",
            _normalise(
                kept=lambda momentum, old, batch, x: (
                    _mixed(momentum, old, batch)[0],
                    _mixed(1 - momentum, old, batch)[1],
                )
            ),
        ),
        Mistake(
            "The momentum is swapped. As in Flax, it is the share of the old value: momentum * old + (1 - momentum) * new. "
            "(In PyTorch it is the share of the new one.)",
            _normalise(kept=lambda momentum, old, batch, x: _mixed(1 - momentum, old, batch)),
        ),
        Mistake(
            f"The running variance is the unbiased one now. Here it is the batch's own, as in Flax. {LIBRARIES}",
            _normalise(kept=lambda momentum, old, batch, x: _mixed(momentum, old, (batch[0], x.var(axis=0, ddof=1)))),
        ),
        Mistake(
            "The root is missing: x - mean is divided by the variance.",
            _normalise(scale=lambda x, mean, variance, epsilon: (x - mean) / (variance + epsilon)),
        ),
        Mistake(
            "Evaluation uses the batch's statistics. The symptom is gone and another bug there: a prediction now depends on "
            "the rest of its batch. Use the running ones, and keep them up to date.",
            _normalise(evaluation=lambda old, batch: batch),
        ),
        Mistake(
            "Evaluation uses the variance of the batch. The symptom is gone and another bug there: a prediction now depends "
            "on the rest of its batch. Use the running one, and keep it up to date.",
            _normalise(evaluation=lambda old, batch: (old[0], batch[1])),
        ),
        Mistake(
            "Evaluation updates the running statistics. Update them in training only.",
            _normalise(always=True),
        ),
    ),
    hints=(
        "Print the state after one step of training. Which of its entries have changed? Are there more of them than before?",
        "A dict takes any new key without complaint, a misspelt one too.",
    ),
)


# 3.10 normalise_images(x, weight, bias, *, epsilon) -> y; x (n, height, width, channels), the axes of Flax


def _layout_cases() -> dict:
    rng = np.random.default_rng(310)

    def case(x: np.ndarray, epsilon: float) -> dict:
        c = x.shape[3]
        weight = rng.uniform(0.5, 2.0, c) * [(-1) ** k for k in range(c)]
        return {"x": x, "weight": weight, "bias": rng.normal(0.5, size=c), "epsilon": epsilon}

    pixels = rng.integers(0, 9, (2, 4, 5, 6))
    return {
        "2 images of 4 by 5 pixels, 3 channels": case(rng.normal(1.0, [1, 2, 3], (2, 4, 5, 3)), 0.25),
        "3 images of 3 by 3 pixels, 3 channels": case(rng.normal(-1.0, [3, 1, 2], (3, 3, 3, 3)), 0.1),
        "one image": case(rng.normal(2.0, [1, 2, 3], (1, 4, 5, 3)), 0.5),
        "whole numbers, every second channel of a larger array": case(pixels[..., ::2], 0.4),
    }


def _run_layout(answer: Callable, x: Any, weight: Any, bias: Any, epsilon: float) -> Any:
    return answer(x, weight, bias, epsilon=epsilon)


def _over(
    mean_axes: tuple,
    variance_axes: tuple | None = None,
    *,
    ddof: int = 0,
    scale: Callable = lambda x, mean, variance, epsilon: (x - mean) / np.sqrt(variance + epsilon),
    affine: Callable = lambda z, weight, bias: weight * z + bias,
) -> Callable:
    """An answer to exercise 3.10 with these axes, and any other part replaced."""

    def normalise_images(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, epsilon: float) -> np.ndarray:
        mean = x.mean(axis=mean_axes, keepdims=True)
        variance = x.var(axis=variance_axes or mean_axes, keepdims=True, ddof=ddof)
        return affine(scale(x, mean, variance, epsilon), weight, bias)

    return normalise_images


def _transposed(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, epsilon: float) -> np.ndarray:
    return np.moveaxis(_over((0, 1, 2))(x, weight, bias, epsilon=epsilon), 3, 1)


_ALL_BUT_LAST = "Here the channels are the last axis, so the statistics of a channel run over the axes (0, 1, 2)."

NORMALISE_IMAGES = Exercise(
    id="3.10",
    name="normalise_images",
    title="Find the bug: the axes of another library",
    minutes=10,
    difficulty=2,
    cases=_layout_cases,
    reference=_over((0, 1, 2)),
    run=_run_layout,
    rtol=1e-4,
    atol=1e-5,
    mistakes=(
        Mistake(
            f"The statistics run over the wrong axes: (0, 2, 3) leaves out the *rows* of the images. {_ALL_BUT_LAST}",
            _over((0, 2, 3)),
        ),
        Mistake(
            f"Only the mean was mended: the variance still runs over the wrong axes. {_ALL_BUT_LAST}",
            _over((0, 1, 2), (0, 2, 3)),
        ),
        Mistake(
            f"Only the variance was mended: the mean still runs over the wrong axes. {_ALL_BUT_LAST}",
            _over((0, 2, 3), (0, 1, 2)),
        ),
        Mistake(
            f"The statistics run over rows and columns only, for each image apart (instance normalisation). {_ALL_BUT_LAST}",
            _over((1, 2)),
        ),
        Mistake(
            f"The statistics run over all of one image, channels too (layer normalisation). {_ALL_BUT_LAST}", _over((1, 2, 3))
        ),
        Mistake(f"The statistics run over the examples only, for each pixel apart. {_ALL_BUT_LAST}", _over((0,))),
        Mistake(f"The statistics run over the channels only, for each pixel apart. {_ALL_BUT_LAST}", _over((3,))),
        Mistake(f"The statistics leave out the columns. {_ALL_BUT_LAST}", _over((0, 1, 3))),
        Mistake(f"The statistics run over everything, so that all channels share them. {_ALL_BUT_LAST}", _over((0, 1, 2, 3))),
        Mistake(f"The statistics leave out the columns: one axis is missing. {_ALL_BUT_LAST}", _over((0, 1))),
        Mistake(f"The statistics leave out the rows: one axis is missing. {_ALL_BUT_LAST}", _over((0, 2))),
        Mistake("The images come back with other axes. Return them as they came, (n, height, width, channels).", _transposed),
        Mistake(
            "The unbiased variance normalises. Only the axes were wrong: divide by the number of values.",
            _over((0, 1, 2), ddof=1),
        ),
        Mistake(
            "Epsilon is missing. Only the axes were wrong: √(variance + epsilon).",
            _over((0, 1, 2), scale=lambda x, mean, variance, epsilon: (x - mean) / np.sqrt(variance)),
        ),
        Mistake(
            "Epsilon stands outside the root. Only the axes were wrong: √(variance + epsilon).",
            _over((0, 1, 2), scale=lambda x, mean, variance, epsilon: (x - mean) / (np.sqrt(variance) + epsilon)),
        ),
        Mistake("Weight and bias are missing. Only the axes were wrong.", _over((0, 1, 2), affine=lambda z, weight, bias: z)),
    ),
    hints=(
        "Which axis holds the channels here, and which one does the broken code leave out? Print the shape of its mean.",
        "One channel has n × height × width numbers, and one mean: what shape has the mean of all channels, with `keepdims`?",
    ),
)


# 3.11 predict(x, layers, *, epsilon) -> logits (n, classes), in evaluation


def _predict_cases() -> dict:
    rng = np.random.default_rng(311)

    def hidden(d_in: int, d_out: int) -> dict:
        return {
            "W": rng.normal(size=(d_in, d_out)),
            "b": rng.normal(size=d_out),
            "mean": rng.normal(1.0, size=d_out),
            "variance": rng.uniform(0.5, 3.0, d_out),
            "weight": rng.uniform(0.5, 2.0, d_out) * [(-1) ** k for k in range(d_out)],
            "bias": rng.normal(0.5, size=d_out),
        }

    def case(x: np.ndarray, widths: tuple, epsilon: float) -> dict:
        *hidden_widths, classes = widths
        sizes = [x.shape[1], *hidden_widths]
        layers = [hidden(d_in, d_out) for d_in, d_out in zip(sizes[:-1], sizes[1:], strict=True)]
        layers.append({"W": rng.normal(size=(sizes[-1], classes)), "b": rng.normal(size=classes)})
        return {"x": x, "layers": layers, "epsilon": epsilon}

    wide = rng.normal(1.0, 2.0, (5, 6))
    return {
        "5 examples, two hidden layers": case(rng.normal(0.0, 2.0, (5, 3)), (4, 4, 2), 0.25),
        "one example alone": case(rng.normal(size=(1, 3)), (4, 2), 0.1),
        "no hidden layer": case(rng.normal(size=(5, 3)), (2,), 0.5),
        "every second column of a larger array": case(wide[:, ::2], (4, 4, 2), 0.4),
        "whole numbers": case(rng.integers(-3, 5, (5, 3)), (4, 2), 0.3),
    }


def _run_predict(answer: Callable, x: Any, layers: list, epsilon: float) -> Any:
    return answer(x, layers, epsilon=epsilon)


def _predict(
    *,
    mean: Callable = lambda z, layer, k: layer["mean"],
    variance: Callable = lambda z, layer, k: layer["variance"],
    scale: Callable = lambda z, mean, variance, epsilon: (z - mean) / np.sqrt(variance + epsilon),
    affine: Callable = lambda z, layer: layer["weight"] * z + layer["bias"],
    activation: Callable = lambda z: np.maximum(z, 0),
    out: Callable = lambda logits: logits,
) -> Callable:
    """An answer to exercise 3.11 with any part replaced; k counts the hidden layers."""

    def predict(x: np.ndarray, layers: list, *, epsilon: float) -> np.ndarray:
        *hidden, last = layers
        for k, layer in enumerate(hidden):
            z = x @ layer["W"] + layer["b"]
            z = scale(z, mean(z, layer, k), variance(z, layer, k), epsilon)
            x = activation(affine(z, layer))
        return out(x @ last["W"] + last["b"])

    return predict


PREDICT = Exercise(
    id="3.11",
    name="predict",
    title="Find the bug: one example, always the same answer",
    minutes=10,
    difficulty=2,
    cases=_predict_cases,
    reference=_predict(),
    run=_run_predict,
    rtol=1e-4,
    atol=1e-4,
    mistakes=(
        Mistake(
            "It still normalises with the batch's statistics, so a prediction depends on the other examples. Evaluation uses "
            "the running ones, layer['mean'] and layer['variance'].",
            _predict(mean=lambda z, layer, k: z.mean(axis=0), variance=lambda z, layer, k: z.var(axis=0)),
        ),
        Mistake(
            "Only the mean was mended: the variance is still the batch's.", _predict(variance=lambda z, layer, k: z.var(axis=0))
        ),
        Mistake(
            "Only the variance was mended: the mean is still the batch's.", _predict(mean=lambda z, layer, k: z.mean(axis=0))
        ),
        Mistake(
            "Only the first hidden layer was mended: the others still use the batch's statistics.",
            _predict(
                mean=lambda z, layer, k: z.mean(axis=0) if k else layer["mean"],
                variance=lambda z, layer, k: z.var(axis=0) if k else layer["variance"],
            ),
        ),
        Mistake(
            "Mean and variance of each example were used (layer normalisation). The network was trained with other statistics: "
            "use the running ones of the layer.",
            _predict(
                mean=lambda z, layer, k: z.mean(axis=1, keepdims=True),
                variance=lambda z, layer, k: z.var(axis=1, keepdims=True),
            ),
        ),
        Mistake(
            "The batch's statistics are mixed with the running ones: a prediction still depends on the other examples.",
            _predict(
                mean=lambda z, layer, k: (z.mean(axis=0) + layer["mean"]) / 2,
                variance=lambda z, layer, k: (z.var(axis=0) + layer["variance"]) / 2,
            ),
        ),
        Mistake(
            "The statistics of the batch are used where there is more than one example, and the running ones else. Use the "
            "running ones always: predictions must not depend on their company.",
            _predict(
                mean=lambda z, layer, k: z.mean(axis=0) if len(z) > 1 else layer["mean"],
                variance=lambda z, layer, k: z.var(axis=0) if len(z) > 1 else layer["variance"],
            ),
        ),
        Mistake(
            "The normalisation was left out. The network needs it: put the running mean and variance where the batch's were.",
            _predict(scale=lambda z, mean, variance, epsilon: z),
        ),
        Mistake(
            "The root is missing: layer['variance'] is a variance, so divide by √(variance + epsilon).",
            _predict(scale=lambda z, mean, variance, epsilon: (z - mean) / (variance + epsilon)),
        ),
        Mistake(
            "Epsilon stands outside the root. Only the statistics were wrong: √(variance + epsilon).",
            _predict(scale=lambda z, mean, variance, epsilon: (z - mean) / (np.sqrt(variance) + epsilon)),
        ),
        Mistake(
            "Epsilon is missing. Only the statistics were wrong: √(variance + epsilon).",
            _predict(scale=lambda z, mean, variance, epsilon: (z - mean) / np.sqrt(variance)),
        ),
        Mistake(
            "Weight and bias of the normalisation are missing. Only the statistics were wrong.",
            _predict(affine=lambda z, layer: z),
        ),
        Mistake("The ReLU is missing. Only the statistics were wrong.", _predict(activation=lambda z: z)),
        Mistake("These are classes. Return the logits, (n, classes).", _predict(out=lambda logits: logits.argmax(axis=1))),
    ),
    hints=(
        "What is the mean of a batch of one example? And what is left when you subtract it?",
        "The network has seen enough batches in training, and kept what it learned of them in each layer. Where?",
    ),
)
