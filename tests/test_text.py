"""Texts, tokens, baselines and byte-pair encoding; the induction task."""

import importlib.util
import platform
from pathlib import Path

import numpy as np
import pytest

from mlcourse import data, text
from mlcourse.errors import DataError

ROOT = Path(__file__).parent.parent


# the induction task


def test_every_row_repeats_its_block_and_the_mask_is_what_a_look_back_gives_away():
    tokens, predictable, period = text.induction_batch(0, batch=200, time=24, vocab=16)
    assert tokens.dtype == np.int32 and tokens.min() == 0 and tokens.max() == 15
    for row, mask, p in zip(tokens.tolist(), predictable, period.tolist(), strict=True):
        assert row[p:] == row[:-p]
        for t in range(1, 24):
            followed = {row[s + 1] for s in range(t - 1) if row[s] == row[t - 1]}
            assert mask[t] == (t > p and len(followed) == 1)
            assert not mask[t] or followed == {row[t]}
    assert set(period.tolist()) == set(range(6, 13))  # time // 4 to time // 2
    assert predictable[np.arange(24) > period[:, None]].mean() > 0.5


def test_no_fixed_distance_gives_the_token_away():
    tokens, predictable, period = text.induction_batch(0, batch=2000, time=24, vocab=16)
    hits = [(tokens[:, d:] == tokens[:, :-d])[predictable[:, d:]].mean() for d in range(1, 20)]
    assert max(hits) < 0.35  # the seven periods, and multiples of the short ones


def test_the_token_not_seen_for_longest_is_often_the_wrong_one():
    """Were all tokens of a block different, it would always be the right one, and one layer can learn to find it."""
    tokens, predictable, _ = text.induction_batch(0, batch=200, time=24, vocab=16, periods=(4, 10))
    right = []
    for row, mask in zip(tokens.tolist(), predictable, strict=True):
        for t in np.flatnonzero(mask):
            last_seen = {token: s for s, token in enumerate(row[:t])}
            right.append(min(last_seen, key=last_seen.get) == row[t])
    assert 0.7 < np.mean(right) < 0.85


def test_the_task_is_the_same_for_the_same_seed():
    a, b, c = (text.induction_batch(seed, batch=4, time=24, vocab=16)[0] for seed in (0, 0, 1))
    assert (a == b).all() and (a != c).any()


@pytest.mark.parametrize("periods", [(0, 4), (5, 4), (4, 9)])
def test_periods_without_a_second_round_are_refused(periods):
    with pytest.raises(DataError, match="1 <= shortest <= longest <= time - 2"):
        text.induction_batch(0, batch=1, time=10, vocab=16, periods=periods)


def test_too_small_a_vocabulary_is_refused():
    with pytest.raises(DataError, match="vocab=1, but random tokens need something to choose from. Take 16"):
        text.induction_batch(0, batch=1, time=24, vocab=1)


# the texts


def test_the_embedded_text_is_as_its_card_says():
    found = data.load_text("python_reference")
    assert found.text.isascii() and found.text.count("\n") == 8627
    assert repr(found) == "Text('python_reference': 341,227 characters, 94 different ones)"
    assert "PSF License" in found.card.licence
    assert text.corpus("python") == found.text


def test_no_long_stretch_of_the_validation_text_stands_in_the_training_text():
    train, validation = text.split_tokens(text.corpus("python"))
    stretches = {train[i : i + 80] for i in range(len(train) - 80)}
    seen = [validation[i : i + 80] in stretches for i in range(len(validation) - 80)]
    assert np.mean(seen) < 0.001


