"""A name into a data set (NumPy arrays and a card); a data set into splits and minibatches."""

import hashlib
import itertools
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlcourse.cards import CARDS, Card
from mlcourse.download import Published, fetch
from mlcourse.errors import DataError, unknown_name

Examples = tuple[np.ndarray, np.ndarray]  # x (n, ...) and y (n,)


class Dataset(NamedTuple):
    """Labelled examples: x float32 (n, d), images flattened, in [0, 1]; y int32 (n,) in 0 .. num_classes - 1.

    `official_test` is the published test set (x, y), where there is one; x and y are then for training.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    num_classes: int
    card: Card
    official_test: Examples | None = None

    def __repr__(self) -> str:
        test = f", official test of {len(self.official_test[1]):,}" if self.official_test else ""
        return f"Dataset({self.name!r}: x {self.x.shape}, y {self.y.shape}, {self.num_classes} classes{test})"


class Text(NamedTuple):
    """A text, for language models."""

    name: str
    text: str
    card: Card

    def __repr__(self) -> str:
        return f"Text({self.name!r}: {len(self.text):,} characters, {len(set(self.text))} different ones)"


class Splits(NamedTuple):
    """Three (x, y) pairs: fit on `train`, choose on `validation`, report on `test`, once."""

    train: Examples
    validation: Examples
    test: Examples

    def __repr__(self) -> str:
        return f"Splits(train {len(self[0][1]):,}, validation {len(self[1][1]):,}, test {len(self[2][1]):,})"


_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_MNIST = {  # name: (SHA-256 and number of bytes of the uncompressed content)
    "train-images-idx3-ubyte": ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47_040_016),
    "train-labels-idx1-ubyte": ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_008),
    "t10k-images-idx3-ubyte": ("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7_840_016),
    "t10k-labels-idx1-ubyte": ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_008),
}
_SHAKESPEARE = Published(
    "tinyshakespeare/input.txt",
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    1_115_394,
)
_TEXTS = ("python_reference", "tiny_shakespeare")
_REFERENCE = Path(__file__).parent / "texts" / "python_reference.txt"
_REFERENCE_SHA256 = "03179b7d03c50dba160fd4404b9666e26adfc411dae4d53639ab2c1295b6dd86"


def load(name: str, *, folder: str | os.PathLike | None = None) -> Dataset:
    """The data set of that name, the same numbers in the same order on every machine.

    Args:
        name: "digits", "iris", "wine", "breast_cancer" (embedded in scikit-learn), "two_moons", "circles",
            "blobs" (made on the spot) or "mnist" (12 MB, downloaded once; see `mlcourse.download`).
        folder: where downloads are kept, instead of the user's cache folder. The folder that the environment
            variable MLCOURSE_DATA names is looked at first. Embedded and made sets need neither.

    Raises:
        DataError: no such data set.
        DownloadError: MNIST is neither on this machine nor to be had, or a file of it is damaged.

    >>> digits = load("digits")
    >>> digits
    Dataset('digits': x (1797, 64), y (1797,), 10 classes)
    >>> float(digits.x.max()), digits.y[:5].tolist()
    (1.0, [0, 1, 2, 3, 4])
    >>> print(digits.card.licence)
    CC BY 4.0 (UCI Machine Learning Repository)
    """
    if name in _TEXTS:
        raise DataError(f"{name!r} is a text without labels. Use `load_text({name!r})`.")
    if name not in CARDS:
        raise DataError(unknown_name("data set", name, set(CARDS) - set(_TEXTS)))
    official_test = None
    if name == "mnist":
        x, y = _mnist("train", folder)
        official_test = _mnist("t10k", folder)
    elif name in ("two_moons", "circles", "blobs"):
        x, y = _made(name)
    else:
        x, y = _embedded(name)
    y = y.astype(np.int32)
    return Dataset(name, x.astype(np.float32, copy=False), y, int(y.max()) + 1, CARDS[name], official_test)


def load_text(name: str, *, folder: str | os.PathLike | None = None) -> Text:
    """The text of that name: "python_reference" (embedded) or "tiny_shakespeare" (1.1 MB, downloaded once).

    `folder` and what is raised: as in `load`; DataError also where the embedded text was changed.

    >>> load_text("python_reference")
    Text('python_reference': 341,227 characters, 94 different ones)
    >>> print(CARDS["tiny_shakespeare"].size)
    1,115,394 characters in 40,000 lines, 65 different characters
    """
    if name not in _TEXTS:
        raise DataError(unknown_name("text", name, _TEXTS))
    content = _reference() if name == "python_reference" else fetch(_SHAKESPEARE, folder=folder)
    return Text(name, content.decode("ascii"), CARDS[name])


def _reference() -> bytes:
    content = _REFERENCE.read_bytes().replace(b"\r\n", b"\n")  # Git on Windows may have changed the ends of lines
    if hashlib.sha256(content).hexdigest() != _REFERENCE_SHA256:
        raise DataError(f"{_REFERENCE} is not the text that was published. Install the package again, or `git checkout` it.")
    return content


def _embedded(name: str) -> Examples:
    from sklearn import datasets  # takes a second: only where it is needed

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return (x / 16 if name == "digits" else x), y


def _made(name: str) -> Examples:
    from sklearn import datasets

    if name == "two_moons":
        x, y = datasets.make_moons(1000, noise=0.2, random_state=0)
    elif name == "circles":
        x, y = datasets.make_circles(1000, noise=0.1, factor=0.5, random_state=0)
    else:
        x, y = datasets.make_blobs(999, centers=np.array([[0, 0], [3, 0], [0, 3]]), random_state=0)
    return x.round(4), y  # sine and cosine differ in the last digit between machines; a split by hash would show it


def _mnist(part: str, folder: str | os.PathLike | None) -> Examples:
    """Images float32 (n, 784) and labels (n,) of "train" or "t10k"."""
    content = []
    for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"):
        sha256, size = _MNIST[name]
        urls = tuple(f"{mirror}{name}.gz" for mirror in _MNIST_MIRRORS)
        content.append(fetch(Published(f"mnist/{name}.gz", urls, sha256, size), folder=folder))
    pixels = np.frombuffer(content[0], np.uint8, offset=16).reshape(-1, 784)  # 16 and 8 bytes of IDX header
    labels = np.frombuffer(content[1], np.uint8, offset=8)
    return np.divide(pixels, np.float32(255), dtype=np.float32), labels.astype(np.int32)


def check_examples(x: np.ndarray, y: np.ndarray, num_classes: int) -> None:
    """Returns if x and y can be learned from; otherwise raises DataError with the first thing that is wrong.

    Args:
        x: (n, ...) numbers, all finite, n > 0.
        y: (n,) integers in 0 .. num_classes - 1.

    >>> check_examples(np.ones((3, 2)), np.array([0, 1, 2]), num_classes=3)
    >>> check_examples(np.ones((3, 2)), np.array([1, 2, 3]), num_classes=3)
    Traceback (most recent call last):
    mlcourse.errors.DataError: the label 3 at y[2] is out of range: ...
    """
    x, y = _pair(x, y)
    if x.dtype.kind not in "fiub":
        raise DataError(f"x has dtype {x.dtype}, expected real numbers. Encode its columns as numbers first.")
    _check_finite(x)
    if y.ndim != 1:
        raise DataError(
            f"y has shape {y.shape}, expected ({len(x)},): one class number per example. "
            "From one-hot rows: `y.argmax(axis=1)`; from one column: `y[:, 0]`."
        )
    if y.dtype.kind not in "iu":
        raise DataError(f"y has dtype {y.dtype}, expected integers (class numbers). Use `y.astype(np.int32)`.")
    outside = (y < 0) | (y >= num_classes)
    if outside.any():
        i = int(outside.argmax())
        raise DataError(
            f"the label {y[i]} at y[{i}] is out of range: y goes from {y.min()} to {y.max()}, "
            f"expected 0 to {num_classes - 1} with num_classes={num_classes}. "
            "Number the classes from 0, or raise num_classes."
        )


def split(
    examples: Dataset | Examples, *, validation: float = 0.15, test: float | None = None, salt: str = "mlcourse"
) -> Splits:
    """Training, validation and test examples, chosen by a hash of each x.

    The hash of the float32 values of x, keyed with `salt`, is a number in [0, 1). Below `test` it is a test
    example, in the next stretch of length `validation` a validation example, else a training example. So its
    side depends on nothing but the example: not on row order, the other rows or (for the test) `validation`.
    Equal x are on the same side, whatever their labels.

    Args:
        examples: a Dataset or a pair x (n, ...), y (n, ...).
        validation, test: fractions in [0, 1) with a sum below 1, met on average: a part f of n examples has a
            standard deviation of sqrt(f (1 - f) / n). By default test is 0.15, or the official test set where
            there is one; `validation` is then a fraction of the rest.
        salt: another salt gives another, independent split.

    Returns:
        Splits of (x, y) pairs, each in the order of the rows.

    Raises:
        DataError: lengths differ, no examples, x that is not finite, fractions out of range, `test` beside an official
            test set, a split without examples; for a Dataset also what `check_examples` refuses.

    >>> splits = split(load("digits"))
    >>> splits
    Splits(train 1,261, validation 242, test 294)
    >>> x, y = splits.train
    >>> x.shape, y.shape
    ((1261, 64), (1261,))
    """
    official_test = None
    if isinstance(examples, Dataset):
        check_examples(examples.x, examples.y, examples.num_classes)
        official_test = examples.official_test
        examples = (examples.x, examples.y)
    if official_test is not None and test is not None:
        raise DataError(
            f"test={test}, but this data set has an official test set of {len(official_test[1]):,} examples. "
            "Leave `test` out to use it, or pass the pair (dataset.x, dataset.y) to do without it."
        )
    if test is None:
        test = 0.0 if official_test is not None else 0.15
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise DataError(
            f"validation={validation} and test={test} leave nothing to train on, or are no fractions. "
            "Each must be at least 0, and their sum below 1."
        )
    x, y = _pair(*examples)
    _check_finite(x)
    place = _hash_to_unit(x, salt)
    side = np.where(place < test, 2, np.where(place < test + validation, 1, 0))
    for number, (name, fraction) in enumerate([("train", 1 - validation - test), ("validation", validation), ("test", test)]):
        if fraction > 0 and not (side == number).any():
            raise DataError(
                f"the {name} split got none of the {len(x)} examples (fraction {fraction:.3g}). "
                "Use more examples, a larger fraction, or another `salt`."
            )
    train, chosen, held_out = ((x[side == number], y[side == number]) for number in range(3))
    return Splits(train, chosen, held_out if official_test is None else official_test)


def _hash_to_unit(x: np.ndarray, salt: str) -> np.ndarray:
    """A number in [0, 1) for every row of x, equal for equal rows, as good as random otherwise."""
    rows = np.ascontiguousarray(x, dtype="<f4").reshape(len(x), -1)
    rows = rows + np.float32(0)  # -0.0 equals 0.0, but its bytes don't
    key = hashlib.blake2b(salt.encode()).digest()
    digests = b"".join(hashlib.blake2b(row, key=key, digest_size=4).digest() for row in rows)
    return np.frombuffer(digests, dtype="<u4") / 2**32


def minibatches(
    x: np.ndarray,
    y: np.ndarray,
    *,
    batch_size: int,
    seed: int | None = None,
    last: str = "keep",
    epochs: int | None = 1,
    shuffle: bool = True,
) -> Iterator[Examples]:
    """(x, y) batches in which every example occurs once an epoch, in a new random order each epoch.

    Args:
        x, y: (n, ...) and (n, ...) arrays.
        batch_size: 1 .. n.
        seed: the same seed gives the same order. Needed unless `shuffle=False`.
        last: what becomes of the n % batch_size examples at the end of an epoch: "keep" gives them as a
            smaller batch, "drop" leaves them out (of this epoch; in the next, others).
        epochs: how often to go through the data; None never ends.
        shuffle: False keeps the order of the rows.

    Raises:
        DataError: at the call, not at the first batch: lengths differ, no examples, an argument out of range.

    >>> x = np.arange(5)
    >>> [batch.tolist() for batch, _ in minibatches(x, x, batch_size=2, seed=0)]
    [[2, 4], [3, 0], [1]]
    >>> [batch.tolist() for batch, _ in minibatches(x, x, batch_size=2, last="drop", shuffle=False)]
    [[0, 1], [2, 3]]
    """
    x, y = _pair(x, y)
    batch_size = _check_batch_size(batch_size, len(x))
    if last not in ("keep", "drop"):
        raise DataError(unknown_name("value of `last`", last, ["keep", "drop"]))
    if epochs is not None:
        epochs = _whole("epochs", epochs)
    orders = _orders(len(x), seed) if shuffle else itertools.repeat(np.arange(len(x)))
    stop = len(x) if last == "keep" else len(x) - len(x) % batch_size
    return (
        (x.take(batch, axis=0), y.take(batch, axis=0))
        for order in itertools.islice(orders, epochs)
        for batch in (order[i : i + batch_size] for i in range(0, stop, batch_size))
    )


def batch_indices(n: int, *, batch_size: int, num_steps: int, seed: int) -> np.ndarray:
    """The row numbers of the first `num_steps` batches, int32 (num_steps, batch_size).

    In the order of `minibatches(..., last="drop", epochs=None)` with this seed, for compiled loops.

    Raises:
        DataError: an argument out of range.

    >>> batch_indices(5, batch_size=2, num_steps=3, seed=0).tolist()
    [[2, 4], [3, 0], [4, 1]]
    """
    n = _whole("n", n)
    batch_size = _check_batch_size(batch_size, n)
    num_steps = _whole("num_steps", num_steps)
    per_epoch = n // batch_size
    num_epochs = -(-num_steps // per_epoch)
    epochs = [order[: per_epoch * batch_size] for order in itertools.islice(_orders(n, seed), num_epochs)]
    return np.concatenate(epochs).reshape(-1, batch_size)[:num_steps].astype(np.int32)


def _orders(n: int, seed: int | None) -> Iterator[np.ndarray]:
    """Endlessly, the numbers 0 .. n - 1 in a new random order: the one source of order for all batches."""
    if seed is None:
        raise DataError("seed=None would give another order every time. Pass an integer, for example `seed=0`.")
    rng = np.random.default_rng(seed)
    return (rng.permutation(n) for _ in itertools.count())


def _pair(x: np.ndarray, y: np.ndarray) -> Examples:
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise DataError(
            f"x has shape {x.shape} and y {y.shape}; both must begin with the number of examples. "
            "Take x and y from the same split, and one example as `x[None]`."
        )
    if len(x) == 0:
        raise DataError(f"there are no examples: x has shape {x.shape}. Check the filter or the split that gave them.")
    return x, y


def _check_finite(x: np.ndarray) -> None:
    if x.dtype.kind != "f" or (finite := np.isfinite(x)).all():
        return
    first = tuple(int(i) for i in np.unravel_index(finite.argmin(), x.shape))
    raise DataError(
        f"x holds NaN or infinite values: {x.size - finite.sum():,} of {x.size:,}, the first ({x[first]}) at "
        f"x[{', '.join(map(str, first))}]. Drop those rows, or fill in a value from the training split."
    )


def _check_batch_size(batch_size: int, n: int) -> int:
    batch_size = _whole("batch_size", batch_size)
    if batch_size > n:
        raise DataError(f"batch_size={batch_size}, but there are only {n} examples. Use at most batch_size={n}.")
    return batch_size


def _whole(name: str, value: int) -> int:
    """The value as an int of at least 1."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise DataError(f"{name}={value!r}, expected a whole number of at least 1. Pass an int.")
    return number
