/* SPDX-License-Identifier: MIT
 * Longformer: a sliding window, and a few global tokens that see everything and that everything
 * sees.
 *
 *     i not global:  softmax over { |i - j| <= window } and { j global } of q_i . k_j / sqrt(D)
 *     i global:      softmax over all j of q_global_i . k_global_j / sqrt(D), times v_global
 *
 * q, k B H T D, v B H T E; global B T marks tokens of each sequence (absent: none), usually the
 * first one, or those of a question. A window with dilation sees the multiples of it; heads of
 * higher layers use larger ones. Queries of global tokens have projections of their own, and
 * keys and values for these queries too; where one of the three is not given, q, k or v serves.
 * What other tokens see of a global token is its ordinary k and v, in one softmax with the
 * window. mask B T hides keys. Beltagy et al. 2020 (2004.05150); the released weights start
 * the global projections as copies of the local ones. */
#include "mech/mech.h"

enum { Q, K, V, GLOBAL, Q_GLOBAL, K_GLOBAL, V_GLOBAL, MASK, OUT, PATTERN };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [GLOBAL] = {"global", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "true: a global token"},
    [Q_GLOBAL] = {"q_global", ATTN_IN | ATTN_OPTIONAL | ATTN_GRAD, "B H T D",
                  "queries of global tokens"},
    [K_GLOBAL] = {"k_global", ATTN_IN | ATTN_OPTIONAL | ATTN_GRAD, "B H T D", "keys for them"},
    [V_GLOBAL] = {"v_global", ATTN_IN | ATTN_OPTIONAL | ATTN_GRAD, "B H T E",
                  "values for them"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [PATTERN] = {"pattern", ATTN_OUT | ATTN_OPTIONAL | ATTN_FLAGS, "B T T",
                 "which key each query may see"},
    {0}};

enum { WINDOW, DILATION };
static const attn_param params[] = {
    [WINDOW] = {"window", 'i', "64", NULL, "keys seen on each side, besides the query's own"},
    [DILATION] = {"dilation", 'i', "1", NULL, "from one seen key to the next"},
    {0}};

typedef struct longformer {
    int64_t T, H, window, dilation;
    const uint8_t *global; /* by row b T + i */
} longformer;

static bool longformer_sees(const void *user, const int64_t *at)
{
    const longformer *p = user;
    const int64_t apart = at[1] - at[2], steps = apart / p->dilation;
    return p->global[at[0] * p->T + at[1]] || p->global[at[0] * p->T + at[2]] ||
           (apart % p->dilation == 0 && steps <= p->window && -steps <= p->window);
}

static int64_t longformer_all(const void *user, int64_t g, int64_t *rows)
{
    const longformer *p = user;
    for (int64_t i = 0; rows && i < p->T; i++) rows[i] = g * p->T + i;
    return p->T;
}

static int64_t longformer_globals(const void *user, int64_t g, int64_t *rows)
{
    const longformer *p = user;
    int64_t n = 0;
    for (int64_t i = 0; i < p->T; i++) {
        if (!p->global[g / p->H * p->T + i]) continue;
        if (rows) rows[n] = g * p->T + i;
        n++;
    }
    return n;
}

/* The mask without the global tokens, which have a part of their own. */
static attn_var longformer_locals(const attn__build *b, const longformer *p)
{
    const int64_t shape[] = {attn__build_size(b, 'B'), p->T}, n = shape[0] * p->T;
    const uint8_t *visible = attn__tape_visible(b->t, b->in[MASK], 1);
    uint8_t *flags = attn__tape_memory(b->t, n, 1);
    for (int64_t i = 0; flags && i < n; i++)
        flags[i] = !p->global[i] && (!visible || visible[i]);
    return attn_tape_input(b->t, attn_tensor_make(flags, ATTN_DTYPE_U8, 2, shape));
}

/* Everything asks everything, but one of the two sides is the global tokens alone. */
static attn_var longformer_part(const attn__build *b, const longformer *p,
                                const attn_attention_vars *vars, attn__rows_fn q,
                                attn__rows_fn k, attn_var *lse)
{
    const attn__groups g = {.n = attn__build_size(b, 'B') * p->H,
                            .per = p->H,
                            .q = q,
                            .k = k,
                            .user = p,
                            .visible = attn__tape_visible(b->t, b->in[MASK], p->H)};
    const attn_attention_vars rows = {.q = attn__tape_rows(b->t, vars->q),
                                      .k = attn__tape_rows(b->t, vars->k),
                                      .v = attn__tape_rows(b->t, vars->v)};
    return attn__attend_groups(b->t, NULL, &rows, &g, lse);
}

