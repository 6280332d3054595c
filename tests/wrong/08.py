"""Answers to the exercises of lesson 08 as students write them, wrong and right, with the words that must be said."""

import hashlib
import itertools
import json
import math
import platform
import random
import sys
from importlib import metadata

import jax
import numpy as np
import scipy.stats
import torch

from mlcourse import model_card
from mlcourse.checks.killrate import Bank
from mlcourse.record import Record

bank = Bank()

# 8.1 hash_split


def u_of(name, salt, algorithm=hashlib.sha256):
    return int(algorithm(f"{salt}:{name}".encode()).hexdigest()[:16], 16) / 2**64


@bank.wrong("8.1", "The part depends on the place in the list")
def shuffled_list(names, *, validation, test, salt):
    order = np.random.default_rng(0).permutation(len(names))
    parts = [""] * len(names)
    for i, place in enumerate(order):
        share = place / len(names)
        parts[i] = "test" if share < test else "validation" if share < test + validation else "train"
    return parts


@bank.wrong("8.1", "The part depends on the place in the list")
def first_ones_for_the_test(names, *, validation, test, salt):
    n = len(names)
    return ["test" if i / n < test else "validation" if i / n < test + validation else "train" for i in range(n)]


@bank.wrong("8.1", "another one in every process")
def python_hash(names, *, validation, test, salt):
    units = [(hash(salt + ":" + name) % 2**64) / 2**64 for name in names]
    return ["test" if u < test else "validation" if u < test + validation else "train" for u in units]


@bank.wrong("8.1", "The salt is not used")
def salt_forgotten(names, *, validation, test, salt):
    units = [int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) / 2**64 for name in names]
    return ["test" if u < test else "validation" if u < test + validation else "train" for u in units]


@bank.wrong("8.1", "without the colon")
def no_colon(names, *, validation, test, salt):
    units = [int(hashlib.sha256((salt + name).encode()).hexdigest()[:16], 16) / 2**64 for name in names]
    return ["test" if u < test else "validation" if u < test + validation else "train" for u in units]


@bank.wrong("8.1", "This is MD5")
def md5_of_the_name(names, *, validation, test, salt):
    units = [u_of(name, salt, hashlib.md5) for name in names]
    return ["test" if u < test else "validation" if u < test + validation else "train" for u in units]


@bank.wrong("8.1", "too small, or empty")
def validation_never_reached(names, *, validation, test, salt):
    parts = []
    for name in names:
        u = u_of(name, salt)
        if u < test:
            parts.append("test")
        elif u < validation:
            parts.append("validation")
        else:
            parts.append("train")
    return parts


@bank.wrong("8.1", "test first")
def validation_first(names, *, validation, test, salt):
    units = [u_of(name, salt) for name in names]
    return ["validation" if u < validation else "test" if u < test + validation else "train" for u in units]


@bank.wrong("8.1", "filled to an exact size")
def exact_quota(names, *, validation, test, salt):
    ranked = sorted(names, key=lambda name: u_of(name, salt))
    n = len(names)
    part = {}
    for rank, name in enumerate(ranked):
        part.setdefault(name, "test" if rank / n < test else "validation" if rank / n < test + validation else "train")
    return [part[name] for name in names]


@bank.wrong("8.1", "has 2 parts, expected 12")
def test_names_only(names, *, validation, test, salt):
    return [name for name in names if u_of(name, salt) < test]


@bank.wrong("8.1", "is 't', expected 'train'")
def initials(names, *, validation, test, salt):
    return ["t" if u_of(name, salt) >= test else "test" for name in names]


@bank.right("8.1")
def bytes_of_the_digest(names, *, validation, test, salt):
    def part(name):
        u = int.from_bytes(hashlib.sha256(f"{salt}:{name}".encode()).digest()[:8], "big") / 2**64
        if u >= test + validation:
            return "train"
        return "test" if u < test else "validation"

    return list(map(part, names))


@bank.right("8.1")
def with_searchsorted(names, *, validation, test, salt):
    units = np.array([u_of(name, salt) for name in names])
    return np.array(["test", "validation", "train"])[np.searchsorted([test, test + validation], units, side="right")]


# 8.2 seed_everything


@bank.wrong("8.2", "Python's own `random` is not seeded")
def no_python(seed):
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    return jax.random.key(seed)


@bank.wrong("8.2", "NumPy's global generator is not seeded")
def a_generator_nobody_keeps(seed):
    random.seed(seed)
    np.random.default_rng(seed)
    torch.manual_seed(seed)
    return jax.random.key(seed)


