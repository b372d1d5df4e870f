/* SPDX-License-Identifier: MIT
 * Native sparse attention: a summary of everything, the best blocks in full, and a window.
 *
 *     block m of keys i' = m stride ... m stride + block - 1 becomes one key (and value):
 *     kc_m = w2_k gelu(w1_k (k_i' + pos_k)), all i' side by side; without weights their mean
 *     summary   of softmax over blocks m that end at or before i, q_i . kc_m / sqrt(D); vc_m
 *     selected  of softmax over keys j <= i in the `top` blocks of `select` keys chosen for i
 *     window    of softmax over keys i - window < j <= i
 *     out_i = sigmoid(gates_i0) summary + sigmoid(gates_i1) selected + sigmoid(gates_i2) window
 *
 * What is chosen. With p the summary's weights, block j of select keys is worth
 *
 *     imp_j = sum over heads of the group, sum over m of p_m overlap(m, j) / stride
 *
 * where overlap counts the keys that m and j share (the paper's double sum when stride divides
 * both sizes; public code improvises here). Of the blocks that begin at or before i, the
 * `first` ones and the `local` last ones are always taken, then those worth most, `top` in all;
 * ties go to the lower block. All heads of a group share a choice, which carries no gradient.
 *
 * q B H T D, k B G T D, v B G T E, gates B H T 3, usually a small network of the token. Causal
 * by nature; strict asks of a block that it ends before i. A query before the end of the first
 * block has no summary: 0. Activation and the missing biases of the two-layer network are our
 * choice, the paper leaves them open. Selected keys are gathered for each query, so sizes down
 * to single keys cost what they list; the choice itself reads every summary: n^2 / stride.
 * Yuan et al. 2025 (2502.11089). */
#include "mech/mech.h"

enum { Q, K, V, GATES, POS_K, W1_K, W2_K, POS_V, W1_V, W2_V, OUT };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B G T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B G T E", "values"},
    [GATES] = {"gates", ATTN_IN | ATTN_GRAD, "B H T 3",
               "of summary, selected, window; before the sigmoid"},
    [POS_K] = {"pos_k", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "L D",
               "added to the keys of a block by their place in it"},
    [W1_K] = {"w1_k", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "M L D",
              "a block of keys to M features; with w2_k"},
    [W2_K] = {"w2_k", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "D M", "those to a key"},
    [POS_V] = {"pos_v", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "L E", "the same for values"},
    [W1_V] = {"w1_v", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "M L E", "with w2_v"},
    [W2_V] = {"w2_v", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "E M", "to a value"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    {0}};

enum { BLOCK, STRIDE, SELECT, TOP, FIRST, LOCAL, WINDOW, STRICT };
static const attn_param params[] = {
    [BLOCK] = {"block", 'i', "32", NULL, "keys in a summary, L of the weights"},
    [STRIDE] = {"stride", 'i', "16", NULL, "from one summary to the next"},
    [SELECT] = {"select", 'i', "64", NULL, "keys of a block that can be selected"},
    [TOP] = {"top", 'i', "16", NULL, "blocks selected"},
    [FIRST] = {"first", 'i', "1", NULL, "of these, always the first ones"},
    [LOCAL] = {"local", 'i', "2", NULL, "and always the last ones"},
    [WINDOW] = {"window", 'i', "512", NULL,
                "last keys of the window, the query's own among them"},
    [STRICT] = {"strict", 'b', "false", NULL, "a summary is seen one token later"},
    {0}};

enum { NATIVE_ROWS = 64 }; /* queries that are done together */

typedef struct native_sparse {
    int64_t B, H, G, T, n; /* n summaries */
    int64_t block, stride, select, top, first, local;
    bool strict;
    int32_t *chosen; /* B G T top, ascending; -1: fewer */
} native_sparse;

/* Summaries that query i sees. */
static int64_t native_sparse_seen(const native_sparse *p, int64_t i)
{
    const int64_t last = i - p->strict - p->block + 1;
    return last < 0 ? 0 : attn__min(last / p->stride + 1, p->n);
}

