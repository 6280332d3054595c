"""Answers to the exercises of lesson 05 as students write them, wrong and right, with the words that must be said."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.stats
import torch

from mlcourse.checks.killrate import Bank

bank = Bank()

# 5.1 rbf


@bank.wrong("5.1", "not by their squares")
def divided_once(A, B, *, lengths, amplitude):
    return amplitude * jnp.exp(-0.5 * jnp.sum((A[:, None, :] - B[None, :, :]) ** 2 / lengths, axis=-1))


@bank.wrong("5.1", "The 2 is missing")
def without_the_half(A, B, *, lengths, amplitude):
    return amplitude * torch.exp(-(torch.cdist(A / lengths, B / lengths) ** 2))


@bank.wrong("5.1", "The distance was not squared")
def norm_not_squared(A, B, *, lengths, amplitude):
    r = np.linalg.norm((A[:, None] - B[None]) / lengths, axis=-1)
    return amplitude * np.exp(-r / 2)


@bank.wrong("5.1", "Only the first length scale")
def one_length_for_all(A, B, *, lengths, amplitude):
    length = lengths[0]
    r2 = ((A[:, None] - B) ** 2).sum(-1) / length**2
    return amplitude * np.exp(-r2 / 2)


@bank.wrong("5.1", "multiplied by the length scales")
def times_the_lengths(A, B, *, lengths, amplitude):
    diff = (A[:, None] - B[None]) * lengths
    return amplitude * jnp.exp(-(diff**2).sum(2) / 2)


@bank.wrong("5.1", "The amplitude is missing")
def no_amplitude(A, B, *, lengths, amplitude):
    return np.exp(-0.5 * (((A[:, None] - B) / lengths) ** 2).sum(-1))


@bank.wrong("5.1", "The amplitude was squared")
def amplitude_as_deviation(A, B, *, lengths, amplitude):
    return amplitude**2 * np.exp(-0.5 * (((A[:, None] - B) / lengths) ** 2).sum(-1))


@bank.wrong("5.1", "Rows and columns are exchanged")
def b_by_a(A, B, *, lengths, amplitude):
    A, B = A / lengths, B / lengths
    return jnp.array([[amplitude * jnp.exp(-((a - b) ** 2).sum() / 2) for a in A] for b in B])


@bank.wrong("5.1", "The sign of the exponent is missing")
def grows_with_distance(A, B, *, lengths, amplitude):
    return amplitude * np.exp(0.5 * (((A[:, None] - B) / lengths) ** 2).sum(-1))


@bank.wrong("5.1", "added up. The correlations multiply")
def a_sum_of_kernels(A, B, *, lengths, amplitude):
    total = 0
    for j in range(A.shape[1]):
        total = total + amplitude * np.exp(-0.5 * ((A[:, j, None] - B[:, j]) / lengths[j]) ** 2)
    return total


@bank.right("5.1")
def by_cdist(A, B, *, lengths, amplitude):
    A, B, lengths = A.double(), B.double(), lengths.double()
    return amplitude * torch.exp(-(torch.cdist(A / lengths, B / lengths) ** 2) / 2)


@bank.right("5.1")
def by_expanding_the_square(A, B, *, lengths, amplitude):
    A, B = A / lengths, B / lengths
    r2 = (A**2).sum(1)[:, None] + (B**2).sum(1) - 2 * A @ B.T
    return amplitude * jnp.exp(-jnp.maximum(r2, 0) / 2)


@bank.right("5.1")
def one_dimension_at_a_time(A, B, *, lengths, amplitude):
    K = np.full((len(A), len(B)), amplitude)
    for a, b, length in zip(A.T, B.T, lengths, strict=True):
        K = K * np.exp(-(np.subtract.outer(a, b) ** 2) / (2 * length**2))
    return K


# 5.2 matern52


def scaled_distance(A, B, lengths):
    return np.sqrt((((A[:, None] - B) / lengths) ** 2).sum(axis=2))


@bank.wrong("5.2", "This is Matérn 3/2")
def three_halves(A, B, *, lengths, amplitude):
    s = np.sqrt(3) * scaled_distance(A, B, lengths)
    return amplitude * (1 + s) * np.exp(-s)


@bank.wrong("5.2", "The term 5r²/3 is missing")
def without_the_square(A, B, *, lengths, amplitude):
    s = np.sqrt(5) * scaled_distance(A, B, lengths)
    return amplitude * (1 + s) * np.exp(-s)


@bank.wrong("5.2", "The quadratic term is r²/3")
def r_for_s(A, B, *, lengths, amplitude):
    r = jnp.sqrt(jnp.sum(((A[:, None] - B) / lengths) ** 2, -1))
    return amplitude * (1 + jnp.sqrt(5.0) * r + r**2 / 3) * jnp.exp(-jnp.sqrt(5.0) * r)


@bank.wrong("5.2", "It is divided by 3")
def five_r_squared(A, B, *, lengths, amplitude):
    r = torch.cdist((A / lengths).double(), (B / lengths).double())
    return amplitude * (1 + 5**0.5 * r + 5 * r**2) * torch.exp(-(5**0.5) * r)


@bank.wrong("5.2", "The exponent is -r here")
def decays_too_slowly(A, B, *, lengths, amplitude):
    r = scaled_distance(A, B, lengths)
    return amplitude * (1 + np.sqrt(5) * r + 5 / 3 * r**2) * np.exp(-r)


@bank.wrong("5.2", "Take the root")
def forgot_the_root(A, B, *, lengths, amplitude):
    r = (((A[:, None] - B) / lengths) ** 2).sum(axis=2)
    s = np.sqrt(5) * r
    return amplitude * (1 + s + s**2 / 3) * np.exp(-s)


@bank.wrong("5.2", "they were multiplied")
def a_product_over_dimensions(A, B, *, lengths, amplitude):
    s = jnp.sqrt(5.0) * abs(A[:, None] - B) / lengths
    return amplitude * ((1 + s + s**2 / 3) * jnp.exp(-s)).prod(axis=-1)


@bank.wrong("5.2", "Absolute differences")
def city_block(A, B, *, lengths, amplitude):
    s = np.sqrt(5) * abs((A[:, None] - B) / lengths).sum(-1)
    return amplitude * (1 + s + s**2 / 3) * np.exp(-s)


@bank.wrong("5.2", "The mean over the dimensions")
def mean_of_squares(A, B, *, lengths, amplitude):
    s = np.sqrt(5 * (((A[:, None] - B) / lengths) ** 2).mean(-1))
    return amplitude * (1 + s + s**2 / 3) * np.exp(-s)


@bank.wrong("5.2", "This is the RBF")
def still_the_rbf(A, B, *, lengths, amplitude):
    return amplitude * np.exp(-0.5 * scaled_distance(A, B, lengths) ** 2)


@bank.right("5.2")
def matern_in_torch(A, B, *, lengths, amplitude):
    s = 5**0.5 * torch.cdist((A / lengths).double(), (B / lengths).double())
    return amplitude * (1 + s + s**2 / 3) * torch.exp(-s)


@bank.right("5.2")
def matern_pair_by_pair(A, B, *, lengths, amplitude):
    K = np.empty((len(A), len(B)))
    for i, a in enumerate(A):
        for j, b in enumerate(B):
            r = np.linalg.norm((a - b) / lengths)
            K[i, j] = amplitude * (1 + 5**0.5 * r + 5 * r * r / 3) * np.exp(-(5**0.5) * r)
    return K


@bank.right("5.2")
def matern_by_vmap(A, B, *, lengths, amplitude):
    def pair(a, b):
        s = jnp.sqrt(5 * jnp.sum(((a - b) / lengths) ** 2))
        return amplitude * (1 + s + s**2 / 3) * jnp.exp(-s)

    return jax.vmap(lambda a: jax.vmap(lambda b: pair(a, b))(B))(A)


# 5.3 gp_posterior


@bank.wrong("5.3", "The noise is forgotten")
def no_noise_at_all(kernel, X, y, points, *, noise):
    K = kernel(X, X) + 1e-8 * np.eye(len(X))
    k = kernel(X, points)
    return k.T @ np.linalg.solve(K, y), kernel(points, points) - k.T @ np.linalg.solve(K, k)


@bank.wrong("5.3", "every entry of K")
def noise_everywhere(kernel, X, y, points, *, noise):
    K = kernel(X, X) + noise
    k = kernel(X, points)
    return k.T @ np.linalg.solve(K, y), kernel(points, points) - k.T @ np.linalg.solve(K, k)


@bank.wrong("5.3", "The noise was squared")
def noise_as_deviation(kernel, X, y, points, *, noise):
    L = jnp.linalg.cholesky(kernel(X, X) + noise**2 * jnp.eye(len(X)))
    k = kernel(X, points)
    half = jax.scipy.linalg.solve_triangular(L, k, lower=True)
    alpha = jax.scipy.linalg.cho_solve((L, True), y)
    return k.T @ alpha, kernel(points, points) - half.T @ half


@bank.wrong("5.3", "covariance of new readings")
def of_the_next_reading(kernel, X, y, points, *, noise):
    K = kernel(X, X) + noise * torch.eye(len(X))
    k = kernel(X, points)
    covariance = kernel(points, points) - k.T @ torch.linalg.solve(K, k)
    return k.T @ torch.linalg.solve(K, y), covariance + noise * torch.eye(len(points))


@bank.wrong("5.3", "Return the whole covariance")
def only_the_variances(kernel, X, y, points, *, noise):
    K = kernel(X, X) + noise * np.eye(len(X))
    k = kernel(X, points)
    return k.T @ np.linalg.solve(K, y), np.diag(kernel(points, points)) - (k * np.linalg.solve(K, k)).sum(0)


@bank.wrong("5.3", "only half solved")
def one_solve_only(kernel, X, y, points, *, noise):
    L = scipy.linalg.cholesky(kernel(X, X) + noise * np.eye(len(X)), lower=True)
    k = kernel(X, points)
    v = scipy.linalg.solve_triangular(L, k, lower=True)
    alpha = scipy.linalg.solve_triangular(L, y, lower=True)
    return k.T @ alpha, kernel(points, points) - v.T @ v


@bank.wrong("5.3", "used as an upper one")
def lower_taken_for_upper(kernel, X, y, points, *, noise):
    U = np.linalg.cholesky(kernel(X, X) + noise * np.eye(len(X)))
    k = kernel(X, points)

    def both(b):
        return np.linalg.solve(U, np.linalg.solve(U.T, b))

    return k.T @ both(y), kernel(points, points) - k.T @ both(k)


@bank.wrong("5.3", "What the readings explain was added")
def plus_for_minus(kernel, X, y, points, *, noise):
    K = kernel(X, X) + noise * np.eye(len(X))
    k = kernel(X, points)
    return k.T @ np.linalg.inv(K) @ y, kernel(points, points) + k.T @ np.linalg.inv(K) @ k


@bank.wrong("5.3", "Here the prior mean is 0")
def about_the_mean_of_y(kernel, X, y, points, *, noise):
    K = kernel(X, X) + noise * jnp.eye(len(X))
    k = kernel(X, points)
    mean = y.mean() + k.T @ jnp.linalg.solve(K, y - y.mean())
    return mean, kernel(points, points) - k.T @ jnp.linalg.solve(K, k)


@bank.wrong("5.3", "must end with `return`")
def computed_and_dropped(kernel, X, y, points, *, noise):
    K = kernel(X, X) + noise * np.eye(len(X))
    k = kernel(X, points)
    mean = k.T @ np.linalg.solve(K, y)
    print(mean)


@bank.wrong("5.3", "changed its input `y`")
def centres_y_in_place(kernel, X, y, points, *, noise):
    K = kernel(X, X) + noise * np.eye(len(X))
    k = kernel(X, points)
    ones = np.linalg.solve(K, np.ones(len(y)))
    centre = y.mean()
    y -= centre
    return k.T @ (np.linalg.solve(K, y) + centre * ones), kernel(points, points) - k.T @ np.linalg.solve(K, k)


@bank.right("5.3")
def by_scipy_cho_solve(kernel, X, y, points, *, noise):
    factor = scipy.linalg.cho_factor(kernel(X, X) + noise * np.eye(len(X)))
    k = kernel(X, points)
    return k.T @ scipy.linalg.cho_solve(factor, y), kernel(points, points) - k.T @ scipy.linalg.cho_solve(factor, k)


@bank.right("5.3")
def by_torch_cholesky_solve(kernel, X, y, points, *, noise):
    L = torch.linalg.cholesky(kernel(X, X) + noise * torch.eye(len(X), dtype=X.dtype))
    k = kernel(X, points)
    solved = torch.cholesky_solve(torch.cat([y[:, None], k], dim=1), L)
    return k.T @ solved[:, 0], kernel(points, points) - k.T @ solved[:, 1:]


@bank.right("5.3")
def by_jax_halves(kernel, X, y, points, *, noise):
    L = jnp.linalg.cholesky(kernel(X, X) + noise * jnp.eye(len(X)))
    half = jax.scipy.linalg.solve_triangular(L, kernel(X, points), lower=True)
    u = jax.scipy.linalg.solve_triangular(L, y, lower=True)
    return half.T @ u, kernel(points, points) - half.T @ half


# 5.4 log_marginal_likelihood


@bank.wrong("5.4", "Add up logarithms instead")
def log_det_by_det(kernel, X, y, *, noise):
    K = kernel(X, X) + noise * np.eye(len(X))
    return -0.5 * y @ np.linalg.inv(K) @ y - 0.5 * np.log(np.linalg.det(K)) - 0.5 * len(y) * np.log(2 * np.pi)


@bank.wrong("5.4", "The noise is forgotten")
def likelihood_without_noise(kernel, X, y, *, noise):
    K = kernel(X, X) + 1e-6 * np.eye(len(X))
    sign, log_det = np.linalg.slogdet(K)
    return -0.5 * (y @ np.linalg.solve(K, y) + log_det + len(y) * np.log(2 * np.pi))


@bank.wrong("5.4", "*negative* log-likelihood")
def as_a_loss(kernel, X, y, *, noise):
    L = jnp.linalg.cholesky(kernel(X, X) + noise * jnp.eye(len(X)))
    u = jax.scipy.linalg.solve_triangular(L, y, lower=True)
    return 0.5 * u @ u + jnp.log(jnp.diag(L)).sum() + len(y) / 2 * jnp.log(2 * jnp.pi)


@bank.wrong("5.4", "The term with log(2π) is missing")
def without_the_constant(kernel, X, y, *, noise):
    L = np.linalg.cholesky(kernel(X, X) + noise * np.eye(len(X)))
    u = np.linalg.solve(L, y)
    return -u @ u / 2 - np.log(np.diag(L)).sum()


@bank.wrong("5.4", "counted twice")
def two_sums_of_logs(kernel, X, y, *, noise):
    L = torch.linalg.cholesky(kernel(X, X) + noise * torch.eye(len(X), dtype=X.dtype))
    u = torch.linalg.solve_triangular(L, y[:, None], upper=False)
    return -0.5 * (u**2).sum() - 2 * torch.log(torch.diag(L)).sum() - 0.5 * len(y) * np.log(2 * np.pi)


@bank.wrong("5.4", "halved twice")
def half_of_the_half(kernel, X, y, *, noise):
    L = np.linalg.cholesky(kernel(X, X) + noise * np.eye(len(X)))
    u = np.linalg.solve(L, y)
    return -0.5 * (u @ u + np.log(np.diag(L)).sum() + len(y) * np.log(2 * np.pi))


@bank.wrong("5.4", "The half is missing before the fit")
def whole_fit(kernel, X, y, *, noise):
    K = kernel(X, X) + noise * np.eye(len(X))
    return -y @ np.linalg.solve(K, y) - 0.5 * np.linalg.slogdet(K)[1] - len(y) / 2 * np.log(2 * np.pi)


@bank.wrong("5.4", "do not divide by n")
def mean_over_readings(kernel, X, y, *, noise):
    K = kernel(X, X) + noise * np.eye(len(X))
    return scipy.stats.multivariate_normal(cov=K).logpdf(y) / len(y)


@bank.wrong("5.4", "The log-determinant has the wrong sign")
def plus_log_det(kernel, X, y, *, noise):
    L = np.linalg.cholesky(kernel(X, X) + noise * np.eye(len(X)))
    u = np.linalg.solve(L, y)
    return -u @ u / 2 + np.log(np.diag(L)).sum() - len(y) / 2 * np.log(2 * np.pi)


@bank.wrong("5.4", "shape (1, 1)")
def as_a_one_by_one_matrix(kernel, X, y, *, noise):
    K = kernel(X, X) + noise * np.eye(len(X))
    column = y[:, None]
    return -0.5 * column.T @ np.linalg.solve(K, column) - np.linalg.slogdet(K)[1] / 2 - len(y) / 2 * np.log(2 * np.pi)


@bank.right("5.4")
def by_scipy_logpdf(kernel, X, y, *, noise):
    return scipy.stats.multivariate_normal(np.zeros(len(y)), kernel(X, X) + noise * np.eye(len(X))).logpdf(y)


@bank.right("5.4")
def by_torch_distribution(kernel, X, y, *, noise):
    K = kernel(X, X) + noise * torch.eye(len(X), dtype=X.dtype)
    return torch.distributions.MultivariateNormal(torch.zeros_like(y), K).log_prob(y)


@bank.right("5.4")
def by_jax_slogdet(kernel, X, y, *, noise):
    K = kernel(X, X) + noise * jnp.eye(len(X))
    return -0.5 * (y @ jnp.linalg.solve(K, y) + jnp.linalg.slogdet(K)[1] + len(y) * jnp.log(2 * jnp.pi))


# 5.5 probability_of_improvement


@bank.wrong("5.5", "The noise is forgotten")
def pi_of_a_noiseless_map(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates)
    best = posterior(X, y, X)[0].max()
    scores = scipy.stats.norm.cdf((mean - best - margin) / np.sqrt(np.diag(cov)))
    return scores, candidates[np.argmax(scores)]


@bank.wrong("5.5", "highest *reading*, which forgets the noise")
def pi_against_a_lucky_reading(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = jax.scipy.stats.norm.cdf((mean - jnp.max(y) - margin) / jnp.sqrt(jnp.diag(cov)))
    return scores, candidates[jnp.argmax(scores)]


@bank.wrong("5.5", "The margin is missing")
def pi_without_margin(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    best = posterior(X, y, X, noise=noise)[0].max()
    scores = scipy.stats.norm.cdf((mean - best) / np.sqrt(np.diag(cov)))
    return scores, candidates[np.argmax(scores)]


@bank.wrong("5.5", "The margin has the wrong sign")
def pi_with_a_lower_bar(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    best = posterior(X, y, X, noise=noise)[0].max()
    scores = scipy.stats.norm.cdf((mean - best + margin) / np.sqrt(np.diag(cov)))
    return scores, candidates[np.argmax(scores)]


@bank.wrong("5.5", "sign of minimisation")
def pi_below_the_best(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    best = posterior(X, y, X, noise=noise)[0].max()
    z = (mean - best - margin) / np.sqrt(np.diag(cov))
    scores = scipy.stats.norm.sf(z)
    return scores, candidates[np.argmax(scores)]


@bank.wrong("5.5", "sign of minimisation")
def pi_of_a_minimum(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    best = posterior(X, y, X, noise=noise)[0].min()
    normal = torch.distributions.Normal(0.0, 1.0)
    scores = normal.cdf((best - mean - margin) / torch.diag(cov).sqrt())
    return scores, candidates[scores.argmax()]


@bank.wrong("5.5", "drill an old hole again")
def pi_at_the_training_points(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, X, noise=noise)
    scores = scipy.stats.norm.cdf((mean - mean.max() - margin) / np.sqrt(np.diag(cov)))
    return scores, X[np.argmax(scores)]


@bank.wrong("5.5", "The variance was used as the standard deviation")
def pi_with_the_variance(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    best = posterior(X, y, X, noise=noise)[0].max()
    scores = jax.scipy.stats.norm.cdf((mean - best - margin) / jnp.diag(cov))
    return scores, candidates[scores.argmax()]


@bank.wrong("5.5", "This is the density")
def pi_by_pdf(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    best = posterior(X, y, X, noise=noise)[0].max()
    scores = scipy.stats.norm.pdf((mean - best - margin) / np.sqrt(np.diag(cov)))
    return scores, candidates[np.argmax(scores)]


@bank.wrong("5.5", "highest mean of the *candidates*")
def pi_against_the_candidates(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = scipy.stats.norm.cdf((mean - mean.max() - margin) / np.sqrt(np.diag(cov)))
    return scores, candidates[np.argmax(scores)]


@bank.wrong("5.5", "forgotten in one of the two calls")
def pi_with_noise_at_the_holes_only(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates)
    best = posterior(X, y, X, noise=noise)[0].max()
    scores = scipy.stats.norm.cdf((mean - best - margin) / np.sqrt(np.diag(cov)))
    return scores, candidates[np.argmax(scores)]


@bank.wrong("5.5", "the mean at X without `noise=noise`")
def pi_with_noise_at_the_candidates_only(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    best = posterior(X, y, X)[0].max()
    scores = scipy.stats.norm.cdf((mean - best - margin) / np.sqrt(np.diag(cov)))
    return scores, candidates[np.argmax(scores)]


@bank.wrong("5.5", "*lowest* reading: that is the sign of minimisation")
def pi_above_the_lowest_reading(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = jax.scipy.stats.norm.cdf((mean - y.min() - margin) / jnp.sqrt(jnp.diag(cov)))
    return scores, candidates[scores.argmax()]


@bank.wrong("5.5", "Without it the search creeps around the best hole. Second: The best so far is the highest *reading*")
def pi_without_margin_against_a_reading(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = jax.scipy.stats.norm.cdf((mean - y.max()) / jnp.sqrt(jnp.diag(cov)))
    return scores, candidates[scores.argmax()]


@bank.right("5.5")
def pi_by_scipy_with_scale(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    bar = posterior(X, y, X, noise=noise)[0].max() + margin
    scores = scipy.stats.norm.sf(bar, loc=mean, scale=cov.diagonal() ** 0.5)
    return scores, candidates[scores.argmax()]


@bank.right("5.5")
def pi_by_torch_ndtr(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    best = posterior(X, y, X, noise=noise)[0].max()
    scores = torch.special.ndtr((mean - best - margin) / cov.diagonal().sqrt())
    return scores, candidates[scores.argmax()]


@bank.right("5.5")
def pi_in_one_call_of_the_posterior(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, jnp.concatenate([X, candidates]), noise=noise)
    n = len(X)
    z = (mean[n:] - mean[:n].max() - margin) / jnp.sqrt(jnp.diag(cov)[n:])
    scores = jax.scipy.special.ndtr(z)
    return scores, candidates[jnp.argmax(scores)]


# 5.6 expected_improvement


@bank.wrong("5.6", "The noise is forgotten")
def ei_of_a_noiseless_map(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates)
    std = jnp.sqrt(jnp.diag(cov))
    gain = mean - posterior(X, y, X)[0].max() - margin
    ei = gain * jax.scipy.stats.norm.cdf(gain / std) + std * jax.scipy.stats.norm.pdf(gain / std)
    return ei, candidates[ei.argmax()]


@bank.wrong("5.6", "highest *reading*, which forgets the noise")
def ei_against_a_lucky_reading(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    std = np.sqrt(np.diag(cov))
    gain = mean - y.max() - margin
    ei = gain * scipy.stats.norm.cdf(gain / std) + std * scipy.stats.norm.pdf(gain / std)
    return ei, candidates[ei.argmax()]


@bank.wrong("5.6", "The margin is missing")
def ei_without_margin(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    std = np.sqrt(np.diag(cov))
    gain = mean - posterior(X, y, X, noise=noise)[0].max()
    ei = gain * scipy.stats.norm.cdf(gain / std) + std * scipy.stats.norm.pdf(gain / std)
    return ei, candidates[ei.argmax()]


@bank.wrong("5.6", "sign of minimisation")
def ei_below_the_best(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    std = torch.sqrt(torch.diag(cov))
    gain = posterior(X, y, X, noise=noise)[0].max() - mean - margin
    normal = torch.distributions.Normal(0, 1)
    ei = gain * normal.cdf(gain / std) + std * torch.exp(normal.log_prob(gain / std))
    return ei, candidates[ei.argmax()]


@bank.wrong("5.6", "opposite sign, as for a minimiser")
def ei_to_be_minimised(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    std = np.sqrt(np.diag(cov))
    gain = mean - posterior(X, y, X, noise=noise)[0].max() - margin
    loss = -(gain * scipy.stats.norm.cdf(gain / std) + std * scipy.stats.norm.pdf(gain / std))
    return loss, candidates[loss.argmin()]


@bank.wrong("5.6", "drill an old hole again")
def ei_at_the_training_points(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, X, noise=noise)
    std = np.sqrt(np.diag(cov))
    gain = mean - mean.max() - margin
    ei = gain * scipy.stats.norm.cdf(gain / std) + std * scipy.stats.norm.pdf(gain / std)
    return ei, X[ei.argmax()]


@bank.wrong("5.6", "The term z Φ(z) is missing")
def ei_half(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    std = np.sqrt(np.diag(cov))
    z = (mean - posterior(X, y, X, noise=noise)[0].max() - margin) / std
    ei = std * scipy.stats.norm.pdf(z)
    return ei, candidates[ei.argmax()]


@bank.wrong("5.6", "The standard deviation in front is missing")
def ei_in_units_of_std(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    z = (mean - posterior(X, y, X, noise=noise)[0].max() - margin) / jnp.sqrt(jnp.diag(cov))
    ei = jax.scipy.stats.norm.pdf(z) + z * jax.scipy.stats.norm.cdf(z)
    return ei, candidates[ei.argmax()]


@bank.wrong("5.6", "This is the probability of improvement")
def ei_copied_from_pi(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    z = (mean - posterior(X, y, X, noise=noise)[0].max() - margin) / np.sqrt(np.diag(cov))
    return scipy.stats.norm.cdf(z), candidates[z.argmax()]


@bank.wrong("5.6", "variance of a new reading")
def ei_of_a_reading(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    std = np.sqrt(np.diag(cov) + noise)
    gain = mean - posterior(X, y, X, noise=noise)[0].max() - margin
    ei = gain * scipy.stats.norm.cdf(gain / std) + std * scipy.stats.norm.pdf(gain / std)
    return ei, candidates[ei.argmax()]


@bank.wrong("5.6", "place worth *least*")
def ei_with_a_minus(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    std = np.sqrt(np.diag(cov))
    gain = mean - posterior(X, y, X, noise=noise)[0].max() - margin
    scores = -(gain * scipy.stats.norm.cdf(gain / std) + std * scipy.stats.norm.pdf(gain / std))
    return scores, candidates[scores.argmax()]


@bank.wrong("5.6", "rewards places *below* the best")
def ei_of_a_loss(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    std = np.sqrt(np.diag(cov))
    gain = y.min() - mean - margin
    ei = gain * scipy.stats.norm.cdf(gain / std) + std * scipy.stats.norm.pdf(gain / std)
    return ei, candidates[ei.argmax()]


@bank.wrong("5.6", "First: The noise is forgotten")
def ei_without_noise_or_margin(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates)
    std = jnp.sqrt(jnp.diag(cov))
    gain = mean - posterior(X, y, X)[0].max()
    ei = gain * jax.scipy.stats.norm.cdf(gain / std) + std * jax.scipy.stats.norm.pdf(gain / std)
    return ei, candidates[ei.argmax()]


@bank.wrong("5.6", "Second: The margin is missing")
def ei_without_margin_at_the_training_points(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, X, noise=noise)
    std = np.sqrt(np.diag(cov))
    gain = mean - mean.max()
    ei = gain * scipy.stats.norm.cdf(gain / std) + std * scipy.stats.norm.pdf(gain / std)
    return ei, X[ei.argmax()]


@bank.right("5.6")
def ei_in_torch(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    std = torch.diag(cov).sqrt()
    gain = mean - posterior(X, y, X, noise=noise)[0].max() - margin
    normal = torch.distributions.Normal(0, 1)
    ei = gain * normal.cdf(gain / std) + std * torch.exp(normal.log_prob(gain / std))
    return ei, candidates[ei.argmax()]


@bank.right("5.6")
def ei_by_integration(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    bar = posterior(X, y, X, noise=noise)[0].max() + margin
    z = np.linspace(-9, 9, 20001)
    f = mean[:, None] + np.sqrt(np.diag(cov))[:, None] * z
    ei = (np.maximum(f - bar, 0) * scipy.stats.norm.pdf(z)).sum(axis=1) * (z[1] - z[0])
    return ei, candidates[int(np.argmax(ei))]


@bank.right("5.6")
def ei_in_jax(posterior, X, y, candidates, *, noise, margin):
    mean, cov = posterior(X, y, candidates, noise=noise)
    std = jnp.diag(cov) ** 0.5
    z = (mean - posterior(X, y, X, noise=noise)[0].max() - margin) / std
    ei = std * (jnp.exp(-(z**2) / 2) / jnp.sqrt(2 * jnp.pi) + z * jax.scipy.special.ndtr(z))
    return ei, candidates[ei.argmax()]


# 5.7 upper_confidence_bound


@bank.wrong("5.7", "This is the *lower* bound")
def lower_bound(posterior, X, y, candidates, *, noise, width):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = mean - width * jnp.sqrt(jnp.diag(cov))
    return scores, candidates[scores.argmax()]


@bank.wrong("5.7", "The noise is forgotten")
def bound_of_a_noiseless_map(posterior, X, y, candidates, *, noise, width):
    mean, cov = posterior(X, y, candidates)
    scores = mean + width * np.sqrt(np.diag(cov))
    return scores, candidates[scores.argmax()]


@bank.wrong("5.7", "The variance was used as the standard deviation")
def bound_with_the_variance(posterior, X, y, candidates, *, noise, width):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = mean + width * torch.diagonal(cov)
    return scores, candidates[scores.argmax()]


@bank.wrong("5.7", "The root of the width was taken")
def root_of_beta(posterior, X, y, candidates, *, noise, width):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = mean + np.sqrt(width) * np.sqrt(np.diag(cov))
    return scores, candidates[scores.argmax()]


@bank.wrong("5.7", "drill an old hole again")
def bound_at_the_training_points(posterior, X, y, candidates, *, noise, width):
    mean, cov = posterior(X, y, X, noise=noise)
    scores = mean + width * np.sqrt(np.diag(cov))
    return scores, X[scores.argmax()]


@bank.wrong("5.7", "lowest score")
def bound_by_argmin(posterior, X, y, candidates, *, noise, width):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = mean + width * np.sqrt(np.diag(cov))
    return scores, candidates[scores.argmin()]


@bank.wrong("5.7", "A fixed width of 2")
def always_two(posterior, X, y, candidates, *, noise, width=2.0):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = mean + 2 * jnp.diag(cov) ** 0.5
    return scores, candidates[scores.argmax()]


@bank.wrong("5.7", "the candidate itself")
def bound_and_its_number(posterior, X, y, candidates, *, noise, width):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = mean + width * np.sqrt(np.diag(cov))
    return scores, scores.argmax()


@bank.wrong("5.7", "variance of a new reading")
def bound_of_a_reading(posterior, X, y, candidates, *, noise, width):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = mean + width * np.sqrt(np.diag(cov) + noise)
    return scores, candidates[scores.argmax()]


@bank.wrong("5.7", "Second: This is the *lower* bound")
def lower_bound_of_a_noiseless_map(posterior, X, y, candidates, *, noise, width):
    mean, cov = posterior(X, y, candidates)
    scores = mean - width * np.sqrt(np.diag(cov))
    return scores, candidates[scores.argmax()]


@bank.right("5.7")
def bound_in_torch(posterior, X, y, candidates, *, noise, width):
    mean, cov = posterior(X, y, candidates, noise=noise)
    scores = torch.add(mean, cov.diagonal().sqrt(), alpha=width)
    return scores, candidates[torch.argmax(scores)]


@bank.right("5.7")
def bound_point_by_point(posterior, X, y, candidates, *, noise, width):
    scores = []
    for i in range(len(candidates)):
        mean, cov = posterior(X, y, candidates[i : i + 1], noise=noise)
        scores.append(float(mean[0]) + width * float(cov[0, 0]) ** 0.5)
    best = max(range(len(scores)), key=scores.__getitem__)
    return np.array(scores), candidates[best]


# 5.8 thompson_sampling


@bank.wrong("5.8", "The noise is forgotten")
def draw_of_a_noiseless_map(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates)
    L = jnp.linalg.cholesky(cov + 1e-3 * jnp.eye(len(mean)))
    draw = mean + L @ jax.random.normal(jax.random.key(seed), mean.shape)
    return draw, candidates[draw.argmax()]


@bank.wrong("5.8", "sign of minimisation")
def lowest_of_the_draw(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    draw = np.random.default_rng(seed).multivariate_normal(mean, cov)
    return draw, candidates[draw.argmin()]


@bank.wrong("5.8", "upside down")
def draw_of_a_loss(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    draw = np.random.default_rng(seed).multivariate_normal(-mean, cov)
    return draw, candidates[draw.argmax()]


@bank.wrong("5.8", "do not move together")
def each_for_itself(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    generator = torch.Generator().manual_seed(seed)
    draw = mean + torch.diag(cov).sqrt() * torch.randn(len(mean), generator=generator, dtype=mean.dtype)
    return draw, candidates[draw.argmax()]


@bank.wrong("5.8", "a single normal number")
def one_number_for_all(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    draw = mean + np.sqrt(np.diag(cov)) * np.random.default_rng(seed).standard_normal()
    return draw, candidates[draw.argmax()]


@bank.wrong("5.8", "The draws do not vary")
def only_the_mean(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    return mean, candidates[mean.argmax()]


@bank.wrong("5.8", "Another seed gives the same draw")
def seed_zero_always(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    L = jnp.linalg.cholesky(cov + 1e-4 * jnp.eye(len(mean)))
    draw = mean + L @ jax.random.normal(jax.random.key(0), mean.shape)
    return draw, candidates[draw.argmax()]


@bank.wrong("5.8", "Two calls with the same seed")
def no_seed(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    draw = np.random.default_rng().multivariate_normal(mean, cov)
    return draw, candidates[draw.argmax()]


@bank.wrong("5.8", "one of the training points")
def draw_at_the_training_points(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, X, noise=noise)
    draw = np.random.default_rng(seed).multivariate_normal(mean, cov)
    return draw, X[draw.argmax()]


@bank.wrong("5.8", "drill an old hole again")
def old_hole_under_the_draw(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    draw = np.random.default_rng(seed).multivariate_normal(mean, cov)
    return draw, X[np.abs(X - candidates[draw.argmax()]).sum(axis=1).argmin()]


@bank.wrong("5.8", "The noise was added to the draws")
def draw_of_readings(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    draw = np.random.default_rng(seed).multivariate_normal(mean, cov + noise * np.eye(len(mean)))
    return draw, candidates[draw.argmax()]


@bank.wrong("5.8", "posterior *mean* is highest")
def drills_at_the_mean(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    draw = np.random.default_rng(seed).multivariate_normal(mean, cov)
    return draw, candidates[mean.argmax()]


@bank.wrong("5.8", "covariance of many draws")
def covariance_for_its_factor(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    draw = mean + cov @ np.random.default_rng(seed).standard_normal(len(mean)) * 2
    return draw, candidates[draw.argmax()]


@bank.right("5.8")
def by_multivariate_normal(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    draw = np.random.default_rng(seed).multivariate_normal(mean, cov)
    return draw, candidates[draw.argmax()]


@bank.right("5.8")
def by_eigenvectors_in_jax(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    eigenvalues, vectors = jnp.linalg.eigh(cov)
    z = jax.random.normal(jax.random.key(seed), mean.shape)
    draw = mean + vectors @ (jnp.sqrt(jnp.maximum(eigenvalues, 0)) * z)
    return draw, candidates[draw.argmax()]


@bank.right("5.8")
def by_cholesky_in_torch(posterior, X, y, candidates, *, noise, seed):
    mean, cov = posterior(X, y, candidates, noise=noise)
    L = torch.linalg.cholesky(cov + 1e-4 * torch.eye(len(mean)))
    draw = mean + L @ torch.randn(len(mean), generator=torch.Generator().manual_seed(seed), dtype=L.dtype)
    return draw, candidates[draw.argmax()]


# 5.9 active_learning


@bank.wrong("5.9", "The noise is forgotten")
def variance_of_a_noiseless_map(posterior, X, y, candidates, *, noise):
    variance = jnp.diag(posterior(X, y, candidates)[1])
    return variance, candidates[variance.argmax()]


@bank.wrong("5.9", "lowest score")
def most_certain_place(posterior, X, y, candidates, *, noise):
    variance = np.diag(posterior(X, y, candidates, noise=noise)[1])
    return variance, candidates[variance.argmin()]


@bank.wrong("5.9", "drill an old hole again")
def variance_at_the_training_points(posterior, X, y, candidates, *, noise):
    variance = np.diag(posterior(X, y, X, noise=noise)[1])
    return variance, X[variance.argmax()]


@bank.wrong("5.9", "This is the standard deviation")
def std_for_variance(posterior, X, y, candidates, *, noise):
    std = torch.sqrt(torch.diag(posterior(X, y, candidates, noise=noise)[1]))
    return std, candidates[std.argmax()]


@bank.wrong("5.9", "it asks where the best is")
def highest_mean(posterior, X, y, candidates, *, noise):
    mean, _ = posterior(X, y, candidates, noise=noise)
    return mean, candidates[mean.argmax()]


@bank.wrong("5.9", "variance of a new reading")
def variance_of_a_reading(posterior, X, y, candidates, *, noise):
    variance = jnp.diag(posterior(X, y, candidates, noise=noise)[1]) + noise
    return variance, candidates[variance.argmax()]


@bank.wrong("5.9", "The rows of the covariance were added up")
def sum_of_the_rows(posterior, X, y, candidates, *, noise):
    scores = posterior(X, y, candidates, noise=noise)[1].sum(axis=0)
    return scores, candidates[scores.argmax()]


@bank.wrong("5.9", "opposite sign, as for a minimiser")
def minus_the_variance(posterior, X, y, candidates, *, noise):
    scores = -np.diag(posterior(X, y, candidates, noise=noise)[1])
    return scores, candidates[np.argmin(scores)]


@bank.wrong("5.9", "place worth *least*")
def surest_of_all(posterior, X, y, candidates, *, noise):
    scores = -np.diag(posterior(X, y, candidates, noise=noise)[1])
    return scores, candidates[np.argmax(scores)]


@bank.wrong("5.9", "Two mistakes at once. First: The noise is forgotten")
def noiseless_variance_at_the_training_points(posterior, X, y, candidates, *, noise):
    variance = np.diag(posterior(X, y, X)[1])
    return variance, X[variance.argmax()]


@bank.right("5.9")
def variance_by_einsum(posterior, X, y, candidates, *, noise):
    _, cov = posterior(X, y, candidates, noise=noise)
    variance = torch.einsum("ii->i", cov)
    return variance, candidates[variance.argmax()]


@bank.right("5.9")
def variance_whatever_was_read(posterior, X, y, candidates, *, noise):
    variance = jnp.diagonal(posterior(X, 0 * y, candidates, noise=noise)[1])
    return variance, candidates[jnp.argmax(variance)]


# 5.10 tune


@bank.wrong("5.10", "it *maximises*")
def tells_the_loss(search, loss, *, num_trials):
    best, lowest, history = None, float("inf"), []
    for _ in range(num_trials):
        params = search.ask()
        value = loss(params)
        search.tell(params, value)
        if value < lowest:
            best, lowest = params, value
        history.append(lowest)
    return best, np.array(history)


@bank.wrong("5.10", "never told a score")
def never_tells(search, loss, *, num_trials):
    tried = []
    for _ in range(num_trials):
        params = search.ask()
        tried.append((loss(params), params))
    losses = np.array([value for value, _ in tried])
    return tried[losses.argmin()][1], np.minimum.accumulate(losses)


@bank.wrong("5.10", "`ask` was called once, before the loop")
def asks_before_the_loop(search, loss, *, num_trials):
    params = search.ask()
    history = []
    for _ in range(num_trials):
        value = loss(params)
        search.tell(params, -value)
        history.append(value)
    return params, np.minimum.accumulate(np.array(history))


@bank.wrong("5.10", "params of the last trial")
def last_params(search, loss, *, num_trials):
    history = []
    for _ in range(num_trials):
        params = search.ask()
        history.append(loss(params))
        search.tell(params, -history[-1])
    return params, jnp.minimum.accumulate(jnp.array(history))


@bank.wrong("5.10", "This is the loss of every trial")
def raw_history(search, loss, *, num_trials):
    tried, history = [], []
    for _ in range(num_trials):
        tried.append(search.ask())
        history.append(loss(tried[-1]))
        search.tell(tried[-1], -history[-1])
    return tried[int(np.argmin(history))], np.array(history)


@bank.wrong("5.10", "with the minus that the search needs")
def returns_scores(search, loss, *, num_trials):
    trials = []
    for _ in range(num_trials):
        params = search.ask()
        score = -loss(params)
        search.tell(params, score)
        trials.append((params, score))
    scores = np.array([score for _, score in trials])
    return trials[scores.argmax()][0], np.maximum.accumulate(scores)


@bank.wrong("5.10", "A `return` inside the loop")
def returns_too_early(search, loss, *, num_trials):
    history = []
    for _ in range(num_trials):
        params = search.ask()
        history.append(loss(params))
        search.tell(params, -history[-1])
        return params, np.array(history)


@bank.wrong("5.10", "evaluated more often than once a trial")
def evaluates_twice(search, loss, *, num_trials):
    tried = []
    for _ in range(num_trials):
        params = search.ask()
        search.tell(params, -loss(params))
        tried.append(params)
    losses = np.array([loss(params) for params in tried])
    return tried[losses.argmin()], np.minimum.accumulate(losses)


@bank.wrong("5.10", "Not every trial was told")
def keeps_the_last_to_itself(search, loss, *, num_trials):
    tried, losses = [], []
    for k in range(num_trials):
        params = search.ask()
        tried.append(params)
        losses.append(loss(params))
        if k < num_trials - 1:
            search.tell(params, -losses[-1])
    return tried[int(np.argmin(losses))], np.minimum.accumulate(np.array(losses))


@bank.wrong("5.10", "one trial too many")
def counts_from_one(search, loss, *, num_trials):
    tried, losses = [], []
    k = 0
    while k <= num_trials:
        tried.append(search.ask())
        losses.append(loss(tried[-1]))
        search.tell(tried[-1], -losses[-1])
        k += 1
    return tried[int(np.argmin(losses))], np.minimum.accumulate(np.array(losses))


@bank.wrong("5.10", "the dict that ask returned")
def tells_the_score_first(search, loss, *, num_trials):
    history = []
    for _ in range(num_trials):
        params = search.ask()
        value = loss(params)
        search.tell(-value, params)
        history.append(value)
    return params, np.minimum.accumulate(np.array(history))


@bank.right("5.10")
def keeps_the_best(search, loss, *, num_trials):
    best, lowest, history = None, float("inf"), []
    for _ in range(num_trials):
        params = search.ask()
        value = loss(params)
        search.tell(params, -value)
        if value < lowest:
            best, lowest = params, value
        history.append(lowest)
    return best, np.array(history)


@bank.right("5.10")
def with_a_running_minimum_in_torch(search, loss, *, num_trials):
    trials = []
    while len(trials) < num_trials:
        params = search.ask()
        trials.append((loss(params), params))
        search.tell(params, -trials[-1][0])
    lowest = torch.tensor([value for value, _ in trials]).cummin(dim=0).values
    return min(trials, key=lambda trial: trial[0])[1], lowest


# 5.11 next_drill


def normal_parts(z):
    return scipy.stats.norm.cdf(z), scipy.stats.norm.pdf(z)


@bank.wrong("5.11", "still has the sign of minimisation")
def as_it_came(mean, std, best, candidates, *, margin):
    gain = best - mean - margin
    below, density = normal_parts(gain / std)
    scores = gain * below + std * density
    return scores, candidates[scores.argmax()]


@bank.wrong("5.11", "sign was turned in z only")
def only_z_is_turned(mean, std, best, candidates, *, margin):
    z = (mean - best - margin) / std
    below, density = normal_parts(z)
    scores = (best - mean - margin) * below + std * density
    return scores, candidates[scores.argmax()]


@bank.wrong("5.11", "sign was turned in the first term only")
def only_the_factor_is_turned(mean, std, best, candidates, *, margin):
    z = (best - mean - margin) / std
    scores = (mean - best - margin) * jax.scipy.stats.norm.cdf(z) + std * jax.scipy.stats.norm.pdf(z)
    return scores, candidates[scores.argmax()]


@bank.wrong("5.11", "the margin lowers the bar now")
def margin_turned_too(mean, std, best, candidates, *, margin):
    gain = -(best - mean - margin)
    below, density = normal_parts(gain / std)
    scores = gain * below + std * density
    return scores, candidates[scores.argmax()]


@bank.wrong("5.11", "A minus before the score does not mend it")
def minus_the_score(mean, std, best, candidates, *, margin):
    gain = best - mean - margin
    normal = torch.distributions.Normal(0.0, 1.0)
    scores = -(gain * normal.cdf(gain / std) + std * normal.log_prob(gain / std).exp())
    return scores, candidates[scores.argmax()]


@bank.wrong("5.11", "lowest score of a minimiser")
def argmin_of_the_old_score(mean, std, best, candidates, *, margin):
    gain = best - mean - margin
    below, density = normal_parts(gain / std)
    scores = gain * below + std * density
    return scores, candidates[scores.argmin()]


@bank.wrong("5.11", "The margin is missing")
def turned_without_margin(mean, std, best, candidates, *, margin):
    gain = mean - best
    below, density = normal_parts(gain / std)
    scores = gain * below + std * density
    return scores, candidates[scores.argmax()]


@bank.wrong("5.11", "std φ(z) was subtracted")
def both_terms_turned(mean, std, best, candidates, *, margin):
    gain = mean - best - margin
    below, density = normal_parts(gain / std)
    scores = gain * below - std * density
    return scores, candidates[scores.argmax()]


@bank.right("5.11")
def mended_in_jax(mean, std, best, candidates, *, margin):
    z = (mean - best - margin) / std
    scores = std * (z * jax.scipy.stats.norm.cdf(z) + jax.scipy.stats.norm.pdf(z))
    return scores, candidates[scores.argmax()]


@bank.right("5.11")
def mended_by_turning_the_world(mean, std, best, candidates, *, margin):
    mean, best = -mean, -best  # minimise the negative gold
    z = (best - mean - margin) / std
    normal = torch.distributions.Normal(0.0, 1.0)
    scores = (best - mean - margin) * normal.cdf(z) + std * normal.log_prob(z).exp()
    return scores, candidates[scores.argmax()]


# 5.12 posterior_variance


@bank.wrong("5.12", "The noise is forgotten")
def with_a_jitter_only(kernel, X, points, *, noise):
    L = np.linalg.cholesky(kernel(X, X) + 1e-6 * np.eye(len(X)))
    half = scipy.linalg.solve_triangular(L, kernel(X, points), lower=True)
    return np.diag(kernel(points, points)) - (half**2).sum(axis=0)


@bank.wrong("5.12", "every entry of K")
def added_as_a_number(kernel, X, points, *, noise):
    k = kernel(X, points)
    return np.diag(kernel(points, points) - k.T @ np.linalg.solve(kernel(X, X) + noise, k))


@bank.wrong("5.12", "still missing in K")
def added_at_the_end(kernel, X, points, *, noise):
    k = kernel(X, points)
    K = kernel(X, X) + 1e-6 * np.eye(len(X))
    return np.diag(kernel(points, points) - k.T @ np.linalg.solve(K, k)) + noise


@bank.wrong("5.12", "The noise was added twice")
def added_twice(kernel, X, points, *, noise):
    k = kernel(X, points)
    K = kernel(X, X) + noise * jnp.eye(len(X))
    return jnp.diag(kernel(points, points) - k.T @ jnp.linalg.solve(K, k)) + noise


@bank.wrong("5.12", "The noise was squared")
def squared_once_more(kernel, X, points, *, noise):
    k = kernel(X, points)
    K = kernel(X, X) + noise**2 * torch.eye(len(X))
    return torch.diag(kernel(points, points) - k.T @ torch.linalg.solve(K, k))


@bank.wrong("5.12", "This is the standard deviation")
def std_of_the_function(kernel, X, points, *, noise):
    k = kernel(X, points)
    K = kernel(X, X) + noise * np.eye(len(X))
    return np.sqrt(np.diag(kernel(points, points) - k.T @ np.linalg.solve(K, k)))


@bank.wrong("5.12", "This is the whole covariance")
def full_matrix(kernel, X, points, *, noise):
    k = kernel(X, points)
    K = kernel(X, X) + noise * np.eye(len(X))
    return kernel(points, points) - k.T @ np.linalg.solve(K, k)


@bank.wrong("5.12", "This is what the readings explain")
def explained_part(kernel, X, points, *, noise):
    L = jnp.linalg.cholesky(kernel(X, X) + noise * jnp.eye(len(X)))
    half = jax.scipy.linalg.solve_triangular(L, kernel(X, points), lower=True)
    return (half**2).sum(axis=0)


@bank.right("5.12")
def mended_in_torch(kernel, X, points, *, noise):
    k = kernel(X, points)
    K = kernel(X, X) + noise * torch.eye(len(X), dtype=X.dtype)
    return kernel(points, points).diagonal() - (k * torch.linalg.solve(K, k)).sum(dim=0)


@bank.right("5.12")
def mended_with_fill_diagonal(kernel, X, points, *, noise):
    K, k = np.array(kernel(X, X)), kernel(X, points)
    np.fill_diagonal(K, K.diagonal() + noise)
    return np.diag(kernel(points, points)) - np.einsum("nm,nk,km->m", k, np.linalg.inv(K), k)


# 5.13 next_hole


@bank.wrong("5.13", "still maximised on the training points")
def best_old_hole(acquisition, X, candidates):
    return X[jnp.argmax(acquisition(X))]


@bank.wrong("5.13", "it was drilled before")
def forgets_what_was_drilled(acquisition, X, candidates):
    return candidates[torch.argmax(acquisition(candidates))]


@bank.wrong("5.13", "given the score 0")
def zero_for_the_drilled(acquisition, X, candidates):
    free = ~(candidates[:, None] == X).all(-1).any(-1)
    return candidates[(acquisition(candidates) * free).argmax()]


@bank.wrong("5.13", "shares one coordinate")
def any_coordinate(acquisition, X, candidates):
    drilled = (candidates[:, None] == X).any(-1).any(-1)
    return candidates[jnp.where(drilled, -jnp.inf, acquisition(candidates)).argmax()]


@bank.wrong("5.13", "counted among the candidates that are left")
def number_among_the_rest(acquisition, X, candidates):
    free = ~(candidates[:, None] == X).all(-1).any(-1)
    return candidates[acquisition(candidates[free]).argmax()]


@bank.wrong("5.13", "sign of minimisation")
def lowest_of_the_free(acquisition, X, candidates):
    free = candidates[~(candidates[:, None] == X).all(-1).any(-1)]
    return free[acquisition(free).argmin()]


@bank.wrong("5.13", "the number of a candidate")
def its_number(acquisition, X, candidates):
    drilled = (candidates[:, None] == X).all(-1).any(-1)
    return np.argmax(np.where(drilled, -np.inf, acquisition(candidates)))


@bank.wrong("5.13", "Compare whole rows")
def by_isin(acquisition, X, candidates):
    free = candidates[~np.isin(candidates, X).all(axis=1)]
    return free[acquisition(free).argmax()]


@bank.wrong("5.13", "Take it from `candidates`")
def number_used_for_x(acquisition, X, candidates):
    return X[acquisition(candidates).argmax() % len(X)]


@bank.right("5.13")
def by_a_set_of_old_holes(acquisition, X, candidates):
    old = {tuple(map(float, row)) for row in X}
    scores = acquisition(candidates)
    order = sorted(range(len(candidates)), key=lambda i: -float(scores[i]))
    return next(candidates[i] for i in order if tuple(map(float, candidates[i])) not in old)


@bank.right("5.13")
def by_distance_in_torch(acquisition, X, candidates):
    free = candidates[torch.cdist(candidates, X).min(dim=1).values > 1e-6]
    return free[acquisition(free).argmax()]


@bank.right("5.13")
def by_where_in_jax(acquisition, X, candidates):
    drilled = (candidates[:, None] == X).all(axis=2).any(axis=1)
    return candidates[jnp.where(drilled, -jnp.inf, acquisition(candidates)).argmax()]
