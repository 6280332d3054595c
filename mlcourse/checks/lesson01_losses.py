"""Exercises of lesson 01 about the loss: cross-entropy, and the best that a constant prediction can do."""

from collections.abc import Callable

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 1.1 cross_entropy(logits, labels) -> mean of -log softmax(logits)[label]


def _cross_entropy_cases() -> dict:
    rng = np.random.default_rng(11)
    logits = rng.normal(size=(5, 4)).astype(np.float32)
    labels = np.array([3, 0, 1, 1, 2], dtype=np.int32)
    wide = (3 * rng.normal(size=(5, 8))).astype(np.float32)
    return {
        "five examples, four classes": {"logits": logits, "labels": labels},
        "one example": {"logits": np.float32([[0.0, 2.0, -1.0]]), "labels": np.int32([2])},
        "whole-number logits": {"logits": np.array([[1, 3, 2], [0, -2, 4]]), "labels": np.int32([0, 2])},
        "every second column of a larger array": {"logits": wide[:, 1::2], "labels": labels},
        "logits as large as 1000": {"logits": np.float32([[1000, 0, 990], [2, 1, 0]]), "labels": np.int32([2, 0])},
        "logits as low as -1000": {
            "logits": np.float32([[-1000, -1003, -1001], [2, 1, 0]]),
            "labels": np.int32([1, 0]),
        },
        "one logit far above the others": {"logits": np.float32([[200, 0, 0], [1, 2, 3]]), "labels": np.int32([1, 2])},
    }


def _log_softmax(logits: np.ndarray, axis: int = 1) -> np.ndarray:
    shifted = logits - logits.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _picked(table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return table[np.arange(len(labels)), labels]


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -_picked(_log_softmax(logits), labels).mean()


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _naive_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits.astype(np.float32))
    return -np.log(_picked(exponentials / exponentials.sum(axis=1, keepdims=True), labels)).mean()


def _naive_log_sum_exp(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (np.log(np.exp(logits.astype(np.float32)).sum(axis=1)) - _picked(logits, labels)).mean()


def _softmax_plus(small: float) -> Callable:
    return lambda z, y: -np.log(_picked(_softmax(z.astype(np.float32)), y) + small).mean()


def _softmax_clipped(small: float) -> Callable:
    return lambda z, y: -np.log(np.clip(_picked(_softmax(z.astype(np.float32)), y), small, 1.0)).mean()


_EPSILON = (
    "A small number was put inside the logarithm. It hides the infinity and puts a wrong loss in its place. Write "
    "log softmax as one formula: shifted - log(sum(exp(shifted)))."
)
_OVERFLOW = "exp(1000) is infinite. Subtract the largest logit of each row first: the softmax stays the same."

CROSS_ENTROPY = Exercise(
    id="1.1",
    name="cross_entropy",
    title="Cross-entropy that does not overflow",
    minutes=10,
    difficulty=1,
    cases=_cross_entropy_cases,
    reference=_cross_entropy,
    mistakes=(
        Mistake(_OVERFLOW, _naive_cross_entropy),
        Mistake(_OVERFLOW, _naive_log_sum_exp),
        Mistake(
            "The softmax is taken first and its logarithm afterwards. A probability below 1e-38 becomes 0, and its "
            "logarithm -inf. Write log softmax as one formula: shifted - log(sum(exp(shifted))).",
            lambda z, y: -np.log(_picked(_softmax(z.astype(np.float32)), y)).mean(),
        ),
        *(Mistake(_EPSILON, _softmax_plus(small)) for small in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5)),
        *(Mistake(_EPSILON, _softmax_clipped(small)) for small in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5)),
        Mistake(
            "The largest logit of the whole batch was subtracted. Rows far below it underflow to 0. Subtract the "
            "largest logit of each row: `logits.max(axis=1, keepdims=True)`.",
            lambda z, y: _naive_log_sum_exp(z - z.max(), y),
        ),
        Mistake(
            "The sign is missing: a loss is the *negative* log-probability, so that a good model has a small one.",
            lambda z, y: _picked(_log_softmax(z), y).mean(),
        ),
        Mistake(
            "The losses were added up. Return their mean, so that the loss does not grow with the batch.",
            lambda z, y: -_picked(_log_softmax(z), y).sum(),
        ),
        Mistake(
            "This is one loss for each example. Return their mean, which is one number.",
            lambda z, y: -_picked(_log_softmax(z), y),
        ),
        Mistake(
            "The softmax runs over the examples. The classes of one example lie along a row: use axis=1.",
            lambda z, y: -_picked(_log_softmax(z, axis=0), y).mean(),
        ),
        Mistake(
            "The mean was taken over all the classes too: only the label's log-probability counts, and the mean is "
            "over the examples.",
            lambda z, y: -_picked(_log_softmax(z), y).sum() / z.size,
        ),
        Mistake(
            "This is the mean over all classes. Pick the log-probability of the label: "
            "`log_probabilities[np.arange(len(labels)), labels]`.",
            lambda z, y: -_log_softmax(z).mean(),
        ),
        Mistake(
            "`table[:, labels]` takes all the labels' columns from every row. To take one number from each row, "
            "give the row too: `table[np.arange(len(labels)), labels]`.",
            lambda z, y: -_log_softmax(z)[:, y].mean(),
        ),
        Mistake(
            "The logarithm is missing: this is the mean of the probabilities with a minus sign.",
            lambda z, y: -_picked(_softmax(z), y).mean(),
        ),
        Mistake("The logarithm has base 2. Use the natural one, `log`.", lambda z, y: _cross_entropy(z, y) / np.log(2)),
    ),
    hints=(
        "softmax(logits) does not change when the same number is subtracted from a whole row. Which number makes "
        "every exponent at most 0?",
        "log softmax = shifted - log(sum(exp(shifted))), along each row. Never take the logarithm of a softmax "
        "that is already rounded.",
        "`keepdims=True` keeps (n, 1), which broadcasts against (n, classes). Then pick with `[np.arange(n), "
        "labels]` and take minus the mean.",
    ),
)