/* ---- summaries --------------------------------------------------------------------------- */

/* x B G T W -> B G n W. */
static attn_var native_sparse_squash(const attn__build *b, const native_sparse *p, attn_var x,
                                     const attn_var *weights)
{
    attn_tape *t = b->t;
    const attn_tensor v = attn_tape_value(t, x);
    if (!attn__present(&v)) return (attn_var){0};
    const int64_t count = p->B * p->G * p->n * p->block, W = v.shape[3];
    int64_t *ids = attn__tape_memory(t, count, sizeof *ids);
    for (int64_t y = 0; ids && y < count; y++)
        ids[y] = y / p->block / p->n * p->T + y / p->block % p->n * p->stride + y % p->block;
    attn_var at = attn__tape_ids(t, ids, ATTN_DIMS(p->B, p->G, p->n, p->block));
    attn_var y = attn_tape_embedding(t, attn__tape_rows(t, x), at, -1);
    if (attn__given(weights[0])) y = attn_tape_add(t, y, weights[0]);
    if (!attn__given(weights[1])) return attn_tape_mean(t, y, ATTN_DIMS(3), false);
    const attn_tensor w = attn_tape_value(t, weights[1]);
    const attn_var none = {0};
    const int64_t wide = p->block * W;
    y = attn_tape_reshape(t, y, ATTN_DIMS(p->B, p->G, p->n, wide));
    y = attn_tape_linear(t, y, attn_tape_reshape(t, weights[1], ATTN_DIMS(w.shape[0], wide)),
                         none, ATTN_ACT_GELU);
    return attn_tape_linear(t, y, weights[2], none, ATTN_ACT_NONE);
}

/* A group: NATIVE_ROWS queries of a head, and the summaries that the last of them sees. */
static int64_t native_sparse_blocks(const native_sparse *p)
{
    return attn__ceil_div(p->T, NATIVE_ROWS);
}

static int64_t native_sparse_rows(const void *user, int64_t g, int64_t *rows)
{
    const native_sparse *p = user;
    const int64_t n = native_sparse_blocks(p), from = g % n * NATIVE_ROWS;
    const int64_t to = attn__min(from + NATIVE_ROWS, p->T);
    for (int64_t i = from; rows && i < to; i++) rows[i - from] = g / n * p->T + i;
    return to - from;
}

static int64_t native_sparse_summaries(const void *user, int64_t g, int64_t *rows)
{
    const native_sparse *p = user;
    const int64_t n = native_sparse_blocks(p), head = g / n;
    const int64_t to = attn__min((g % n + 1) * NATIVE_ROWS, p->T);
    const int64_t seen = native_sparse_seen(p, to - 1);
    const int64_t base = (head / p->H * p->G + head % p->H / (p->H / p->G)) * p->n;
    for (int64_t m = 0; rows && m < seen; m++) rows[m] = base + m;
    return seen;
}

static void native_sparse_sees(const void *user, int64_t g, int64_t q, int64_t n,
                               const int64_t *k, uint8_t *flags)
{
    const native_sparse *p = user;
    const int64_t seen = native_sparse_seen(p, q % p->T);
    (void)g, (void)k;
    for (int64_t m = 0; m < attn__min(seen, n); m++) flags[m] = 1;
}

static attn_var native_sparse_summary(const attn__build *b, const native_sparse *p,
                                      attn_var keys, attn_var values)
{
    const attn__groups g = {.n = p->B * p->H * native_sparse_blocks(p),
                            .per = p->H * native_sparse_blocks(p),
                            .q = native_sparse_rows,
                            .k = native_sparse_summaries,
                            .sees = native_sparse_sees,
                            .user = p};
    const attn_attention_vars rows = {.q = attn__tape_rows(b->t, b->in[Q]),
                                      .k = attn__tape_rows(b->t, keys),
                                      .v = attn__tape_rows(b->t, values)};
    return attn__rows_back(b->t, attn__attend_groups(b->t, NULL, &rows, &g, NULL), &g,
                           native_sparse_rows, ATTN_DIMS(p->B, p->H, p->T));
}

