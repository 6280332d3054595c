"""The Transformer in Flax and in PyTorch: the same model, causal by gradient, with a cache that changes nothing."""

import ast
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from mlcourse import text, transformer, transformer_torch
from mlcourse.train_jax import train_compiled
from mlcourse.transformer import (
    POSITIONS,
    Config,
    Transformer,
    attention,
    attention_weights,
    causal_mask,
    empty_cache,
    generate,
    loss,
    rotate,
    sample,
    token_losses,
)

TINY = Config(vocab=11, context=12, layers=2, heads=2, width=16)
TOKENS = np.random.default_rng(0).integers(0, 11, size=(3, 12)).astype(np.int32)


@functools.cache
def tiny(**changes) -> Transformer:
    """A model with weights far from their small start, so that every part shows in the logits."""
    model = Transformer(TINY._replace(**changes), rngs=nnx.Rngs(1))
    graph, params = nnx.split(model)
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(2)
    leaves = [leaf + jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32) for leaf in leaves]
    return nnx.merge(graph, jax.tree.unflatten(tree, leaves))


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def by_hand(q, k, v, mask):
    """Attention of one head in loops."""
    rows = []
    for query, sees in zip(np.asarray(q, float), np.broadcast_to(mask, (len(q), len(k))), strict=True):
        scores = np.array([np.exp(query @ key / np.sqrt(len(query))) if s else 0.0 for key, s in zip(k, sees, strict=True)])
        rows.append(scores / scores.sum() @ np.asarray(v, float))
    return np.array(rows)


def test_the_model_is_in_full_view_in_under_150_lines_of_each_framework():
    names = {"Config", "Attention", "Block", "Transformer", "causal_mask", "attention_weights", "attention", "sinusoids"}
    names |= {"rotate", "token_losses", "loss", "residual_std", "normal", "linear", "embedding"}
    for module in (transformer, transformer_torch):
        tree = ast.parse(inspect.getsource(module))
        found = [node for node in tree.body if getattr(node, "name", None) in names]
        lines = {n for node in found for n in range(node.lineno, node.end_lineno + 1)}
        for node in ast.walk(tree):  # docstrings and the empty lines in them do not count
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                lines -= set(range(node.lineno, node.end_lineno + 1))
        text_lines = inspect.getsource(module).splitlines()
        assert 50 < sum(bool(text_lines[n - 1].strip()) for n in lines) < 150


# attention


def test_attention_is_what_loops_give():
    q, k, v = random(5, 4), random(5, 4, seed=1), random(5, 3, seed=2)
    np.testing.assert_allclose(attention(q, k, v, causal_mask(5)), by_hand(q, k, v, causal_mask(5)), atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 30.0])  # 30: scores of several hundred, where exp overflows without care
def test_attention_is_the_library_function_of_both_frameworks(scale):
    q, k, v = (scale * random(2, 3, 7, 4, seed=i) for i in range(3))  # (batch, heads, time, d)
    ours, mask = attention(q, k, v, causal_mask(7)), causal_mask(7)
    heads_third = [x.swapaxes(1, 2) for x in (q, k, v)]
    library = jax.nn.dot_product_attention(*heads_third, is_causal=True).swapaxes(1, 2)
    np.testing.assert_allclose(ours, library, atol=2e-6 * scale)  # float32 rounding of sums of values up to 4 * scale
    tensors = [torch.from_numpy(np.array(x)) for x in (q, k, v)]
    fused = torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=True)
    np.testing.assert_allclose(ours, fused, atol=2e-6 * scale)
    twin = transformer_torch.attention(*tensors, torch.from_numpy(np.array(mask)))
    np.testing.assert_allclose(twin, fused, atol=2e-6 * scale)


def test_attention_weights_sum_to_1_and_are_0_where_masked():
    p = attention_weights(random(2, 6, 4), random(2, 6, 4, seed=1), causal_mask(6))
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-6)
    assert (np.asarray(p)[:, ~np.asarray(causal_mask(6))] == 0).all()


def test_attention_does_not_care_about_the_order_of_the_keys():
    q, k, v, order = random(2, 4), random(5, 4, seed=1), random(5, 4, seed=2), np.array([3, 1, 4, 0, 2])
    everything = jnp.ones((2, 5), bool)
    np.testing.assert_allclose(attention(q, k, v, everything), attention(q, k[order], v[order], everything), atol=1e-6)


