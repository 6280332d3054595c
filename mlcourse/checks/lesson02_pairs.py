"""The reader's optimizer, a pair (init, update), into the updates it makes; and NumPy programs of the same form.

Lesson 02's optimizers have Optax's protocol: `init(params) -> state`, `update(grads, state, params) -> (updates,
state)`. `run_pair` is their adapter, `PURE` what must hold of each, and `pair_of` makes references and mistakes from
what happens to one array.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Mistake, Property
from mlcourse.checks.values import as_numpy, copy, same

Pair = tuple[Callable, Callable]


class NotAPair(ValueError):
    """The answer did not return two functions. (No TypeError: that would be tried again in other frameworks.)"""


class NotTwoResults(ValueError):
    """`update` did not return two things."""


def flat(tree: Any, path: tuple = ()) -> dict[tuple, Any]:
    """The arrays of nested dicts by their path: `{"a": {"w": x}}` gives `{("a", "w"): x}`."""
    if not isinstance(tree, dict):
        return {path: tree}
    return {key: leaf for name, branch in tree.items() for key, leaf in flat(branch, (*path, name)).items()}


def rebuilt(tree: Any, leaves: dict[tuple, Any], path: tuple = ()) -> Any:
    """The leaves in nested dicts like `tree`."""
    if not isinstance(tree, dict):
        return leaves[path]
    return {name: rebuilt(branch, leaves, (*path, name)) for name, branch in tree.items()}


def moved(params: Any, updates: Any) -> Any:
    """params + updates, or params where the updates don't have their form."""
    p, u = flat(params), flat(updates)
    if p.keys() != u.keys() or any(getattr(u[path], "shape", None) != p[path].shape for path in p):
        return params
    return rebuilt(params, {path: p[path] + u[path] for path in p})


def run_pair(answer: Callable, *, params: Any, grads: list, probe: str = "", **settings: Any) -> Any:
    """The updates of every step, then those of the first step of a second run.

    With `probe="state"`, the first state before and after it was used; with `probe="repeat"`, what the first step gave
    and what the same call gives at the end of the run.
    """
    made = answer(**settings)
    if made is None:
        return None
    if not (isinstance(made, (tuple, list)) and len(made) == 2 and all(map(callable, made))):
        raise NotAPair("it must return two functions, `return init, update`")
    init, update = made

    def one_step(g: Any, state: Any, params: Any) -> tuple:
        outcome = update(g, state, params)
        if not (isinstance(outcome, (tuple, list)) and len(outcome) == 2):
            raise NotTwoResults("`update` must return two things, `return updates, state`")
        return outcome

    start, first = params, init(params)
    if probe == "state":
        before = copy(as_numpy(first))
        one_step(grads[0], first, params)
        return [before, as_numpy(first)]
    found, state = {}, first
    for k, g in enumerate(grads, start=1):
        updates, state = one_step(g, state, params)
        found[f"updates of step {k}"] = copy(as_numpy(updates))
        params = moved(params, updates)
    if probe == "repeat":
        return [found["updates of step 1"], one_step(grads[0], first, start)[0]]
    return {**found, "updates of step 1 in a second run": one_step(grads[0], init(start), start)[0]}


def _state_is_kept(run: Callable, **case: Any) -> bool:
    before, after = run(**case, probe="state")
    return same(before, after, rtol=0, atol=0)


def _repeats(run: Callable, **case: Any) -> bool:
    return same(*run(**case, probe="repeat"))


PURE = (
    Property(
        "`update` wrote into the state that came in (`v *= ...` changes its arrays, `state['m'] = ...` its dict). Whoever "
        "kept that state, for a checkpoint or to take a step back, now has another one. Make new arrays and return a new "
        "state.",
        _state_is_kept,
    ),
    Property(
        "Called again with the same gradient and the same state, `update` gives something else. All it remembers must come in "
        "as `state` and go out as the new state, nothing in variables outside it.",
        _repeats,
    ),
)


def pair_of(step: Callable, *, slots: int, start: Callable = np.zeros_like) -> Callable:
    """An optimizer from what it does to one array: `step(g, p, memory, k, **settings) -> (update, new memory)`.

    `memory` is a tuple of `slots` arrays that begin as `start(p)`; k counts the updates, from 1.
    """

    def optimizer(**settings: Any) -> Pair:
        def init(params: Any) -> Any:
            return 0, {path: (start(p),) * slots for path, p in flat(params).items()}

        def update(grads: Any, state: Any, params: Any = None) -> tuple:
            (count, memory), p = state, flat(params)
            done = {path: step(g, p[path], memory[path], count + 1, **settings) for path, g in flat(grads).items()}
            updates = rebuilt(grads, {path: pair[0] for path, pair in done.items()})
            return updates, (count + 1, {path: pair[1] for path, pair in done.items()})

        return init, update

    return optimizer


def _changed(optimizer: Callable, change: Callable) -> Callable:
    """The optimizer with `change(update)` in the place of its update."""

    def changed(**settings: Any) -> Pair:
        init, update = optimizer(**settings)
        return init, change(update)

    return changed


def forgets(update: Callable) -> Callable:
    return lambda grads, state, params=None: (update(grads, state, params)[0], state)


def remembers_outside(update: Callable) -> Callable:
    kept = []

    def remembering(grads: Any, state: Any, params: Any = None) -> tuple:
        updates, state = update(grads, kept.pop() if kept else state, params)
        kept.append(state)
        return updates, state

    return remembering


