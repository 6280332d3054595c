"""Text into tokens, rows of tokens to train on, and the baselines a language model must beat; a made task for attention.

Tokens are whole numbers from 0: characters (`encode`), or pieces of words by byte-pair encoding (`train_bpe`).
"""

import math
import os
import re
from collections import Counter, defaultdict
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mlcourse.data import load_text
from mlcourse.errors import DataError, unknown_name

CORPORA = {"python": "python_reference", "shakespeare": "tiny_shakespeare"}
PIECES = re.compile(r" ?\w+| ?[^\s\w]+|\s+")  # words and signs, each with the space before it: merges stay inside
Merges = list[tuple[int, int]]


def induction_batch(
    seed: int, *, batch: int, time: int, vocab: int, periods: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequences that repeat a random block, and a mask of the tokens that what came before gives away.

    Each row draws a period, then a block of that many random tokens, and repeats the block to the end. In the second round
    a token can be told: find where the last token stood before, and look what came next. The period differs from row to
    row, so "the token 8 places back" does not work. A token may stand in a block twice, so "the token not seen for longest"
    does not work either; where its two places are followed by different tokens, what comes next counts as not predictable.

    Args:
        vocab: different tokens, at least 2.
        periods: shortest and longest period; by default time // 4 and time // 2.

    Returns:
        tokens int32 (batch, time), predictable bool (batch, time), as in `transformer.loss(model, tokens, predictable)`, and
        the period of each row, (batch,).

    Raises:
        DataError: periods that leave nothing to predict, or fewer than 2 tokens.

    >>> tokens, predictable, _ = induction_batch(5, batch=1, time=12, vocab=16, periods=(5, 5))
    >>> tokens[0].tolist()
    [10, 12, 0, 12, 7, 10, 12, 0, 12, 7, 10, 12]
    >>> predictable[0].astype(int).tolist()  # after a 12 comes a 0 or a 7
    [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 1]

    Built in lesson 06.
    """
    low, high = periods or (time // 4, time // 2)
    if not 1 <= low <= high <= time - 2:
        raise DataError(f"periods from {low} to {high} with time={time}: need 1 <= shortest <= longest <= time - 2.")
    if vocab < 2:
        raise DataError(f"vocab={vocab}, but random tokens need something to choose from. Take 16, for example.")
    rng = np.random.default_rng(seed)
    period = rng.integers(low, high + 1, size=(batch, 1))
    block, place, in_block = rng.integers(vocab, size=(batch, high)), np.arange(time), np.arange(high)
    after = np.take_along_axis(block, (in_block + 1) % period, axis=1)  # what follows each place of the block
    same = (block[:, :, None] == block[:, None]) & (in_block < period)[:, None]  # (batch, place, another with that token)
    one_way = ~(same & (after[:, :, None] != after[:, None])).any(axis=2)  # (batch, place): all agree on what follows
    predictable = (place > period) & np.take_along_axis(one_way, (place - 1) % period, axis=1)
    return np.take_along_axis(block, place % period, axis=1).astype(np.int32), predictable, period[:, 0]


def corpus(name: str = "python", *, folder: str | os.PathLike | None = None) -> str:
    """A text: "python" (the language reference, ships with the course) or "shakespeare" (1.1 MB, downloaded once).

    Source, licence and flaws: `print(data.load_text(...).card)`. `folder` and what is raised: as in `data.load_text`.

    >>> corpus("python")[:23]
    'Emulating numeric types'

    Built in lesson 06.
    """
    if name not in CORPORA:
        raise DataError(unknown_name("corpus", name, CORPORA))
    return load_text(CORPORA[name], folder=folder).text


def alphabet(text: str) -> str:
    """The different characters of a text, in order: character i is token i.

    >>> alphabet("hello")
    'ehlo'

    Built in lesson 06.
    """
    return "".join(sorted(set(text)))


def encode(text: str, letters: str) -> np.ndarray:
    """The place of each character in `letters`, int32 (len(text),).

    >>> encode("hello", "ehlo").tolist()
    [1, 0, 2, 2, 3]

    Built in lesson 06.
    """
    number = {letter: i for i, letter in enumerate(letters)}
    unknown = sorted(set(text) - set(number))
    if unknown:
        raise DataError(f"{text[:20]!r}... holds {unknown[0]!r}, which has no token. Leave it out, or make a larger alphabet.")
    return np.array([number[letter] for letter in text], np.int32)


def decode(tokens: np.ndarray, letters: str) -> str:
    """The text of tokens (n,).

    >>> decode([1, 0, 2, 2, 3], "ehlo")
    'hello'

    Built in lesson 06.
    """
    return "".join(letters[token] for token in np.asarray(tokens).tolist())


def split_tokens(tokens: np.ndarray, *, validation: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Training tokens, and the last part for validation.

    One cut, not many: pieces taken out of the middle would stand next to training text that gives their words away.

    >>> [part.tolist() for part in split_tokens(np.arange(10), validation=0.2)]
    [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9]]

    Built in lesson 06.
    """
    cut = round(len(tokens) * (1 - validation))
    if not 0 < cut < len(tokens):
        raise DataError(f"validation={validation} of {len(tokens)} tokens leaves one side empty. Take 0.1, for example.")
    return tokens[:cut], tokens[cut:]


def windows(tokens: np.ndarray, length: int, *, stride: int | None = None) -> np.ndarray:
    """Rows of `length` + 1 tokens: (rows, length + 1). A model reads the first `length` and predicts the last `length`.

    Args:
        length: tokens the model sees, its context.
        stride: tokens between the starts of two rows. By default `length`: every token is predicted once, right for
            validation. For training a few (8) give the model many cuts of the text; rows are then in memory `length` /
            `stride` times.

    Rows are what `data.batch_indices` counts, so they fit `train_compiled` and `train_many`.

    >>> windows(np.arange(8), 3).tolist()
    [[0, 1, 2, 3], [3, 4, 5, 6]]

    Built in lesson 06.
    """
    if not 1 <= length < len(tokens):
        raise DataError(f"length={length} with {len(tokens)} tokens: a row is one token longer. Take a shorter one.")
    rows = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[:: length if stride is None else stride]
    return np.ascontiguousarray(rows)


def bits_per_character(nats: float, *, characters_per_token: float = 1.0) -> float:
    """A cross-entropy in nats per token, in bits per character.

    >>> round(bits_per_character(math.log(8)), 6)  # one of eight, without a clue
    3.0

    Built in lesson 06.
    """
    return nats / math.log(2) / characters_per_token


class NGram(NamedTuple):
    """Probabilities of the next token after the last few. Built in lesson 06."""

    p: np.ndarray  # (vocab,) * order: p[a, b, c] is p(c | a, b)
    alpha: float  # the smoothing that was chosen

    def nats(self, tokens: np.ndarray) -> float:
        """The mean of -log p(token | those before), over the tokens that have order - 1 before them."""
        return float(-np.log(self.p[grams(tokens, self.p.ndim)]).mean())


def bigram(tokens: np.ndarray, vocab: int) -> NGram:
    """What follows each token, counted and smoothed. See `ngram`. Built in lesson 06."""
    return ngram(tokens, vocab, order=2)


def trigram(tokens: np.ndarray, vocab: int) -> NGram:
    """What follows each two tokens, counted and smoothed. See `ngram`. Built in lesson 06."""
    return ngram(tokens, vocab, order=3)


def ngram(tokens: np.ndarray, vocab: int, *, order: int, alphas: tuple = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)) -> NGram:
    """p(token | the order - 1 before it), with the strength of the smoothing chosen on the last tenth of `tokens`.

    p = (count + alpha * p of the next lower order) / (count of what comes before + alpha): `alpha` pretended sightings that
    follow the lower order (a Dirichlet prior; MacKay and Peto 1995). The lowest order is the uniform one.

    Args:
        tokens: (n,) training tokens; nothing else is looked at.
        order: 1, 2 or 3 (the table has vocab ** order numbers).
        alphas: the strengths to choose from.

    >>> model = ngram(np.tile([0, 1], 500), 2, order=2, alphas=(1.0,))
    >>> model.p.round(2).tolist(), round(model.nats(np.array([0, 1, 0, 1])), 3)
    ([[0.0, 1.0], [1.0, 0.0]], 0.001)

    Built in lesson 06.
    """
    start, end = split_tokens(tokens)
    scores = [NGram(smoothed(start, vocab, order, alpha), alpha).nats(end) for alpha in alphas]
    alpha = alphas[int(np.argmin(scores))]
    return NGram(smoothed(tokens, vocab, order, alpha), alpha)


