"""Intervals and tests: by hand, against SciPy, and by how often they cover the truth."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mlcourse.stats import Interval, band, bootstrap, mean_interval, paired_test


def test_the_mean_interval_by_hand():
    # mean 2, s = 1, t(0.975, 2) = 4.3027: half width 4.3027 / sqrt(3) = 2.4841
    assert mean_interval([1, 2, 3]) == pytest.approx(Interval(2, 2 - 2.48414, 2 + 2.48414, 3), abs=1e-4)


def test_the_mean_interval_is_scipys():
    values = np.random.default_rng(0).normal(size=9)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean_interval(values, confidence=0.9)[1:3] == pytest.approx(tuple(expected), rel=1e-12)


def test_a_95_percent_interval_covers_the_mean_in_95_percent_of_experiments():
    rng = np.random.default_rng(1)
    covered = np.mean([abs(interval.low <= 3 <= interval.high) for interval in map(mean_interval, rng.normal(3, 2, (4000, 5)))])
    assert 0.94 < covered < 0.96  # 4000 experiments: standard error 0.0034


def test_shift_and_scale_pass_through():
    values = np.random.default_rng(2).normal(size=6)
    assert mean_interval(10 * values + 1)[:3] == pytest.approx(tuple(10 * v + 1 for v in mean_interval(values)[:3]))


def test_a_band_is_the_mean_interval_at_every_point():
    curves = np.random.default_rng(3).normal(size=(5, 4))
    mean, low, high = band(curves)
    for k in range(4):
        assert (mean[k], low[k], high[k]) == pytest.approx(mean_interval(curves[:, k])[:3])
    curves[2, 1] = np.inf
    assert np.isnan(band(curves)[0]).tolist() == [False, True, False, False]


def test_the_paired_test_is_scipys_and_finds_what_two_intervals_miss():
    rng = np.random.default_rng(4)
    seeds = rng.normal(size=10)
    a, b = seeds + 0.1 + 0.02 * rng.normal(size=10), seeds
    result = paired_test(a, b)
    assert result.p_value == pytest.approx(scipy_stats.ttest_rel(a, b).pvalue)
    assert result.difference.low > 0 and mean_interval(a).low < mean_interval(b).high
    assert paired_test(b, a).difference.mean == pytest.approx(-result.difference.mean)


def test_differences_without_spread_are_certain():
    assert paired_test([1, 2], [1, 2]).p_value == 1.0
    assert paired_test([2.0, 3.0], [1.0, 2.0]).p_value == 0.0


def test_the_bootstrap_of_a_mean_is_near_the_t_interval_and_repeats_with_its_seed():
    values = np.random.default_rng(5).normal(size=200)
    result = bootstrap(values, seed=7)
    assert result == bootstrap(values, seed=7) != bootstrap(values, seed=8)
    assert result[:3] == pytest.approx(mean_interval(values)[:3], abs=0.01)  # Monte Carlo error of 10,000 resamples


def test_the_bootstrap_takes_booleans_and_other_statistics():
    wrong = np.arange(100) < 10
    result = bootstrap(wrong, seed=0)
    assert result.mean == pytest.approx(0.1) and 0.03 < result.low < 0.06 and 0.15 < result.high < 0.17
    assert bootstrap(np.arange(101), np.median, seed=0).mean == 50


def test_intervals_print_alike():
    interval = Interval(0.12345, 0.1, 0.15, 5)
    assert str(interval) == f"{interval}" == "0.123 [0.1, 0.15]"
    assert f"{interval:.3f}" == "0.123 [0.100, 0.150]"


@pytest.mark.parametrize("values", [[], [1.0], 3.0, [[1, 2], [3, 4]]])
def test_fewer_than_two_values_are_refused(values):
    with pytest.raises(ValueError, match=r"values has shape .* at least 2 numbers"):
        mean_interval(values)


def test_bad_values_and_settings_are_refused():
    with pytest.raises(ValueError, match=r"values\[1\] is nan. Count diverged runs apart"):
        mean_interval([1.0, np.nan])
    with pytest.raises(ValueError, match="confidence=95 is not between 0 and 1"):
        mean_interval([1, 2], confidence=95)
    with pytest.raises(ValueError, match="a has 3 values and b has 2"):
        paired_test([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="resamples=10 leave nothing in the tails"):
        bootstrap([1, 2, 3], seed=0, resamples=10)
    with pytest.raises(ValueError, match=r"curves has shape \(1, 3\)"):
        band(np.ones((1, 3)))
