"""Exercise of lesson 05 on the search itself: the ask/tell loop."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake, Property

# 5.10 tune(search, loss, *, num_trials) -> the best params, the lowest loss so far after each trial (num_trials,)


class SmallSearch:
    """A stand-in for `Search(..., maximize=True)` that needs no model: it asks near the highest score it was told.

    It keeps what was asked and told, and gives the same suggestion again until it is told a score.
    """

    def __init__(self, start: dict[str, float], *, reach: float):
        self.start, self.reach = start, reach
        self.num_asked, self.told = 0, []

    def __repr__(self) -> str:
        return f"a search that maximises the score, with ask() and tell(params, score); it begins at {self.start}"

    def ask(self) -> dict[str, float]:
        self.num_asked += 1
        if not self.told:
            return dict(self.start)
        best, _ = max(self.told, key=lambda trial: trial[1])
        names, k = list(best), len(self.told)
        name, step = names[k % len(names)], self.reach * 0.8**k * (-1) ** (k // len(names))
        return {**best, name: best[name] + step}

    def tell(self, params: dict[str, float], score: Any) -> None:
        if not isinstance(params, dict):
            raise TypeError(f"tell was given {params!r} as params. Give it the dict that ask returned: tell(params, score)")
        self.told.append((dict(params), float(score)))


class CountedLoss:
    """The squared distance to a target, plus a floor; it counts its calls."""

    def __init__(self, target: dict[str, float], floor: float):
        self.target, self.floor, self.num_calls = target, floor, 0

    def __repr__(self) -> str:
        return f"a loss with its lowest value {self.floor} at {self.target}"

    def __call__(self, params: dict[str, float]) -> float:
        self.num_calls += 1
        return self.floor + sum((params[name] - value) ** 2 for name, value in self.target.items())


def _tune_cases() -> dict:
    return {
        "6 trials of one parameter": {
            "search": SmallSearch({"x": 0.9}, reach=0.6),
            "loss": CountedLoss({"x": 0.2}, 0.1),
            "num_trials": 6,
        },
        "9 trials of two parameters, losses above 1": {
            "search": SmallSearch({"rate": 0.5, "decay": -1.0}, reach=1.0),
            "loss": CountedLoss({"rate": -0.7, "decay": 0.4}, 3.0),
            "num_trials": 9,
        },
        "losses below 0": {
            "search": SmallSearch({"x": 0.0, "y": 0.3}, reach=0.5),
            "loss": CountedLoss({"x": -0.4, "y": 0.2}, -2.0),
            "num_trials": 7,
        },
        "a single trial": {
            "search": SmallSearch({"x": 0.5}, reach=0.5),
            "loss": CountedLoss({"x": 0.0}, 1.0),
            "num_trials": 1,
        },
    }


def _run_tune(answer: Callable, search: SmallSearch, loss: Callable, num_trials: int) -> Any:
    return answer(search, loss, num_trials=num_trials)


def _trials(search: SmallSearch, loss: Callable, num_trials: int, *, told: Callable = lambda value: -value) -> list:
    """(params, loss) of every trial; the search is told `told(loss)`, or nothing where that is None."""
    trials = []
    for _ in range(num_trials):
        params = search.ask()
        value = loss(params)
        if told(value) is not None:
            search.tell(params, told(value))
        trials.append((params, value))
    return trials


def _summed_up(summary: Callable, **how: Callable) -> Callable:
    """`summary(params of the best, params of every trial, losses)` after the loop."""

    def tune(search: SmallSearch, loss: Callable, *, num_trials: int) -> Any:
        trials = _trials(search, loss, num_trials, **how)
        losses = np.array([value for _, value in trials])
        return summary(trials[losses.argmin()][0], [params for params, _ in trials], losses)

    return tune


def _summary(best: dict, params: list[dict], losses: np.ndarray) -> tuple:
    return best, np.minimum.accumulate(losses)


def _asked_once(search: SmallSearch, loss: Callable, *, num_trials: int) -> tuple:
    params = search.ask()
    losses = []
    for _ in range(num_trials):
        losses.append(loss(params))
        search.tell(params, -losses[-1])
    return params, np.minimum.accumulate(losses)


def _returned_in_the_loop(search: SmallSearch, loss: Callable, *, num_trials: int) -> tuple:
    return _summed_up(_summary)(search, loss, num_trials=1)


def _observed(holds: Callable) -> Callable:
    """`holds(search, loss, num_trials)` after the reader's loop has run on them."""

    def rule(run: Callable, search: SmallSearch, loss: CountedLoss, num_trials: int) -> bool:
        run(search=search, loss=loss, num_trials=num_trials)
        return holds(search, loss, num_trials)

    return rule