def smoothed(tokens: np.ndarray, vocab: int, order: int, alpha: float) -> np.ndarray:
    """The table of `ngram` for one alpha, (vocab,) * order."""
    if order == 0:
        return np.array(1 / vocab)
    shape = (vocab,) * order
    counts = np.bincount(np.ravel_multi_index(grams(tokens, order), shape), minlength=vocab**order).reshape(shape)
    return (counts + alpha * smoothed(tokens, vocab, order - 1, alpha)) / (counts.sum(-1, keepdims=True) + alpha)


def grams(tokens: np.ndarray, order: int) -> tuple[np.ndarray, ...]:
    """The first, second, ... tokens of all runs of `order` tokens."""
    return tuple(tokens[i : len(tokens) - order + 1 + i] for i in range(order))


def train_bpe(text: str, num_merges: int) -> Merges:
    """The `num_merges` pairs of tokens to make one, most frequent first (Sennrich et al. 2016, algorithm 1).

    Tokens 0 to 255 are the bytes of the text in UTF-8; merge k makes token 256 + k. Equally frequent pairs: the one with the
    smaller numbers first. Merges stay inside the pieces that `PIECES` finds. Fewer merges come back if no pair is left.

    >>> [bpe_decode([256 + k], merges) for merges in [train_bpe("low lower lowest", 3)] for k in range(3)]
    ['lo', 'low', ' low']

    Built in lesson 06.
    """
    words = [(list(piece.encode()), count) for piece, count in Counter(PIECES.findall(text)).items()]
    counts, places = Counter(), defaultdict(set)  # pair -> how often in the text; pair -> numbers of the words with it
    for number, (word, count) in enumerate(words):
        for pair in pairwise(word):
            counts[pair] += count
            places[pair].add(number)
    merges = []
    while len(merges) < num_merges and counts:
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for number in places.pop(best):
            word, count = words[number]
            for pair in pairwise(word):
                counts[pair] -= count
            word[:] = merge(word, best, 256 + len(merges))
            for pair in pairwise(word):
                counts[pair] += count
                places[pair].add(number)
        counts = +counts  # drops what is no longer there
        merges.append(best)
    return merges


