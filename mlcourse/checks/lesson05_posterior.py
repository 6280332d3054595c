"""Exercises of lesson 05 on the Gaussian process: posterior and marginal likelihood."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.values import as_numpy, like


def make_kernel(*, length: float, amplitude: float) -> Callable:
    """An RBF kernel (a, d), (b, d) -> (a, b) that takes and gives arrays of any framework."""

    def kernel(A: Any, B: Any) -> Any:
        gaps = (as_numpy(A)[:, None].astype(float) - as_numpy(B)) / length
        return like(A, amplitude * np.exp(-(gaps**2).sum(axis=2) / 2))

    kernel.__doc__ = f"kernel(A, B): an RBF kernel of length scale {length} and amplitude {amplitude}, (a, d), (b, d) -> (a, b)"
    return kernel


def solve(kernel: Callable, X: np.ndarray, points: np.ndarray, y: np.ndarray, noise: Any) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean (m,) and covariance (m, m), with `noise` added to K as it comes: a matrix, or a number for all entries."""
    K, k = kernel(X, X) + noise, kernel(X, points)
    return k.T @ np.linalg.solve(K, y), kernel(points, points) - k.T @ np.linalg.solve(K, k)


def on_diagonal(n: int, value: float) -> np.ndarray:
    return value * np.eye(n)


# 5.3 gp_posterior(kernel, X, y, points, *, noise) -> mean (m,), covariance (m, m)


