/* SPDX-License-Identifier: MIT
 * Sizes and sequences. Tile edges, chunk edges, primes and zeros come up on purpose; most cases
 * are tiny, so that many fit into a run. */
#include "support/draw.h"

#define SHAPE_PICK(d, list) test_rng_pick(&(d)->rng, list, sizeof(list) / sizeof(list)[0])

static const int64_t lengths_tiny[] = {1, 2, 3, 4, 5, 7, 8, 9};
static const int64_t lengths_tile[] = {15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65, 100};
static const int64_t lengths_long[] = {255, 256, 257, 258, 511, 512, 513, 600, 1025};
static const int64_t widths_usual[] = {48, 64, 65, 80, 96, 128};
static const int64_t widths_wide[] = {127, 192, 256, 259, 1024};

static int64_t shape_length(draw *d)
{
    int64_t roll = test_rng_range(&d->rng, 0, 99);
    if (roll < 1) return 0;
    if (roll < 50) return SHAPE_PICK(d, lengths_tiny);
    if (roll < 93) return SHAPE_PICK(d, lengths_tile);
    return SHAPE_PICK(d, lengths_long);
}

static int64_t shape_width(draw *d)
{
    int64_t roll = test_rng_range(&d->rng, 0, 199);
    if (roll < 1) return 0;
    if (roll < 130) return test_rng_range(&d->rng, 1, 12);
    if (roll < 180) return test_rng_range(&d->rng, 1, 40);
    return roll < 197 ? SHAPE_PICK(d, widths_usual) : SHAPE_PICK(d, widths_wide);
}

static int64_t shape_pairs(draw *d, const test_profile *profile)
{
    int64_t roll = test_rng_range(&d->rng, 0, 99);
    int64_t drawn = roll < 65 ? 300 : roll < 95 ? 2500 : 15000;
    int64_t limit = profile->pairs ? profile->pairs : drawn;
    return limit / (1 + (d->D + d->E) / 64) + 1;
}

/* Gives up batch and heads before lengths, so that long rows with few queries stay. */
static void shape_shrink(draw *d, int64_t *share)
{
    while (d->N * d->H * d->q.rows * d->k.rows > d->pairs) {
        if (d->N > 2)
            d->N--;
        else if (*share > 2)
            (*share)--;
        else if (d->G > 1)
            d->G--;
        else if (*share > 1 && d->N > 1)
            d->N--;
        else if (d->q.rows > 1)
            d->q.rows = (d->q.rows + 1) / 2;
        else if (*share > 1)
            (*share)--;
        else if (d->N > 1)
            d->N--;
        else
            d->k.rows = d->pairs;
        d->H = d->G * *share;
    }
}

static void shape_rank(draw *d, int64_t *share)
{
    d->rank = 4;
    if (!draw_wants(d, TEST_INDEX_RANK)) return;
    draw_on(d, TEST_INDEX_RANK);
    d->rank = (int)test_rng_range(&d->rng, 2, 3);
    d->G = d->H = *share = 1;
    if (d->rank == 2 && !draw_wants(d, TEST_INDEX_PACKED_Q)) d->N = 1;
}

void draw_sizes(draw *d, const test_profile *profile)
{
    int64_t share = draw_wants(d, TEST_INDEX_GQA) ? test_rng_range(&d->rng, 2, 4) : 1;
    d->N = test_rng_chance(&d->rng, 1) ? 0 : test_rng_range(&d->rng, 1, 4);
    d->G = test_rng_range(&d->rng, 1, 3);
    d->H = d->G * share;
    d->D = shape_width(d);
    d->E = test_rng_chance(&d->rng, 40) ? d->D : shape_width(d);
    d->q.rows = shape_length(d);
    d->k.rows = test_rng_chance(&d->rng, 30) ? d->q.rows : shape_length(d);
    d->pairs = shape_pairs(d, profile);
    shape_rank(d, &share);
    shape_shrink(d, &share);
    if (d->H > d->G) draw_on(d, TEST_INDEX_GQA);
    if (draw_wants(d, TEST_INDEX_TILED)) {
        draw_on(d, TEST_INDEX_TILED);
        d->c->spec.head_map = ATTN_HEADS_TILED;
    }
}

static attn_tensor shape_ints(draw *d, const int64_t *values, int64_t n)
{
    attn_tensor t = draw_input(d, draw_int(d), 1, &n);
    if (n > 1 && t.stride[0] == 0) t = test_tensor(&d->c->arena, t.dtype, 1, &n);
    for (int64_t i = 0; i < n; i++) test_put(&t, &i, (double)values[i]);
    return t;
}

/* Sequences behind each other; unused rows may follow the last one. */
static void shape_pack(draw *d, draw_side *s, attn_tensor *cu)
{
    int64_t at[TEST_MAX_SEQ + 1] = {0}, limit = s->rows;
    for (int64_t b = 0; b < d->N; b++) {
        s->start[b] = at[b];
        s->len[b] = test_rng_chance(&d->rng, 30) ? limit : test_rng_range(&d->rng, 0, limit);
        at[b + 1] = at[b] + s->len[b];
    }
    s->packed = true;
    s->batch = 1;
    s->rows = at[d->N] + (test_rng_chance(&d->rng, 30) ? test_rng_range(&d->rng, 1, 3) : 0);
    *cu = shape_ints(d, at, d->N + 1);
}

static void shape_cut(draw *d, draw_side *s, attn_tensor *start, attn_tensor *len)
{
    int64_t kind = test_rng_range(&d->rng, 0, 2); /* right padding, left padding, both */
    for (int64_t b = 0; b < d->N; b++) {
        s->start[b] = kind == 0 ? 0 : test_rng_range(&d->rng, 0, s->rows);
        int64_t rest = s->rows - s->start[b];
        s->len[b] = kind == 1 ? rest : test_rng_range(&d->rng, 0, rest);
    }
    s->cut = true;
    if (kind != 0) *start = shape_ints(d, s->start, d->N);
    if (kind != 1) *len = shape_ints(d, s->len, d->N);
}

static void shape_side(draw *d, draw_side *s, test_option_index packed,
                       test_option_index lengths, attn_tensor *cu, attn_tensor *start,
                       attn_tensor *len)
{
    s->batch = d->N;
    for (int64_t b = 0; b < d->N; b++) s->len[b] = s->rows;
    if (draw_wants(d, packed)) {
        shape_pack(d, s, cu);
        draw_on(d, packed);
    } else if (draw_wants(d, lengths)) {
        shape_cut(d, s, start, len);
        draw_on(d, lengths);
    }
    s->longest = 0;
    for (int64_t b = 0; b < d->N; b++)
        if (s->len[b] > s->longest) s->longest = s->len[b];
    int64_t slack = test_rng_chance(&d->rng, 30) ? test_rng_range(&d->rng, 1, 2) : 0;
    s->extent = s->packed ? s->longest + slack : s->rows;
}

void draw_sequences(draw *d)
{
    attn_args *a = &d->c->args;
    shape_side(d, &d->q, TEST_INDEX_PACKED_Q, TEST_INDEX_LENGTHS_Q, &a->cu_q, &a->q_start,
               &a->q_len);
    shape_side(d, &d->k, TEST_INDEX_PACKED_K, TEST_INDEX_LENGTHS_K, &a->cu_k, &a->k_start,
               &a->k_len);
    if (!d->k.packed && d->N > 1 && test_rng_chance(&d->rng, 15)) d->k.batch = 1;
    if (d->rank == 2) d->k.batch = 1;
}