def test_masks_of_later_queries_continue_the_whole_mask():
    np.testing.assert_array_equal(causal_mask(2, 5, start=3), causal_mask(5)[3:])
    np.testing.assert_array_equal(transformer_torch.causal_mask(2, 5, start=3), causal_mask(5)[3:])


def test_rotated_products_depend_on_the_distance_only():
    q, k = random(1, 8), random(1, 8, seed=1)
    products = [(rotate(q, jnp.array([i])) * rotate(k, jnp.array([i - 5]))).sum() for i in (5, 9, 40)]
    np.testing.assert_allclose(products, products[0], rtol=1e-4)  # angles up to 40 in float32
    assert abs(products[0] - (q * k).sum()) > 0.1


# the model


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_no_output_depends_on_a_later_input(positions):
    """Exactly 0, not nearly: the gradient of output t with respect to what enters the first block for token s > t."""
    model = tiny(positions=positions)
    graph, params = nnx.split(model)
    x, places, mask = model.embed(jnp.asarray(TOKENS[:1, :6]))

    @jax.jit
    def influence(x):  # (output time, input time)
        def outputs(x):
            blocks = nnx.merge(graph, params).blocks.layers
            for block in blocks:
                x, _ = block(x, places, mask)
            return x

        return jnp.abs(jax.jacrev(outputs)(x)).sum((1, 3))

    twin = transformer_torch.load(transformer_torch.Transformer(model.config), nnx.state(model, nnx.Param))

    def torch_outputs(x):
        for block in twin.blocks:
            x = block(x, torch.arange(6))
        return x

    in_torch = torch.autograd.functional.jacobian(torch_outputs, torch.from_numpy(np.array(x))[None])[0, :, :, 0]
    later = np.triu(np.ones((6, 6), bool), k=1)
    for moved in (np.asarray(influence(x)), in_torch.abs().sum((1, 3)).numpy()):
        assert (moved[later] == 0).all()
        assert (moved[~later] > 0).all()  # and on every earlier one it does depend


def test_without_the_mask_the_future_shows():
    changed = TOKENS.copy()
    changed[:, -1] = (changed[:, -1] + 1) % 11
    before = {causal: tiny(causal=causal)(TOKENS)[:, 0] for causal in (True, False)}
    assert np.abs(tiny(causal=True)(changed)[:, 0] - before[True]).max() == 0
    assert np.abs(tiny(causal=False)(changed)[:, 0] - before[False]).max() > 1e-3


def test_without_positions_the_order_of_the_past_does_not_show():
    """With one layer; a second one sees it, through what the mask let each token see in the first."""
    swapped = TOKENS[:, [1, 0, *range(2, 12)]]
    model = tiny(positions="none", layers=1)
    np.testing.assert_allclose(model(TOKENS)[:, 5], model(swapped)[:, 5], atol=1e-5)
    model = tiny(positions="learned", layers=1)
    assert np.abs(model(TOKENS)[:, 5] - model(swapped)[:, 5]).max() > 0.01


def test_a_fresh_model_knows_nothing_and_starts_as_documented():
    model = Transformer(TINY, rngs=nnx.Rngs(0))
    assert float(loss(model, TOKENS)) == pytest.approx(np.log(11), abs=0.05)
    block, twin = model.blocks.layers[1], transformer_torch.Transformer(TINY).blocks[1]
    for weights in (block.up.kernel[...], twin.up.weight.detach()):  # 1,024 numbers: their std is known to 2.2 %
        assert float(weights.std()) == pytest.approx(0.02, rel=0.1)
    for weights in (block.down.kernel[...], twin.down.weight.detach()):
        assert float(weights.std()) == pytest.approx(0.01, rel=0.1)  # 0.02 / sqrt(2 * 2)
    for bias in (block.up.bias[...], twin.up.bias.detach()):
        assert (np.asarray(bias) == 0).all()


def test_the_number_of_parameters_is_the_one_on_paper():
    width, vocab, context, layers = 16, 11, 12, 2
    block = 12 * width**2 + (3 + 1 + 4 + 1) * width + 4 * width  # matrices, biases, two norms
    expected = (2 * vocab + context) * width + layers * block + 2 * width
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(tiny(), nnx.Param))) == expected


