"""Ask and tell: every strategy, batches, pending and failed trials, files, compilations, and what is refused."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlcourse.search import Categorical, Integer, LogReal, Real, Search
from mlcourse.search.strategies import ACQUISITIONS, padded_size

LINE = {"x": Real(0, 1)}
MIXED = {
    "rate": LogReal(1e-4, 1.0),
    "layers": Integer(1, 3),
    "optimizer": Categorical(("sgd", "adam")),
    "momentum": Real(0, 1, when=("optimizer", "sgd")),
}
compilations = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, seconds, **_: compilations.append(name) if name.endswith("backend_compile_duration") else None
)


def score(params):
    """Best, at 0, with rate 0.01, 2 layers and Adam."""
    return -((math.log10(params["rate"]) + 2) ** 2) - (params["layers"] - 2) ** 2 - (params["optimizer"] == "sgd")


def searched(space, f, *, steps, maximize=True, seed=0, strategy="bayes", **settings):
    search = Search(space, strategy=strategy, maximize=maximize, seed=seed, **settings)
    for _ in range(steps):
        params = search.ask()
        search.tell(params, f(params))
    return search


def test_bayes_finds_what_random_search_with_as_many_trials_mostly_misses():
    def bump(params):
        return -abs(params["x"] - 0.3141)

    bayes = searched(LINE, bump, steps=15).best().score
    assert bayes > -0.005
    assert np.median([searched(LINE, bump, steps=15, strategy="random", seed=s).best().score for s in range(21)]) < -0.01


def test_bayes_finds_the_best_of_a_space_of_every_kind():
    best = searched(MIXED, score, steps=30).best()
    assert (best.params["layers"], best.params["optimizer"]) == (2, "adam")
    assert best.params["rate"] == pytest.approx(0.01, rel=0.1)


def test_minimising_is_maximising_the_negative():
    up = searched(LINE, lambda p: math.sin(9 * p["x"]), steps=9)
    down = searched(LINE, lambda p: -math.sin(9 * p["x"]), steps=9, maximize=False)
    assert [t.params for t in up.trials] == [t.params for t in down.trials]
    assert up.best().score == -down.best().score


def test_units_of_the_score_do_not_matter():
    plain = searched(LINE, lambda p: math.sin(9 * p["x"]), steps=9)
    scaled = searched(LINE, lambda p: 1024 * math.sin(9 * p["x"]), steps=9)  # a power of two: no rounding
    assert [t.params for t in plain.trials] == [t.params for t in scaled.trials]


def test_active_learning_maps_the_line_better_than_it_is_found_by_bayes():
    def f(params):
        return math.sin(9 * params["x"])

    grid = [{"x": float(x)} for x in np.linspace(0, 1, 101)]
    truth = np.array([f(p) for p in grid])
    errors = {s: np.abs(searched(LINE, f, steps=12, strategy=s).predict(grid)[0] - truth).max() for s in ("active", "bayes")}
    assert errors["active"] < 0.05 < errors["bayes"]


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_every_acquisition_chooses_points_inside_the_space(acquisition):
    search = searched(LINE, lambda p: -((p["x"] - 0.6) ** 2), steps=8, acquisition=acquisition)
    assert all(0 <= t.params["x"] <= 1 for t in search.trials)
    assert len({t.params["x"] for t in search.trials}) == 8
    if acquisition != "variance":
        assert search.best().params["x"] == pytest.approx(0.6, abs=0.05)


def test_a_wider_bar_or_margin_explores_more():
    def from_best(acquisition, **settings):
        search = searched(LINE, lambda p: -abs(p["x"] - 0.5), steps=9, acquisition=acquisition, **settings)
        return np.mean([abs(t.params["x"] - 0.5) for t in search.trials[5:]])

    assert from_best("ucb", width=0.0) < from_best("ucb", width=20.0) - 0.1
    assert from_best("log_ei", margin=0.0) < from_best("log_ei", margin=5.0) - 0.1


def test_the_grid_is_every_combination_once_and_then_ends():
    space = {"rate": LogReal(0.01, 1.0), "layers": Integer(1, 2), "optimizer": Categorical(("sgd", "adam"))}
    search = searched(space, lambda p: 0.0, steps=12, strategy="grid", points_per_axis=3)
    assert [t.params["optimizer"] for t in search.trials[:4]] == ["sgd", "adam", "sgd", "adam"]
    assert len({tuple(t.params.values()) for t in search.trials}) == 12
    with pytest.raises(ValueError, match="the grid has 12 points and all were asked. Take more `points_per_axis` than 3"):
        search.ask()


def test_the_grid_of_a_conditional_space_repeats_nothing():
    search = Search(MIXED, strategy="grid", maximize=True, seed=0, points_per_axis=2)
    asked = [search.ask() for _ in range(2 * 2 * (2 + 1))]  # rate, layers, sgd with two momenta or adam
    assert all(p not in asked[:i] for i, p in enumerate(asked))


def test_sobol_points_leave_no_eighth_of_the_line_empty_and_random_ones_do():
    def cells(strategy, seed):
        points = [t.params["x"] for t in searched(LINE, lambda p: 0.0, steps=8, strategy=strategy, seed=seed).trials]
        return len({int(8 * (x - min(points))) for x in points})  # the shift wraps round: count from the first

    assert all(cells("sobol", seed) >= 7 for seed in range(10))
    assert min(cells("random", seed) for seed in range(10)) < 6


@pytest.mark.parametrize("strategy", ["random", "sobol", "bayes", "active"])
def test_the_seed_decides_and_nothing_else(strategy):
    first, again, other = (
        [t.params for t in searched(MIXED, score, steps=7, strategy=strategy, seed=s).trials] for s in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_a_batch_spreads_although_nothing_was_told_in_between():
    search = searched(LINE, lambda p: -((p["x"] - 0.5) ** 2), steps=6)
    batch = [p["x"] for p in search.ask(4)]
    assert np.diff(sorted(batch)).min() > 1e-4
    assert max(batch) - min(batch) > 0.03
    assert [t.status for t in search.trials[-4:]] == ["pending"] * 4


def test_what_is_pending_narrows_the_error_bar_and_moves_no_mean():
    search = searched(LINE, lambda p: math.sin(9 * p["x"]), steps=5)
    points = [{"x": float(x)} for x in np.linspace(0, 1, 21)]
    mean, std = search.predict(points)
    pending = search.ask()
    (there,), (bar,) = search.predict([pending])
    mean_after, std_after = search.predict(points)
    np.testing.assert_allclose(mean_after, mean, atol=1e-3)  # the reading expected there carries a little noise
    assert (std_after <= std + 1e-9).all()
    assert bar < 0.1 * std.max()


def test_trials_may_be_told_in_any_order():
    search = Search(LINE, strategy="sobol", maximize=True, seed=0)
    first, second = search.ask(2)
    search.tell(second, 2.0)
    search.tell(first, 1.0)
    assert [(t.params, t.score) for t in search.trials] == [(first, 1.0), (second, 2.0)]


def test_a_score_that_nobody_asked_for_counts():
    search = Search(LINE, strategy="bayes", maximize=True, seed=0)
    for x in (0.1, 0.3, 0.5, 0.7, 0.9):
        search.tell({"x": x}, -((x - 0.62) ** 2))
    assert search.ask()["x"] == pytest.approx(0.62, abs=0.02)  # the model speaks at once: five scores are there


def test_a_search_keeps_away_from_where_trials_fail():
    search = Search(LINE, strategy="bayes", maximize=True, seed=0)
    for _ in range(14):
        params = search.ask()
        search.fail(params) if params["x"] > 0.5 else search.tell(params, params["x"])
    assert search.best().params["x"] > 0.45
    assert sum(t.status == "failed" for t in search.trials[-5:]) < 4
    assert all(t.score is None for t in search.trials if t.status == "failed")


def test_a_search_goes_on_when_everything_failed_or_all_scores_are_alike():
    failing = Search(LINE, strategy="bayes", maximize=True, seed=0)
    for _ in range(8):
        failing.fail(failing.ask())
    flat = searched(LINE, lambda p: 1.0, steps=8)
    assert len({t.params["x"] for t in failing.trials}) == len({t.params["x"] for t in flat.trials}) == 8


def test_a_finite_space_is_tried_whole_before_anything_twice():
    space = {"layers": Integer(1, 4), "optimizer": Categorical(("sgd", "adam"))}
    search = searched(space, lambda p: -p["layers"], steps=8, num_initial=1)
    tried = [tuple(t.params.values()) for t in search.trials]
    assert len(set(tried[2:])) == len(tried[2:])  # the first two are Sobol points: a model needs two scores
    assert searched(space, lambda p: -p["layers"], steps=10, num_initial=1).best().params["layers"] == 1


@pytest.mark.parametrize("strategy", ["grid", "random", "sobol", "bayes", "active"])
def test_a_loaded_search_asks_what_the_saved_one_would_have(strategy, tmp_path):
    search = searched(MIXED, score, steps=7, strategy=strategy)
    search.fail(search.ask())
    search.ask()  # stays pending
    search.save(tmp_path / "search.json")
    again = Search.load(tmp_path / "search.json")
    assert (again.space, again.settings, again.trials) == (search.space, search.settings, search.trials)
    assert again.ask() == search.ask()
    assert [p.name for p in tmp_path.iterdir()] == ["search.json"]


def test_scores_and_parameters_of_numpy_are_saved_as_numbers(tmp_path):
    search = Search({"layers": Integer(1, 3)}, strategy="sobol", maximize=True, seed=0)
    search.tell({"layers": np.int64(2)}, np.float32(0.5))
    search.save(tmp_path / "search.json")
    assert json.loads((tmp_path / "search.json").read_text())["trials"] == [
        {"params": {"layers": 2}, "status": "done", "score": 0.5}
    ]


def test_the_map_goes_through_readings_without_noise_and_is_unsure_between():
    search = Search(LINE, strategy="active", maximize=False, seed=0)
    for x in (0.0, 0.25, 0.5, 0.75, 1.0):
        search.tell({"x": x}, 100 + math.sin(9 * x))
    mean, std = search.predict([t.params for t in search.trials])
    np.testing.assert_allclose(mean, [t.score for t in search.trials], atol=0.02)
    assert search.predict([{"x": 0.125}])[1] > 3 * std.max()


def test_nothing_is_compiled_as_points_arrive_until_the_padding_is_full():
    space = {f"x{i}": Real(0, 1) for i in range(7)}  # a number of columns that no other test has compiled
    search = Search(space, strategy="bayes", maximize=True, seed=0)
    compiled_at = []
    for n in range(36):
        before = len(compilations)
        params = search.ask()
        search.tell(params, params["x0"] - params["x1"])
        if len(compilations) > before:
            compiled_at.append(n)
    assert compiled_at == [5, 33]  # the first with a model, then 32 + 1 points


def test_points_are_padded_to_powers_of_two_from_32_on():
    assert [padded_size(n) for n in (1, 32, 33, 64, 65, 129)] == [32, 32, 64, 64, 128, 256]


def test_the_process_around_a_search_stays_in_32_bits():
    search = searched(LINE, lambda p: p["x"], steps=7)
    search.predict([{"x": 0.5}])
    assert jnp.ones(1).dtype == jnp.float32
    assert jax.jit(lambda x: x * 2)(1.0).dtype == jnp.float32


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"strategy": "bayse"}, "unknown strategy 'bayse'. Did you mean 'bayes'"),
        ({"acquisition": "eii"}, "unknown acquisition 'eii'"),
        ({"kernel": "matern"}, "unknown kernel 'matern'"),
        ({"num_initial": 0}, "num_initial=0, but at least 1"),
        ({"points_per_axis": 0}, "points_per_axis=0, but at least 1"),
        ({"maximize": "minimise"}, "maximize='minimise' is neither True nor False. Pass False where a low score"),
        ({"seed": -1}, "seed=-1 is no whole number from 0 on"),
        ({"seed": 0.5}, "seed=0.5 is no whole number from 0 on"),
        ({"margin": math.nan}, "margin=nan must be a finite number from 0 on"),
        ({"width": -2.0}, "width=-2.0 must be a finite number from 0 on"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Search(LINE, **{"strategy": "bayes", "maximize": True, "seed": 0} | settings)


def test_a_bad_space_is_refused_before_anything_is_asked():
    with pytest.raises(ValueError, match="low=2 not below high=1"):
        Search({"x": Real(2, 1)}, strategy="random", maximize=True, seed=0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_refused_and_leaves_the_trial_pending(value):
    search = Search(LINE, strategy="sobol", maximize=True, seed=0)
    params = search.ask()
    with pytest.raises(ValueError, match=f"the score of .* is {value}, which can't be ranked. .* call `fail"):
        search.tell(params, value)
    assert search.trials[0].status == "pending"


@pytest.mark.parametrize("value", [None, "0.3"])
def test_a_score_of_another_type_is_refused_and_says_where_to_look(value):
    search = Search(LINE, strategy="sobol", maximize=True, seed=0)
    params = search.ask()
    with pytest.raises(TypeError, match=f"the score of .* is {value!r}, which is no number. Does the function .* `return` one"):
        search.tell(params, value)
    assert search.trials[0].status == "pending"


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="count=0, but a batch has at least 1"):
        Search(LINE, strategy="sobol", maximize=True, seed=0).ask(0)


def test_a_map_of_places_outside_the_space_is_refused():
    search = searched(LINE, lambda p: p["x"], steps=2, strategy="sobol")
    with pytest.raises(ValueError, match="unknown parameter 'y'"):
        search.predict([{"y": 0.5}])
    with pytest.raises(ValueError, match="'x' is 2, but must be a number from 0 to 1"):
        search.predict([{"x": 2}])


def test_an_unknown_name_is_refused_with_the_nearest_known():
    search = Search(MIXED, strategy="sobol", maximize=True, seed=0)
    params = search.ask()
    params["layer"] = params.pop("layers")
    for note in (lambda: search.tell(params, 1.0), lambda: search.fail(params)):
        with pytest.raises(ValueError, match="unknown parameter 'layer'. Did you mean 'layers'"):
            note()


def test_there_is_no_best_and_no_map_before_a_score():
    search = Search(LINE, strategy="bayes", maximize=True, seed=0)
    search.ask()
    with pytest.raises(ValueError, match="none of 1 trials has a score. Call `tell"):
        search.best()
    with pytest.raises(ValueError, match="0 scores are too few for a map. Tell at least 2"):
        search.predict([{"x": 0.5}])


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1}'])
def test_a_file_that_holds_no_search_is_refused(text, tmp_path):
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(ValueError, match="holds no search of format 1"):
        Search.load(tmp_path / "search.json")


def test_a_choice_that_json_cannot_keep_is_refused_when_saved(tmp_path):
    search = searched({"f": Categorical((math.sin, math.cos))}, lambda p: 0.0, steps=1, strategy="random")
    with pytest.raises(TypeError, match="can't be kept as JSON. Use strings"):
        search.save(tmp_path / "search.json")
    assert not list(tmp_path.iterdir())
