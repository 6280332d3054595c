"""Answers to the exercises of lesson 06 as students write them, wrong and right, with the words that must be said."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.special
import torch
import torch.nn.functional as F
from einops import einsum, rearrange

from mlcourse.checks.killrate import Bank

bank = Bank()

# 6.1 causal_mask


@bank.wrong("6.1", "The mask is inverted")
def as_pytorch_wants_it(num_queries, num_keys):
    return torch.triu(torch.ones(num_queries, num_keys, dtype=torch.bool), diagonal=num_keys - num_queries + 1)


@bank.wrong("6.1", "A token can't see itself")
def strictly_before(num_queries, num_keys):
    query = jnp.arange(num_queries) + num_keys - num_queries
    return query[:, None] > jnp.arange(num_keys)


@bank.wrong("6.1", "A token sees the one after it")
def one_diagonal_too_many(num_queries, num_keys):
    return np.tri(num_queries, num_keys, k=num_keys - num_queries + 1, dtype=bool)


@bank.wrong("6.1", "The first query was put at position 0")
def plain_triangle(num_queries, num_keys):
    return jnp.tril(jnp.ones((num_queries, num_keys), dtype=bool))


@bank.wrong("6.1", "The triangle is turned over")
def upper_triangle(num_queries, num_keys):
    return np.triu(np.ones((num_queries, num_keys), dtype=bool), k=num_keys - num_queries)


@bank.wrong("6.1", "These are numbers to add")
def additive(num_queries, num_keys):
    mask = np.full((num_queries, num_keys), -np.inf)
    return np.triu(mask, k=num_keys - num_queries + 1)


@bank.wrong("6.1", "These are numbers to add")
def additive_with_a_large_number(num_queries, num_keys):
    return (1 - np.tri(num_queries, num_keys, num_keys - num_queries)) * -1e9


@bank.wrong("6.1", "they are numbers")
def zeros_and_ones(num_queries, num_keys):
    return torch.tril(torch.ones(num_queries, num_keys), diagonal=num_keys - num_queries)


@bank.wrong("6.1", "nothing is masked")
def everyone_sees_everyone(num_queries, num_keys):
    return jnp.ones((num_queries, num_keys), dtype=bool)


@bank.wrong("6.1", "has the shape")
def square_only(num_queries, num_keys):
    return np.tri(num_keys, dtype=bool)


@bank.right("6.1")
def last_rows_of_the_square(num_queries, num_keys):
    return np.tril(np.ones((num_keys, num_keys), dtype=bool))[num_keys - num_queries :]


@bank.right("6.1")
def torch_triangle(num_queries, num_keys):
    return torch.ones(num_queries, num_keys).tril(num_keys - num_queries).bool()


@bank.right("6.1")
def in_two_loops(num_queries, num_keys):
    mask = np.zeros((num_queries, num_keys), dtype=bool)
    for i in range(num_queries):
        for j in range(num_keys - num_queries + i + 1):
            mask[i, j] = True
    return mask


# 6.2 attention


@bank.wrong("6.2", "The scores are not scaled")
def dot_product_attention(q, k, v, mask):
    scores = q @ k.transpose(-1, -2)
    return torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1) @ v


@bank.wrong("6.2", "The scores were divided by d.")
def divided_by_d(q, k, v, mask):
    scores = q @ np.swapaxes(k, -1, -2) / q.shape[-1]
    return scipy.special.softmax(np.where(mask, scores, -np.inf), axis=-1) @ v


@bank.wrong("6.2", "*multiplied* by the square root")
def times_the_root(q, k, v, mask):
    scores = q @ np.swapaxes(k, -1, -2) * np.sqrt(q.shape[-1])
    return scipy.special.softmax(np.where(mask, scores, -np.inf), axis=-1) @ v


@bank.wrong("6.2", "taken from the values' width")
def scale_of_the_values(q, k, v, mask):
    scores = q @ k.transpose(-1, -2) / v.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-1) @ v


@bank.wrong("6.2", "taken from the number of tokens")
def scale_of_the_length(q, k, v, mask):
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(k.shape[-2])
    return scipy.special.softmax(np.where(mask, scores, -np.inf), axis=-1) @ v


@bank.wrong("6.2", "The softmax runs over the wrong axis")
def softmax_over_queries(q, k, v, mask):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-2) @ v


@bank.wrong("6.2", "The mask is inverted")
def masks_what_is_seen(q, k, v, mask):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(mask, -1e9), dim=-1) @ v


@bank.wrong("6.2", "The mask is inverted")
def masks_what_is_seen_with_infinity(q, k, v, mask):
    scores = np.einsum("...qd,...kd->...qk", q, k) / np.sqrt(q.shape[-1])
    return scipy.special.softmax(np.where(mask, -np.inf, scores), axis=-1) @ v


@bank.wrong("6.2", "The mask was not used")
def no_mask(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v)


@bank.wrong("6.2", "applied after the softmax")
def mask_after_softmax(q, k, v, mask):
    weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)
    return (weights * mask) @ v


@bank.wrong("6.2", "A hidden score was set to a finite number")
def hides_by_minus_hundred(q, k, v, mask):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(~mask, -100.0), dim=-1) @ v


@bank.wrong("6.2", "A hidden score was set to 0")
def mask_times_scores(q, k, v, mask):
    scores = mask * (q @ np.swapaxes(k, -1, -2)) / np.sqrt(q.shape[-1])
    return scipy.special.softmax(scores, axis=-1) @ v


@bank.wrong("6.2", "added to the scores as 0 and 1")
def adds_booleans(q, k, v, mask):
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    return scipy.special.softmax(scores + mask, axis=-1) @ v


@bank.wrong("6.2", "The softmax overflows")
def softmax_by_hand(q, k, v, mask):
    scores = q @ np.swapaxes(k, -1, -2) / np.float32(np.sqrt(q.shape[-1]))
    e = np.exp(scores) * mask
    return e / e.sum(axis=-1, keepdims=True) @ v


@bank.wrong("6.2", "These are the weights")
def forgets_the_values(q, k, v, mask):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-1)


@bank.wrong("6.2", "changed its input")
def scales_the_query_in_place(q, k, v, mask):
    q /= q.shape[-1] ** 0.5
    return torch.softmax((q @ k.transpose(-1, -2)).masked_fill(~mask, -torch.inf), dim=-1) @ v


@bank.right("6.2")
def by_pytorch(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@bank.right("6.2")
def with_einops(q, k, v, mask):
    scores = einsum(q, k, "... q d, ... k d -> ... q k") / q.shape[-1] ** 0.5
    weights = torch.softmax(torch.where(mask, scores, -torch.inf), dim=-1)
    return einsum(weights, v, "... q k, ... k d -> ... q d")


@bank.right("6.2")
def by_log_sum_exp(q, k, v, mask):
    scores = np.where(mask, q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]), -np.inf)
    return np.exp(scores - scipy.special.logsumexp(scores, axis=-1, keepdims=True)) @ v


@bank.right("6.2")
def scaled_query_and_a_large_number(q, k, v, mask):
    scores = (q * q.shape[-1] ** -0.5) @ jnp.swapaxes(k, -1, -2)
    return jax.nn.softmax(jnp.where(mask, scores, -1e30), axis=-1) @ v


# 6.3 split_heads


@bank.wrong("6.3", "The features were dealt out in turns")
def bracket_the_wrong_way(x, heads):
    return rearrange(x, "b t (d h) -> b h t d", h=heads)


@bank.wrong("6.3", "reshaped straight to the new shape")
def view_only(x, heads):
    B, T, width = x.shape
    return x.reshape(B, heads, T, width // heads)


@bank.wrong("6.3", "heads and tokens not exchanged")
def without_transpose(x, heads):
    return rearrange(x, "b t (h d) -> b t h d", h=heads)


@bank.wrong("6.3", "taken for the size of a head")
def heads_as_size(x, heads):
    return rearrange(x, "b t (h d) -> b h t d", d=heads)


@bank.wrong("6.3", "the last two are exchanged")
def ready_for_the_product(x, heads):
    B, T, width = x.shape
    return torch.permute(x.reshape(B, T, heads, width // heads), (0, 2, 3, 1))


@bank.wrong("6.3", "before the batch")
def heads_first(x, heads):
    return jnp.stack(jnp.split(x, heads, axis=-1))


@bank.wrong("6.3", "laid together on one axis")
def heads_in_the_batch(x, heads):
    return rearrange(x, "b t (h d) -> (b h) t d", h=heads)


@bank.wrong("6.3", "The tokens were cut into heads")
def transposed_first(x, heads):
    B, T, width = x.shape
    return np.swapaxes(x, 1, 2).reshape(B, heads, T, width // heads)


@bank.right("6.3")
def reshape_and_swap(x, heads):
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


@bank.right("6.3")
def torch_view(x, heads):
    B, T, width = x.shape
    return torch.reshape(x, (B, T, heads, width // heads)).transpose(1, 2)


@bank.right("6.3")
def stack_of_slices(x, heads):
    return jnp.stack(jnp.split(x, heads, axis=-1), axis=1)


# 6.4 merge_heads


@bank.wrong("6.4", "without exchanging heads and tokens")
def reshape_only(x):
    B, H, T, d = x.shape
    return x.reshape(B, T, H * d)


@bank.wrong("6.4", "features are interleaved")
def interleaves(x):
    return rearrange(x, "b h t d -> b t (d h)")


@bank.wrong("6.4", "not joined yet")
def only_swaps(x):
    return jnp.swapaxes(x, 1, 2)


@bank.wrong("6.4", "The heads were averaged")
def averages(x):
    return torch.mean(x, dim=1)


@bank.wrong("6.4", "The heads were added up")
def adds(x):
    return x.sum(1)


@bank.wrong("6.4", "joined along the tokens")
def along_the_tokens(x):
    return rearrange(x, "b h t d -> b (h t) d")


@bank.wrong("6.4", "before the batch")
def tokens_first(x):
    return rearrange(x, "b h t d -> t b (h d)")


@bank.wrong("6.4", "tokens and features are exchanged")
def features_first(x):
    return rearrange(x, "b h t d -> b (h d) t")


@bank.right("6.4")
def swap_and_reshape(x):
    B, H, T, d = x.shape
    return np.swapaxes(x, 1, 2).reshape(B, T, H * d)


@bank.right("6.4")
def contiguous_view(x):
    B, H, T, d = x.shape
    return torch.transpose(x, 1, 2).contiguous().view(B, T, H * d)


@bank.right("6.4")
def concatenates_heads(x):
    return jnp.concatenate([x[:, h] for h in range(x.shape[1])], axis=-1)


# 6.5 layer_norm


@bank.wrong("6.5", "computed with d - 1")
def torch_variance(x, *, gain, bias, epsilon):
    return gain * (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + epsilon) + bias


@bank.wrong("6.5", "Epsilon stands outside the root")
def epsilon_added_to_std(x, *, gain, bias, epsilon):
    return gain * (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + epsilon) + bias


@bank.wrong("6.5", "Epsilon is missing")
def no_epsilon(x, *, gain, bias, epsilon):
    return gain * (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True) + bias


@bank.wrong("6.5", "divided by the variance")
def no_root(x, *, gain, bias, epsilon):
    return gain * (x - x.mean(-1, keepdims=True)) / (np.var(x, axis=-1, keepdims=True) + epsilon) + bias


@bank.wrong("6.5", "Gain and bias are missing")
def no_gain_no_bias(x, *, gain, bias, epsilon):
    return F.layer_norm(x, x.shape[-1:], eps=epsilon)


@bank.wrong("6.5", "The gain is missing")
def no_gain(x, *, gain, bias, epsilon):
    return F.layer_norm(x, x.shape[-1:], bias=bias, eps=epsilon)


@bank.wrong("6.5", "The bias is missing")
def no_bias(x, *, gain, bias, epsilon):
    return F.layer_norm(x, x.shape[-1:], weight=gain, eps=epsilon)


@bank.wrong("6.5", "added before the gain multiplies")
def bias_inside(x, *, gain, bias, epsilon):
    return ((x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) + bias) * gain


@bank.wrong("6.5", "The norm runs over the wrong axis")
def batch_norm(x, *, gain, bias, epsilon):
    return gain * (x - x.mean(0)) / np.sqrt(x.var(0) + epsilon) + bias


@bank.wrong("6.5", "taken over the tokens")
def over_the_tokens(x, *, gain, bias, epsilon):
    return gain * (x - x.mean(-2, keepdims=True)) / np.sqrt(x.var(-2, keepdims=True) + epsilon) + bias


@bank.wrong("6.5", "One mean and one variance for everything")
def over_everything(x, *, gain, bias, epsilon):
    return gain * (x - x.mean()) / np.sqrt(x.var() + epsilon) + bias


@bank.wrong("6.5", "This is RMS norm")
def rms_norm(x, *, gain, bias, epsilon):
    return gain * x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) + bias


@bank.wrong("6.5", "changed its input `x`")
def in_place(x, *, gain, bias, epsilon):
    x -= x.mean(-1, keepdims=True)
    return gain * x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) + bias


@bank.right("6.5")
def layer_norm_by_torch(x, *, gain, bias, epsilon):
    return F.layer_norm(x, x.shape[-1:], gain, bias, epsilon)


@bank.right("6.5")
def by_jax_standardize(x, *, gain, bias, epsilon):
    return jax.nn.standardize(x, axis=-1, epsilon=epsilon) * gain + bias


@bank.right("6.5")
def one_token_at_a_time(x, *, gain, bias, epsilon):
    rows = x.reshape(-1, x.shape[-1])
    done = [gain * (row - row.mean()) / np.sqrt(row.var() + epsilon) + bias for row in rows]
    return np.stack(done).reshape(x.shape)


# 6.6 block


@bank.wrong("6.6", "This is the post-norm form")
def block_of_2017(x, norm1, attend, norm2, mlp):
    x = norm1(x + attend(x))
    x = norm2(x + mlp(x))
    return x


@bank.wrong("6.6", "residual connection around the attention is missing")
def attention_overwrites(x, norm1, attend, norm2, mlp):
    x = attend(norm1(x))
    return x + mlp(norm2(x))


@bank.wrong("6.6", "residual connection around the MLP is missing")
def mlp_overwrites(x, norm1, attend, norm2, mlp):
    x = x + attend(norm1(x))
    return mlp(norm2(x))


@bank.wrong("6.6", "Both residual connections are missing")
def a_plain_chain(x, norm1, attend, norm2, mlp):
    return mlp(norm2(attend(norm1(x))))


@bank.wrong("6.6", "The stream itself was normalised")
def norm_kept_in_x(x, norm1, attend, norm2, mlp):
    x = norm1(x)
    x = attend(x) + x
    x = norm2(x)
    return mlp(x) + x


@bank.wrong("6.6", "The norm is on what the parts return")
def norm_behind_the_part(x, norm1, attend, norm2, mlp):
    x = x + norm1(attend(x))
    return x + norm2(mlp(x))


@bank.wrong("6.6", "The two norms are exchanged")
def swapped_norms(x, norm1, attend, norm2, mlp):
    x = x + attend(norm2(x))
    return x + mlp(norm1(x))


@bank.wrong("6.6", "norm1 was used twice")
def copied_and_pasted(x, norm1, attend, norm2, mlp):
    x = x + attend(norm1(x))
    x = x + mlp(norm1(x))
    return x


@bank.wrong("6.6", "side by side")
def parallel_block(x, norm1, attend, norm2, mlp):
    return x + attend(norm1(x)) + mlp(norm2(x))


@bank.wrong("6.6", "The MLP came first")
def mlp_before_attention(x, norm1, attend, norm2, mlp):
    x = x + mlp(norm2(x))
    return x + attend(norm1(x))


@bank.wrong("6.6", "starts from the old x")
def residual_from_the_start(x, norm1, attend, norm2, mlp):
    h = x + attend(norm1(x))
    return x + mlp(norm2(h))


@bank.wrong("6.6", "changed its input `x`")
def stream_in_place(x, norm1, attend, norm2, mlp):
    x += attend(norm1(x))
    x += mlp(norm2(x))
    return x


@bank.right("6.6")
def jitted_block(x, norm1, attend, norm2, mlp):
    @jax.jit
    def run(x):
        middle = x + attend(norm1(x))
        return middle + mlp(norm2(middle))

    return run(x)


@bank.right("6.6")
def block_in_a_loop(x, norm1, attend, norm2, mlp):
    for norm, part in ((norm1, attend), (norm2, mlp)):
        x = x + part(norm(x))
    return x


@bank.right("6.6")
def block_in_torch(x, norm1, attend, norm2, mlp):
    x = torch.add(x, attend(norm1(x)))
    return torch.add(x, mlp(norm2(x)))


# 6.7 merge_step


def most_frequent_pair(tokens):
    return collections.Counter(zip(tokens, tokens[1:])).most_common(1)[0][0]  # noqa: B905 - as students write it


def merged(tokens, pair, new_token):
    out, i = [], 0
    while i < len(tokens):
        if i + 1 < len(tokens) and (tokens[i], tokens[i + 1]) == pair:
            out.append(new_token)
            i += 2
        else:
            out.append(tokens[i])
            i += 1
    return out


@bank.wrong("6.7", "The second token of the pair stayed")
def does_not_skip(tokens, new_token):
    pair = most_frequent_pair(tokens)
    out = []
    for i in range(len(tokens)):
        out.append(new_token if tuple(tokens[i : i + 2]) == pair else tokens[i])
    return pair, out


@bank.wrong("6.7", "from right to left")
def pops_from_the_end(tokens, new_token):
    pair, out, i = most_frequent_pair(tokens), list(tokens), len(tokens) - 2
    while i >= 0:
        if tuple(out[i : i + 2]) == pair:
            out[i : i + 2] = [new_token]
            i -= 1
        i -= 1
    return pair, out


@bank.wrong("6.7", "Only the first occurrence")
def first_occurrence(tokens, new_token):
    pair, out = most_frequent_pair(tokens), list(tokens)
    for i in range(len(out) - 1):
        if tuple(out[i : i + 2]) == pair:
            out[i : i + 2] = [new_token]
            break
    return pair, out


@bank.wrong("6.7", "The last token fell out")
def loop_over_pairs(tokens, new_token):
    pair, out, i = most_frequent_pair(tokens), [], 0
    while i < len(tokens) - 1:
        if (tokens[i], tokens[i + 1]) == pair:
            out.append(new_token)
            i += 2
        else:
            out.append(tokens[i])
            i += 1
    return pair, out


@bank.wrong("6.7", "the later one was taken")
def later_of_a_tie(tokens, new_token):
    counts = collections.Counter(zip(tokens, tokens[1:]))  # noqa: B905
    best = None
    for pair, count in counts.items():
        if best is None or count >= counts[best]:
            best = pair
    return best, merged(tokens, best, new_token)


@bank.wrong("6.7", "with the larger numbers")
def largest_of_a_tie(tokens, new_token):
    counts = collections.Counter(zip(tokens, tokens[1:]))  # noqa: B905
    pair = max(counts, key=lambda pair: (counts[pair], pair))
    return pair, merged(tokens, pair, new_token)


@bank.wrong("6.7", "with the smaller numbers")
def by_numpy_unique(tokens, new_token):
    pairs, counts = np.unique(np.stack([tokens[:-1], tokens[1:]], axis=1), axis=0, return_counts=True)
    pair = tuple(pairs[counts.argmax()].tolist())
    return pair, merged(tokens, pair, new_token)


@bank.wrong("6.7", "begin at an even place")
def two_by_two(tokens, new_token):
    pair = collections.Counter((tokens[i], tokens[i + 1]) for i in range(0, len(tokens) - 1, 2)).most_common(1)[0][0]
    return pair, merged(tokens, pair, new_token)


@bank.wrong("6.7", "The tokens came back as they were")
def replaces_nothing(tokens, new_token):
    pair = most_frequent_pair(tokens)
    return pair, [new_token if token == pair else token for token in tokens]


@bank.wrong("6.7", "The pair is missing")
def list_only(tokens, new_token):
    return merged(tokens, most_frequent_pair(tokens), new_token)


@bank.wrong("6.7", "are exchanged")
def list_first(tokens, new_token):
    pair = most_frequent_pair(tokens)
    return merged(tokens, pair, new_token), pair


@bank.wrong("6.7", "changed its input `tokens`")
def deletes_from_the_list(tokens, new_token):
    pair, i = most_frequent_pair(tokens), 0
    while i < len(tokens) - 1:
        if (tokens[i], tokens[i + 1]) == pair:
            tokens[i : i + 2] = [new_token]
        i += 1
    return pair, list(tokens)


@bank.right("6.7")
def counts_in_a_dict(tokens, new_token):
    counts = {}
    for i in range(len(tokens) - 1):
        counts[tokens[i], tokens[i + 1]] = counts.get((tokens[i], tokens[i + 1]), 0) + 1
    pair = max(counts, key=counts.get)
    return pair, merged(tokens, pair, new_token)


@bank.right("6.7")
def as_arrays(tokens, new_token):
    pair = most_frequent_pair(tokens)
    return np.array(pair), np.array(merged(tokens, pair, new_token))


@bank.right("6.7")
def looks_back(tokens, new_token):
    pair, out = most_frequent_pair(tokens), []
    for token in tokens:
        if out and (out[-1], token) == pair:
            out[-1] = new_token
        else:
            out.append(token)
    return list(pair), out


# 6.8 top_k


@bank.wrong("6.8", "One token too many")
def k_plus_one(logits, *, temperature, k):
    z = logits / temperature
    if k < len(z):
        z = np.where(z < np.sort(z)[::-1][k], -np.inf, z)
    return scipy.special.softmax(z)


@bank.wrong("6.8", "More than k tokens were kept")
def the_usual_recipe(logits, *, temperature, k):
    z = logits / temperature
    values, _ = torch.topk(z, min(k, len(z)))
    z = torch.where(z < values[-1], -torch.inf, z)
    return torch.softmax(z, dim=-1)


@bank.wrong("6.8", "those with the higher numbers")
def last_of_the_sorted(logits, *, temperature, k):
    out = np.full(len(logits), -np.inf)
    best = np.argsort(logits, kind="stable")[-k:]
    out[best] = logits[best] / temperature
    return scipy.special.softmax(out)


@bank.wrong("6.8", "multiplied by the temperature")
def hotter_is_colder(logits, *, temperature, k):
    best = np.argsort(-logits, kind="stable")[:k]
    out = np.full(len(logits), -np.inf)
    out[best] = logits[best] * temperature
    return scipy.special.softmax(out)


@bank.wrong("6.8", "The temperature was not used")
def no_temperature(logits, *, temperature, k):
    best = np.argsort(-logits, kind="stable")[:k]
    out = np.full(len(logits), -np.inf)
    out[best] = logits[best]
    return scipy.special.softmax(out)


@bank.wrong("6.8", "not renormalised")
def cuts_probabilities(logits, *, temperature, k):
    p = scipy.special.softmax(logits / temperature)
    p[np.argsort(-logits, kind="stable")[k:]] = 0
    return p


@bank.wrong("6.8", "have a logit of 0")
def zero_logits(logits, *, temperature, k):
    values, best = jax.lax.top_k(logits / temperature, min(k, len(logits)))
    return jax.nn.softmax(jnp.zeros_like(logits).at[best].set(values))


@bank.wrong("6.8", "The softmax was taken twice")
def two_softmaxes(logits, *, temperature, k):
    p = jax.nn.softmax(logits / temperature)
    values, best = jax.lax.top_k(logits, min(k, len(p)))
    return jax.nn.softmax(jnp.full_like(p, -jnp.inf).at[best].set(p[best]))


@bank.wrong("6.8", "The softmax overflows")
def softmax_without_maximum(logits, *, temperature, k):
    best = np.argsort(-logits, kind="stable")[:k]
    weights = np.zeros(len(logits), dtype=np.float32)
    weights[best] = np.exp(logits[best] / np.float32(temperature))
    return weights / weights.sum()


@bank.wrong("6.8", "The probabilities are sorted")
def forgets_whose_they_are(logits, *, temperature, k):
    z = np.sort(logits)[::-1] / temperature
    z[k:] = -np.inf
    return scipy.special.softmax(z)


@bank.wrong("6.8", "*least* likely")
def sorted_upwards(logits, *, temperature, k):
    out = np.full(len(logits), -np.inf)
    worst = np.argsort(logits, kind="stable")[:k]
    out[worst] = logits[worst] / temperature
    return scipy.special.softmax(out)


@bank.right("6.8")
def by_jax_top_k(logits, *, temperature, k):
    values, best = jax.lax.top_k(logits, min(k, logits.size))
    return jnp.zeros_like(logits).at[best].set(jax.nn.softmax(values / temperature))


@bank.right("6.8")
def by_a_stable_torch_sort(logits, *, temperature, k):
    order = torch.sort(logits, descending=True, stable=True).indices
    z = (logits / temperature).index_fill(0, order[k:], -torch.inf)
    return torch.softmax(z, dim=0)


@bank.right("6.8")
def softmax_then_cut_then_renormalise(logits, *, temperature, k):
    p = scipy.special.softmax(logits.astype(float) / temperature)
    order = sorted(range(len(p)), key=lambda i: -logits[i])
    p[order[k:]] = 0
    return p / p.sum()


# 6.9 top_p


@bank.wrong("6.9", "above p, nothing is left")
def while_the_sum_is_below(logits, *, temperature, p):
    q = scipy.special.softmax(logits / temperature)
    order = np.argsort(-q)
    kept = np.zeros(len(q), dtype=bool)
    kept[order] = q[order].cumsum() <= p
    return np.where(kept, q, 0) / q[kept].sum()


@bank.wrong("6.9", "except where nothing would be left")
def at_least_one(logits, *, temperature, p):
    q = torch.softmax(logits / temperature, dim=0)
    ordered, order = torch.sort(q, descending=True)
    out = ordered.cumsum(0) > p
    out[0] = False
    q = q.index_fill(0, order[out], 0.0)
    return q / q.sum()


@bank.wrong("6.9", "One token too many")
def one_further(logits, *, temperature, p):
    q = scipy.special.softmax(logits / temperature)
    order = np.argsort(-q)
    last = np.searchsorted(q[order].cumsum(), p) + 2
    kept = np.zeros(len(q))
    kept[order[:last]] = q[order[:last]]
    return kept / kept.sum()


@bank.wrong("6.9", "The temperature was not used")
def nucleus_without_temperature(logits, *, temperature, p):
    return nucleus(scipy.special.softmax(logits), p)


def nucleus(q, p):
    order = np.argsort(-q)
    last = np.searchsorted(q[order].cumsum(), p) + 1
    kept = np.zeros(len(q))
    kept[order[:last]] = q[order[:last]]
    return kept / kept.sum()


@bank.wrong("6.9", "multiplied by the temperature")
def temperature_upside_down(logits, *, temperature, p):
    return nucleus(scipy.special.softmax(logits * temperature), p)


@bank.wrong("6.9", "before the temperature had its say")
def heats_what_is_left(logits, *, temperature, p):
    kept = nucleus(scipy.special.softmax(logits), p) > 0
    return scipy.special.softmax(np.where(kept, logits / temperature, -np.inf))


@bank.wrong("6.9", "were not renormalised")
def leaves_a_gap(logits, *, temperature, p):
    q = scipy.special.softmax(logits / temperature)
    return np.where(nucleus(q, p) > 0, q, 0)


@bank.wrong("6.9", "That is min-p")
def min_p(logits, *, temperature, p):
    q = scipy.special.softmax(logits / temperature)
    q = np.where(q >= p * q.max(), q, 0)
    return q / q.sum()


@bank.wrong("6.9", "with the *least* likely tokens")
def sorted_from_below(logits, *, temperature, p):
    q = scipy.special.softmax(logits / temperature)
    order = np.argsort(q)
    kept = np.zeros(len(q), dtype=bool)
    kept[order] = q[order].cumsum() - q[order] < p
    return np.where(kept, q, 0) / q[kept].sum()


@bank.wrong("6.9", "in the order of the token numbers")
def not_sorted(logits, *, temperature, p):
    q = jax.nn.softmax(logits / temperature)
    q = jnp.where(jnp.cumsum(q) - q < p, q, 0)
    return q / q.sum()


@bank.wrong("6.9", "The mask is in sorted order")
def mask_not_brought_back(logits, *, temperature, p):
    q = torch.softmax(logits / temperature, dim=0)
    ordered = torch.sort(q, descending=True).values
    q = torch.where(ordered.cumsum(0) - ordered < p, q, 0.0)
    return q / q.sum()


@bank.wrong("6.9", "The probabilities are sorted")
def returns_them_sorted(logits, *, temperature, p):
    q = np.sort(scipy.special.softmax(logits / temperature))[::-1]
    q = np.where(q.cumsum() - q < p, q, 0)
    return q / q.sum()


@bank.right("6.9")
def by_searchsorted(logits, *, temperature, p):
    return nucleus(scipy.special.softmax(logits.astype(float) / temperature), p)


@bank.right("6.9")
def by_a_loop(logits, *, temperature, p):
    q = np.asarray(jax.nn.softmax(logits / temperature))
    total, kept = 0.0, np.zeros(len(q))
    for token in sorted(range(len(q)), key=lambda token: -q[token]):
        if total >= p:
            break
        kept[token] = q[token]
        total += q[token]
    return kept / total


@bank.right("6.9")
def masked_logits_in_torch(logits, *, temperature, p):
    z = logits / temperature
    ordered, order = torch.sort(torch.softmax(z, dim=0), descending=True)
    out = order[ordered.cumsum(0) - ordered >= p]
    return torch.softmax(z.index_fill(0, out, -torch.inf), dim=0)


# 6.10 cache_step


def attend_to(q, keys, values, seen, scale=None):
    scores = np.einsum("hd,hcd->hc", q, keys) * (q.shape[-1] ** -0.5 if scale is None else scale)
    weights = scipy.special.softmax(np.where(seen, scores, -np.inf), axis=-1)
    return np.einsum("hc,hcd->hd", weights, values)


def put(cache, new, place):
    cache = cache.copy()
    cache[:, place] = new
    return cache


@bank.wrong("6.10", "one place too far")
def next_place(q, k, v, keys, values, *, position):
    place = min(position + 1, keys.shape[1] - 1)
    keys, values = put(keys, k, place), put(values, v, place)
    return attend_to(q, keys, values, np.arange(keys.shape[1]) <= position), keys, values


@bank.wrong("6.10", "one place too early")
def place_before(q, k, v, keys, values, *, position):
    keys, values = put(keys, k, position - 1), put(values, v, position - 1)
    return attend_to(q, keys, values, np.arange(keys.shape[1]) <= position), keys, values


@bank.wrong("6.10", "written at place 0")
def always_the_first_place(q, k, v, keys, values, *, position):
    keys, values = put(keys, k, 0), put(values, v, 0)
    return attend_to(q, keys, values, np.arange(keys.shape[1]) <= position), keys, values


@bank.wrong("6.10", "The newest key is not among those")
def without_the_newest(q, k, v, keys, values, *, position):
    keys, values = put(keys, k, position), put(values, v, position)
    return attend_to(q, keys, values, np.arange(keys.shape[1]) < position), keys, values


@bank.wrong("6.10", "The query saw the free places too")
def no_mask_over_the_cache(q, k, v, keys, values, *, position):
    keys, values = keys.clone(), values.clone()
    keys[:, position], values[:, position] = k, v
    weights = torch.softmax(torch.einsum("hd,hcd->hc", q, keys) / q.shape[-1] ** 0.5, dim=-1)
    return torch.einsum("hc,hcd->hd", weights, values), keys, values


@bank.wrong("6.10", "The scores are not scaled")
def unscaled_cache(q, k, v, keys, values, *, position):
    keys, values = put(keys, k, position), put(values, v, position)
    return attend_to(q, keys, values, np.arange(keys.shape[1]) <= position, 1.0), keys, values


@bank.wrong("6.10", "but not the value")
def forgets_the_value(q, k, v, keys, values, *, position):
    keys = put(keys, k, position)
    return attend_to(q, keys, values, np.arange(keys.shape[1]) <= position), keys, values


@bank.wrong("6.10", "The caches came back as they were")
def old_caches(q, k, v, keys, values, *, position):
    new_keys, new_values = put(keys, k, position), put(values, v, position)
    return attend_to(q, new_keys, new_values, np.arange(keys.shape[1]) <= position), keys, values


@bank.wrong("6.10", "The caches have a new size")
def growing_cache(q, k, v, keys, values, *, position):
    keys = np.concatenate([keys[:, :position], k[:, None]], axis=1)
    values = np.concatenate([values[:, :position], v[:, None]], axis=1)
    weights = scipy.special.softmax(np.einsum("hd,hcd->hc", q, keys) / q.shape[-1] ** 0.5, axis=-1)
    return np.einsum("hc,hcd->hd", weights, values), keys, values


@bank.wrong("6.10", "Keys and values are exchanged")
def mixed_up(q, k, v, keys, values, *, position):
    keys, values = put(keys, v, position), put(values, k, position)
    return attend_to(q, keys, values, np.arange(keys.shape[1]) <= position), keys, values


@bank.wrong("6.10", "changed its input")
def writes_into_the_cache(q, k, v, keys, values, *, position):
    keys[:, position], values[:, position] = k, v
    seen = slice(0, position + 1)
    weights = torch.softmax(torch.einsum("hd,hcd->hc", q, keys[:, seen]) / q.shape[-1] ** 0.5, dim=-1)
    return torch.einsum("hc,hcd->hd", weights, values[:, seen]), keys, values


@bank.wrong("6.10", "The new caches are missing")
def output_only(q, k, v, keys, values, *, position):
    keys, values = put(keys, k, position), put(values, v, position)
    return attend_to(q, keys, values, np.arange(keys.shape[1]) <= position)


@bank.right("6.10")
def by_slicing(q, k, v, keys, values, *, position):
    keys, values = keys.copy(), values.copy()
    keys[:, position], values[:, position] = k, v
    scores = np.einsum("hd,hcd->hc", q, keys[:, : position + 1]) / np.sqrt(q.shape[-1])
    weights = scipy.special.softmax(scores, axis=-1)
    return np.einsum("hc,hcd->hd", weights, values[:, : position + 1]), keys, values


@bank.right("6.10")
def by_the_library(q, k, v, keys, values, *, position):
    keys, values = keys.clone(), values.clone()
    keys[:, position], values[:, position] = k, v
    seen = (torch.arange(keys.shape[1]) <= position)[None]
    return F.scaled_dot_product_attention(q[:, None], keys, values, attn_mask=seen)[:, 0], keys, values


@bank.right("6.10")
def by_one_hot(q, k, v, keys, values, *, position):
    places = np.arange(keys.shape[1])

    @jax.jit
    def run(q, k, v, keys, values):
        keys, values = (jnp.where((places == position)[:, None], n[:, None], c) for n, c in ((k, keys), (v, values)))
        scores = jnp.where(places <= position, (keys @ q[:, :, None])[:, :, 0] / q.shape[-1] ** 0.5, -jnp.inf)
        return (jax.nn.softmax(scores)[:, None] @ values)[:, 0], keys, values

    return run(q, k, v, keys, values)


# 6.11 scores


def nats_of(losses, is_token):
    return np.where(is_token, losses, 0).sum()


@bank.wrong("6.11", "The padding was counted")
def plain_means(losses, is_token, *, num_characters):
    return np.exp(losses.mean()), losses.sum() / np.log(2) / num_characters


@bank.wrong("6.11", "but still counted in the mean")
def mean_with_zeros(losses, is_token, *, num_characters):
    losses = torch.where(is_token, losses, 0.0)
    return losses.mean().exp(), losses.sum() / num_characters / np.log(2)


@bank.wrong("6.11", "0 * nan is nan")
def times_the_mask(losses, is_token, *, num_characters):
    nats = (losses * is_token).sum()  # JAX would choose here: it takes a product with True and False for a `where`
    return torch.exp(nats / is_token.sum()), nats / np.log(2) / num_characters


@bank.wrong("6.11", "mean of each token's own perplexity")
def mean_of_perplexities(losses, is_token, *, num_characters):
    return np.exp(losses[is_token]).mean(), nats_of(losses, is_token) / np.log(2) / num_characters


@bank.wrong("6.11", "2 to the power of nats")
def base_two(losses, is_token, *, num_characters):
    nats = nats_of(losses, is_token)
    return 2 ** (nats / is_token.sum()), nats / np.log(2) / num_characters


@bank.wrong("6.11", "The exponential is missing")
def mean_loss(losses, is_token, *, num_characters):
    nats = nats_of(losses, is_token)
    return nats / is_token.sum(), nats / np.log(2) / num_characters


@bank.wrong("6.11", "Each text got a mean of its own")
def text_by_text(losses, is_token, *, num_characters):
    means = [row[kept].mean() for row, kept in zip(losses, is_token, strict=True)]
    return np.exp(np.mean(means)), nats_of(losses, is_token) / np.log(2) / num_characters


@bank.wrong("6.11", "nats per character")
def no_bits(losses, is_token, *, num_characters):
    nats = nats_of(losses, is_token)
    return np.exp(nats / is_token.sum()), nats / num_characters


@bank.wrong("6.11", "multiplied by ln 2")
def fewer_bits_than_nats(losses, is_token, *, num_characters):
    nats = nats_of(losses, is_token)
    return np.exp(nats / is_token.sum()), nats * np.log(2) / num_characters


@bank.wrong("6.11", "These are bits per token")
def bits_per_token(losses, is_token, *, num_characters):
    mean = nats_of(losses, is_token) / is_token.sum()
    return np.exp(mean), mean / np.log(2)


@bank.wrong("6.11", "The base-2 logarithm of the loss")
def log2_of_the_loss(losses, is_token, *, num_characters):
    nats = nats_of(losses, is_token)
    return np.exp(nats / is_token.sum()), np.log2(nats / num_characters)


@bank.wrong("6.11", "perplexity is that of a character")
def by_character_throughout(losses, is_token, *, num_characters):
    nats = nats_of(losses, is_token)
    return np.exp(nats / num_characters), nats / np.log(2) / num_characters


@bank.right("6.11")
def by_selection(losses, is_token, *, num_characters):
    kept = losses[is_token]
    return torch.exp(kept.mean()), kept.sum() * np.log2(np.e) / num_characters


@bank.right("6.11")
def two_to_the_bits(losses, is_token, *, num_characters):
    bits = nats_of(losses, is_token) / np.log(2)
    return 2 ** (bits / is_token.sum()), bits / num_characters


@bank.right("6.11")
def by_jnp_mean_where(losses, is_token, *, num_characters):
    mean = jnp.mean(losses, where=is_token)
    return jnp.exp(mean), mean * is_token.sum() / num_characters / jnp.log(2)


# 6.12 fit_power_law


@bank.wrong("6.12", "squares of the losses themselves")
def curve_fit_of_losses(sizes, losses, *, size):
    def law(N, scale, exponent):
        return scale * N**-exponent

    slope, intercept = np.polyfit(np.log(sizes), np.log(losses), 1)
    (scale, exponent), _ = scipy.optimize.curve_fit(law, sizes, losses, p0=(np.exp(intercept), -slope), maxfev=20000)
    return scale, exponent, law(size, scale, exponent)


@bank.wrong("6.12", "the intercept is a log10, and exp was taken")
def exp_of_a_log10(sizes, losses, *, size):
    slope, intercept = np.polyfit(np.log10(sizes), np.log10(losses), 1)
    return np.exp(intercept), -slope, np.exp(intercept) * size**slope


@bank.wrong("6.12", "10 was raised to it")
def ten_to_a_natural_log(sizes, losses, *, size):
    slope, intercept = np.polyfit(np.log(sizes), np.log(losses), 1)
    return 10**intercept, -slope, 10**intercept * size**slope


@bank.wrong("6.12", "2.3 times too large")
def two_logarithms(sizes, losses, *, size):
    slope, intercept = np.polyfit(np.log10(sizes), np.log(losses), 1)
    return np.exp(intercept), -slope, np.exp(intercept) * size**slope


@bank.wrong("6.12", "The exponent has the wrong sign")
def slope_as_exponent(sizes, losses, *, size):
    slope, intercept = np.polyfit(np.log(sizes), np.log(losses), 1)
    return np.exp(intercept), slope, np.exp(intercept) * size**slope


@bank.wrong("6.12", "The predicted loss grows with the size")
def grows(sizes, losses, *, size):
    slope, intercept = np.polyfit(np.log(sizes), np.log(losses), 1)
    scale, exponent = np.exp(intercept), -slope
    return scale, exponent, scale * size**exponent


@bank.wrong("6.12", "The scale is still a logarithm: take exp")
def intercept_as_scale(sizes, losses, *, size):
    slope, intercept = np.polyfit(np.log(sizes), np.log(losses), 1)
    return intercept, -slope, np.exp(intercept + slope * np.log(size))


@bank.wrong("6.12", "The prediction is still a logarithm")
def predicts_a_logarithm(sizes, losses, *, size):
    slope, intercept = np.polyfit(np.log(sizes), np.log(losses), 1)
    return np.exp(intercept), -slope, intercept + slope * np.log(size)


@bank.wrong("6.12", "fitted the other way")
def sizes_from_losses(sizes, losses, *, size):
    slope, intercept = np.polyfit(np.log(losses), np.log(sizes), 1)
    scale, exponent = np.exp(-intercept / slope), -1 / slope
    return scale, exponent, scale * size**-exponent


@bank.wrong("6.12", "first and the last point only")
def ruler(sizes, losses, *, size):
    exponent = np.log(losses[0] / losses[-1]) / np.log(sizes[-1] / sizes[0])
    scale = losses[-1] * sizes[-1] ** exponent
    return scale, exponent, scale * size**-exponent


@bank.wrong("6.12", "That is an exponential")
def semi_log(sizes, losses, *, size):
    slope, intercept = np.polyfit(sizes, np.log(losses), 1)
    return np.exp(intercept), -slope, np.exp(intercept + slope * size)


@bank.wrong("6.12", "The prediction is missing")
def two_numbers(sizes, losses, *, size):
    slope, intercept = np.polyfit(np.log(sizes), np.log(losses), 1)
    return np.exp(intercept), -slope


@bank.right("6.12")
def with_log10_throughout(sizes, losses, *, size):
    slope, intercept = np.polyfit(np.log10(sizes), np.log10(losses), 1)
    return 10**intercept, -slope, 10 ** (intercept + slope * np.log10(size))


@bank.right("6.12")
def least_squares_in_torch(sizes, losses, *, size):
    A = torch.stack([torch.ones_like(sizes), -torch.log(sizes)], dim=1)
    log_scale, exponent = torch.linalg.lstsq(A, torch.log(losses)[:, None]).solution[:, 0]
    return torch.exp(log_scale), exponent, torch.exp(log_scale - exponent * np.log(size))


@bank.right("6.12")
def by_covariance(sizes, losses, *, size):
    x, y = np.log(sizes), np.log(losses)
    exponent = -np.cov(x, y)[0, 1] / np.var(x, ddof=1)
    scale = np.exp(y.mean() + exponent * x.mean())
    return scale, exponent, scale / size**exponent


# 6.13 attention_weights


@bank.wrong("6.13", "The mask still comes after the softmax")
def unchanged_weights(scores, mask):
    return jnp.where(mask, jax.nn.softmax(scores, axis=-1), 0.0)


@bank.wrong("6.13", "0/0 is nan")
def renormalises(scores, mask):
    weights = jnp.where(mask, jax.nn.softmax(scores, axis=-1), 0.0)
    return weights / weights.sum(axis=-1, keepdims=True)


@bank.wrong("6.13", "set to 0 before the softmax")
def zero_scores(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, 0.0), dim=-1)


@bank.wrong("6.13", "added to the scores as 0 and 1")
def adds_the_boolean_mask(scores, mask):
    return jax.nn.softmax(scores + mask, axis=-1)


@bank.wrong("6.13", "not low enough")
def minus_a_hundred(scores, mask):
    return torch.softmax(torch.where(mask, scores, -100.0), dim=-1)


@bank.wrong("6.13", "The mask is inverted")
def fills_what_is_seen(scores, mask):
    return torch.softmax(scores.masked_fill(mask, -torch.inf), dim=-1)


@bank.wrong("6.13", "The mask is gone")
def no_mask_at_all(scores, mask):
    return jax.nn.softmax(scores, axis=-1)


@bank.wrong("6.13", "The softmax runs over the queries")
def over_the_queries(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-2)


@bank.right("6.13")
def masked_fill(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-1)


@bank.right("6.13")
def softmax_with_where(scores, mask):
    return jax.nn.softmax(scores, axis=-1, where=mask)


@bank.right("6.13")
def additive_in_numpy(scores, mask):
    return scipy.special.softmax(scores + np.where(mask, 0, -1e9), axis=-1)


# 6.14 multi_head


def heads_of(x, params, heads):
    return [rearrange(x @ params[name], "b t (h d) -> b h t d", h=heads) for name in ("Wq", "Wk", "Wv")]


def layer(x, params, heads, scale):
    q, k, v = heads_of(x, params, heads)
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * scale
    scores = torch.where(torch.ones(x.shape[1], x.shape[1]).tril().bool(), scores, -torch.inf)
    return rearrange(torch.softmax(scores, dim=-1) @ v, "b h t d -> b t (h d)") @ params["Wo"]


@bank.wrong("6.14", "The scores are still not scaled")
def unchanged_heads(x, params, *, heads):
    return layer(x, params, heads, 1.0)


@bank.wrong("6.14", "divided by the root of the *width*")
def root_of_the_width(x, params, *, heads):
    return layer(x, params, heads, x.shape[-1] ** -0.5)


@bank.wrong("6.14", "divided by the size of a head")
def by_the_head_size(x, params, *, heads):
    return layer(x, params, heads, heads / x.shape[-1])


@bank.wrong("6.14", "divided by the width")
def by_the_width(x, params, *, heads):
    return layer(x, params, heads, 1 / x.shape[-1])


@bank.wrong("6.14", "root of the number of heads")
def root_of_the_heads(x, params, *, heads):
    return layer(x, params, heads, heads**-0.5)


@bank.wrong("6.14", "root of the number of tokens")
def root_of_the_length(x, params, *, heads):
    return layer(x, params, heads, x.shape[1] ** -0.5)


@bank.wrong("6.14", "Divide.")
def multiplies(x, params, *, heads):
    return layer(x, params, heads, (x.shape[-1] / heads) ** 0.5)


@bank.wrong("6.14", "The weights were divided")
def scales_the_weights(x, params, *, heads):
    q, k, v = heads_of(x, params, heads)
    scores = np.where(np.tri(x.shape[1], dtype=bool), q @ np.swapaxes(k, -1, -2), -np.inf)
    weights = scipy.special.softmax(scores, axis=-1) / q.shape[-1] ** 0.5
    return rearrange(weights @ v, "b h t d -> b t (h d)") @ params["Wo"]


@bank.wrong("6.14", "the causal mask is gone")
def scaled_without_a_mask(x, params, *, heads):
    q, k, v = heads_of(x, params, heads)
    return rearrange(F.scaled_dot_product_attention(q, k, v), "b h t d -> b t (h d)") @ params["Wo"]


@bank.right("6.14")
def fused_attention(x, params, *, heads):
    q, k, v = heads_of(x, params, heads)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return rearrange(out, "b h t d -> b t (h d)") @ params["Wo"]


@bank.right("6.14")
def fused_attention_in_jax(x, params, *, heads):
    @jax.jit
    def run(x, params):
        q, k, v = (rearrange(x @ params[name], "b t (h d) -> b t h d", h=heads) for name in ("Wq", "Wk", "Wv"))
        return rearrange(jax.nn.dot_product_attention(q, k, v, is_causal=True), "b t h d -> b t (h d)") @ params["Wo"]

    return run(x, params)


@bank.right("6.14")
def scaled_by_hand(x, params, *, heads):
    return layer(x, params, heads, (heads / x.shape[-1]) ** 0.5)


# 6.15 next_token_batch


@bank.wrong("6.15", "The targets are still the inputs themselves")
def unchanged_batch(tokens, starts, *, length):
    window = starts[:, None] + np.arange(length)
    return tokens[window], tokens[window]


@bank.wrong("6.15", "the shift goes the wrong way")
def the_token_before(tokens, starts, *, length):
    window = starts[:, None] + np.arange(length)
    return tokens[window], tokens[window - 1]


@bank.wrong("6.15", "two places on")
def two_on(tokens, starts, *, length):
    x = torch.stack([tokens[s : s + length] for s in starts])
    y = [[int(tokens[(int(s) + i + 2) % len(tokens)]) for i in range(length)] for s in starts]
    return x, torch.tensor(y)


@bank.wrong("6.15", "rolled round")
def rolls_the_window(tokens, starts, *, length):
    x = tokens[starts[:, None] + np.arange(length)]
    return x, np.roll(x, -1, axis=1)


@bank.wrong("6.15", "The last target is the last input again")
def repeats_the_last(tokens, starts, *, length):
    x = tokens[starts[:, None] + np.arange(length)]
    return x, np.concatenate([x[:, 1:], x[:, -1:]], axis=1)


@bank.wrong("6.15", "as if x and y were exchanged")
def y_then_x(tokens, starts, *, length):
    window = starts[:, None] + np.arange(length)
    return tokens[window + 1], tokens[window]


@bank.wrong("6.15", "both shifted")
def shifts_the_window(tokens, starts, *, length):
    window = starts[:, None] + np.arange(length) + 1
    return tokens[window], tokens[window]


@bank.wrong("6.15", "one token short")
def cuts_off_an_end(tokens, starts, *, length):
    rows = tokens[starts[:, None] + np.arange(length)]
    return rows[:, :-1], rows[:, 1:]


@bank.wrong("6.15", "There is one target for each window")
def the_token_after_the_window(tokens, starts, *, length):
    return tokens[starts[:, None] + np.arange(length)], tokens[starts + length]


@bank.right("6.15")
def one_more_and_cut(tokens, starts, *, length):
    rows = tokens[starts[:, None] + np.arange(length + 1)]
    return rows[:, :-1], rows[:, 1:]


@bank.right("6.15")
def stacks_slices(tokens, starts, *, length):
    x = torch.stack([tokens[s : s + length] for s in starts])
    return x, torch.stack([tokens[s + 1 : s + 1 + length] for s in starts])


@bank.right("6.15")
def shifted_text(tokens, starts, *, length):
    window = starts[:, None] + jnp.arange(length)
    return tokens[:-1][window], tokens[1:][window]


# 6.16 decode


def go_on(step, cache, prompt, num_new, position_of):
    for position, token in enumerate(prompt):
        cache, logits = step(cache, token, position)
    new = []
    for i in range(num_new):
        new.append(int(logits.argmax()))
        cache, logits = step(cache, new[-1], position_of(i, len(prompt)))
    return new


@bank.wrong("6.16", "still begin at 0 again")
def unchanged_decode(step, cache, prompt, *, num_new):
    return go_on(step, cache, prompt, num_new, lambda i, length: i)


@bank.wrong("6.16", "one place too far")
def one_too_far(step, cache, prompt, *, num_new):
    return go_on(step, cache, prompt, num_new, lambda i, length: length + 1 + i)


@bank.wrong("6.16", "position of the prompt's last one, and all others")
def one_behind(step, cache, prompt, *, num_new):
    for position, token in enumerate(prompt):
        cache, logits = step(cache, token, position)
    new = []
    for _ in range(num_new):
        new.append(int(np.argmax(logits)))
        cache, logits = step(cache, new[-1], position)
        position += 1
    return new


@bank.wrong("6.16", "All new tokens have the position len(prompt)")
def fixed_position(step, cache, prompt, *, num_new):
    return go_on(step, cache, prompt, num_new, lambda i, length: length)


@bank.wrong("6.16", "All new tokens have the position of the prompt's last one")
def position_of_the_loop(step, cache, prompt, *, num_new):
    return go_on(step, cache, prompt, num_new, lambda i, length: length - 1)


@bank.wrong("6.16", "The positions begin at 1 after the prompt")
def counts_the_new_ones(step, cache, prompt, *, num_new):
    return go_on(step, cache, prompt, num_new, lambda i, length: i + 1)


@bank.wrong("6.16", "The prompt came back too")
def the_whole_text(step, cache, prompt, *, num_new):
    return [int(token) for token in prompt] + go_on(step, cache, prompt, num_new, lambda i, length: length + i)


@bank.wrong("6.16", "Only the last token of the prompt was read")
def reads_the_last_token(step, cache, prompt, *, num_new):
    tokens = [int(token) for token in prompt]
    cache, logits = step(cache, tokens[-1], len(tokens) - 1)
    for position in range(len(tokens), len(tokens) + num_new):
        tokens.append(int(np.argmax(logits)))
        cache, logits = step(cache, tokens[-1], position)
    return tokens[len(prompt) :]


@bank.wrong("6.16", "The cache was not carried on")
def drops_the_cache(step, cache, prompt, *, num_new):
    for position, token in enumerate(prompt):
        cache, logits = step(cache, token, position)
    new = []
    for i in range(num_new):
        new.append(int(np.argmax(logits)))
        _, logits = step(cache, new[-1], len(prompt) + i)
    return new


@bank.right("6.16")
def one_loop_for_both(step, cache, prompt, *, num_new):
    tokens = [int(token) for token in prompt]
    position = 0
    while len(tokens) < len(prompt) + num_new:
        cache, logits = step(cache, tokens[position], position)
        position += 1
        if position == len(tokens):
            tokens.append(int(np.argmax(logits)))
    return tokens[len(prompt) :]


@bank.right("6.16")
def reads_anew_each_time(step, cache, prompt, *, num_new):
    text = list(prompt)
    for _ in range(num_new):
        state = cache
        for position, token in enumerate(text):
            state, logits = step(state, token, position)
        text.append(int(torch.as_tensor(logits).argmax()))
    return text[len(prompt) :]


@bank.right("6.16")
def goes_on_from_the_prompt(step, cache, prompt, *, num_new):
    new = go_on(step, cache, prompt, num_new, lambda i, length: length + i)
    return np.array(new)
