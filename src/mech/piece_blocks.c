/* SPDX-License-Identifier: MIT
 * Blocks of queries that see lists of blocks of keys. A block of queries is a group; its keys
 * are those of the listed blocks behind each other, so that what is not listed costs nothing
 * but the question. A block that lists nothing gives 0. */
#include "mech/mech.h"

static int64_t blocks_count(const attn__blocks *p)
{
    return attn__ceil_div(p->T, p->size_q);
}

static int64_t blocks_queries(const void *user, int64_t g, int64_t *rows)
{
    const attn__blocks *p = user;
    const int64_t n = blocks_count(p), from = g % n * p->size_q;
    const int64_t to = attn__min(from + p->size_q, p->T);
    for (int64_t i = from; rows && i < to; i++) rows[i - from] = g / n * p->T + i;
    return to - from;
}

static int64_t blocks_keys(const void *user, int64_t g, int64_t *rows)
{
    const attn__blocks *p = user;
    const int64_t n = blocks_count(p), y = g % n, h = g / n % p->H, base = g / n * p->S;
    int64_t end = p->S, count = 0;
    if (p->causal) end = attn__min(end, (y + 1) * p->size_q);
    for (int64_t x = 0; x * p->size_k < end; x++) {
        const int64_t from = x * p->size_k, to = attn__min(from + p->size_k, p->S);
        if (!p->listed(p->user, h, y, x)) continue;
        for (int64_t j = from; rows && j < to; j++) rows[count + j - from] = base + j;
        count += to - from;
    }
    return count;
}

static void blocks_causal(const void *user, int64_t g, int64_t q, int64_t n, const int64_t *k,
                          uint8_t *flags)
{
    const attn__blocks *p = user;
    const int64_t last = q / p->T * p->S + q % p->T;
    (void)g;
    for (int64_t j = 0; j < n; j++) flags[j] = k[j] <= last;
}

attn_var attn__attend_blocks(attn_tape *t, const attn_attention_vars *vars, attn_var mask,
                             const attn__blocks *blocks)
{
    const attn_tensor q = attn_tape_value(t, vars->q);
    if (!attn__present(&q)) return (attn_var){0};
    const int64_t B = q.shape[0], n = blocks->H * blocks_count(blocks);
    const attn__groups groups = {.n = B * n,
                                 .per = n,
                                 .q = blocks_queries,
                                 .k = blocks_keys,
                                 .sees = blocks->causal ? blocks_causal : NULL,
                                 .user = attn__tape_keep(t, blocks, sizeof *blocks),
                                 .visible = attn__tape_visible(t, mask, blocks->H)};
    const attn_attention_vars rows = {.q = attn__tape_rows(t, vars->q),
                                      .k = attn__tape_rows(t, vars->k),
                                      .v = attn__tape_rows(t, vars->v)};
    const attn_var o = attn__attend_groups(t, NULL, &rows, &groups, NULL);
    return attn__rows_back(t, o, &groups, blocks_queries, ATTN_DIMS(B, blocks->H, blocks->T));
}

attn_tensor attn__blocks_where(attn_tape *t, int64_t n_y, int64_t n_x,
                               bool (*seen)(int64_t y, int64_t x))
{
    uint8_t *kinds = attn__tape_memory(t, n_y * n_x, 1);
    for (int64_t i = 0; kinds && i < n_y * n_x; i++)
        kinds[i] = seen(i / n_x, i % n_x) ? ATTN_TILE_PARTIAL : ATTN_TILE_EMPTY;
    return attn_tensor_make(kinds, ATTN_DTYPE_U8, 4, (const int64_t[]){1, 1, n_y, n_x});
}
