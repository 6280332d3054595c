"""A space and the scores told so far -> what to try next: one `ask` and one `tell` for every way of searching."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlcourse.errors import unknown_name
from mlcourse.files import write_whole
from mlcourse.search import space as spaces
from mlcourse.search import strategies
from mlcourse.search.precision import float64, one_thread
from mlcourse.search.space import Params, Space

STRATEGIES = ("grid", "random", "sobol", "bayes", "active")


class Trial(NamedTuple):
    """One point that was asked, or told unasked. `score` is None unless it is done."""

    params: Params
    status: str  # "pending", "done" or "failed"
    score: float | None = None


class Search:
    """A search, to be asked for parameters and told their scores.

    Args:
        space: name -> Real, LogReal, Integer or Categorical.
        strategy: "grid", "random", "sobol", "bayes" (where is the best?) or "active" (where is the map worst?).
        maximize: whether a high score is good.
        seed: with the trials, decides what comes next; nothing else does.
        acquisition: for "bayes": "log_ei", "ei", "pi", "ucb" or "thompson".
        kernel: "rbf", "matern32" or "matern52", for "bayes" and "active".
        num_initial: trials before the first that a model chooses; Sobol points until then.
        points_per_axis: values of a number, for "grid".
        margin: the improvement that counts, in standard deviations of the scores, for "log_ei", "ei" and "pi".
        width: standard deviations of optimism, for "ucb".

    Raises:
        ValueError, TypeError: a bad space or an unknown name, with the cure.

    >>> search = Search({"x": spaces.Real(0, 1)}, strategy="grid", maximize=True, seed=0, points_per_axis=3)
    >>> for _ in range(3):
    ...     params = search.ask()
    ...     search.tell(params, -abs(params["x"] - 0.4))
    >>> search.best().params
    {'x': 0.5}

    Built in lesson 05.
    """

    def __init__(self, space: Space, *, strategy: str, maximize: bool, seed: int, acquisition: str = "log_ei",
                 kernel: str = "matern52", num_initial: int = 5, points_per_axis: int = 5,
                 margin: float = 0.0, width: float = 2.0):  # fmt: skip
        spaces.check_space(space)
        for kind, name, known in (("strategy", strategy, STRATEGIES), ("acquisition", acquisition, strategies.ACQUISITIONS),
                                  ("kernel", kernel, strategies.KERNELS)):  # fmt: skip
            if name not in known:
                raise ValueError(unknown_name(kind, name, known))
        for name, number in (("num_initial", num_initial), ("points_per_axis", points_per_axis)):
            if number < 1:
                raise ValueError(f"{name}={number}, but at least 1 is needed. The default is 5.")
        if not isinstance(maximize, bool):
            raise ValueError(f"maximize={maximize!r} is neither True nor False. Pass False where a low score is good.")
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"seed={seed!r} is no whole number from 0 on. Pass one, such as seed=0.")
        for name, number in (("margin", margin), ("width", width)):
            if not 0 <= number < math.inf:
                raise ValueError(f"{name}={number} must be a finite number from 0 on, in standard deviations.")
        self.space = dict(space)
        self.settings = dict(strategy=strategy, maximize=maximize, seed=seed, acquisition=acquisition, kernel=kernel,
                             num_initial=num_initial, points_per_axis=points_per_axis, margin=margin, width=width)  # fmt: skip
        self.trials: list[Trial] = []
        self.num_asked = 0

    def ask(self, count: int | None = None) -> Params | list[Params]:
        """What to try next; with a `count`, a list of so many to be tried at the same time.

        What was asked is pending until it is told. A model expects of it what it predicts there, so a batch spreads.
        """
        if count is not None:
            if count < 1:
                raise ValueError(f"count={count}, but a batch has at least 1. Leave `count` out for a single suggestion.")
            return [self.ask() for _ in range(count)]
        params = self._next()
        self.num_asked += 1
        self.trials.append(Trial(params, "pending"))
        return dict(params)

    def tell(self, params: Params, score: float) -> None:
        """Notes the score of `params`: of a pending trial, or of one that nobody asked for.

        Raises:
            ValueError: an unknown or missing name, a value outside the space, or a score that is not finite.
            TypeError: a score that is no number.
        """
        spaces.check_params(params, self.space)
        try:
            is_finite = math.isfinite(score)
        except TypeError as error:
            raise TypeError(
                f"the score of {params!r} is {score!r}, which is no number. Does the function that makes it `return` one?"
            ) from error
        if not is_finite:
            raise ValueError(
                f"the score of {params!r} is {score}, which can't be ranked. For a run that failed, call `fail(params)`."
            )
        self._note(params, "done", float(score))

    def fail(self, params: Params) -> None:
        """Notes that `params` gave no score. The models take it for as bad as the worst score, so as to keep away."""
        spaces.check_params(params, self.space)
        self._note(params, "failed", None)

    def best(self) -> Trial:
        """The trial with the best score.

        Raises:
            ValueError: nothing was told yet.
        """
        done = [t for t in self.trials if t.status == "done"]
        if not done:
            raise ValueError(f"none of {len(self.trials)} trials has a score. Call `tell(params, score)` first.")
        return (max if self.settings["maximize"] else min)(done, key=lambda t: t.score)

    def predict(self, params: list[Params]) -> tuple[np.ndarray, np.ndarray]:
        """What the model makes of the trials: mean and standard deviation of the score (noise left out), both (len(params),).

        Raises:
            ValueError: fewer than 2 scores were told, or a point that is not in the space.
        """
        for point in params:
            spaces.check_params(point, self.space)
        points = np.array([spaces.encode(p, self.space) for p in params])
        if self._num_scores() < 2:
            raise ValueError(f"{self._num_scores()} scores are too few for a map. Tell at least 2.")
        X, y, observed, pending, center, scale = self._data()
        with float64(), one_thread():
            mean, std = strategies.model_map(X, y, observed, pending, points, kernel=self.settings["kernel"])
        return (center + scale * mean) * (1 if self.settings["maximize"] else -1), scale * std

    def save(self, path: str | Path) -> None:
        """Writes the search as JSON, at once or not at all. `load` gives back one that asks the same next."""
        space = {name: {"kind": type(p).__name__, **p._asdict()} for name, p in self.space.items()}
        text = json.dumps({"format": 1, "space": space, "settings": self.settings, "num_asked": self.num_asked,
                           "trials": [t._asdict() for t in self.trials]}, indent=1, default=_plain)  # fmt: skip
        write_whole(path, text)

    @classmethod
    def load(cls, path: str | Path) -> "Search":
        """The search that `save` wrote.

        Raises:
            ValueError: the file holds something else.
        """
        try:
            saved = json.loads(Path(path).read_text(encoding="utf-8"))
            if saved["format"] != 1:
                raise KeyError(saved["format"])
            search = cls({name: _parameter(**p) for name, p in saved["space"].items()}, **saved["settings"])
            search.trials = [Trial(**t) for t in saved["trials"]]
            search.num_asked = saved["num_asked"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} holds no search of format 1 ({error!r}). Load a file that `Search.save` wrote."
            ) from error
        return search

    def _next(self) -> Params:
        s = self.settings
        if s["strategy"] == "grid":
            points = strategies.grid(self.space, points_per_axis=s["points_per_axis"])
            if self.num_asked >= len(points):
                raise ValueError(f"the grid has {len(points)} points and all were asked. Take more `points_per_axis` than "
                                 f"{s['points_per_axis']}, or another strategy.")  # fmt: skip
            return points[self.num_asked]
        if s["strategy"] == "random":
            u = strategies.random_point(self.space, seed=s["seed"], index=self.num_asked)
            return spaces.decode(u, self.space)
        if s["strategy"] == "sobol" or len(self.trials) < s["num_initial"] or self._num_scores() < 2:
            u = strategies.sobol_point(self.space, seed=s["seed"], index=self.num_asked)
            return spaces.decode(u, self.space)
        X, y, observed, pending, _, _ = self._data()
        acquisition = "variance" if s["strategy"] == "active" else s["acquisition"]
        with float64(), one_thread():
            u = strategies.model_point(self.space, X, y, observed, pending, seed=s["seed"], acquisition=acquisition,
                                       kernel=s["kernel"], margin=s["margin"], width=s["width"])  # fmt: skip
        return spaces.decode(u, self.space)

    def _num_scores(self) -> int:
        return sum(t.status == "done" for t in self.trials)

    def _data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float, float]:
        """X (n, d), y (n,) with the good end up, mean 0 and variance 1, observed, pending (n,), and what y was divided by."""
        sign = 1 if self.settings["maximize"] else -1
        X = np.array([spaces.encode(t.params, self.space) for t in self.trials])
        scores = np.array([math.nan if t.score is None else sign * t.score for t in self.trials])
        pending = np.array([t.status == "pending" for t in self.trials])
        scores = np.where(np.isnan(scores), np.nanmin(scores), scores)  # a failed trial counts as the worst
        center, scale = scores[~pending].mean(), scores[~pending].std()
        scale = scale if scale > 0 else 1.0  # all scores alike
        return X, (scores - center) / scale, ~pending, pending, center, scale

    def _note(self, params: Params, status: str, score: float | None) -> None:
        trial = Trial(dict(params), status, score)
        for i, asked in enumerate(self.trials):
            if asked.status == "pending" and asked.params == params:
                self.trials[i] = trial
                return
        self.trials.append(trial)


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} can't be kept as JSON. Use strings, numbers, booleans or None as choices.")


def _parameter(kind: str, when: list | None = None, **fields):
    if "choices" in fields:
        fields["choices"] = tuple(fields["choices"])
    return {"Real": spaces.Real, "LogReal": spaces.LogReal, "Integer": spaces.Integer, "Categorical": spaces.Categorical}[kind](
        **fields, when=None if when is None else tuple(when))  # fmt: skip