@bank.wrong("8.2", "PyTorch is not seeded")
def only_the_gpu(seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.cuda.manual_seed_all(seed)
    return jax.random.key(seed)


@bank.wrong("8.2", "Nothing but the key")
def key_alone(seed):
    return jax.random.key(seed)


@bank.wrong("8.2", "JAX has none")
def no_key(seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


@bank.wrong("8.2", "The key does not depend on the seed")
def key_of_42(seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    return jax.random.key(0)


@bank.wrong("8.2", "seeded with 0 instead")
def always_zero(seed):
    seed = 0
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    return jax.random.key(seed)


@bank.wrong("8.2", "The key was split")
def split_key(seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    key, _ = jax.random.split(jax.random.key(seed))
    return key


@bank.wrong("8.2", "Only PyTorch is seeded")
def torch_alone(seed):
    torch.manual_seed(seed)
    return jax.random.key(seed)


@bank.right("8.2")
def with_the_old_key(seed):
    for seeding in (random.seed, np.random.seed, torch.manual_seed):
        seeding(seed)
    return jax.random.PRNGKey(seed)


@bank.right("8.2")
def with_more_than_needed(seed):
    key = jax.random.key(seed)
    torch.cuda.manual_seed_all(seed)
    torch.random.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
    return key


# 8.3 run_name


@bank.wrong("8.3", "order in which the settings were written")
def unsorted_json(config):
    return hashlib.sha256(json.dumps(config).encode("utf-8")).hexdigest()[:8]


@bank.wrong("8.3", "the text Python prints for a dict")
def printed_dict(config):
    return hashlib.sha256(f"{config}".encode()).hexdigest()[:8]


@bank.wrong("8.3", "Only the outer keys were sorted")
def outer_keys(config):
    ordered = {key: config[key] for key in sorted(config)}
    return hashlib.sha256(json.dumps(ordered).encode()).hexdigest()[:8]


@bank.wrong("8.3", "The seed is left out")
def without_the_seed(config):
    config = {key: value for key, value in config.items() if key != "seed"}
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]


@bank.wrong("8.3", "Only the values are in the name")
def values_joined(config):
    text = json.dumps([value for _, value in sorted(config.items())], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@bank.wrong("8.3", "Only the names of the settings")
def names_joined(config):
    return hashlib.sha256(json.dumps(sorted(config.keys())).encode()).hexdigest()[:8]


@bank.wrong("8.3", "all 64 digits")
def whole_digest(config):
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


@bank.wrong("8.3", "This is MD5")
def md5_of_json(config):
    return hashlib.md5(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]


@bank.wrong("8.3", "another one in every process")
def hash_of_json(config):
    return f"{hash(json.dumps(config, sort_keys=True)) % 2**32:08x}"


@bank.wrong("8.3", "expected a str")
def four_bytes(config):
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).digest()[:4]


@bank.right("8.3")
def in_parts(config):
    digest = hashlib.sha256()
    digest.update(json.dumps(config, sort_keys=True).encode("utf-8"))
    return digest.digest()[:4].hex()


@bank.right("8.3")
def recursively_sorted(config):
    def ordered(value):
        return {key: ordered(value[key]) for key in sorted(value)} if isinstance(value, dict) else value

    return f"{int(hashlib.sha256(json.dumps(ordered(config)).encode()).hexdigest(), 16):064x}"[:8]


# 8.4 bootstrap_interval


@bank.wrong("8.4", "*without* replacement")
def permutations(values, statistic, *, resamples, confidence, seed):
    rng = np.random.default_rng(seed)
    found = [statistic(rng.permutation(values)) for _ in range(resamples)]
    return np.quantile(found, (1 - confidence) / 2), np.quantile(found, (1 + confidence) / 2)


@bank.wrong("8.4", "twice as much as they should")
def both_tails_full(values, statistic, *, resamples, confidence, seed):
    rows = np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values)))
    found = [statistic(values[row]) for row in rows]
    return np.quantile(found, 1 - confidence), np.quantile(found, confidence)


@bank.wrong("8.4", "quantiles of the values themselves")
def no_resampling(values, statistic, *, resamples, confidence, seed):
    return np.quantile(values, (1 - confidence) / 2), np.quantile(values, (1 + confidence) / 2)


@bank.wrong("8.4", "assumes a normal distribution")
def normal_interval(values, statistic, *, resamples, confidence, seed):
    rows = np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values)))
    std = np.std([statistic(values[row]) for row in rows])
    z = scipy.stats.norm.ppf((1 + confidence) / 2)
    return statistic(values) - z * std, statistic(values) + z * std


@bank.wrong("8.4", "The mean of each resample was taken")
def always_the_mean(values, statistic, *, resamples, confidence, seed):
    rows = np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values)))
    return tuple(np.quantile(values[rows].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2]))


@bank.wrong("8.4", "The seed is not used")
def seed_forgotten(values, statistic, *, resamples, confidence, seed):
    rows = np.random.default_rng(0).integers(0, len(values), size=(resamples, len(values)))
    found = [statistic(values[row]) for row in rows]
    return tuple(np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2]))


@bank.wrong("8.4", "always the one of 95 %")
def confidence_forgotten(values, statistic, *, resamples, confidence, seed):
    rows = np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values)))
    return tuple(np.percentile([statistic(values[row]) for row in rows], [2.5, 97.5]))


@bank.wrong("8.4", "smallest and the largest")
def extremes(values, statistic, *, resamples, confidence, seed):
    rows = np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values)))
    found = sorted(statistic(values[row]) for row in rows)
    return found[0], found[-1]