/* Window and global keys, as one softmax. B H T E. */
static attn_var longformer_local(const attn__build *b, const longformer *p)
{
    attn_tape *t = b->t;
    const attn_attention_vars vars = {.q = b->in[Q], .k = b->in[K], .v = b->in[V]};
    const attn_dims shape = ATTN_DIMS(attn__build_size(b, 'B'), p->H, p->T);
    const attn_spec near =
        ATTN_SPEC(.window = {.on = true, .left = p->window, .right = p->window});
    attn_var part[2], lse[2];
    part[0] =
        attn__attend_classes(t, &near, &vars, longformer_locals(b, p), p->dilation, &lse[0]);
    part[1] = longformer_part(b, p, &vars, longformer_all, longformer_globals, &lse[1]);
    lse[1] = attn_tape_reshape(t, lse[1], shape);
    part[1] = attn_tape_reshape(t, part[1],
                                ATTN_DIMS(shape.at[0], p->H, p->T, attn__build_size(b, 'E')));
    return attn__merge(t, 2, part, lse);
}

/* Rows of local, those of global tokens replaced by the answers that are listed. */
static attn_var longformer_join(const attn__build *b, const longformer *p, attn_var local,
                                attn_var listed)
{
    const int64_t B = attn__build_size(b, 'B'), n = B * p->H * p->T;
    int64_t *ids = attn__tape_memory(b->t, n, sizeof *ids), next = n;
    for (int64_t i = 0; ids && i < n; i++)
        ids[i] = p->global[i / p->T / p->H * p->T + i % p->T] ? next++ : i;
    const attn_var both[] = {attn__tape_rows(b->t, local), listed};
    return attn_tape_embedding(b->t, attn_tape_concat(b->t, 2, both, 0),
                               attn__tape_ids(b->t, ids, ATTN_DIMS(B, p->H, p->T)), -1);
}

static attn_var longformer_or(attn_var x, attn_var other)
{
    return attn__given(x) ? x : other;
}

static const longformer *longformer_open(const attn__build *b)
{
    const attn_value *p = b->params;
    const int64_t rows = attn__build_size(b, 'B') * attn__build_size(b, 'T');
    if (!attn__build_need(b, p[WINDOW].i >= 0, ATTN_E_PARAM, "window", "must not be negative",
                          0, p[WINDOW].i) ||
        !attn__build_need(b, p[DILATION].i > 0, ATTN_E_PARAM, "dilation", "must be positive", 1,
                          p[DILATION].i))
        return NULL;
    const longformer all = {.T = attn__build_size(b, 'T'),
                            .H = attn__build_size(b, 'H'),
                            .window = p[WINDOW].i,
                            .dilation = p[DILATION].i,
                            .global = attn__given(b->in[GLOBAL])
                                          ? attn__tape_visible(b->t, b->in[GLOBAL], 1)
                                          : attn__tape_memory(b->t, rows, 1)};
    return all.global ? attn__tape_keep(b->t, &all, sizeof all) : NULL;
}

static void longformer_build(const attn__build *b)
{
    const attn_var *in = b->in;
    const longformer *p = longformer_open(b);
    if (!p) return;
    const attn_attention_vars vars = {.q = longformer_or(in[Q_GLOBAL], in[Q]),
                                      .k = longformer_or(in[K_GLOBAL], in[K]),
                                      .v = longformer_or(in[V_GLOBAL], in[V])};
    attn__build_flags(b, PATTERN, longformer_sees, p);
    b->out[OUT] =
        longformer_join(b, p, longformer_local(b, p),
                        longformer_part(b, p, &vars, longformer_globals, longformer_all, NULL));
}

const attn_mech attn__mech_longformer = {
    .name = "longformer",
    .family = "sparse",
    .about = "a sliding window and global tokens with projections of their own",
    .formula =
        "out_i = softmax_N(q_i k_j / sqrt(D)) v_j, N: |i - j| <= window, or i or j global",
    .cost = "n k: time T (window + globals) (D + E), memory T (D + E)",
    .source = "2004.05150",
    .sizes = "B=1,H=2,T=8,D=4,E=4",
    .grows = "T",
    .example = "compute longformer -s window=1 --random T=8 --want out,pattern",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = longformer_build,
};
