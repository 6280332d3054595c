"""Exercise of lesson 04 on soft targets: the distillation loss with its temperature."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 4.8 distillation_loss(student, teacher, labels, *, temperature, weight) -> (). Hinton, Vinyals and Dean 2015, section 2.


def _distillation_cases() -> dict:
    rng = np.random.default_rng(48)

    def case(n: int, num_classes: int, temperature: float, weight: float, scale: float = 2.0) -> dict:
        return {
            "student": (scale * rng.normal(size=(n, num_classes))).astype(np.float32),
            "teacher": (1.5 * scale * rng.normal(size=(n, num_classes))).astype(np.float32),
            "labels": rng.integers(0, num_classes, n).astype(np.int32),
            "temperature": temperature,
            "weight": weight,
        }

    same, wide = case(4, 3, 3.0, 0.6), case(3, 8, 2.0, 0.3)  # few shapes: JAX compiles for each
    return {
        "2 examples, 3 classes, temperature 2": case(2, 3, 2.0, 0.7),
        "temperature 5": case(4, 3, 5.0, 0.4),
        "temperature 1": case(4, 3, 1.0, 0.5),
        "a temperature below 1": case(4, 3, 0.5, 0.8, 1.0),
        "the teacher alone": case(4, 3, 4.0, 1.0),
        "the labels alone": case(4, 3, 4.0, 0.0),
        "a student that has learned its teacher by heart": {**same, "student": same["teacher"].copy()},
        "every second class of wider arrays": {
            **wide,
            "student": wide["student"][:, ::2],
            "teacher": wide["teacher"][:, ::2],
            "labels": wide["labels"] // 2,
        },
        "logits as large as 2000": {
            "student": np.array([[2000.0, 0.0, 1500.0], [1.0, 2.0, 3.0]], dtype=np.float32),
            "teacher": np.array([[2000.0, 1990.0, 100.0], [-900.0, 0.0, 3.0]], dtype=np.float32),
            "labels": np.array([0, 1], dtype=np.int32),
            "temperature": 2.0,
            "weight": 0.5,
        },
    }


def _run_distillation(answer: Callable, student: Any, teacher: Any, labels: Any, temperature: float, weight: float) -> Any:
    return answer(student, teacher, labels, temperature=temperature, weight=weight)


def _log_softmax(z: np.ndarray) -> np.ndarray:
    z = z.astype(float) - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def _overflowing(z: np.ndarray) -> np.ndarray:
    e = np.exp(z.astype(np.float32))
    return np.log(e / e.sum(axis=1, keepdims=True))


def _kl(teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    """(n,): the KL divergence of two tables of log-probabilities, teacher first."""
    return (np.exp(teacher) * (teacher - student)).sum(axis=1)


def _to_labels(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    return -log_probabilities[np.arange(len(labels)), labels].mean()


def _distillation(
    soft: Callable = _kl,
    *,
    factor: Callable[[float], float] = lambda T: T**2,
    student_T: Callable[[float], float] = lambda T: T,
    teacher_T: Callable[[float], float] = lambda T: T,
    hard_T: Callable[[float], float] = lambda T: 1.0,
    log_softmax: Callable = _log_softmax,
    reduce: Callable = np.mean,
    total: Callable = lambda soft, hard, T, weight: weight * soft + (1 - weight) * hard,
) -> Callable:
    """The loss with its parts exchangeable; the logits are divided by `student_T(T)`, `teacher_T(T)`, `hard_T(T)`."""

    def distillation_loss(
        student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, *, temperature: float, weight: float
    ) -> Any:
        T = temperature
        each = soft(log_softmax(teacher / teacher_T(T)), log_softmax(student / student_T(T)))
        hard = _to_labels(log_softmax(student / hard_T(T)), labels)
        return total(factor(T) * reduce(each), hard, T, weight)

    return distillation_loss


def _labels_of_the_teacher(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, **how: float) -> Any:
    return _distillation()(student, teacher, teacher.argmax(axis=1), **how)


def _on_both_sides(T: float) -> float:
    return 1 / T


DISTILLATION = Exercise(
    id="4.8",
    name="distillation_loss",
    title="Learning from a teacher",
    minutes=15,
    difficulty=3,
    cases=_distillation_cases,
    reference=_distillation(),
    run=_run_distillation,
    mistakes=(
        Mistake(
            "The factor T² is missing. The gradients of the soft part shrink like 1/T², so at T = 10 it would count a "
            "hundredth: multiply the divergence by temperature**2.",
            _distillation(factor=lambda T: 1.0),
        ),
        Mistake("The soft part was multiplied by T. It must be T², temperature**2.", _distillation(factor=lambda T: T)),
        Mistake("The soft part was divided by T². Multiply by it.", _distillation(factor=lambda T: 1 / T**2)),
        Mistake(
            "The whole loss was multiplied by T². Only the soft part shrinks with the temperature, and needs it.",
            _distillation(
                factor=lambda T: 1.0, total=lambda soft, hard, T, weight: T**2 * (weight * soft + (1 - weight) * hard)
            ),
        ),
        Mistake(
            "Only the teacher's logits were divided by the temperature. In the soft part the student's are too: it shall "
            "match the softened teacher when it is softened alike.",
            _distillation(student_T=lambda T: 1.0),
        ),
        Mistake(
            "Only the student's logits were divided by the temperature. The teacher's are too: that is what makes its "
            "targets soft.",
            _distillation(teacher_T=lambda T: 1.0),
        ),
        Mistake(
            "The temperature is used nowhere but in the factor T². In the soft part, divide both logits by it.",
            _distillation(student_T=lambda T: 1.0, teacher_T=lambda T: 1.0),
        ),
        Mistake(
            "The logits were multiplied by the temperature. Divide: a high temperature makes the probabilities more equal.",
            _distillation(student_T=_on_both_sides, teacher_T=_on_both_sides),
        ),
        Mistake(
            "The divergence runs the wrong way: the student's probabilities weigh the terms. It is sum p_teacher * (log "
            "p_teacher - log p_student). (In PyTorch the *target* is the second argument of `kl_div`.)",
            _distillation(lambda teacher, student: _kl(student, teacher)),
        ),
        Mistake(
            "The sign of the divergence is wrong: it is sum p_teacher * (log p_teacher - log p_student), and never negative.",
            _distillation(lambda teacher, student: -_kl(teacher, student)),
        ),
        Mistake(
            "The divergence was averaged over the classes too. Add up over the classes, take the mean over the examples. "
            "(PyTorch: "
            '`reduction="batchmean"`.)',
            _distillation(lambda teacher, student: _kl(teacher, student) / teacher.shape[1]),
        ),
        Mistake(
            "The divergence was added up over the examples. Take the mean over them.",
            _distillation(reduce=np.sum),
        ),
        Mistake(
            "This is the cross-entropy with the teacher's probabilities. It differs from the divergence by the teacher's "
            "entropy, so a perfect student would not have the loss 0: use p_teacher * (log p_teacher - log p_student).",
            _distillation(lambda teacher, student: -(np.exp(teacher) * student).sum(axis=1)),
        ),
        Mistake(
            "The cross-entropy with the labels was taken at the temperature T. That part is the usual one: T = 1.",
            _distillation(hard_T=lambda T: T),
        ),
        Mistake(
            "`weight` is on the wrong part: it belongs to the soft one, and 1 - weight to the labels.",
            _distillation(total=lambda soft, hard, T, weight: (1 - weight) * soft + weight * hard),
        ),
        Mistake(
            "The labels' part was not multiplied by 1 - weight.",
            _distillation(total=lambda soft, hard, T, weight: weight * soft + hard),
        ),
        Mistake(
            "The soft part was not multiplied by `weight`.",
            _distillation(total=lambda soft, hard, T, weight: soft + (1 - weight) * hard),
        ),
        Mistake(
            "The cross-entropy with the labels is missing. Add (1 - weight) times it.",
            _distillation(total=lambda soft, hard, T, weight: weight * soft),
        ),
        Mistake(
            "The student's probabilities were used where their logarithm belongs. (PyTorch's `kl_div` wants "
            "log-probabilities as its first argument.)",
            _distillation(lambda teacher, student: (np.exp(teacher) * (teacher - np.exp(student))).sum(axis=1)),
        ),
        Mistake(
            "The labels were replaced by the teacher's guesses. The hard part needs the true ones.",
            _labels_of_the_teacher,
        ),
        Mistake(
            "exp of a large logit is infinite, and the loss is nan. Use a log-softmax that subtracts the largest logit "
            "first, such as `jax.nn.log_softmax`.",
            _distillation(log_softmax=_overflowing),
        ),
        Mistake(
            "The squared difference of the logits was used. The soft part is the divergence of the two softened distributions.",
            lambda student, teacher, labels, *, temperature, weight: (
                weight * ((teacher - student) ** 2).mean() + (1 - weight) * _to_labels(_log_softmax(student), labels)
            ),
        ),
    ),
    hints=(
        "Three tables of log-probabilities: the teacher's at T, the student's at T, and the student's at 1 for the labels.",
        "`jax.nn.log_softmax(teacher / temperature)`. The divergence of a row is sum p (log p - log q), with p the "
        "teacher's and q the student's; p is the exponential of log p.",
        "`weight * temperature**2 * divergence.mean() + (1 - weight) * cross_entropy`.",
    ),
)
