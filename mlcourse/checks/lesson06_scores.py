"""Exercises of lesson 06 on numbers that sum up a model: perplexity, bits per character, and a power law through sizes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake

# 6.11 scores(losses, is_token, *, num_characters) -> perplexity of a token, bits per character


def _score_cases() -> dict:
    rng = np.random.default_rng(611)

    def case(lengths: list[int], characters_of_a_token: float, padding: float = 0.0) -> dict:
        T = max(lengths)
        is_token = np.arange(T)[None] < np.array(lengths)[:, None]
        losses = rng.gamma(2.0, 1.2, size=(len(lengths), T))
        losses = np.where(is_token, losses, padding).astype(np.float32)
        return {"losses": losses, "is_token": is_token, "num_characters": round(characters_of_a_token * sum(lengths))}

    wide = case([6, 6], 3.0)
    return {
        "one text, no padding": case([4], 1.5),
        "two texts of different length": case([5, 2], 2.0, padding=7.0),
        "zeros where there is padding": case([3, 6, 1], 3.0),
        "tokens that are characters": case([4, 3], 1.0, padding=2.5),
        "padding as nan": case([4, 2], 4.0, padding=np.nan),
        "every second token of a longer text": {
            **{name: wide[name][:, ::2] for name in ("losses", "is_token")},
            "num_characters": 17,
        },
    }


def _run_scores(answer: Callable, losses: Any, is_token: Any, num_characters: int) -> Any:
    return answer(losses, is_token, num_characters=num_characters)


def _scores(
    perplexity: Callable = lambda nats, n: np.exp(nats.sum() / n),
    bits: Callable = lambda nats, n, num_characters: nats.sum() / np.log(2) / num_characters,
    *,
    finish: Callable = lambda perplexity, bits: (perplexity, bits),
) -> Callable:
    """Both from `nats`, the losses of the tokens without padding, and their number n."""

    def scores(losses: np.ndarray, is_token: np.ndarray, *, num_characters: int) -> Any:
        nats = losses[is_token].astype(float)
        return finish(perplexity(nats, len(nats)), bits(nats, len(nats), num_characters))

    return scores


def _padding_counted(losses: np.ndarray, is_token: np.ndarray, *, num_characters: int) -> tuple:
    return np.exp(losses.mean()), losses.sum() / np.log(2) / num_characters


def _zeros_counted(losses: np.ndarray, is_token: np.ndarray, *, num_characters: int) -> tuple:
    nats = np.where(is_token, losses, 0.0)
    return np.exp(nats.mean()), nats.sum() / np.log(2) / num_characters


def _multiplied(losses: np.ndarray, is_token: np.ndarray, *, num_characters: int) -> tuple:
    nats = (losses * is_token).sum()
    return np.exp(nats / is_token.sum()), nats / np.log(2) / num_characters


def _of_rows(combine: Callable) -> Callable:
    def scores(losses: np.ndarray, is_token: np.ndarray, *, num_characters: int) -> tuple:
        nats = np.where(is_token, losses, 0.0)
        return combine(nats.sum(axis=1) / is_token.sum(axis=1)), nats.sum() / np.log(2) / num_characters

    return scores


SCORES = Exercise(
    id="6.11",
    name="scores",
    title="Perplexity and bits per character",
    minutes=15,
    difficulty=2,
    cases=_score_cases,
    reference=_scores(),
    run=_run_scores,
    mistakes=(
        Mistake(
            "The padding was counted. Only the losses where `is_token` is True belong to the text.",
            _padding_counted,
        ),
        Mistake(
            "The padding was set to 0, but still counted in the mean, which makes the model look better than it is. Divide by "
            "the number of tokens: is_token.sum().",
            _zeros_counted,
        ),
        Mistake(
            "The padding was multiplied by 0, but 0 * nan is nan. Choose instead: `jnp.where(is_token, losses, 0)`.",
            _multiplied,
        ),
        Mistake(
            "This is the mean of each token's own perplexity, and a few rare tokens rule it. Average first, then "
            "exponentiate: exp(mean).",
            _scores(lambda nats, n: np.exp(nats).mean()),
        ),
        Mistake(
            "This is 2 to the power of nats. The losses are natural logarithms, so the base is e.",
            _scores(lambda nats, n: 2 ** (nats.sum() / n)),
        ),
        Mistake("The exponential is missing: this is the mean loss in nats.", _scores(lambda nats, n: nats.sum() / n)),
        Mistake("The exponential of the sum was taken. Of the mean.", _scores(lambda nats, n: np.exp(nats.sum()))),
        Mistake("This is 1 / perplexity: the sign of the loss is wrong.", _scores(lambda nats, n: np.exp(-nats.sum() / n))),
        Mistake(
            "Each text got a mean of its own, and these were averaged: a token of a short text then counts more. One mean "
            "over all tokens.",
            _of_rows(lambda means: np.exp(means.mean())),
        ),
        Mistake(
            "The perplexities of the texts were averaged. One mean over all tokens, then the exponential.",
            _of_rows(lambda means: np.exp(means).mean()),
        ),
        Mistake(
            "The perplexity is that of a character. It is asked for by token: divide by the number of tokens.",
            lambda losses, is_token, num_characters: (
                np.exp(losses[is_token].sum() / num_characters),
                losses[is_token].sum() / np.log(2) / num_characters,
            ),
        ),
        Mistake(
            "The second number is in nats per character. A bit is ln 2 = 0.693 nats: divide by ln 2.",
            _scores(bits=lambda nats, n, num_characters: nats.sum() / num_characters),
        ),
        Mistake(
            "The nats were multiplied by ln 2. A nat is more than a bit (1.44 of them), so the number must grow: divide.",
            _scores(bits=lambda nats, n, num_characters: nats.sum() * np.log(2) / num_characters),
        ),
        Mistake(
            "These are bits per token. Divide the sum by the number of characters, so that models with different tokens can be "
            "compared.",
            _scores(bits=lambda nats, n, num_characters: nats.sum() / np.log(2) / n),
        ),
        Mistake(
            "The base-2 logarithm of the loss was taken. The loss is a logarithm already; divide it by ln 2.",
            _scores(bits=lambda nats, n, num_characters: np.log2(nats.sum() / num_characters)),
        ),
        Mistake(
            "These are the bits of the whole text. Divide by the number of characters.",
            _scores(bits=lambda nats, n, num_characters: nats.sum() / np.log(2)),
        ),
        Mistake("The two are exchanged: perplexity first.", _scores(finish=lambda perplexity, bits: (bits, perplexity))),
        Mistake("The bits per character are missing.", _scores(finish=lambda perplexity, bits: perplexity)),
    ),
    hints=(
        "Both come from the same sum, the nats of all real tokens. They divide it by different numbers.",
        "Perplexity: exp of the mean over tokens. Bits: the sum in bits, over the number of characters; 1 bit is ln 2 nats.",
        "`nats = jnp.where(is_token, losses, 0).sum()`; then `jnp.exp(nats / is_token.sum())` and "
        "`nats / np.log(2) / num_characters`.",
    ),
)


# 6.12 fit_power_law(sizes, losses, *, size) -> scale, exponent, predicted loss. Kaplan et al. 2020, equation 1.1.


def _law_cases() -> dict:
    rng = np.random.default_rng(612)

    def case(sizes: list[float], scale: float, exponent: float, size: float, noise: float) -> dict:
        sizes = np.array(sizes, dtype=float)
        losses = scale * sizes**-exponent * np.exp(noise * rng.normal(size=len(sizes)))
        return {"sizes": sizes, "losses": losses, "size": size}

    return {
        "losses 4, 2, 1 at sizes 1, 4, 16": {
            "sizes": np.array([1.0, 4.0, 16.0]),
            "losses": np.array([4.0, 2.0, 1.0]),
            "size": 64.0,
        },
        "five sizes with noise": case([1e3, 4e3, 2e4, 6e4, 3e5], 30.0, 0.3, 1e6, 0.15),
        "an even shallower law": case([1e4, 1e5, 1e6, 1e7], 9.0, 0.09, 1e9, 0.05),
        "sizes in no order": case([5e4, 2e3, 8e5, 1e4, 6e3, 2e5], 60.0, 0.4, 4e3, 0.2),
        "a steep law": case([10, 30, 90, 270, 810], 500.0, 1.1, 5000.0, 0.3),
    }


def _run_law(answer: Callable, sizes: Any, losses: Any, size: float) -> Any:
    return answer(sizes, losses, size=size)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the least-squares line."""
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return slope, y.mean() - slope * x.mean()