def counts_outside(update: Callable) -> Callable:
    count = [0]

    def counting(grads: Any, state: Any, params: Any = None) -> tuple:
        updates, state = update(grads, (count[0], state[1]), params)
        count[0] += 1
        return updates, state

    return counting


def pairs_by_position(update: Callable) -> Callable:
    def paired(grads: Any, state: Any, params: Any = None) -> tuple:
        leaves = dict(zip(flat(params), flat(grads).values(), strict=True))
        return update(rebuilt(params, leaves), state, params)

    return paired


def stays_at_the_top(update: Callable) -> Callable:
    def flat_only(grads: Any, state: Any, params: Any = None) -> tuple:
        if any(isinstance(branch, dict) for branch in grads.values()):
            raise TypeError("a dict is no array")
        return update(grads, state, params)

    return flat_only


def form_mistakes(step: Callable, *, slots: int, forgot: str) -> tuple[Mistake, ...]:
    """The mistakes in the form of a pair around a `step` that is right; `forgot` says what a lost state looks like."""
    right = pair_of(step, slots=slots)

    def new_params(g: np.ndarray, p: np.ndarray, memory: tuple, k: int, **settings: Any) -> tuple:
        update, memory = step(g, p, memory, k, **settings)
        return p + update, memory

    def uphill(g: np.ndarray, p: np.ndarray, memory: tuple, k: int, **settings: Any) -> tuple:
        update, memory = step(g, p, memory, k, **settings)
        return -update, memory

    def without_rate(g: np.ndarray, p: np.ndarray, memory: tuple, k: int, *, learning_rate: float, **settings: Any) -> tuple:
        return step(g, p, memory, k, learning_rate=1.0, **settings)

    return (
        Mistake(
            "The sign is missing: the step goes uphill. Updates are *added* to the parameters, so they need a minus.",
            pair_of(uphill, slots=slots),
        ),
        Mistake("The learning rate is not used. Multiply the step by it.", pair_of(without_rate, slots=slots)),
        Mistake(
            "These are the new parameters. Return the updates, what is to be added to the parameters: only the step.",
            pair_of(new_params, slots=slots),
        ),
        Mistake(forgot, _changed(right, forgets)),
        Mistake(
            "A second run begins where the first one ended: something is remembered outside of `state`. `init` makes all that "
            "the optimizer remembers, `update` takes it from `state` and returns the new one.",
            _changed(right, remembers_outside),
        ),
        Mistake(
            "Arrays were paired by their position. The order of names in `grads` may be another: pair them by name, as "
            "`jax.tree.map` does.",
            _changed(right, pairs_by_position),
        ),
        Mistake(
            "An inner dict was treated as an array. Go down into it: `jax.tree.map` does, at any depth.",
            _changed(right, stays_at_the_top),
        ),
        Mistake(
            "The memory does not begin at zero. `init` returns zeros in the shapes of the parameters.",
            pair_of(step, slots=slots, start=np.ones_like),
        ),
        Mistake(
            "The memory begins as the parameters themselves. `init` returns zeros in their shapes.",
            pair_of(step, slots=slots, start=np.copy),
        ),
        Mistake("There must be two functions at the end: `return init, update`.", lambda **settings: right(**settings)[0]),
        Mistake(
            "`update` must return two things, `return updates, state`.",
            _changed(right, lambda update: lambda *three: update(*three)[0]),
        ),
    )


def count_is_outside(step: Callable, *, slots: int) -> Mistake:
    """The mistake of a step count that lives outside of the state."""
    return Mistake(
        "The count of steps goes on in a second run: it is kept outside of `state`. Put it into the state, beside the "
        "averages.",
        _changed(pair_of(step, slots=slots), counts_outside),
    )


def pair_cases(one: dict, two: dict, three: dict, *, scales: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> dict:
    """Three cases with the settings given; `scales` are the sizes of their gradients."""
    rng = np.random.default_rng(2)

    def array(numbers: Any) -> np.ndarray:
        return np.asarray(numbers, dtype=np.float32)

    def normal(scale: float, *shape: int) -> np.ndarray:
        return array(scale * rng.normal(size=shape).round(2) + 0.0)

    def layer(scale: float) -> dict:
        return {"w": normal(scale, 2, 3), "b": normal(scale, 3)}

    by_hand = [([1, -4, 2], 3), ([2, 1, -1], -1), ([-3, 2, 0.5], 2)]
    return {
        "numbers to follow by hand": {
            **one,
            "params": {"w": array([2, -1, 4]), "b": array(-2)},
            "grads": [{"w": array(w) * scales[0], "b": array(b * scales[0])} for w, b in by_hand],
        },
        "two layers, in another order in grads, whose second are all zero": {
            **two,
            "params": {"hidden": layer(1.0), "output": layer(1.0)},
            "grads": [{"output": layer(scale), "hidden": layer(scale)} for scale in (scales[1], 0.0, scales[1])],
        },
        "every second column, and a single number whose gradient is always 0": {
            **three,
            "params": {"w": normal(1.0, 2, 6)[:, ::2], "scale": array(2)},
            "grads": [{"w": normal(scales[2], 2, 6)[:, 1::2], "scale": array(0)} for _ in range(4)],
        },
    }
