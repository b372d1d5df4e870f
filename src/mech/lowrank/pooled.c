/* SPDX-License-Identifier: MIT
 * Pooled memory: blocks of tokens become one key and one value each.
 *
 *     k'_n = mean of k over block n of `stride` tokens     or w_k times these keys side by side
 *     out_i = softmax over blocks n (and, local, keys j of i's own block) of
 *             q_i . k'_n / sqrt(D)  (q_i . k_j / sqrt(D)),  times v'_n (v_j)
 *
 * q, k B H T D, v B H T E. Without weights a block is the mean of its tokens that mask B T
 * shows, and a block with none is hidden; with w_k D L D and w_v E L E (out, place, in; L is
 * stride) it is the convolution of 1801.10198 with its kernel as wide as its stride, hidden
 * tokens and those behind the end being 0. local: of its own block a query sees the keys
 * themselves and not their mean. causal: only blocks before its own one (and, local, keys up to
 * itself; without local the first block's queries see nothing and give 0).
 * Liu et al. 2018 (1801.10198); as spatial reduction Wang et al. 2021 (2102.12122); a memory of
 * pooled past beside an exact present is Rae et al. 2019 (1911.05507). */
#include "mech/mech.h"

enum { Q, K, V, W_K, W_V, MASK, OUT };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "D L D",
             "a block to a key; the mean"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "E L E",
             "a block to a value; the mean"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    {0}};

enum { STRIDE, CAUSAL, LOCAL };
static const attn_param params[] = {
    [STRIDE] = {"stride", 'i', "4", NULL, "tokens of a block, L of the weights"},
    [CAUSAL] = {"causal", 'b', "false", NULL, "only blocks before the query's own"},
    [LOCAL] = {"local", 'b', "false", NULL, "the query's own block token by token"},
    {0}};

typedef struct pooled {
    int64_t B, n, stride;
    const uint8_t *shown; /* B n stride: tokens that are there and not hidden */
    const double *share;  /* B n: 1 over how many of a block are */
    const uint8_t *some;  /* B n: any is */
} pooled;

static bool pooled_open(const attn__build *b, pooled *p)
{
    attn_tape *t = b->t;
    const int64_t T = attn__build_size(b, 'T'), B = attn__build_size(b, 'B');
    const bool mean = attn__build_size(b, 'L') < 0;
    const int64_t asked = b->params[STRIDE].i;
    const int64_t stride = mean ? attn__max(attn__min(asked, T), 1) : asked;
    const int64_t n = attn__ceil_div(T, stride);
    const uint8_t *visible = attn__tape_visible(t, b->in[MASK], 1);
    uint8_t *shown = attn__tape_memory(t, B * n * stride, 1);
    uint8_t *some = attn__tape_memory(t, B * n, 1);
    double *share = attn__tape_memory(t, B * n, sizeof *share);
    if (!shown || !some || !share) return false;
    for (int64_t x = 0; x < B * n * stride; x++) {
        const int64_t i = x % (n * stride), row = x / (n * stride) * T + i;
        shown[x] = i < T && (!visible || visible[row]);
        share[x / stride] += shown[x];
    }
    for (int64_t x = 0; x < B * n; x++) {
        some[x] = share[x] > 0;
        share[x] = share[x] > 0 ? 1 / share[x] : 0;
    }
    *p = (pooled){B, n, stride, shown, share, some};
    return true;
}

/* x B H T W -> B H n W. */
static attn_var pooled_blocks(const attn__build *b, const pooled *p, attn_var x, attn_var w)
{
    attn_tape *t = b->t;
    const attn_tensor v = attn_tape_value(t, x);
    if (!attn__present(&v)) return (attn_var){0};
    const int64_t H = v.shape[1], W = v.shape[3], wide = p->stride * W;
    const int64_t shown[] = {p->B, 1, p->n, p->stride, 1}, share[] = {p->B, 1, p->n, 1};
    attn_var y = attn_tape_pad(t, x, 2, 0, p->n * p->stride - v.shape[2], 0);
    y = attn_tape_reshape(t, y, ATTN_DIMS(p->B, H, p->n, p->stride, W));
    y = attn_tape_where(t,
                        attn_tape_input(t, attn_tensor_make((void *)(uintptr_t)p->shown,
                                                            ATTN_DTYPE_U8, 5, shown)),
                        y, attn_tape_scalar(t, 0));
    if (!attn__given(w))
        return attn_tape_mul(t, attn_tape_sum(t, y, ATTN_DIMS(3), false),
                             attn_tape_input(t, attn_tensor_make((void *)(uintptr_t)p->share,
                                                                 ATTN_DTYPE_F64, 4, share)));
    const attn_var none = {0}, flat = attn_tape_reshape(t, w, ATTN_DIMS(W, wide));
    return attn_tape_linear(t, attn_tape_reshape(t, y, ATTN_DIMS(p->B, H, p->n, wide)), flat,
                            none, ATTN_ACT_NONE);
}

static bool pooled_before(int64_t y, int64_t x)
{
    return x < y;
}

static bool pooled_other(int64_t y, int64_t x)
{
    return x != y;
}

static bool pooled_check(const attn__build *b)
{
    const int64_t stride = b->params[STRIDE].i, L = attn__build_size(b, 'L');
    return attn__build_need(b, stride > 0, ATTN_E_PARAM, "stride", "must be positive", 1,
                            stride) &&
           attn__build_need(b, L < 0 || L == stride, ATTN_E_SHAPE, "stride",
                            "must be L of the weights", L, stride);
}

static void pooled_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const bool causal = b->params[CAUSAL].i, local = b->params[LOCAL].i;
    pooled p;
    attn_var part[2], lse[2];
    if (!pooled_check(b) || !pooled_open(b, &p)) return;
    const attn_attention_vars few = {.q = in[Q],
                                     .k = pooled_blocks(b, &p, in[K], in[W_K]),
                                     .v = pooled_blocks(b, &p, in[V], in[W_V])};
    const attn_attention_vars all = {.q = in[Q], .k = in[K], .v = in[V]};
    const attn_spec far = ATTN_SPEC(.block_q = p.stride, .block_k = 1);
    const attn_spec near = ATTN_SPEC(.causal = causal, .chunk = p.stride);
    const attn_var some =
        attn_tape_input(t, attn_tensor_make((void *)(uintptr_t)p.some, ATTN_DTYPE_U8, 2,
                                            (const int64_t[]){p.B, p.n}));
    const attn_tensor kinds =
        causal || local ? attn__blocks_where(t, p.n, p.n, causal ? pooled_before : pooled_other)
                        : (attn_tensor){0};
    part[0] = attn__attend_part(t, &far, &few, some, kinds, &lse[0]);
    if (local) part[1] = attn__attend_part(t, &near, &all, in[MASK], (attn_tensor){0}, &lse[1]);
    b->out[OUT] = local ? attn__merge(t, 2, part, lse) : part[0];
}

const attn_mech attn__mech_pooled = {
    .name = "pooled",
    .family = "lowrank",
    .about = "blocks of tokens become one key and one value each",
    .formula = "out_i = softmax over blocks n of q_i mean_n(k) / sqrt(D), times mean_n(v)",
    .cost = "n^2: time T^2 / stride (D + E), memory T (D + E)",
    .source = "1801.10198",
    .sizes = "B=1,H=2,T=8,D=4,E=4,L=4",
    .grows = "T",
    .example = "compute pooled -s stride=4 -s local=true --random T=16",
    .slots = slots,
    .params = params,
    .traits = ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS |
              ATTN_CAUSAL | ATTN_STEPS,
    .build = pooled_build,
};