def test_attention_maps_are_the_weights_that_were_used():
    maps = tiny().attention_maps(TOKENS)
    assert maps.shape == (2, 3, 2, 12, 12)
    np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)
    assert (np.triu(maps, k=1) == 0).all()
    model = tiny()
    x, positions, mask = model.embed(TOKENS)
    first = model.blocks.layers[0]
    _, _, v = first.attention.split(first.norm1(x), positions)
    mixed = jnp.einsum("bhqk,bhkd->bqhd", maps[0], v).reshape(x.shape)
    np.testing.assert_allclose(first.attention.out(mixed), first.attention(first.norm1(x), positions, mask)[0], atol=1e-5)


def test_loss_is_the_mean_of_minus_log_p_of_the_next_token():
    model = tiny()
    p = jax.nn.softmax(model(TOKENS[:, :-1]))
    losses = [[-np.log(p[i, t, TOKENS[i, t + 1]]) for t in range(11)] for i in range(3)]
    np.testing.assert_allclose(token_losses(model, TOKENS), losses, rtol=1e-4)
    assert float(loss(model, TOKENS)) == pytest.approx(np.mean(losses), rel=1e-4)
    weights = np.zeros((3, 12))
    weights[0, 4], weights[2, 1], weights[1, 0] = 3, 1, 100  # column 0 has no prediction and no weight
    assert float(loss(model, TOKENS, weights)) == pytest.approx((3 * losses[0][3] + losses[2][0]) / 4, rel=1e-4)


# PyTorch


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("causal", [True, False])
def test_the_same_weights_give_the_same_logits_in_pytorch(positions, causal):
    model = tiny(positions=positions, causal=causal)
    twin = transformer_torch.load(transformer_torch.Transformer(model.config), nnx.state(model, nnx.Param))
    tokens = torch.from_numpy(TOKENS).long()
    np.testing.assert_allclose(twin(tokens).detach(), model(TOKENS), atol=1e-5 * np.abs(model(TOKENS)).max())
    weights = np.random.default_rng(0).random((3, 12)).astype(np.float32)
    for w in (None, weights):
        theirs = transformer_torch.loss(twin, tokens, None if w is None else torch.from_numpy(w))
        assert float(loss(model, TOKENS, w)) == pytest.approx(float(theirs.detach()), rel=1e-5)


def test_both_frameworks_draw_the_same_loss_curve_over_200_steps():
    tokens, predictable, _ = text.induction_batch(0, batch=512, time=13, vocab=11)
    order = np.random.default_rng(0).integers(0, 512, size=(200, 16))
    optimizer = optax.adamw(3e-3, b2=0.99, weight_decay=0.1)
    graph, params = nnx.split(Transformer(TINY, rngs=nnx.Rngs(0)), nnx.Param)
    twin = transformer_torch.load(transformer_torch.Transformer(TINY), params)
    adamw = torch.optim.AdamW(twin.parameters(), lr=3e-3, betas=(0.9, 0.99), weight_decay=0.1)

    def step(state, batch):
        params, opt_state = state
        value, grads = jax.value_and_grad(lambda p: loss(nnx.merge(graph, p), *batch))(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), {"loss": value}

    start = params, jax.jit(optimizer.init)(params)
    ours = [row["loss"] for row in train_compiled(step, start, (tokens, predictable), order)[1]]
    theirs = []
    for rows in order:
        value = transformer_torch.loss(twin, torch.from_numpy(tokens[rows]).long(), torch.from_numpy(predictable[rows]))
        adamw.zero_grad()
        value.backward()
        adamw.step()
        theirs.append(value.item())
    assert ours[0] == pytest.approx(np.log(11), abs=0.05) and ours[-1] < 2  # it learns, and doesn't stand still
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


# generation


SETTINGS = {"temperature": 0.7, "top_k": 8, "top_p": 0.9}


def test_the_cache_changes_no_token():
    start = TOKENS[:2, :5]
    with_cache, without = (generate(tiny(), start, 30, jax.random.key(3), **SETTINGS, use_cache=c) for c in (True, False))
    assert with_cache.shape == (2, 35)  # far past the context of 12
    np.testing.assert_array_equal(with_cache, without)
    np.testing.assert_array_equal(with_cache[:, :5], start)
    assert len(np.unique(with_cache)) > 3


def test_greedy_generation_takes_the_most_probable_token_of_the_window():
    model = tiny()
    settings = SETTINGS | {"temperature": 0.0}
    found = np.asarray(generate(model, TOKENS[:2, :5], 30, jax.random.key(0), **settings))[0]
    forward = jax.jit(lambda tokens: model(tokens))
    window = list(TOKENS[0, :5])
    for token in found[5:]:
        padded = np.array([window + [0] * (12 - len(window))])
        assert token == int(forward(padded)[0, len(window) - 1].argmax())
        if len(window) == 12:  # full: the newer half stays
            window = window[6:]
        window.append(token)