def test_a_changed_text_is_refused(tmp_path, monkeypatch):
    changed = tmp_path / "python_reference.txt"
    changed.write_bytes(data._REFERENCE.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setattr(data, "_REFERENCE", changed)
    assert len(text.corpus("python")) == 341_227  # ends of lines as Windows writes them are no change
    changed.write_bytes(changed.read_bytes()[:-10])
    with pytest.raises(DataError, match="is not the text that was published. Install the package again"):
        text.corpus("python")


def test_the_licence_goes_with_the_text():
    licence = data._REFERENCE.with_name("LICENSE-PSF.txt").read_text()
    assert "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2" in licence and "All Rights Reserved" in licence
    readme = data._REFERENCE.with_name("README.md").read_text()
    assert data._REFERENCE_SHA256 in readme and "Summary of the changes" in readme


def test_unknown_texts_are_refused_by_name():
    with pytest.raises(DataError, match="unknown corpus 'pyton'. Did you mean 'python'"):
        text.corpus("pyton")


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("make_text", ROOT / "tools" / "make_text.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(platform.python_version() != "3.11.7", reason="each release of Python words some of its help anew")
def test_the_tool_makes_the_text_that_ships(tool):
    from pydoc_data.topics import topics

    assert tool.make_text(topics) == text.corpus("python")


def test_the_tool_keeps_every_paragraph_once_and_no_tables(tool):
    topics = {
        "a": "One \u201cquoted\u201d.\n\nSee note [1].\n",
        "b": "See note [7].\n\n   code\n   more\n\n+--+\n| x|\n\n\u00df",
    }
    made = tool.make_text(topics)
    assert made.count("See note") == 1 and 'One "quoted".' in made and "   code\n   more" in made
    assert made.isascii() and "+--" not in made


# tokens


def test_characters_survive_a_round_trip():
    whole = text.corpus("python")
    letters = text.alphabet(whole)
    tokens = text.encode(whole, letters)
    assert len(letters) == 94 and tokens.dtype == np.int32 and tokens.max() == 93
    assert text.decode(tokens, letters) == whole
    assert text.encode("", letters).shape == (0,) and text.decode([], letters) == ""


def test_a_character_without_a_token_is_refused():
    with pytest.raises(DataError, match="'caf\u00e9'... holds '\u00e9', which has no token"):
        text.encode("caf\u00e9", "acf")


def test_windows_overlap_by_the_token_that_is_only_predicted():
    rows = text.windows(np.arange(100), 10)
    assert rows.shape == (9, 11)
    np.testing.assert_array_equal(rows[:, 1:].ravel(), np.arange(1, 91))  # every token is predicted once
    assert text.windows(np.arange(100), 10, stride=1).shape == (90, 11)
    with pytest.raises(DataError, match="length=10 with 10 tokens"):
        text.windows(np.arange(10), 10)


def test_a_split_keeps_all_tokens_in_order():
    train, validation = text.split_tokens(np.arange(1000))
    np.testing.assert_array_equal(np.concatenate([train, validation]), np.arange(1000))
    assert len(validation) == 100
    with pytest.raises(DataError, match="validation=0.0 of 1000 tokens leaves one side empty"):
        text.split_tokens(np.arange(1000), validation=0.0)


# baselines


def test_smoothed_bigrams_by_hand():
    # "aab": a follows a once, b follows a once. Unigrams: a 2, b 1 of 3; alpha 1 pretended sighting each time.
    p_a = (2 + 1 / 2) / 4
    table = text.smoothed(np.array([0, 0, 1]), 2, 2, 1.0)
    np.testing.assert_allclose(table, [[(1 + p_a) / 3, (1 + 1 - p_a) / 3], [p_a, 1 - p_a]])


def test_probabilities_sum_to_1_and_are_never_0():
    tokens = np.random.default_rng(0).integers(0, 5, 300)
    for order in (1, 2, 3):
        p = text.ngram(tokens, 7, order=order).p  # tokens 5 and 6 never occur
        assert p.shape == (7,) * order and p.min() > 0
        np.testing.assert_allclose(p.sum(-1), 1)


def test_longer_memory_pays_only_where_there_is_something_to_remember():
    random = np.random.default_rng(0).integers(0, 4, 20_000)
    train, validation = text.split_tokens(random)
    for make in (text.bigram, text.trigram):
        assert make(train, 4).nats(validation) == pytest.approx(np.log(4), abs=0.005)
    tokens = [0, 1]
    for extra in np.random.default_rng(1).random(20_000):  # the sum of the last two, with 10 % noise
        tokens.append(int(10 * extra) % 4 if extra < 0.1 else (tokens[-1] + tokens[-2]) % 4)
    train, validation = text.split_tokens(np.array(tokens))
    assert text.trigram(train, 4).nats(validation) < 0.5 * text.bigram(train, 4).nats(validation)


def test_the_text_has_structure_that_each_baseline_sees_more_of():
    whole = text.corpus("python")
    letters = text.alphabet(whole)
    train, validation = text.split_tokens(text.encode(whole, letters))
    uni, bi, tri = (text.bits_per_character(text.ngram(train, 94, order=k).nats(validation)) for k in (1, 2, 3))
    assert np.log2(94) > uni > bi + 0.5 > tri + 1.0
    assert tri > 2


def test_smoothing_is_chosen_on_training_tokens():
    """The first nine tenths repeat 0 1 0 1; had the choice been made there, the least smoothing would win."""
    tokens = np.concatenate([np.tile([0, 1], 450), np.random.default_rng(0).integers(0, 2, 100)])
    assert text.ngram(tokens, 2, order=2, alphas=(0.1, 1000.0)).alpha == 1000.0
    assert text.ngram(np.tile([0, 1], 500), 2, order=2, alphas=(0.1, 1000.0)).alpha == 0.1


# byte-pair encoding


def library_bpe(corpus: str, num_merges: int):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(text.PIECES.pattern), "isolated")
    characters = [chr(i) for i in range(128)]
    trainer = trainers.BpeTrainer(vocab_size=128 + num_merges, initial_alphabet=characters, show_progress=False)
    tokenizer.train_from_iterator([corpus], trainer)
    return tokenizer


def test_byte_pairs_are_those_of_the_tokenizers_library():
    whole = text.corpus("python")[:60_000]
    merges = text.train_bpe(whole, 300)
    theirs = library_bpe(whole, 300)
    pieces = [text.bpe_decode([256 + k], merges) for k in range(300)]
    assert pieces == [theirs.id_to_token(128 + k) for k in range(300)]
    fresh = text.corpus("python")[-5_000:]
    assert [text.bpe_decode([t], merges) for t in text.bpe_encode(fresh, merges)] == theirs.encode(fresh).tokens


def test_byte_pairs_survive_a_round_trip_and_make_the_text_shorter():
    whole = text.corpus("python")
    merges = text.train_bpe(whole[:30_000], 200)
    tokens = text.bpe_encode(whole, merges)
    assert text.bpe_decode(tokens, merges) == whole
    assert len(tokens) < 0.6 * len(whole)
    strange = "na\u00efve \u65e5\u672c \U0001f600\t\n"
    assert text.bpe_decode(text.bpe_encode(strange, merges), merges) == strange
    assert text.bpe_encode("", merges).shape == (0,)


def test_merging_stops_when_nothing_is_left_to_merge():
    merges = text.train_bpe("abab", 10)
    assert merges == [(97, 98), (256, 256)]
    assert text.train_bpe("", 3) == []