def _readings(seed: int, n: int, d: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n places (n, d), readings about 1 (n,), and m points (m, d)."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 2, (n, d))
    y = np.sin(3 * X).sum(axis=1) + 1 + 0.3 * rng.standard_normal(n)
    return X, y, rng.uniform(0, 2, (m, d))


def posterior_cases() -> dict:
    X, y, points = _readings(53, 5, 1, 4)
    X2, y2, points2 = _readings(54, 8, 2, 3)
    doubled = np.repeat(X2, 2, axis=0)
    return {
        "5 readings, 4 points, in one dimension": {
            "kernel": make_kernel(length=0.5, amplitude=2.0),
            "X": X,
            "y": y,
            "points": points,
            "noise": 0.2,
        },
        "8 readings, 3 points, in two dimensions": {
            "kernel": make_kernel(length=0.6, amplitude=1.5),
            "X": X2,
            "y": y2,
            "points": points2,
            "noise": 0.1,
        },
        "at the places of the readings": {
            "kernel": make_kernel(length=0.6, amplitude=1.5),
            "X": X2,
            "y": y2,
            "points": X2.copy(),
            "noise": 0.4,
        },
        "two readings at one place": {
            "kernel": make_kernel(length=0.8, amplitude=3.0),
            "X": np.concatenate([X[:2], X[:2]]),
            "y": y[:4].copy(),
            "points": points,
            "noise": 0.3,
        },
        "every second row of a larger array": {
            "kernel": make_kernel(length=0.4, amplitude=1.2),
            "X": doubled[::2],
            "y": np.repeat(y2, 2)[::2],
            "points": points2,
            "noise": 0.25,
        },
    }


def _run_posterior(answer: Callable, kernel: Callable, X: Any, y: Any, points: Any, noise: float) -> Any:
    return answer(kernel, X, y, points, noise=noise)


def _posterior(kernel: Callable, X: np.ndarray, y: np.ndarray, points: np.ndarray, *, noise: float) -> tuple:
    return solve(kernel, X, points, y, on_diagonal(len(X), noise))


def _changed(change: Callable) -> Callable:
    """`change(mean, covariance, noise)` of the right posterior."""
    return lambda kernel, X, y, points, *, noise: change(*_posterior(kernel, X, y, points, noise=noise), noise)


def _with_noise(matrix: Callable) -> Callable:
    """The posterior with `matrix(n, noise)` added to K."""
    return lambda kernel, X, y, points, *, noise: solve(kernel, X, points, y, matrix(len(X), noise))


def _half_solved(kernel: Callable, X: np.ndarray, y: np.ndarray, points: np.ndarray, *, noise: float) -> tuple:
    L = np.linalg.cholesky(kernel(X, X) + on_diagonal(len(X), noise))
    half = np.linalg.solve(L, kernel(X, points))
    return kernel(X, points).T @ np.linalg.solve(L, y), kernel(points, points) - half.T @ half


def _upper_for_lower(kernel: Callable, X: np.ndarray, y: np.ndarray, points: np.ndarray, *, noise: float) -> tuple:
    L = np.linalg.cholesky(kernel(X, X) + on_diagonal(len(X), noise))
    k = kernel(X, points)
    turned = L.T @ L
    return k.T @ np.linalg.solve(turned, y), kernel(points, points) - k.T @ np.linalg.solve(turned, k)


def _no_solve(kernel: Callable, X: np.ndarray, y: np.ndarray, points: np.ndarray, *, noise: float) -> tuple:
    mean, covariance = _posterior(kernel, X, y, points, noise=noise)
    return kernel(X, points).T @ y, covariance


def _prior_covariance(kernel: Callable, X: np.ndarray, y: np.ndarray, points: np.ndarray, *, noise: float) -> tuple:
    return _posterior(kernel, X, y, points, noise=noise)[0], kernel(points, points)


def _added(kernel: Callable, X: np.ndarray, y: np.ndarray, points: np.ndarray, *, noise: float) -> tuple:
    mean, covariance = _posterior(kernel, X, y, points, noise=noise)
    return mean, 2 * kernel(points, points) - covariance


def _only_explained(kernel: Callable, X: np.ndarray, y: np.ndarray, points: np.ndarray, *, noise: float) -> tuple:
    mean, covariance = _posterior(kernel, X, y, points, noise=noise)
    return mean, kernel(points, points) - covariance


def _about_the_mean(kernel: Callable, X: np.ndarray, y: np.ndarray, points: np.ndarray, *, noise: float) -> tuple:
    mean, covariance = _posterior(kernel, X, y - y.mean(), points, noise=noise)
    return y.mean() + mean, covariance


FORGOT = (
    "The noise is forgotten: K = kernel(X, X) + noise I. Without it the map believes every reading to the last digit, and "
    "claims to know the function exactly where a hole was drilled."
)
JITTER = 1e-6  # what people add to the diagonal so that a noise-free Cholesky factor exists
ALL_ENTRIES = "The noise was added to every entry of K. It belongs on the diagonal only: `noise * eye(n)`."
SQUARED_NOISE = "The noise was squared. Here it is a variance already: `noise * eye(n)`."
ROOT_NOISE = "The root of the noise was added. It is the variance of a reading: `noise * eye(n)`."

POSTERIOR = Exercise(
    id="5.3",
    name="gp_posterior",
    title="The posterior: mean and covariance",
    minutes=20,
    difficulty=2,
    cases=posterior_cases,
    reference=_posterior,
    run=_run_posterior,
    rtol=1e-3,
    atol=1e-4,
    mistakes=(
        Mistake(FORGOT, _with_noise(lambda n, noise: on_diagonal(n, JITTER))),
        Mistake(ALL_ENTRIES, _with_noise(lambda n, noise: noise)),
        Mistake(SQUARED_NOISE, _with_noise(lambda n, noise: on_diagonal(n, noise**2))),
        Mistake(ROOT_NOISE, _with_noise(lambda n, noise: on_diagonal(n, noise**0.5))),
        Mistake(
            "The noise was subtracted from K. Noise makes readings vary more: add it.",
            _with_noise(lambda n, noise: on_diagonal(n, -noise)),
        ),
        Mistake(
            "The noise was added to the covariance of the points. That is the covariance of new readings; here the "
            "function's own is asked for, so the noise belongs in K only.",
            _changed(lambda mean, covariance, noise: (mean, covariance + on_diagonal(len(mean), noise))),
        ),
        Mistake(
            "This is the variance of each point. Return the whole covariance, (m, m).",
            _changed(lambda mean, covariance, noise: (mean, np.diag(covariance))),
        ),
        Mistake(
            "This is the standard deviation of each point. Return the whole covariance, (m, m).",
            _changed(lambda mean, covariance, noise: (mean, np.sqrt(np.diag(covariance)))),
        ),
        Mistake(
            "Mean and covariance are exchanged. Return the mean first.",
            _changed(lambda mean, covariance, noise: (covariance, mean)),
        ),
        Mistake("Only the mean was returned. Return mean and covariance.", _changed(lambda mean, covariance, noise: mean)),
        Mistake("The sign of the mean is turned around.", _changed(lambda mean, covariance, noise: (-mean, covariance))),
        Mistake(
            "The mean came out as a column. Return it with the shape (m,).",
            _changed(lambda mean, covariance, noise: (mean[:, None], covariance)),
        ),
        Mistake(
            "The mean is only half solved: L^-1 y is not K^-1 y. K = L Lᵀ, so solve with L and then with Lᵀ.",
            _half_solved,
        ),
        Mistake(
            "The Cholesky factor is lower triangular, K = L Lᵀ, but it was used as an upper one, Lᵀ L. Solve with L first, "
            "then with Lᵀ.",
            _upper_for_lower,
        ),
        Mistake("The readings were not weighted by K^-1: the mean is kᵀ K^-1 y, not kᵀ y.", _no_solve),
        Mistake(
            "This is the covariance before any reading. Subtract what the readings explain, kᵀ K^-1 k.",
            _prior_covariance,
        ),
        Mistake("What the readings explain was added to the covariance. Subtract it: readings make us surer.", _added),
        Mistake("This is what the readings explain, kᵀ K^-1 k. Subtract it from kernel(points, points).", _only_explained),
        Mistake("The mean of y was subtracted and added again. Here the prior mean is 0: use y as it is.", _about_the_mean),
    ),
    hints=(
        "`K = kernel(X, X) + noise * eye(n)`, `k = kernel(X, points)` of shape (n, m), and `L = cholesky(K)`, lower "
        "triangular.",
        "K^-1 y is two solves: first L u = y, then Lᵀ α = u. The mean is `k.T @ α`.",
        "With `half = solve(L, k)`, kᵀ K^-1 k is `half.T @ half`. Subtract it from `kernel(points, points)`.",
    ),
)


# 5.4 log_marginal_likelihood(kernel, X, y, *, noise) -> ()


def _likelihood_cases() -> dict:
    X, y, _ = _readings(55, 4, 1, 1)
    X2, y2, _ = _readings(56, 7, 2, 1)
    many = 12 * np.random.default_rng(57).uniform(0, 1, (90, 2))
    small = 0.02 * np.random.default_rng(58).standard_normal(90)
    kernel = make_kernel(length=0.5, amplitude=2.0)
    return {
        "4 readings": {"kernel": kernel, "X": X, "y": y, "noise": 0.2},
        "7 readings in two dimensions": {"kernel": make_kernel(length=0.7, amplitude=1.3), "X": X2, "y": y2, "noise": 0.5},
        "one reading": {"kernel": kernel, "X": X[:1], "y": y[:1], "noise": 0.3},
        "90 readings of small numbers": {
            "kernel": make_kernel(length=0.4, amplitude=1e-4),
            "X": many,
            "y": small,
            "noise": 1e-4,
        },
    }


def _run_likelihood(answer: Callable, kernel: Callable, X: Any, y: Any, noise: float) -> Any:
    return answer(kernel, X, y, noise=noise)


def _likelihood(
    terms: Callable = lambda fit, log_det, n: -fit / 2 - log_det / 2 - n / 2 * np.log(2 * np.pi),
    noise_of: Callable = on_diagonal,
) -> Callable:
    """`terms(y K^-1 y, log det K, n)`, with `noise_of(n, noise)` added to K."""

    def likelihood(kernel: Callable, X: np.ndarray, y: np.ndarray, *, noise: float) -> float:
        K = kernel(X, X) + noise_of(len(X), noise)
        return terms(y @ np.linalg.solve(K, y), np.linalg.slogdet(K)[1], len(X))

    return likelihood


def _log_of_the_determinant(kernel: Callable, X: np.ndarray, y: np.ndarray, *, noise: float) -> float:
    K = kernel(X, X) + on_diagonal(len(X), noise)
    return -y @ np.linalg.solve(K, y) / 2 - np.log(np.linalg.det(K)) / 2 - len(X) / 2 * np.log(2 * np.pi)


def _half_fit(kernel: Callable, X: np.ndarray, y: np.ndarray, *, noise: float) -> float:
    K = kernel(X, X) + on_diagonal(len(X), noise)
    half = y @ np.linalg.solve(np.linalg.cholesky(K), y)
    return -half / 2 - np.linalg.slogdet(K)[1] / 2 - len(X) / 2 * np.log(2 * np.pi)


LOG_2PI = float(np.log(2 * np.pi))

LOG_MARGINAL_LIKELIHOOD = Exercise(
    id="5.4",
    name="log_marginal_likelihood",
    title="How probable are the readings?",
    minutes=15,
    difficulty=2,
    cases=_likelihood_cases,
    reference=_likelihood(),
    run=_run_likelihood,
    rtol=1e-3,
    atol=1e-4,
    mistakes=(
        Mistake(
            "The determinant of a large K is 0 in floating point, and its logarithm infinite. Add up logarithms instead: "
            "log det K = 2 Σ log L_ii, from the Cholesky factor.",
            _log_of_the_determinant,
        ),
        Mistake(FORGOT, _likelihood(noise_of=lambda n, noise: on_diagonal(n, JITTER))),
        Mistake(ALL_ENTRIES, _likelihood(noise_of=lambda n, noise: noise)),
        Mistake(SQUARED_NOISE, _likelihood(noise_of=lambda n, noise: on_diagonal(n, noise**2))),
        Mistake(ROOT_NOISE, _likelihood(noise_of=lambda n, noise: on_diagonal(n, noise**0.5))),
        Mistake(
            "The sign is turned around: this is the *negative* log-likelihood, which one minimises.",
            _likelihood(lambda fit, log_det, n: fit / 2 + log_det / 2 + n / 2 * LOG_2PI),
        ),
        Mistake("The term with log(2π) is missing.", _likelihood(lambda fit, log_det, n: -fit / 2 - log_det / 2)),
        Mistake(
            "log(2π) is counted once. There is one for each reading: n/2 log(2π).",
            _likelihood(lambda fit, log_det, n: -fit / 2 - log_det / 2 - LOG_2PI / 2),
        ),
        Mistake(
            "The half is missing before n log(2π).",
            _likelihood(lambda fit, log_det, n: -fit / 2 - log_det / 2 - n * LOG_2PI),
        ),
        Mistake(
            "The half is missing before the fit: it is -½ yᵀ K^-1 y.",
            _likelihood(lambda fit, log_det, n: -fit - log_det / 2 - n / 2 * LOG_2PI),
        ),
        Mistake(
            "log det K is counted twice. Its half is Σ log L_ii, with nothing before the sum.",
            _likelihood(lambda fit, log_det, n: -fit / 2 - log_det - n / 2 * LOG_2PI),
        ),
        Mistake(
            "log det K is halved twice. Σ log L_ii is the half already: det K is the *square* of the product of the L_ii.",
            _likelihood(lambda fit, log_det, n: -fit / 2 - log_det / 4 - n / 2 * LOG_2PI),
        ),
        Mistake(
            "The log-determinant has the wrong sign. It is the price of a K that could explain anything: subtract it.",
            _likelihood(lambda fit, log_det, n: -fit / 2 + log_det / 2 - n / 2 * LOG_2PI),
        ),
        Mistake(
            "The log-determinant is missing. Without it the best model is the one that could explain anything.",
            _likelihood(lambda fit, log_det, n: -fit / 2 - n / 2 * LOG_2PI),
        ),
        Mistake(
            "The fit has the wrong sign: readings the model does not expect make them less probable.",
            _likelihood(lambda fit, log_det, n: fit / 2 - log_det / 2 - n / 2 * LOG_2PI),
        ),
        Mistake(
            "The fit is missing: the readings y must come in, as -½ yᵀ K^-1 y.",
            _likelihood(lambda fit, log_det, n: -log_det / 2 - n / 2 * LOG_2PI),
        ),
        Mistake(
            "This is the mean over the readings. The likelihood is that of all of them together: do not divide by n.",
            _likelihood(lambda fit, log_det, n: (-fit / 2 - log_det / 2 - n / 2 * LOG_2PI) / n),
        ),
        Mistake(
            "This is the likelihood itself, which is 0 or infinite in floating point for many readings. Return its logarithm.",
            _likelihood(lambda fit, log_det, n: np.exp(-fit / 2 - log_det / 2 - n / 2 * LOG_2PI)),
        ),
        Mistake("The fit is only half solved: yᵀ L^-1 y is not yᵀ K^-1 y. Solve with L, then with Lᵀ.", _half_fit),
    ),
    hints=(
        "Three terms: -½ yᵀ K^-1 y, -½ log det K and -n/2 log(2π), with K = kernel(X, X) + noise I.",
        "With u = L^-1 y, yᵀ K^-1 y is `u @ u`.",
        "½ log det K is the sum of the logarithms of the diagonal of L. The determinant itself would underflow.",
    ),
)