_SAME_PARAMS = (
    "Every trial had the same params. Either the search was never told a score, so it learned nothing, or `ask` was called "
    "once, before the loop. In every turn: ask, evaluate, `search.tell(params, -value)`."
)

TUNE = Exercise(
    id="5.10",
    name="tune",
    title="The ask/tell loop",
    minutes=15,
    difficulty=2,
    cases=_tune_cases,
    reference=_summed_up(_summary),
    run=_run_tune,
    rtol=1e-3,
    atol=1e-5,
    mistakes=(
        Mistake(
            "The search was told the loss itself, but it *maximises*: it walked away from the good places. Tell it "
            "`-loss(params)`.",
            _summed_up(_summary, told=lambda value: value),
        ),
        Mistake(_SAME_PARAMS, _summed_up(_summary, told=lambda value: None)),
        Mistake(_SAME_PARAMS, _asked_once),
        Mistake(
            "These are the params of the last trial. Return those of the lowest loss.",
            _summed_up(lambda best, params, losses: (params[-1], np.minimum.accumulate(losses))),
        ),
        Mistake(
            "These are the params of the first trial. Return those of the lowest loss.",
            _summed_up(lambda best, params, losses: (params[0], np.minimum.accumulate(losses))),
        ),
        Mistake(
            "These are the params of the *highest* loss. The best trial is the one with the lowest.",
            _summed_up(lambda best, params, losses: (params[losses.argmax()], np.minimum.accumulate(losses))),
        ),
        Mistake(
            "This is the loss of every trial. Return the lowest so far, which never rises: `np.minimum.accumulate`.",
            _summed_up(lambda best, params, losses: (best, losses)),
        ),
        Mistake(
            "This is the highest loss so far. Return the lowest so far: `np.minimum.accumulate`.",
            _summed_up(lambda best, params, losses: (best, np.maximum.accumulate(losses))),
        ),
        Mistake(
            "These are the scores, with the minus that the search needs. Return losses.",
            _summed_up(lambda best, params, losses: (best, -np.minimum.accumulate(losses))),
        ),
        Mistake(
            "Every entry is the lowest loss of the whole search. Entry k may know the trials 0 to k only.",
            _summed_up(lambda best, params, losses: (best, np.full(len(losses), losses.min()))),
        ),
        Mistake(
            "This is one number. Return the lowest loss so far after each trial, (num_trials,).",
            _summed_up(lambda best, params, losses: (best, losses.min())),
        ),
        Mistake(
            "Params and losses are exchanged. Return the best params first.",
            _summed_up(lambda best, params, losses: (np.minimum.accumulate(losses), best)),
        ),
        Mistake(
            "Only the best params were returned. Return the lowest losses so far as well.",
            _summed_up(lambda best, params, losses: best),
        ),
        Mistake(
            "There is one trial too many. `range(num_trials)` is the budget.",
            lambda search, loss, *, num_trials: _summed_up(_summary)(search, loss, num_trials=num_trials + 1),
        ),
        Mistake(
            "There is one trial too few: the last one has not been run.",
            lambda search, loss, *, num_trials: _summed_up(_summary)(search, loss, num_trials=max(num_trials - 1, 1)),
        ),
        Mistake("Only one trial was run. A `return` inside the loop ends it.", _returned_in_the_loop),
    ),
    properties=(
        Property(
            "The loss was evaluated more often than once a trial. Each evaluation is a whole training run: keep its value in a "
            "variable.",
            _observed(lambda search, loss, num_trials: loss.num_calls <= num_trials),
        ),
        Property(
            "`ask` was called more often than once a trial. What it suggests is meant to be tried: keep it in a variable.",
            _observed(lambda search, loss, num_trials: search.num_asked <= num_trials),
        ),
        Property(
            "Not every trial was told to the search, and once only. Tell it the score of every trial, the last one too: "
            "whoever goes on with this search needs it.",
            _observed(lambda search, loss, num_trials: len(search.told) == num_trials),
        ),
    ),
    hints=(
        "Four lines in the loop: ask, evaluate, tell, note. The search maximises and a loss is to be minimised: what do "
        "you tell it?",
        "`params = search.ask()`, `value = loss(params)`, `search.tell(params, -value)`; keep `params` and `value` in lists.",
        "The best params are those at `np.argmin(losses)`; `np.minimum.accumulate(losses)` gives the lowest so far.",
    ),
)