/* ---- the choice -------------------------------------------------------------------------- */

/* Adds what the weights w of one head are worth to the blocks. */
static void native_sparse_worth(const native_sparse *p, const double *w, int64_t i,
                                double *worth)
{
    for (int64_t m = 0; m < native_sparse_seen(p, i); m++) {
        const int64_t from = m * p->stride, to = from + p->block;
        for (int64_t j = from / p->select; j * p->select < to; j++) {
            const int64_t low = attn__max(from, j * p->select);
            const int64_t high = attn__min(to, (j + 1) * p->select);
            worth[j] += w[m] * ((double)(high - low) / (double)p->stride);
        }
    }
}

/* Puts j among the best n, which fall; returns how many there are then. */
static int64_t native_sparse_insert(const double *worth, int32_t *best, int64_t n, int64_t most,
                                    int64_t j)
{
    if (n == most && (n == 0 || !(worth[j] > worth[best[n - 1]]))) return n;
    int64_t at = n < most ? n : n - 1;
    for (; at > 0 && worth[j] > worth[best[at - 1]]; at--) best[at] = best[at - 1];
    best[at] = (int32_t)j;
    return n < most ? n + 1 : n;
}

/* The top blocks of `count` by worth, ascending. */
static void native_sparse_take(const native_sparse *p, int64_t count, double *worth,
                               int32_t *chosen)
{
    int64_t n = 0;
    for (int64_t j = 0; j < count; j++) {
        if (j < p->first || j >= count - p->local) worth[j] = 0x1p1000;
        n = native_sparse_insert(worth, chosen, n, p->top, j);
    }
    for (int64_t x = 1; x < n; x++) { /* by insertion: they are few */
        const int32_t j = chosen[x];
        int64_t at = x;
        for (; at > 0 && chosen[at - 1] > j; at--) chosen[at] = chosen[at - 1];
        chosen[at] = j;
    }
    while (n < p->top) chosen[n++] = -1;
}

/* The scratch of the choice. */
typedef struct native_sparse_scratch {
    attn_var q, keys; /* without gradient */
    double *weights;  /* B H rows n, of the n summaries that the last row sees */
    double *worth;    /* of the blocks that can be selected */
    uint8_t *mask;    /* rows n */
} native_sparse_scratch;

/* Weights of queries from .. to over the first n summaries. */
static bool native_sparse_weights(attn_tape *t, const native_sparse *p,
                                  const native_sparse_scratch *s, int64_t from, int64_t to,
                                  int64_t n)
{
    const int64_t rows = to - from;
    for (int64_t x = 0; x < rows * n; x++)
        s->mask[x] = x % n < native_sparse_seen(p, from + x / n);
    const attn_var q = attn_tape_slice(t, s->q, 2, from, to);
    const attn_var keys = attn_tape_slice(t, s->keys, 2, 0, n);
    const attn_attention_vars vars = {.q = q, .k = keys, .v = keys};
    const attn_args args =
        ATTN_ARGS(.weights = attn_tensor_make(s->weights, ATTN_DTYPE_F64, 4,
                                              (const int64_t[]){p->B, p->H, rows, n}),
                  .mask =
                      attn_tensor_make(s->mask, ATTN_DTYPE_U8, 2, (const int64_t[]){rows, n}));
    const attn_var out = attn_tape_attention(t, NULL, &vars, &args, NULL);
    attn_tape_drop(t, q);
    attn_tape_drop(t, keys);
    attn_tape_drop(t, out);
    return attn_tape_status(t, NULL) == ATTN_OK;
}