# 1.10 constant_baseline(train_labels, validation_labels, num_classes) -> cross-entropy of the best constant prediction


def _baseline_cases() -> dict:
    return {
        "three classes, not equally frequent": {
            "train_labels": np.int32([0, 0, 0, 1, 1, 2]),
            "validation_labels": np.int32([0, 1, 2, 2]),
            "num_classes": 3,
        },
        "four classes, more validation than training": {
            "train_labels": np.int32([3, 0, 1, 3, 2, 3]),
            "validation_labels": np.int32([3, 3, 0, 1, 2, 3, 0, 0]),
            "num_classes": 4,
        },
        "the last class does not occur in validation": {
            "train_labels": np.int32([2, 1, 0, 1, 1, 1]),
            "validation_labels": np.int32([0, 1, 1, 0]),
            "num_classes": 3,
        },
        "a fourth class that never occurs": {
            "train_labels": np.int32([0, 1, 2, 1, 1, 0]),
            "validation_labels": np.int32([1, 0, 0, 1]),
            "num_classes": 4,
        },
    }


def _shares(labels: np.ndarray, num_classes: int) -> np.ndarray:
    return np.bincount(labels, minlength=num_classes) / len(labels)


def _constant_baseline(train_labels: np.ndarray, validation_labels: np.ndarray, num_classes: int) -> float:
    return -np.log(_shares(train_labels, num_classes)[validation_labels]).mean()


def _entropy(shares: np.ndarray) -> float:
    seen = shares[shares > 0]
    return -(seen * np.log(seen)).sum()


def _softmax_of_shares(train: np.ndarray, validation: np.ndarray, k: int) -> float:
    return -_log_softmax(_shares(train, k)[None])[0][validation].mean()


CONSTANT_BASELINE = Exercise(
    id="1.10",
    name="constant_baseline",
    title="What knowing nothing gives",
    minutes=10,
    difficulty=1,
    cases=_baseline_cases,
    reference=_constant_baseline,
    mistakes=(
        Mistake(
            "This is log(num_classes), the loss of an equal guess. The best constant knows how frequent the "
            "classes are in training.",
            lambda train, validation, k: np.log(k),
        ),
        Mistake(
            "The frequencies come from the validation labels: that uses what is to be measured. Take them from the "
            "training labels.",
            lambda train, validation, k: _entropy(_shares(validation, k)),
        ),
        Mistake(
            "This is the entropy of the training labels, their loss on themselves. Measure the training "
            "frequencies on the validation labels.",
            lambda train, validation, k: _entropy(_shares(train, k)),
        ),
        Mistake(
            "Training and validation are exchanged: frequencies come from training, the mean is over validation.",
            lambda train, validation, k: _constant_baseline(validation, train, k),
        ),
        Mistake(
            "The frequencies come from training and validation together. Take them from the training labels alone.",
            lambda train, validation, k: _constant_baseline(np.concatenate([train, validation]), validation, k),
        ),
        Mistake(
            "The losses were added up. Return their mean.",
            lambda train, validation, k: len(validation) * _constant_baseline(train, validation, k),
        ),
        Mistake(
            "The sign is missing: a loss is the *negative* log-probability.",
            lambda train, validation, k: -_constant_baseline(train, validation, k),
        ),
        Mistake(
            "The logarithm has base 2. Use the natural one, `log`.",
            lambda train, validation, k: _constant_baseline(train, validation, k) / np.log(2),
        ),
        Mistake(
            "This is the mean probability of the label. The loss is the mean of minus its logarithm.",
            lambda train, validation, k: _shares(train, k)[validation].mean(),
        ),
        Mistake(
            "The logarithm was taken of the mean probability. Take the logarithm of each label's probability, and "
            "then the mean.",
            lambda train, validation, k: -np.log(_shares(train, k)[validation].mean()),
        ),
        Mistake(
            "This is the share of the most frequent class, an accuracy. Here the loss is asked for: minus the mean "
            "log-probability.",
            lambda train, validation, k: (validation == _shares(train, k).argmax()).mean(),
        ),
        Mistake(
            "This is the error rate of the most frequent class. Here the loss is asked for: minus the mean log-probability.",
            lambda train, validation, k: (validation != _shares(train, k).argmax()).mean(),
        ),
        Mistake("The frequencies went through a softmax. They are probabilities already.", _softmax_of_shares),
        Mistake(
            "The mean runs over the classes. It must run over the validation labels, so that frequent ones count more.",
            lambda train, validation, k: -np.log(_shares(train, k)).mean(),
        ),
        Mistake(
            "This is one loss for each label. Return their mean.",
            lambda train, validation, k: -np.log(_shares(train, k)[validation]),
        ),
        Mistake(
            "One was added to every count. The best constant for the training labels has exactly their frequencies.",
            lambda train, validation, k: -np.log(((np.bincount(train, minlength=k) + 1) / (len(train) + k))[validation]).mean(),
        ),
        Mistake(
            "The counts were not divided by the number of training labels, so they are not probabilities.",
            lambda train, validation, k: -np.log(np.bincount(train, minlength=k)[validation]).mean(),
        ),
    ),
    hints=(
        "The model has no input: it gives the same probabilities to everyone. Which ones make the training loss smallest?",
        "`np.bincount(labels, minlength=num_classes)` counts the classes. Divide by the number of labels.",
    ),
)