@bank.wrong("8.4", "middle and half the width")
def plus_minus(values, statistic, *, resamples, confidence, seed):
    rows = np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values)))
    low, high = np.quantile([statistic(values[row]) for row in rows], [(1 - confidence) / 2, (1 + confidence) / 2])
    return (low + high) / 2, (high - low) / 2


@bank.wrong("8.4", "changed its input `values`")
def resamples_in_place(values, statistic, *, resamples, confidence, seed):
    kept, found = values.copy(), []
    for row in np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values))):
        values[:] = kept[row]
        found.append(statistic(values))
    return tuple(np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2]))


@bank.right("8.4")
def with_percentile(values, statistic, *, resamples, confidence, seed):
    n = len(values)
    rows = np.random.default_rng(seed).integers(n, size=(resamples, n))
    found = np.sort([statistic(np.take(values, row)) for row in rows])
    tail = 50 * (1 - confidence)
    return np.percentile(found, [tail, 100 - tail])


@bank.right("8.4")
def in_pytorch(values, statistic, *, resamples, confidence, seed):
    rows = torch.from_numpy(np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values))))
    found = torch.tensor([float(statistic(values[row])) for row in rows], dtype=torch.float64)
    tail = (1 - confidence) / 2
    return found.quantile(tail), found.quantile(1 - tail)


# 8.5 paired_test


def all_flips(d):
    return [sum(s * x for s, x in zip(signs, d, strict=True)) / len(d) for signs in itertools.product((1, -1), repeat=len(d))]


@bank.wrong("8.5", "use >=")
def strictly_beyond(a, b):
    d = a - b
    return d.mean(), np.mean([abs(m) > abs(d.mean()) for m in all_flips(d)])


@bank.wrong("8.5", "one-sided p")
def one_sided(a, b):
    d = a - b
    return d.mean(), np.mean([m >= d.mean() for m in all_flips(d)])


@bank.wrong("8.5", "without regard to their pairs")
def permutation_of_all(a, b):
    n, pool, observed = len(a), np.concatenate([a, b]), abs(a.mean() - b.mean())
    hits = []
    for chosen in itertools.combinations(range(2 * n), n):
        mask = np.zeros(2 * n, bool)
        mask[list(chosen)] = True
        hits.append(abs(pool[mask].mean() - pool[~mask].mean()) >= observed - 1e-12)
    return a.mean() - b.mean(), np.mean(hits)


@bank.wrong("8.5", "wrong sign")
def b_minus_a(a, b):
    d = b - a
    return d.mean(), np.mean([abs(m) >= abs(d.mean()) for m in all_flips(d)])


@bank.wrong("8.5", "Keep its sign")
def absolute_difference(a, b):
    d = a - b
    return abs(d.mean()), np.mean([abs(m) >= abs(d.mean()) for m in all_flips(d)])


@bank.wrong("8.5", "forgets how large they are")
def sign_test(a, b):
    signs = np.sign(a - b)
    ways = np.array(list(itertools.product((1, -1), repeat=len(a)))).sum(axis=1)
    return (a - b).mean(), (abs(ways) >= abs(signs.sum())).mean()


@bank.wrong("8.5", "left out of the count")
def without_the_observed(a, b):
    d = a - b
    flips = all_flips(d)[1:]
    return d.mean(), np.mean([abs(m) >= abs(d.mean()) for m in flips])


@bank.wrong("8.5", "Divide it by all 2**n")
def counts_only(a, b):
    d = a - b
    return d.mean(), sum(abs(m) >= abs(d.mean()) for m in all_flips(d))


@bank.wrong("8.5", "not their mean")
def sum_of_differences(a, b):
    d = a - b
    return d.sum(), np.mean([abs(m) >= abs(d.mean()) for m in all_flips(d)])


@bank.wrong("8.5", "the p of Student's t test")
def t_test(a, b):
    return (a - b).mean(), scipy.stats.ttest_rel(a, b).pvalue


@bank.right("8.5")
def by_scipy(a, b):
    test = scipy.stats.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=np.inf)
    return (a - b).mean(), test.pvalue


@bank.right("8.5")
def by_bits(a, b):
    d = np.asarray(a) - np.asarray(b)
    n = len(d)
    signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    return d.mean(), np.mean(np.abs(signs @ d) >= np.abs(d.sum()))


# 8.6 resumable


@bank.wrong("8.6", "random generator starts anew")
def generator_forgotten(step, start, batches, disk, *, num_steps, every, seed):
    rng = np.random.default_rng(seed)
    state, first = disk.get("run", (start, 0))
    for k in range(first, num_steps):
        state = step(state, batches[k % len(batches)], rng)
        if (k + 1) % every == 0 or k + 1 == num_steps:
            disk["run"] = (state, k + 1)
    return state


@bank.wrong("8.6", "a new seed, seed + step")
def reseeded(step, start, batches, disk, *, num_steps, every, seed):
    state, first = disk.get("run", (start, 0))
    rng = np.random.default_rng(seed + first)
    for k in range(first, num_steps):
        state = step(state, batches[k % len(batches)], rng)
        if (k + 1) % every == 0 or k + 1 == num_steps:
            disk["run"] = (state, k + 1)
    return state