/* Queries from .. to of every group choose. */
static void native_sparse_choose(const native_sparse *p, const native_sparse_scratch *s,
                                 int64_t from, int64_t to, int64_t n)
{
    const int64_t rows = to - from, heads = p->H / p->G;
    for (int64_t x = 0; x < p->B * p->G * rows; x++) {
        const int64_t group = x / rows, i = from + x % rows, count = i / p->select + 1;
        for (int64_t j = 0; j < count; j++) s->worth[j] = 0;
        for (int64_t h = group * heads; h < (group + 1) * heads; h++)
            native_sparse_worth(p, s->weights + (h * rows + i - from) * n, i, s->worth);
        native_sparse_take(p, count, s->worth, p->chosen + (group * p->T + i) * p->top);
    }
}

static bool native_sparse_choices(const attn__build *b, native_sparse *p, attn_var keys)
{
    attn_tape *t = b->t;
    const int64_t room = attn__min(NATIVE_ROWS, p->T);
    const native_sparse_scratch s = {
        .q = attn_tape_stop(t, b->in[Q]),
        .keys = attn_tape_stop(t, keys),
        .weights = attn__tape_memory(t, p->B * p->H * room * p->n, sizeof *s.weights),
        .worth = attn__tape_memory(t, p->T / p->select + 2, sizeof *s.worth),
        .mask = attn__tape_memory(t, room * p->n, 1)};
    p->chosen = attn__tape_memory(t, p->B * p->G * p->T * p->top, sizeof *p->chosen);
    if (!s.weights || !s.worth || !s.mask || !p->chosen) return false;
    for (int64_t from = 0; from < p->T; from += NATIVE_ROWS) {
        const int64_t to = attn__min(from + NATIVE_ROWS, p->T);
        const int64_t n = native_sparse_seen(p, to - 1);
        if (n > 0 && !native_sparse_weights(t, p, &s, from, to, n)) return false;
        native_sparse_choose(p, &s, from, to, n);
    }
    return attn_tape_status(t, NULL) == ATTN_OK;
}

/* ---- selected keys: a group is the heads of one query ------------------------------------ */

static int64_t native_sparse_heads(const void *user, int64_t g, int64_t *rows)
{
    const native_sparse *p = user;
    const int64_t heads = p->H / p->G;
    for (int64_t h = 0; rows && h < heads; h++)
        rows[h] = (g / p->T * heads + h) * p->T + g % p->T;
    return heads;
}

static int64_t native_sparse_keys(const void *user, int64_t g, int64_t *rows)
{
    const native_sparse *p = user;
    const int32_t *chosen = p->chosen + g * p->top;
    const int64_t i = g % p->T;
    int64_t n = 0;
    for (int64_t c = 0; c < p->top && chosen[c] >= 0; c++) {
        const int64_t from = chosen[c] * p->select, to = attn__min(from + p->select, i + 1);
        for (int64_t j = from; rows && j < to; j++) rows[n + j - from] = g - i + j;
        n += to - from;
    }
    return n;
}

static attn_var native_sparse_selected(const attn__build *b, const native_sparse *p)
{
    const attn__groups g = {.n = p->B * p->G * p->T,
                            .per = p->G * p->T,
                            .q = native_sparse_heads,
                            .k = native_sparse_keys,
                            .user = p};
    const attn_attention_vars rows = {.q = attn__tape_rows(b->t, b->in[Q]),
                                      .k = attn__tape_rows(b->t, b->in[K]),
                                      .v = attn__tape_rows(b->t, b->in[V])};
    return attn__rows_back(b->t, attn__attend_groups(b->t, NULL, &rows, &g, NULL), &g,
                           native_sparse_heads, ATTN_DIMS(p->B, p->H, p->T));
}

/* ---- build ------------------------------------------------------------------------------- */

static bool native_sparse_positive(const attn__build *b)
{
    bool ok = true;
    for (int i = BLOCK; ok && i <= WINDOW; i++)
        ok = attn__build_need(b, b->params[i].i >= (i == FIRST || i == LOCAL ? 0 : 1),
                              ATTN_E_PARAM, params[i].name, "is too small",
                              i == FIRST || i == LOCAL ? 0 : 1, b->params[i].i);
    return ok;
}

