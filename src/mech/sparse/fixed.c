/* SPDX-License-Identifier: MIT
 * Fixed sparse attention: the query's own block, and summary columns of all blocks before.
 *
 *     own(i)     = { j <= i : floor(j / block) = floor(i / block) }
 *     columns(i) = { j <= i : j mod block >= block - summary }
 *
 * q, k B H T D, v B H T E, causal always. Layers above put into the last `summary` tokens of a
 * block what later blocks should know of it. sets=merged: one softmax over both sets;
 * sets=alternate: heads 0, 2 ... see own, heads 1, 3 ... see columns alone, and their rows
 * before the first column see nothing and give 0. mask B T hides keys.
 * Columns of earlier blocks are gathered; whole blocks of queries see whole blocks of them.
 * Child et al. 2019 (1904.10509). */
#include "mech/mech.h"

enum { Q, K, V, MASK, OUT, PATTERN };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [PATTERN] = {"pattern", ATTN_OUT | ATTN_OPTIONAL | ATTN_FLAGS, "H T T",
                 "which key each query may see"},
    {0}};

enum { BLOCK, SUMMARY, SETS };
enum { MERGED, ALTERNATE };
static const attn_param params[] = {
    [BLOCK] = {"block", 'i', "64", NULL, "tokens of a block"},
    [SUMMARY] = {"summary", 'i', "8", NULL, "tokens at its end that later blocks see"},
    [SETS] = {"sets", 'e', "merged", "merged|alternate", "which keys a head sees"},
    {0}};

static bool fixed_column(const attn_value *p, int64_t j)
{
    return j % p[BLOCK].i >= p[BLOCK].i - p[SUMMARY].i;
}

static bool fixed_sees(const void *user, const int64_t *at)
{
    const attn_value *p = user;
    const bool own = at[1] / p[BLOCK].i == at[2] / p[BLOCK].i, column = fixed_column(p, at[2]);
    if (at[2] > at[1]) return false;
    return p[SETS].i == MERGED ? own || column : at[0] % 2 ? column : own;
}

/* B n: whether mask allows the keys of ids (NULL: all); columns: and they are columns. */
static attn_var fixed_mask(const attn__build *b, const int64_t *ids, int64_t n, bool columns)
{
    const attn_tensor m = attn_tape_value(b->t, b->in[MASK]);
    const int64_t B = attn__build_size(b, 'B');
    if (!attn__present(&m) && !columns) return (attn_var){0};
    uint8_t *flags = attn__tape_memory(b->t, B * n, 1);
    if (!flags) return (attn_var){0};
    for (int64_t x = 0; x < B * n; x++) {
        const int64_t j = ids ? ids[x % n] : x % n;
        flags[x] = !columns || fixed_column(b->params, j);
        if (attn__present(&m))
            flags[x] &=
                attn__get_int(m.dtype, m.data, x / n * m.stride[0] + j * m.stride[1]) != 0;
    }
    return attn_tape_input(b->t,
                           attn_tensor_make(flags, ATTN_DTYPE_U8, 2, (const int64_t[]){B, n}));
}

static attn_var fixed_own(const attn__build *b, const attn_attention_vars *vars, bool columns,
                          attn_var *lse)
{
    const attn_spec spec = ATTN_SPEC(.causal = true, .chunk = b->params[BLOCK].i);
    const attn_var mask = fixed_mask(b, NULL, attn__build_size(b, 'T'), columns);
    return attn__attend_part(b->t, &spec, vars, mask, (attn_tensor){0}, lse);
}

static bool fixed_before(int64_t y, int64_t x)
{
    return x < y;
}

static attn_var fixed_columns(const attn__build *b, const attn_attention_vars *vars,
                              attn_var *lse)
{
    const int64_t size = attn__min(b->params[BLOCK].i, attn__max(attn__build_size(b, 'T'), 1));
    const int64_t summary = attn__min(b->params[SUMMARY].i, size);
    const int64_t blocks = attn__ceil_div(attn__build_size(b, 'T'), size);
    const int64_t n = attn__max(blocks - 1, 0) * summary; /* nothing is behind the last block */
    int64_t *ids = attn__tape_memory(b->t, n, sizeof *ids);
    for (int64_t x = 0; ids && x < n; x++)
        ids[x] = x / summary * size + size - summary + x % summary;
    const attn_var at = attn__tape_ids(b->t, ids, ATTN_DIMS(n));
    const attn_attention_vars few = {.q = vars->q,
                                     .k = attn_tape_index_select(b->t, vars->k, 2, at),
                                     .v = attn_tape_index_select(b->t, vars->v, 2, at)};
    const attn_spec spec = ATTN_SPEC(.block_q = size, .block_k = summary);
    return attn__attend_part(
        b->t, &spec, &few, fixed_mask(b, ids, n, false),
        attn__blocks_where(b->t, blocks, attn__max(blocks - 1, 0), fixed_before), lse);
}

/* The query's block, or its columns alone, and the columns before. */
static attn_var fixed_both(const attn__build *b, const attn_attention_vars *vars, bool columns)
{
    attn_var part[2], lse[2];
    part[0] = fixed_own(b, vars, columns, &lse[0]);
    part[1] = fixed_columns(b, vars, &lse[1]);
    return attn__merge(b->t, 2, part, lse);
}

static void fixed_build(const attn__build *b)
{
    const int64_t block = b->params[BLOCK].i, summary = b->params[SUMMARY].i;
    const attn_attention_vars all = {.q = b->in[Q], .k = b->in[K], .v = b->in[V]};
    if (!attn__build_need(b, block > 0, ATTN_E_PARAM, "block", "must be positive", 1, block) ||
        !attn__build_need(b, summary > 0 && summary <= block, ATTN_E_PARAM, "summary",
                          "must be between 1 and block", block, summary))
        return;
    attn__build_flags(b, PATTERN, fixed_sees, b->params);
    if (b->params[SETS].i == MERGED) {
        b->out[OUT] = fixed_both(b, &all, false);
        return;
    }
    const attn_attention_vars even = attn__heads_every_other(b->t, &all, 0);
    const attn_attention_vars odd = attn__heads_every_other(b->t, &all, 1);
    b->out[OUT] = attn__heads_alternate(b->t, fixed_own(b, &even, false, NULL),
                                        fixed_both(b, &odd, true));
}

const attn_mech attn__mech_fixed = {
    .name = "fixed",
    .family = "sparse",
    .about = "the query's own block and the last columns of every block before",
    .formula = "out_i = softmax_N(q_i k_j / sqrt(D)) v_j, N: the block of i, or the last "
               "`summary` keys of one before",
    .cost = "n sqrt n: time T (block + T summary / block) (D + E), memory T (D + E)",
    .source = "1904.10509",
    .sizes = "B=1,H=2,T=8,D=4,E=4",
    .grows = "T",
    .example = "compute fixed -s block=4 -s summary=1 --random T=12 --want out,pattern",
    .slots = slots,
    .params = params,
    .traits = ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS |
              ATTN_CAUSAL | ATTN_STEPS,
    .build = fixed_build,
};
