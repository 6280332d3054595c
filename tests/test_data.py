"""Data sets, splits and minibatches."""

import gzip
import hashlib
import itertools
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets as sklearn_datasets

from mlcourse import data
from mlcourse.data import CARDS, batch_indices, check_examples, load, load_text, minibatches, split
from mlcourse.errors import DataError

OFFLINE = ["digits", "iris", "wine", "breast_cancer", "two_moons", "circles", "blobs"]
GIVEN = Path(os.environ.get("MLCOURSE_DATA") or "no folder")


def needs(path):
    reason = f"needs {path} in the folder that MLCOURSE_DATA names"
    return pytest.mark.skipif(not (GIVEN / path).is_file(), reason=reason)


# Data sets


@pytest.mark.parametrize("name", OFFLINE)
def test_an_offline_set_is_float32_and_int32_and_as_large_as_its_card_says(name):
    dataset = load(name)
    check_examples(dataset.x, dataset.y, dataset.num_classes)
    assert (dataset.x.dtype, dataset.y.dtype, dataset.x.ndim) == (np.float32, np.int32, 2)
    assert dataset.official_test is None and dataset.card is CARDS[name]
    counts = np.bincount(dataset.y)
    assert dataset.card.size.startswith(f"{len(dataset.x):,} ")
    assert f"{dataset.num_classes} classes" in dataset.card.size and len(counts) == dataset.num_classes
    assert str(counts.min()) in dataset.card.size and str(counts.max()) in dataset.card.size


@pytest.mark.parametrize("name", OFFLINE)
def test_a_set_is_the_same_every_time(name):
    first, second = load(name), load(name)
    assert np.array_equal(first.x, second.x) and np.array_equal(first.y, second.y)


def test_digits_are_scikit_learns_divided_by_16():
    dataset, original = load("digits"), sklearn_datasets.load_digits()
    assert np.array_equal(dataset.x * 16, original.data) and np.array_equal(dataset.y, original.target)


@pytest.mark.parametrize("name", ["two_moons", "circles", "blobs"])
def test_made_points_are_rounded_so_that_they_hash_alike_on_every_machine(name):
    x = load(name).x
    assert np.array_equal(x, x.astype(np.float64).round(4).astype(np.float32))
    assert len(np.unique(x, axis=0)) == len(x)


def test_the_duplicate_flowers_are_the_ones_on_the_card():
    x = load("iris").x
    assert "rows 101 and 142" in str(load("iris").card) and np.array_equal(x[101], x[142])
    assert len(np.unique(x, axis=0)) == len(x) - 1


def test_a_card_prints_one_line_for_each_thing_to_know():
    card = CARDS["digits"]
    lines = str(card).splitlines()
    assert lines[0] == "Handwritten digits, small" and repr(card) == str(card)
    assert [line.split()[0] for line in lines[1:]] == ["source:", "licence:", "size:"] + ["flaw:"] * 3


def test_every_card_names_source_licence_size_and_at_least_one_flaw():
    for card in CARDS.values():
        assert all(card) and all(card.flaws)


def test_a_data_set_and_its_splits_print_sizes_and_no_numbers():
    digits = load("digits")
    assert repr(digits) == "Dataset('digits': x (1797, 64), y (1797,), 10 classes)"
    with_test = digits._replace(official_test=(digits.x[:9], digits.y[:9]))
    assert repr(with_test).endswith("10 classes, official test of 9)")
    assert repr(split(with_test, validation=0)) == "Splits(train 1,797, validation 0, test 9)"


def test_an_unknown_set_is_refused_with_the_nearest_name():
    with pytest.raises(DataError, match="unknown data set 'digit'. Did you mean 'digits'\\? Known: .*'wine'"):
        load("digit")
    with pytest.raises(DataError, match="unknown text 'shakespeare'. Did you mean 'tiny_shakespeare'"):
        load_text("shakespeare")
    with pytest.raises(DataError, match="a text without labels. Use `load_text"):
        load("tiny_shakespeare")