static bool native_sparse_check(const attn__build *b)
{
    const int64_t H = attn__build_size(b, 'H'), G = attn__build_size(b, 'G');
    const int64_t L = attn__build_size(b, 'L'), block = b->params[BLOCK].i;
    const attn_var *in = b->in;
    return native_sparse_positive(b) &&
           attn__build_need(b, G > 0 && H % G == 0, ATTN_E_HEADS, "k",
                            "its heads must divide those of q", H, G) &&
           attn__build_need(b, L < 0 || L == block, ATTN_E_SHAPE, "block",
                            "must be L of the weights", L, block) &&
           attn__build_need(b, attn__given(in[W1_K]) == attn__given(in[W2_K]), ATTN_E_NULL,
                            "w1_k", "w1_k and w2_k go together", 1, 0) &&
           attn__build_need(b, attn__given(in[W1_V]) == attn__given(in[W2_V]), ATTN_E_NULL,
                            "w1_v", "w1_v and w2_v go together", 1, 0);
}

static attn_var native_sparse_gate(const attn__build *b, int64_t branch, attn_var x)
{
    const attn_var gate = attn_tape_slice(b->t, b->in[GATES], -1, branch, branch + 1);
    return attn_tape_mul(b->t, attn_tape_sigmoid(b->t, gate), x);
}

static void native_sparse_build(const attn__build *b)
{
    attn_tape *t = b->t;
    if (!native_sparse_check(b)) return;
    native_sparse p = {.B = attn__build_size(b, 'B'),
                       .H = attn__build_size(b, 'H'),
                       .G = attn__build_size(b, 'G'),
                       .T = attn__build_size(b, 'T'),
                       .block = b->params[BLOCK].i,
                       .stride = b->params[STRIDE].i,
                       .select = b->params[SELECT].i,
                       .first = b->params[FIRST].i,
                       .local = b->params[LOCAL].i,
                       .strict = b->params[STRICT].i};
    p.n = p.T < p.block ? 0 : (p.T - p.block) / p.stride + 1;
    p.top = attn__min(b->params[TOP].i, attn__ceil_div(p.T, p.select));
    const attn_var keys = native_sparse_squash(b, &p, b->in[K], &b->in[POS_K]);
    const attn_var values = native_sparse_squash(b, &p, b->in[V], &b->in[POS_V]);
    if (!native_sparse_choices(b, &p, keys)) return;
    const native_sparse *kept = attn__tape_keep(t, &p, sizeof p);
    if (!kept) return;
    const attn_spec near =
        ATTN_SPEC(.window = {.on = true, .left = b->params[WINDOW].i - 1, .right = 0});
    const attn_attention_vars vars = {.q = b->in[Q], .k = b->in[K], .v = b->in[V]};
    const attn_var window = attn__attend(t, &near, &vars, (attn_var){0}, (attn_tensor){0});
    attn_var out = native_sparse_gate(b, 0, native_sparse_summary(b, kept, keys, values));
    out = attn_tape_add(t, out, native_sparse_gate(b, 1, native_sparse_selected(b, kept)));
    b->out[OUT] = attn_tape_add(t, out, native_sparse_gate(b, 2, window));
}

const attn_mech attn__mech_native_sparse = {
    .name = "native_sparse",
    .family = "sparse",
    .about = "a summary of everything, the best blocks in full, and a window, gated",
    .formula =
        "out = g0 softmax(q kc) vc + g1 softmax(q k_top) v_top + g2 softmax(q k_near) v_near",
    .cost = "n^2: time T (T / stride + top select + window) (D + E), memory T (D + E + top)",
    .source = "2502.11089",
    .sizes = "B=1,H=2,G=1,T=8,D=4,E=4,L=32,M=4",
    .grows = "T",
    .example = "compute native_sparse -s block=4 -s stride=2 -s select=4 -s top=2 -s local=1 "
               "-s window=3 --random T=16,H=2,G=1",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = native_sparse_build,
};