def _logs(sizes: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
    slope, intercept = _line(np.log(sizes), np.log(losses))
    return np.exp(intercept), -slope


def _law(fit: Callable = _logs, predict: Callable = lambda scale, exponent, size: scale * size**-exponent) -> Callable:
    """Scale and exponent from `fit(sizes, losses)`, and the loss that `predict` makes of them."""

    def fit_power_law(sizes: np.ndarray, losses: np.ndarray, *, size: float) -> tuple:
        scale, exponent = fit(sizes.astype(float), losses.astype(float))
        return scale, exponent, predict(scale, exponent, size)

    return fit_power_law


def _in_linear_space(sizes: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
    """Least squares on the losses themselves: Gauss-Newton in (ln scale, exponent), from the fit of the logarithms."""
    scale, exponent = _logs(sizes, losses)
    theta = np.array([np.log(scale), exponent])
    for _ in range(100):
        predicted = np.exp(theta[0] - theta[1] * np.log(sizes))
        jacobian = predicted[:, None] * np.stack([np.ones_like(sizes), -np.log(sizes)], axis=1)
        theta = theta + 0.5 * np.linalg.lstsq(jacobian, losses - predicted, rcond=None)[0]
    return np.exp(theta[0]), theta[1]


def _the_other_way(sizes: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
    slope, intercept = _line(np.log(losses), np.log(sizes))
    return np.exp(-intercept / slope), -1 / slope


def _two_points(sizes: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
    exponent = -np.log(losses[-1] / losses[0]) / np.log(sizes[-1] / sizes[0])
    return losses[0] * sizes[0] ** exponent, exponent


def _semi_logarithmic(sizes: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
    slope, intercept = _line(sizes, np.log(losses))
    return np.exp(intercept), -slope


def _mixed(of_sizes: Callable, of_losses: Callable, back: Callable) -> Callable:
    def fit(sizes: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
        slope, intercept = _line(of_sizes(sizes), of_losses(losses))
        return back(intercept), -slope

    return fit


def _ten_to(x: float) -> float:
    return 10**x


FIT_POWER_LAW = Exercise(
    id="6.12",
    name="fit_power_law",
    title="A straight line through sizes",
    minutes=15,
    difficulty=2,
    cases=_law_cases,
    reference=_law(),
    run=_run_law,
    rtol=1e-3,  # float32 through logarithms of large sizes
    mistakes=(
        Mistake(
            "The squares of the losses themselves were minimised, so the small models, with their large losses, decide alone. "
            "Fit a line to the logarithms: there an error of 5 % counts the same at every size.",
            _law(_in_linear_space),
        ),
        Mistake(
            "Natural and base-10 logarithms are mixed: the intercept is a log10, and exp was taken of it. Use one kind "
            "throughout.",
            _law(_mixed(np.log10, np.log10, np.exp)),
        ),
        Mistake(
            "Natural and base-10 logarithms are mixed: the intercept is a natural one, and 10 was raised to it. Use one kind "
            "throughout.",
            _law(_mixed(np.log, np.log, _ten_to)),
        ),
        Mistake(
            "Natural and base-10 logarithms are mixed: log10 of the sizes, the natural one of the losses. The slope is then "
            "2.3 times too large.",
            _law(_mixed(np.log10, np.log, np.exp)),
        ),
        Mistake(
            "Natural and base-10 logarithms are mixed: the natural one of the sizes, log10 of the losses. The slope is then "
            "2.3 times too small.",
            _law(_mixed(np.log, np.log10, _ten_to)),
        ),
        Mistake(
            "The exponent has the wrong sign. The law is scale * size ** -exponent, so the exponent of a falling loss is "
            "positive: minus the slope.",
            _law(lambda sizes, losses: (_logs(sizes, losses)[0], -_logs(sizes, losses)[1]), lambda a, b, size: a * size**b),
        ),
        Mistake(
            "The predicted loss grows with the size: the exponent needs its minus, scale * size ** -exponent.",
            _law(predict=lambda scale, exponent, size: scale * size**exponent),
        ),
        Mistake(
            "The scale is still a logarithm: take exp of the intercept.",
            _law(
                lambda sizes, losses: (np.log(_logs(sizes, losses)[0]), _logs(sizes, losses)[1]),
                lambda scale, exponent, size: np.exp(scale) * size**-exponent,
            ),
        ),
        Mistake(
            "The scale is still a logarithm, in the prediction too: take exp of the intercept.",
            _law(lambda sizes, losses: (np.log(_logs(sizes, losses)[0]), _logs(sizes, losses)[1])),
        ),
        Mistake(
            "The prediction is still a logarithm: take exp of it.",
            _law(predict=lambda scale, exponent, size: np.log(scale) - exponent * np.log(size)),
        ),
        Mistake(
            "The line was fitted the other way, sizes from losses. It is the losses that have the noise: they are y.",
            _law(_the_other_way),
        ),
        Mistake("The line goes through the first and the last point only. Use all of them: least squares.", _law(_two_points)),
        Mistake(
            "The line is one of ln loss against size. That is an exponential, not a power: take the logarithm of the sizes.",
            _law(_semi_logarithmic, lambda scale, exponent, size: scale * np.exp(-exponent * size)),
        ),
        Mistake(
            "Scale and exponent are exchanged: the scale comes first.",
            lambda sizes, losses, *, size: tuple(np.array(_law()(sizes, losses, size=size))[[1, 0, 2]]),
        ),
        Mistake(
            "The prediction is missing: scale, exponent, predicted loss.",
            lambda sizes, losses, *, size: _law()(sizes, losses, size=size)[:2],
        ),
    ),
    hints=(
        "Take the logarithm of both sides of L = scale * N ** -exponent. What is the slope, what the intercept?",
        "`np.polyfit(x, y, 1)` returns slope and intercept of the least-squares line.",
        "`slope, intercept = np.polyfit(np.log(sizes), np.log(losses), 1)`; the scale is exp(intercept), the exponent -slope.",
    ),
)