def write_idx(folder, name, array):
    """Writes uint8 `array` as gzip-compressed IDX and returns (digest, size) of its content."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return hashlib.sha256(content).hexdigest(), len(content)


def test_mnist_is_read_from_its_four_files(tmp_path, monkeypatch):
    monkeypatch.delenv("MLCOURSE_DATA", raising=False)
    (tmp_path / "mnist").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28))
    arrays = {
        "train-images-idx3-ubyte": pixels[:3],
        "train-labels-idx1-ubyte": np.array([9, 0, 4]),
        "t10k-images-idx3-ubyte": pixels[3:],
        "t10k-labels-idx1-ubyte": np.array([7, 2]),
    }
    written = {name: write_idx(tmp_path / "mnist", name, array) for name, array in arrays.items()}
    monkeypatch.setattr(data, "_MNIST", written)
    mnist = load("mnist", folder=tmp_path)
    assert np.array_equal(mnist.x, (pixels[:3].reshape(3, 784) / 255).astype(np.float32))
    assert np.array_equal(mnist.official_test[0], (pixels[3:].reshape(2, 784) / 255).astype(np.float32))
    assert mnist.y.tolist() == [9, 0, 4] and mnist.official_test[1].tolist() == [7, 2]
    assert mnist.x.dtype == np.float32 and mnist.y.dtype == mnist.official_test[1].dtype == np.int32
    assert mnist.num_classes == 10


@needs("mnist/train-images-idx3-ubyte.gz")
def test_mnist_has_its_known_statistics_and_keeps_its_test_set():
    mnist = load("mnist")
    assert mnist.x.shape == (60_000, 784) and mnist.official_test[0].shape == (10_000, 784)
    assert (mnist.x.min(), mnist.x.max()) == (0, 1)
    assert mnist.x.mean() == pytest.approx(0.1307, abs=5e-5)  # the mean that everybody normalises with
    assert mnist.y[:5].tolist() == [5, 0, 4, 1, 9] and mnist.official_test[1][:5].tolist() == [7, 2, 1, 0, 4]
    counts = np.bincount(mnist.y)
    assert f"{counts.min():,} to {counts.max():,}" in mnist.card.size
    splits = split(mnist, validation=0.1)
    assert splits.test is mnist.official_test
    # 4 standard deviations of a binomial: sqrt(60000 * 0.1 * 0.9) = 73
    assert len(splits.train[1]) + len(splits.validation[1]) == 60_000
    assert abs(len(splits.validation[1]) - 6_000) < 4 * 73


@needs("tinyshakespeare/input.txt")
def test_tiny_shakespeare_is_as_its_card_says():
    text = load_text("tiny_shakespeare")
    assert text.text.startswith("First Citizen:\nBefore we proceed any further, hear me speak.\n")
    assert text.card.size.startswith(f"{len(text.text):,} characters in {text.text.count(chr(10)):,} lines")
    assert repr(text) == "Text('tiny_shakespeare': 1,115,394 characters, 65 different ones)"


# Checks at the border


def test_good_examples_pass():
    check_examples(np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 2, 1], np.int8), num_classes=3)
    check_examples([[0.5], [1.5]], [1, 0], 2)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.zeros((3, 2)), [0, 1], r"x has shape \(3, 2\) and y \(2,\).*Take x and y from the same split"),
        (np.zeros(()), [0], r"x has shape \(\).*one example as `x\[None\]`"),
        (np.zeros((0, 2)), [], r"there are no examples: x has shape \(0, 2\). Check the filter"),
        ([["a"], ["b"]], [0, 1], "x has dtype <U1, expected real numbers. Encode"),
        (
            [[0.0, 1.0], [2.0, np.nan], [np.inf, 0.0]],
            [0, 1, 1],
            r"x holds NaN or infinite values: 2 of 6, the first \(nan\) at x\[1, 1\]. Drop those rows",
        ),
        (np.zeros((2, 1)), [[0, 1], [1, 0]], r"y has shape \(2, 2\), expected \(2,\).*argmax"),
        (np.zeros((2, 1)), [0.0, 1.0], r"y has dtype float64, expected integers.*astype\(np.int32\)"),
        (np.zeros((2, 1)), [True, False], "y has dtype bool, expected integers"),
        (np.zeros((3, 1)), [1, 2, 3], r"label 3 at y\[2\] is out of range: y goes from 1 to 3, expected 0 to 2"),
        (np.zeros((3, 1)), [0, -1, 9], r"label -1 at y\[1\] is out of range.*num_classes=3. Number the classes"),
    ],
)
def test_bad_examples_are_refused_with_the_first_thing_that_is_wrong(x, y, said):
    with pytest.raises(DataError, match=said):
        check_examples(x, y, num_classes=3)


# Splits


def rows_with_labels(pair):
    return {(row.tobytes(), int(label)) for row, label in zip(*pair, strict=True)}


@pytest.fixture(scope="module")
def examples():
    x = np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32)
    return x, np.arange(4000)


def test_a_split_is_a_partition_in_the_order_of_the_rows(examples):
    x, y = examples
    splits = split(examples)
    for x_part, y_part in splits:
        assert np.array_equal(x_part, x[y_part]) and (np.diff(y_part) > 0).all()
    assert sorted(np.concatenate([y_part for _, y_part in splits])) == list(range(4000))


def test_a_split_agrees_with_the_definition_row_by_row(examples):
    key = hashlib.blake2b(b"another salt").digest()
    sides = {"train": [], "validation": [], "test": []}
    for i, row in enumerate(examples[0]):
        digest = hashlib.blake2b(struct.pack("<3f", *row), key=key, digest_size=4).digest()
        place = int.from_bytes(digest, "little") / 2**32
        sides["test" if place < 0.25 else "validation" if place < 0.35 else "train"].append(i)
    splits = split(examples, validation=0.1, test=0.25, salt="another salt")
    assert {name: getattr(splits, name)[1].tolist() for name in sides} == sides


def test_a_split_does_not_depend_on_row_order_or_on_the_other_rows(examples):
    x, y = examples
    order = np.random.default_rng(1).permutation(4000)
    whole, shuffled, half = split(examples), split((x[order], y[order])), split((x[::2], y[::2]))
    for one, other, part in zip(whole, shuffled, half, strict=True):
        assert rows_with_labels(one) == rows_with_labels(other)
        assert rows_with_labels(part) == {row for row in rows_with_labels(one) if row[1] % 2 == 0}


def test_duplicates_are_on_one_side_whatever_their_labels(examples):
    x, y = examples
    splits = split((np.concatenate([x, x]), np.concatenate([y, y + 4000])))
    for _, y_part in splits:
        assert np.array_equal(np.unique(y_part % 4000, return_counts=True)[1], np.full(len(y_part) // 2, 2))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(np.float64),
        lambda x: np.asfortranarray(x),
        lambda x: x.reshape(-1, 3, 1),
        lambda x: x.astype(">f4"),
        lambda x: np.where(x == 0, -x, x),
    ],
    ids=["float64", "Fortran order", "another shape", "big endian", "minus zero"],
)
def test_a_split_depends_on_the_values_only(examples, change):
    x, y = examples[0].copy(), examples[1]
    x[:, 0] = 0
    assert np.array_equal(split((x, y)).test[1], split((change(x), y)).test[1])


def test_fractions_are_met_on_average(examples):
    sizes = np.array([[len(y) for _, y in split(examples, salt=str(i))] for i in range(30)]) / 4000
    # 5 standard errors of a mean of 30 splits, each with sd sqrt(0.15 * 0.85 / 4000) = 0.0056
    assert sizes.mean(axis=0) == pytest.approx([0.7, 0.15, 0.15], abs=5 * 0.0056 / 30**0.5)


def test_another_validation_fraction_leaves_the_test_set_as_it_is(examples):
    one, other = split(examples, validation=0.1), split(examples, validation=0.4)
    assert np.array_equal(one.test[1], other.test[1])
    assert set(one.validation[1]) < set(other.validation[1])


def test_another_salt_gives_an_independent_split(examples):
    one, other = set(split(examples).test[1]), set(split(examples, salt="b").test[1])
    # expected overlap 4000 * 0.15 ** 2 = 90 with a standard deviation below 10
    assert abs(len(one & other) - 90) < 50


def test_an_official_test_set_stays_the_test_split():
    digits = load("digits")
    official = (digits.x[:100], digits.y[:100])
    dataset = digits._replace(x=digits.x[100:], y=digits.y[100:], official_test=official)
    splits = split(dataset)
    assert splits.test is official
    assert len(splits.train[1]) + len(splits.validation[1]) == 1697 and len(splits.validation[1]) > 0
    with pytest.raises(DataError, match="test=0.2, but this data set has an official test set of 100 examples. Leave"):
        split(dataset, test=0.2)


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.2), (0.2, -0.1), (0.5, 0.5), (1, 0), (15, 15), (float("nan"), 0.1)])
def test_fractions_that_leave_nothing_to_train_on_are_refused(examples, validation, test):
    with pytest.raises(DataError, match=re.escape(f"validation={validation} and test={test} leave nothing")):
        split(examples, validation=validation, test=test)


def test_a_split_without_any_example_is_an_error_unless_it_was_asked_for():
    x, y = np.zeros((20, 2)), np.zeros(20)
    with pytest.raises(DataError, match=r"split got none of the 20 examples \(fraction 0.\d+\). Use more examples"):
        split((x, y))  # 20 duplicates can be on one side only
    splits = split((x, y), validation=0, test=0)
    assert [len(y_part) for _, y_part in splits] == [20, 0, 0]


def test_a_split_refuses_nan_and_the_labels_that_a_data_set_cannot_have(examples):
    x, y = examples[0].copy(), examples[1]
    x[7, 2] = np.nan
    with pytest.raises(DataError, match=r"NaN or infinite values: 1 of 12,000, the first \(nan\) at x\[7, 2\]. Drop"):
        split((x, y))
    iris = load("iris")
    with pytest.raises(DataError, match=r"the label 3 at y\[100\] is out of range.*num_classes=3"):
        split(iris._replace(y=np.where(iris.y == 2, 3, iris.y)))
    split((np.arange(40), np.arange(40)))  # whole numbers are finite


def test_a_split_checks_lengths(examples):
    with pytest.raises(DataError, match=r"x has shape \(4000, 3\) and y \(5,\)"):
        split((examples[0], np.arange(5)))


# Minibatches


@pytest.mark.parametrize(("n", "batch_size"), [(10, 3), (9, 3), (1, 1), (7, 7), (8, 7)])
def test_every_example_comes_once_an_epoch_and_x_stays_with_its_y(n, batch_size):
    x, y = np.arange(n)[:, None] * [1.0, 10.0], np.arange(n)
    batches = list(minibatches(x, y, batch_size=batch_size, seed=3, epochs=4))
    sizes = [batch_size] * (n // batch_size) + [n % batch_size] * (n % batch_size > 0)
    assert [len(y_batch) for _, y_batch in batches] == sizes * 4
    for x_batch, y_batch in batches:
        assert np.array_equal(x_batch, x[y_batch])
    epochs = np.concatenate([y_batch for _, y_batch in batches]).reshape(4, n)
    assert np.array_equal(np.sort(epochs, axis=1), np.tile(y, (4, 1)))


def test_each_epoch_and_each_seed_has_its_own_order_and_the_same_seed_the_same():
    x = np.arange(100)
    epochs = [y for _, y in minibatches(x, x, batch_size=100, seed=0, epochs=3)]
    again = [y for _, y in minibatches(x, x, batch_size=100, seed=0, epochs=3)]
    (_, other), *_ = minibatches(x, x, batch_size=100, seed=1)
    assert np.array_equal(epochs, again)
    assert len({order.tobytes() for order in [*epochs, other, x]}) == 5


def test_orders_are_uniform():
    x = np.arange(3)
    seen = [tuple(y) for _, y in minibatches(x, x, batch_size=3, seed=0, epochs=6000)]
    counts = [seen.count(order) for order in itertools.permutations(range(3))]
    assert max(abs(count - 1000) for count in counts) < 5 * 29  # sd sqrt(6000 * 1/6 * 5/6) = 29


def test_drop_leaves_out_the_partial_batch_and_other_examples_each_epoch():
    x = np.arange(10)
    epochs = np.array([y for _, y in minibatches(x, x, batch_size=3, seed=0, last="drop", epochs=20)])
    left_out = {(set(range(10)) - set(epoch)).pop() for epoch in epochs.reshape(20, 9)}
    assert epochs.shape == (60, 3) and len(left_out) > 1


def test_endless_batches_go_on():
    x = np.arange(4)
    batches = minibatches(x, x, batch_size=3, seed=0, epochs=None)
    assert [len(y) for _, y in itertools.islice(batches, 1001)] == [3, 1] * 500 + [3]


def test_without_shuffling_rows_keep_their_order_and_no_seed_is_needed():
    x = np.arange(5)
    batches = [y.tolist() for _, y in minibatches(x, x, batch_size=2, shuffle=False, epochs=2)]
    assert batches == [[0, 1], [2, 3], [4]] * 2


@pytest.mark.parametrize("shuffle", [True, False])
def test_writing_into_a_batch_leaves_the_data_as_they_are(shuffle):
    x = np.arange(6.0)
    for x_batch, y_batch in minibatches(x, x, batch_size=2, seed=0, shuffle=shuffle):
        x_batch += 100
        y_batch += 100
    assert np.array_equal(x, np.arange(6.0))


@pytest.mark.parametrize(("n", "batch_size", "num_steps"), [(10, 3, 7), (10, 10, 4), (9, 3, 3), (100, 1, 5), (5, 4, 1)])
def test_batch_indices_are_the_order_of_endless_minibatches_without_partial_ones(n, batch_size, num_steps):
    x = np.arange(n)
    batches = minibatches(x, x, batch_size=batch_size, seed=5, last="drop", epochs=None)
    expected = [y for _, y in itertools.islice(batches, num_steps)]
    indices = batch_indices(n, batch_size=batch_size, num_steps=num_steps, seed=5)
    assert indices.dtype == np.int32 and np.array_equal(indices, expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 11}, "batch_size=11, but there are only 10 examples. Use at most batch_size=10"),
        ({"batch_size": 0}, "batch_size=0, expected a whole number of at least 1"),
        ({"batch_size": 2.0}, "batch_size=2.0, expected a whole number"),
        ({"epochs": 0}, "epochs=0, expected a whole number"),
        ({"last": "dorp"}, "unknown value of `last` 'dorp'. Did you mean 'drop'"),
        ({"seed": None}, "seed=None would give another order every time. Pass an integer"),
        ({"x": np.zeros((9, 2))}, r"x has shape \(9, 2\) and y \(10,\)"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "there are no examples"),
    ],
)
def test_bad_arguments_are_refused_at_the_call_and_not_at_the_first_batch(options, said):
    options = {"x": np.zeros((10, 2)), "y": np.zeros(10), "batch_size": 5, "seed": 0} | options
    with pytest.raises(DataError, match=said):
        minibatches(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": 0}, "n=0, expected a whole number"),
        ({"batch_size": 11}, "batch_size=11, but there are only 10 examples"),
        ({"num_steps": 0}, "num_steps=0, expected a whole number"),
        ({"seed": None}, "seed=None would give another order"),
    ],
)
def test_batch_indices_refuse_bad_arguments(options, said):
    with pytest.raises(DataError, match=said):
        batch_indices(**({"n": 10, "batch_size": 5, "num_steps": 3, "seed": 0} | options))