def test_a_prompt_of_any_length_and_any_settings_use_one_program():
    model = tiny()
    generate(model, TOKENS[:2, :3], 30, jax.random.key(0), **SETTINGS)
    before = transformer._generate._cache_size()
    first = generate(model, TOKENS[:2, :12], 30, jax.random.key(1), temperature=0.5, top_k=5, top_p=0.8)
    assert transformer._generate._cache_size() == before
    assert first.shape == (2, 42)


def test_one_token_after_another_gives_the_logits_of_all_at_once():
    model = tiny(positions="rotary")
    whole, cache = model(TOKENS), empty_cache(model.config, batch=3)
    one = jax.jit(lambda tokens, cache: model(tokens, cache=cache))
    for t in range(12):
        logits, cache = one(TOKENS[:, t : t + 1], cache)
        np.testing.assert_allclose(logits[:, 0], whole[:, t], atol=1e-5 * np.abs(whole).max())
    assert int(cache.length) == 12


def drawn(**settings) -> np.ndarray:
    """How often each of 4 tokens with probabilities .4 .3 .2 .1 is drawn in 4,000."""
    logits = jnp.log(jnp.tile(jnp.array([0.3, 0.1, 0.4, 0.2]), (4000, 1)))
    return np.bincount(sample(logits, jax.random.key(0), **settings), minlength=4) / 4000


def test_samples_come_with_their_probabilities():
    # 4,000 draws: standard deviation at most 0.008
    np.testing.assert_allclose(drawn(), [0.3, 0.1, 0.4, 0.2], atol=0.03)
    squared = np.array([0.09, 0.01, 0.16, 0.04]) / 0.3
    np.testing.assert_allclose(drawn(temperature=0.5), squared, atol=0.03)
    np.testing.assert_allclose(drawn(top_k=2), [3 / 7, 0, 4 / 7, 0], atol=0.03)
    np.testing.assert_allclose(drawn(top_p=0.65), [3 / 7, 0, 4 / 7, 0], atol=0.03)
    np.testing.assert_allclose(drawn(top_p=0.75), [3 / 9, 0, 4 / 9, 2 / 9], atol=0.03)
    np.testing.assert_allclose(drawn(top_k=3, top_p=0.5), [3 / 7, 0, 4 / 7, 0], atol=0.03)  # 4/9 < 0.5: two are needed
    for settings in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.01}):
        assert drawn(**settings)[2] == 1
    np.testing.assert_array_equal(drawn(top_k=99, top_p=1.0), drawn())  # no limit at all


# what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "width=16 can't be shared by heads=3.*Take width=48"),
        ({"heads": 16, "positions": "rotary"}, "a whole, even number"),
        ({"width": 15, "heads": 3, "positions": "sinusoidal"}, "come in pairs. Take an even width"),
        ({"positions": "rotory"}, "unknown kind of positions 'rotory'. Did you mean 'rotary'"),
    ],
)
@pytest.mark.parametrize("make", [lambda c: Transformer(c, rngs=nnx.Rngs(0)), transformer_torch.Transformer])
def test_sizes_that_no_model_can_have_are_refused(make, changes, message):
    with pytest.raises(ValueError, match=message):
        make(TINY._replace(**changes))


def test_more_tokens_than_the_context_are_refused():
    tokens = np.zeros((1, 13), np.int32)
    with pytest.raises(ValueError, match="13 tokens, but context=12. Pass at most 12"):
        tiny()(tokens)
    with pytest.raises(ValueError, match="13 tokens, but context=12"):
        transformer_torch.Transformer(TINY)(torch.from_numpy(tokens).long())
    for shape in [(1, 13), (1, 0), (5,)]:
        with pytest.raises(ValueError, match=r"not \(batch, 1 to 12\). Cut it: `tokens\[:, -12:\]`"):
            generate(tiny(), np.zeros(shape, np.int32), 2, jax.random.key(0))


def test_a_model_that_sees_the_future_gets_no_cache():
    with pytest.raises(ValueError, match="causal=False, but a cache needs a causal model"):
        empty_cache(TINY._replace(causal=False), batch=1)