@bank.wrong("8.6", "begin at the first one again")
def batches_from_the_start(step, start, batches, disk, *, num_steps, every, seed):
    rng = np.random.default_rng(seed)
    state, k = start, 0
    if "run" in disk:
        state, k, rng.bit_generator.state = disk["run"]
    for batch in itertools.cycle(batches):
        if k >= num_steps:
            break
        state = step(state, batch, rng)
        k += 1
        if k % every == 0 or k == num_steps:
            disk["run"] = (state, k, rng.bit_generator.state)
    return state


@bank.wrong("8.6", "the velocity starts from zero")
def weights_only(step, start, batches, disk, *, num_steps, every, seed):
    rng = np.random.default_rng(seed)
    state, k = start, 0
    if "run" in disk:
        w, k, rng.bit_generator.state = disk["run"]
        state = {"w": w, "v": start["v"]}
    while k < num_steps:
        state = step(state, batches[k % len(batches)], rng)
        k += 1
        if k % every == 0 or k == num_steps:
            disk["run"] = (state["w"], k, rng.bit_generator.state)
    return state


@bank.wrong("8.6", "one too low")
def off_by_one(step, start, batches, disk, *, num_steps, every, seed):
    rng = np.random.default_rng(seed)
    state, first = start, 0
    if "run" in disk:
        state, first, rng.bit_generator.state = disk["run"]
    for k in range(first, num_steps):
        state = step(state, batches[k % len(batches)], rng)
        if (k + 1) % every == 0 or k + 1 == num_steps:
            disk["run"] = (state, k, rng.bit_generator.state)
    return state


@bank.wrong("8.6", "Nothing is read from the disk")
def write_only(step, start, batches, disk, *, num_steps, every, seed):
    rng, state = np.random.default_rng(seed), start
    for k in range(num_steps):
        state = step(state, batches[k % len(batches)], rng)
        if (k + 1) % every == 0 or k + 1 == num_steps:
            disk["run"] = (state, k + 1, rng.bit_generator.state)
    return state


@bank.wrong("8.6", "Save after the last update, too")
def end_not_saved(step, start, batches, disk, *, num_steps, every, seed):
    rng = np.random.default_rng(seed)
    state, k = start, 0
    if "run" in disk:
        state, k, rng.bit_generator.state = disk["run"]
    while k < num_steps:
        state = step(state, batches[k % len(batches)], rng)
        k += 1
        if k % every == 0:
            disk["run"] = (state, k, rng.bit_generator.state)
    return state


@bank.wrong("8.6", "`num_steps` more updates")
def as_many_again(step, start, batches, disk, *, num_steps, every, seed):
    rng = np.random.default_rng(seed)
    state, k = start, 0
    if "run" in disk:
        state, k, rng.bit_generator.state = disk["run"]
    stop = k + num_steps
    while k < stop:
        state = step(state, batches[k % len(batches)], rng)
        k += 1
        if k % every == 0 or k == num_steps:
            disk["run"] = (state, k, rng.bit_generator.state)
    return state


@bank.wrong("8.6", "so a killed run loses all")
def saves_at_the_end(step, start, batches, disk, *, num_steps, every, seed):
    if "run" in disk:
        return disk["run"]
    rng, state = np.random.default_rng(seed), start
    for k in range(num_steps):
        state = step(state, batches[k % len(batches)], rng)
    disk["run"] = state
    return state


@bank.wrong("8.6", "expected a dict with the keys")
def returns_the_weights_as_a_list(step, start, batches, disk, *, num_steps, every, seed):
    return list(by_replaying_the_noise(step, start, batches, disk, num_steps=num_steps, every=every, seed=seed).values())


@bank.right("8.6")
def by_replaying_the_noise(step, start, batches, disk, *, num_steps, every, seed):
    saved = disk.get("checkpoint", {"state": start, "k": 0, "generator": np.random.default_rng(seed)})
    state, rng = saved["state"], saved["generator"]
    for k in range(saved["k"], num_steps):
        state = step(state, batches[k % len(batches)], rng)
        if k + 1 == num_steps or not (k + 1) % every:
            disk["checkpoint"] = {"state": state, "k": k + 1, "generator": rng}
    return state


@bank.right("8.6")
def in_three_files(step, start, batches, disk, *, num_steps, every, seed):
    rng = np.random.default_rng(seed)
    if "noise" not in disk:
        disk.update(weights=start, noise=rng.bit_generator.state, updates=0)
    state, done = disk["weights"], disk["updates"]
    rng.bit_generator.state = disk["noise"]
    while done < num_steps:
        for _ in range(min(every - done % every, num_steps - done)):
            state = step(state, batches[done % len(batches)], rng)
            done += 1
        disk.update(weights=state, noise=rng.bit_generator.state, updates=done)
    return state


# 8.7 manifest