def merge(word: list[int], pair: tuple[int, int], token: int) -> list[int]:
    """The word with `token` in place of each `pair`, from the left.

    >>> merge([1, 1, 1, 2], (1, 1), 256)
    [256, 1, 2]

    Built in lesson 06.
    """
    merged = []
    for part in word:
        if merged and (merged[-1], part) == pair:
            merged[-1] = token
        else:
            merged.append(part)
    return merged


def bpe_encode(text: str, merges: Merges) -> np.ndarray:
    """The tokens of a text, int32: the merges are made in the order in which they were learned.

    >>> merges = train_bpe("low lower lowest", 3)
    >>> bpe_encode("low slow", merges).tolist()  # "low", " ", "s", "low"
    [257, 32, 115, 257]

    Built in lesson 06.
    """
    rank = {pair: k for k, pair in enumerate(merges)}
    known: dict[str, list[int]] = {}
    for piece in set(PIECES.findall(text)):
        word = list(piece.encode())
        while pairs := [pair for pair in pairwise(word) if pair in rank]:
            first = min(pairs, key=rank.get)
            word = merge(word, first, 256 + rank[first])
        known[piece] = word
    return np.array([token for piece in PIECES.findall(text) for token in known[piece]], np.int32)


def bpe_decode(tokens: np.ndarray, merges: Merges) -> str:
    """The text of tokens (n,); bytes that are no UTF-8 become a question mark in a diamond.

    >>> bpe_decode(bpe_encode("one word", []), [])
    'one word'

    Built in lesson 06.
    """
    pieces = [bytes([i]) for i in range(256)]
    for a, b in merges:
        pieces.append(pieces[a] + pieces[b])
    return b"".join(pieces[token] for token in np.asarray(tokens).tolist()).decode(errors="replace")