def versions_of(packages):
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def sha256_of(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def entry(parameters, arrays, packages, /, **changes):
    python, data = platform.python_version(), {name: sha256_of(array) for name, array in arrays.items()}
    return {"python": python, "packages": versions_of(packages), "parameters": dict(parameters), "data": data} | changes


@bank.wrong("8.7", "prints a large array with `...`")
def hash_of_the_text(parameters, arrays, *, packages):
    data = {name: hashlib.sha256(str(array).encode()).hexdigest() for name, array in arrays.items()}
    return entry(parameters, arrays, packages, data=data)


@bank.wrong("8.7", "the manifest changed when")
def the_callers_dict(parameters, arrays, *, packages):
    return entry(parameters, arrays, packages, parameters=parameters)


@bank.wrong("8.7", "the whole text of `sys.version`")
def long_version(parameters, arrays, *, packages):
    return entry(parameters, arrays, packages, python=sys.version)


@bank.wrong("8.7", "lacks its last part")
def two_parts(parameters, arrays, *, packages):
    return entry(parameters, arrays, packages, python=f"{sys.version_info.major}.{sys.version_info.minor}")


@bank.wrong("8.7", "Catch it")
def strict_about_packages(parameters, arrays, *, packages):
    return entry(parameters, arrays, packages, packages={name: metadata.version(name) for name in packages})


@bank.wrong("8.7", "Leave it out")
def none_for_missing(parameters, arrays, *, packages):
    return entry(parameters, arrays, packages, packages=dict.fromkeys(packages) | versions_of(packages))


@bank.wrong("8.7", "The data are in the manifest themselves")
def data_in_full(parameters, arrays, *, packages):
    return entry(parameters, arrays, packages, data={name: array.tolist() for name, array in arrays.items()})


@bank.wrong("8.7", "This is MD5")
def md5_of_the_bytes(parameters, arrays, *, packages):
    return entry(parameters, arrays, packages, data={name: hashlib.md5(a.tobytes()).hexdigest() for name, a in arrays.items()})


@bank.wrong("8.7", "is not JSON serializable")
def arrays_in_json(parameters, arrays, *, packages):
    return entry(parameters, arrays, packages, data=arrays)


@bank.wrong("8.7", "has the keys")
def without_parameters(parameters, arrays, *, packages):
    found = entry(parameters, arrays, packages)
    return {name: found[name] for name in ("python", "packages", "data")}


@bank.right("8.7")
def with_distributions(parameters, arrays, *, packages):
    installed = {each.metadata["Name"].lower(): each.version for each in metadata.distributions()}
    return {
        "data": {name: hashlib.sha256(np.asarray(array).tobytes(order="C")).hexdigest() for name, array in arrays.items()},
        "parameters": json.loads(json.dumps(parameters)),
        "packages": {name: installed[name] for name in packages if name in installed},
        "python": ".".join(map(str, sys.version_info[:3])),
    }


@bank.right("8.7")
def with_file_digest(parameters, arrays, *, packages):
    import copy
    import io

    data = {name: hashlib.file_digest(io.BytesIO(a.tobytes()), "sha256").hexdigest() for name, a in arrays.items()}
    return entry(copy.deepcopy(parameters), arrays, packages, data=data)


# 8.8 first_bad


@bank.wrong("8.8", "Infinity comes first")
def only_nan(layers, x):
    h = x
    for name, layer in [("input", lambda h: h), *layers]:
        h = layer(h)
        bad = np.isnan(h).any(axis=1)
        if bad.any():
            return name, int(bad.sum())
    return "none", 0


@bank.wrong("8.8", "Only infinity was looked for")
def only_infinity(layers, x):
    for name, layer in [("input", lambda h: h), *layers]:
        x = layer(x)
        if np.isinf(x).any():
            return name, int(np.isinf(x).any(axis=1).sum())
    return "none", 0


@bank.wrong("8.8", "names the victim")
def the_output_only(layers, x):
    for _, layer in layers:
        x = layer(x)
    bad = ~np.isfinite(x).all(axis=1)
    return (layers[-1][0], int(bad.sum())) if bad.any() else ("none", 0)


@bank.wrong("8.8", "The first one is where it was born")
def keeps_looking(layers, x):
    found = ("none", 0)
    for name, layer in [("input", lambda h: h), *layers]:
        x = layer(x)
        bad = ~np.isfinite(x).all(axis=1)
        if bad.any():
            found = name, int(bad.sum())
    return found


@bank.wrong("8.8", "The data themselves were not looked at")
def input_trusted(layers, x):
    for name, layer in layers:
        x = layer(x)
        bad = ~np.isfinite(x).all(axis=1)
        if bad.any():
            return name, int(bad.sum())
    return "none", 0


@bank.wrong("8.8", "counts values")
def values_counted(layers, x):
    for name, layer in [("input", lambda h: h), *layers]:
        x = layer(x)
        if not np.isfinite(x).all():
            return name, int((~np.isfinite(x)).sum())
    return "none", 0


@bank.wrong("8.8", "*all* its values were bad")
def all_of_them(layers, x):
    for name, layer in [("input", lambda h: h), *layers]:
        x = layer(x)
        if not np.isfinite(x).any():
            return name, len(x)
    return "none", 0


@bank.wrong("8.8", "It needs what the layer before it put out")
def layers_in_parallel(layers, x):
    for name, layer in [("input", lambda h: h), *layers]:
        bad = ~np.isfinite(layer(x)).all(axis=1)
        if bad.any():
            return name, int(bad.sum())
    return "none", 0


@bank.wrong("8.8", "The layer *before*")
def the_one_before(layers, x):
    names = ["input", "input", *(name for name, _ in layers)]
    for i, layer in enumerate([lambda h: h, *(layer for _, layer in layers)]):
        x = layer(x)
        bad = ~np.isfinite(x).all(axis=1)
        if bad.any():
            return names[i], int(bad.sum())
    return "none", 0


@bank.wrong("8.8", "returned None")
def silent_when_fine(layers, x):
    for name, layer in [("input", lambda h: h), *layers]:
        x = layer(x)
        bad = ~np.isfinite(x).all(axis=1)
        if bad.any():
            return name, int(bad.sum())


@bank.right("8.8")
def places_in_pytorch(layers, x):
    places = {"input": x}
    for name, layer in layers:
        x = places[name] = layer(x)
    for name, h in places.items():
        rows = (~torch.isfinite(h)).any(dim=1).sum()
        if rows:
            return name, rows
    return "none", 0


@bank.right("8.8")
def with_accumulate(layers, x):
    names = ["input", *(name for name, _ in layers)]
    outputs = itertools.accumulate([x, *(layer for _, layer in layers)], lambda h, layer: layer(h))
    counts = (
        (name, sum(not np.all(np.isfinite(row)) for row in np.asarray(h))) for name, h in zip(names, outputs, strict=True)
    )
    return next((found for found in counts if found[1]), ("none", 0))


# 8.9 card


TOLD = {
    "Model": "A network of two hidden layers that reads an image and names one of ten digits.",
    "Intended use": "For lessons on machine learning, and for trying tools.",
    "Not for": "Never for reading forms: only 13 people wrote all of its digits.",
    "Data": "The digits of scikit-learn, licence CC BY 4.0, split by a hash of the image.",
    "Limits": "Writers it has not seen were never tested, and it is likely to do worse on them.",
}


def with_the_package(manifest, result):
    told = TOLD | {"Evaluation": f"Wrong answers on the test split; a linear baseline has {result['baseline']:.3g}."}
    number = Record("test_error", result["test_error"], result["low"], result["high"], result["seeds"])
    return model_card.card("digits", manifest=manifest, records=[number], told=told)


def changed(before, after):
    def card(manifest, result):
        text = with_the_package(manifest, result)
        assert before in text
        return text.replace(before, after)

    return card


bank.right("8.9")(with_the_package)


@bank.right("8.9")
def section_by_section(manifest, result):
    git = manifest["git"] or {"commit": "none, no version control", "dirty": False}
    interval = f"[{result['low']:.3g}, {result['high']:.3g}]"
    parts = TOLD | {
        "Data": TOLD["Data"] + f"\n\nSHA-256 of the digits: `{manifest['data']['digits']}`",
        "Evaluation": f"| split | error | interval |\n|---|---|---|\n| test set | {result['test_error']:.3g} | {interval} |\n\n"
        f"{result['seeds']} runs; linear model: {result['baseline']:.3g}",
        "Reproduce": f"* Python: {manifest['python']}\n* seed: {manifest['parameters']['seed']}\n"
        + "".join(f"* {name} {version}\n" for name, version in manifest["packages"].items())
        + f"* commit: {git['commit']}{' (dirty)' if git['dirty'] else ''}",
        "Compute": f"{manifest['seconds']:.3g} s on one CPU",
    }
    return "# Card\n\n" + "\n\n".join(f"## {section}\n\n{parts[section]}" for section in model_card.SECTIONS)


@bank.wrong("8.9", "The section `## Not for` is missing")
def nothing_forbidden(manifest, result):
    text = with_the_package(manifest, result)
    return text[: text.index("## Not for")] + text[text.index("## Data") :]


@bank.wrong("8.9", "`## Limits`: a TODO is left")
def limits_later(manifest, result):
    return changed(TOLD["Limits"], "TODO")(manifest, result)


@bank.wrong("8.9", "Fewer than six words")
def use_in_one_word(manifest, result):
    return changed(TOLD["Intended use"], "Research.")(manifest, result)


@bank.wrong("8.9", "no licence is named")
def no_licence(manifest, result):
    return changed("licence CC BY 4.0, ", "")(manifest, result)


@bank.wrong("8.9", "no interval")
def number_alone(manifest, result):
    interval = f" [{result['low']:.3g}, {result['high']:.3g}]"
    return with_the_package(manifest, result).replace(interval, "")


@bank.wrong("8.9", "nothing to compare with")
def no_baseline(manifest, result):
    text = with_the_package(manifest, result)
    return text.replace(f"; a linear baseline has {result['baseline']:.3g}", "")


@bank.wrong("8.9", "'robust' can mean anything")
def a_robust_model(manifest, result):
    return changed("A network of", "A robust network of")(manifest, result)


@bank.wrong("8.9", "Don't type numbers into a card")
def numbers_typed_in(manifest, result):
    fixed = {"test_error": 0.031, "low": 0.028, "high": 0.034, "seeds": 5, "baseline": 0.052}
    return with_the_package(manifest, fixed)


@bank.wrong("8.9", "The digest of the data is not the one in the manifest")
def another_digest(manifest, result):
    return with_the_package(manifest | {"data": {"digits": "0123456789ab" * 5}}, result)


@bank.wrong("8.9", "The seed is not the one")
def seed_of_the_first_run(manifest, result):
    return with_the_package(manifest | {"parameters": {"seed": 42}}, result)


@bank.wrong("8.9", "TypeError: 'NoneType' object is not subscriptable")
def always_under_git(manifest, result):
    return with_the_package(manifest, result) + f"commit {manifest['git']['commit']}"


@bank.wrong("8.9", "had uncommitted changes")
def clean_as_far_as_i_know(manifest, result):
    return with_the_package(manifest, result).replace(" with changes on top", "")


@bank.wrong("8.9", "The Python version or a package's version")
def one_package_only(manifest, result):
    name, version = next(iter(manifest["packages"].items()))
    return with_the_package(manifest | {"packages": {name: version}}, result)


@bank.wrong("8.9", "expected a str")
def a_dict_of_sections(manifest, result):
    return TOLD | result


# 8.10 report


@bank.wrong("8.10", "still chosen by its *test* error")
def as_it_was(validation, test):
    best = int(np.argmin(test.mean(1)))
    return best, test[best].mean()


@bank.wrong("8.10", "lowest test error of all settings")
def best_test_reported(validation, test):
    return int(validation.mean(axis=1).argmin()), test.mean(axis=1).min()


@bank.wrong("8.10", "best on the test set. Report the mean")
def best_seed(validation, test):
    chosen = int(validation.mean(axis=1).argmin())
    return chosen, test[chosen].min()


@bank.wrong("8.10", "validation error of the chosen setting")
def validation_reported(validation, test):
    means = validation.mean(axis=1)
    return int(means.argmin()), means.min()


@bank.wrong("8.10", "single luckiest seed")
def luckiest_run(validation, test):
    chosen = int(np.argmin(validation)) // validation.shape[1]
    return chosen, test[chosen].mean()


@bank.wrong("8.10", "averaged to choose")
def both_splits(validation, test):
    chosen = int(((validation + test) / 2).mean(axis=1).argmin())
    return chosen, test[chosen].mean()


@bank.wrong("8.10", "*highest* validation error")
def for_accuracies(validation, test):
    chosen = int(validation.mean(axis=1).argmax())
    return chosen, test[chosen].mean()


@bank.wrong("8.10", "best on validation. Report the mean")
def best_validation_seed(validation, test):
    chosen = int(validation.mean(axis=1).argmin())
    return chosen, test[chosen, validation[chosen].argmin()]


@bank.right("8.10")
def by_sorting(validation, test):
    order = np.argsort(np.asarray(validation).sum(axis=1), kind="stable")
    return order[0], np.average(np.asarray(test)[order[0]])


@bank.right("8.10")
def report_in_pytorch(validation, test):
    best = torch.as_tensor(validation).double().mean(dim=1).argmin()
    return best, torch.as_tensor(test)[best].mean()


# 8.11 compare


@bank.wrong("8.11", "a seed of its own, so each setting meets other luck")
def counted_on(train, settings, *, num_seeds, seed):
    counter = itertools.count(seed)
    return np.array([[train(setting, seed=next(counter)) for _ in range(num_seeds)] for setting in settings])


@bank.wrong("8.11", "the columns are copies")
def one_seed_for_all(train, settings, *, num_seeds, seed):
    return np.array([[train(setting, seed=seed)] * num_seeds for setting in settings])


@bank.wrong("8.11", "The seeds begin at 0")
def from_zero(train, settings, *, num_seeds, seed):
    return np.array([[train(setting, seed=s) for s in range(num_seeds)] for setting in settings])


@bank.wrong("8.11", "The seeds begin at seed + 1")
def from_one(train, settings, *, num_seeds, seed):
    return np.array([[train(setting, seed=seed + s) for s in range(1, num_seeds + 1)] for setting in settings])


@bank.wrong("8.11", "lies on its side")
def seeds_first(train, settings, *, num_seeds, seed):
    return np.array([[train(setting, seed=s) for setting in settings] for s in range(seed, seed + num_seeds)])


@bank.wrong("8.11", "These are the means")
def averaged(train, settings, *, num_seeds, seed):
    return np.array([np.mean([train(setting, seed=seed + s) for s in range(num_seeds)]) for setting in settings])


@bank.wrong("8.11", "neighbours share all seeds but one")
def sliding(train, settings, *, num_seeds, seed):
    return np.array([[train(each, seed=seed + i + s) for s in range(num_seeds)] for i, each in enumerate(settings)])


@bank.wrong("8.11", "the same for all its trials")
def seed_of_the_setting(train, settings, *, num_seeds, seed):
    return np.array([[train(each, seed=seed + i)] * num_seeds for i, each in enumerate(settings)])


@bank.wrong("8.11", "in one long row")
def flat(train, settings, *, num_seeds, seed):
    return np.array([train(each, seed=seed + s) for each in settings for s in range(num_seeds)])


@bank.right("8.11")
def filled_in(train, settings, *, num_seeds, seed):
    errors = np.empty((len(settings), num_seeds))
    for s in range(num_seeds):
        for i, setting in enumerate(settings):
            errors[i, s] = train(setting, seed=seed + s)
    return errors


@bank.right("8.11")
def with_a_remainder(train, settings, *, num_seeds, seed):
    trials = range(len(settings) * num_seeds)
    errors = [train(settings[t // num_seeds], seed=seed + t % num_seeds) for t in trials]
    return torch.tensor(errors, dtype=torch.float64).reshape(-1, num_seeds)


# 8.12 random_search


def sampled(rng, ranges):
    return {name: math.exp(rng.uniform(math.log(low), math.log(high))) for name, (low, high) in ranges.items()}


@bank.wrong("8.12", "`weight_decay` is sampled and stands in the table")
def decay_still_fixed(train, ranges, *, trials, seed):
    rng, rows = np.random.default_rng(seed), []
    for _ in range(trials):
        config = sampled(rng, ranges)
        error = train(**(config | {"weight_decay": 1e-4}))
        rows.append({**config, "error": error})
    return rows


@bank.wrong("8.12", "Only the learning rate reaches `train`")
def rate_if_there(train, ranges, *, trials, seed):
    rng, rows = np.random.default_rng(seed), []
    for _ in range(trials):
        config = sampled(rng, ranges)
        error = train(learning_rate=config["learning_rate"]) if "learning_rate" in config else train()
        rows.append({**config, "error": error})
    return rows


@bank.wrong("8.12", "KeyError: 'weight_decay'")
def not_mended(train, ranges, *, trials, seed):
    rng, rows = np.random.default_rng(seed), []
    for _ in range(trials):
        config = sampled(rng, ranges)
        rows.append(config | {"error": train(learning_rate=config["learning_rate"], weight_decay=config["weight_decay"])})
    return rows


@bank.wrong("8.12", "Nothing that was sampled reaches `train`")
def defaults_always(train, ranges, *, trials, seed):
    rng = np.random.default_rng(seed)
    return [sampled(rng, ranges) | {"error": train()} for _ in range(trials)]


@bank.wrong("8.12", "drawn evenly from low to high")
def uniform(train, ranges, *, trials, seed):
    rng, rows = np.random.default_rng(seed), []
    for _ in range(trials):
        config = {name: rng.uniform(low, high) for name, (low, high) in ranges.items()}
        rows.append(config | {"error": train(**config)})
    return rows


@bank.wrong("8.12", "made anew inside the loop")
def same_every_time(train, ranges, *, trials, seed):
    rows = []
    for _ in range(trials):
        config = sampled(np.random.default_rng(seed), ranges)
        rows.append(config | {"error": train(**config)})
    return rows


@bank.wrong("8.12", "one and the same dict")
def one_dict(train, ranges, *, trials, seed):
    rng, rows, row = np.random.default_rng(seed), [], {}
    for _ in range(trials):
        config = sampled(rng, ranges)
        row.update(config, error=train(**config))
        rows.append(row)
    return rows


@bank.wrong("8.12", "Only the best row")
def best_only(train, ranges, *, trials, seed):
    rng = np.random.default_rng(seed)
    configs = [sampled(rng, ranges) for _ in range(trials)]
    return [min((config | {"error": train(**config)} for config in configs), key=lambda row: row["error"])]


@bank.wrong("8.12", "lack what was sampled")
def errors_only(train, ranges, *, trials, seed):
    rng = np.random.default_rng(seed)
    return [{"error": train(**sampled(rng, ranges))} for _ in range(trials)]


@bank.wrong("8.12", "in the order of the trials")
def sorted_by_error(train, ranges, *, trials, seed):
    rng = np.random.default_rng(seed)
    configs = [sampled(rng, ranges) for _ in range(trials)]
    return sorted((config | {"error": train(**config)} for config in configs), key=lambda row: row["error"])


@bank.right("8.12")
def in_a_comprehension(train, ranges, *, trials, seed):
    rng = np.random.default_rng(seed)
    configs = [sampled(rng, ranges) for _ in range(trials)]
    return [{"error": train(**config), **config} for config in configs]


@bank.right("8.12")
def all_at_once(train, ranges, *, trials, seed):
    logs = np.log(np.array(list(ranges.values())))
    draws = np.exp(np.random.default_rng(seed).uniform(logs[:, 0], logs[:, 1], size=(trials, len(ranges))))
    rows = [dict(zip(ranges, map(float, draw), strict=True)) for draw in draws]
    return [row | {"error": train(**row)} for row in rows]
