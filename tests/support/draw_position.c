/* SPDX-License-Identifier: MIT
 * Everything that knows where a query stands: alignment, causal, window, chunk, ALiBi, relative
 * tables, rotations. */
#include "support/draw.h"

/* Options that make UNSET an error where lengths differ. */
static const test_option_index positional[] = {
    TEST_INDEX_CAUSAL,     TEST_INDEX_WINDOW,   TEST_INDEX_CHUNK,      TEST_INDEX_ALIBI,
    TEST_INDEX_REL_BUCKET, TEST_INDEX_REL_GRID, TEST_INDEX_REL_OFFSET, TEST_INDEX_REL_K,
    TEST_INDEX_REL_V,      TEST_INDEX_ROPE};

static bool position_unset_legal(const draw *d)
{
    bool used = false, differ = false;
    for (size_t i = 0; i < sizeof positional / sizeof positional[0]; i++)
        used = used || draw_wants(d, positional[i]);
    for (int64_t b = 0; b < d->N; b++)
        differ = differ || (d->q.len[b] != d->k.len[b] && d->q.len[b] && d->k.len[b]);
    return !used || !differ;
}

/* Grids and tables of angles have no place for negative positions. */
static bool position_from_zero(const draw *d)
{
    return draw_wants(d, TEST_INDEX_REL_GRID) || draw_wants(d, TEST_INDEX_ROPE_TABLE);
}

static void position_given(draw *d)
{
    test_case *c = d->c;
    c->spec.align = ATTN_ALIGN_OFFSET;
    int64_t low = position_from_zero(d) ? 0 : -d->q.longest, high = d->k.longest + 2;
    c->spec.offset = test_rng_range(&d->rng, low, high);
    for (int64_t b = 0; b < d->N; b++) d->offset[b] = c->spec.offset;
    if (test_rng_chance(&d->rng, 50)) return;
    c->args.offset = test_tensor(&c->arena, draw_int(d), 1, &d->N);
    for (int64_t b = 0; b < d->N; b++) {
        d->offset[b] = test_rng_range(&d->rng, low, high);
        test_put(&c->args.offset, &b, (double)d->offset[b]);
    }
}

static void position_align(draw *d)
{
    if (draw_wants(d, TEST_INDEX_OFFSET)) {
        position_given(d);
        draw_on(d, TEST_INDEX_OFFSET);
    } else if (position_unset_legal(d) && test_rng_chance(&d->rng, 60)) {
        d->c->spec.align = ATTN_ALIGN_UNSET;
    } else if (position_from_zero(d) || test_rng_chance(&d->rng, 40)) {
        d->c->spec.align = ATTN_ALIGN_TOP_LEFT;
    } else {
        d->c->spec.align = ATTN_ALIGN_BOTTOM_RIGHT;
        for (int64_t b = 0; b < d->N; b++) d->offset[b] = d->k.len[b] - d->q.len[b];
    }
    d->positions = 1;
    for (int64_t b = 0; b < d->N; b++) {
        int64_t end = d->q.len[b] + d->offset[b];
        if (end > d->positions) d->positions = end;
        if (d->k.len[b] > d->positions) d->positions = d->k.len[b];
    }
}

static void position_masks(draw *d)
{
    attn_spec *s = &d->c->spec;
    if (draw_wants(d, TEST_INDEX_CAUSAL)) {
        s->causal = true;
        draw_on(d, TEST_INDEX_CAUSAL);
    }
    if (s->causal && draw_wants(d, TEST_INDEX_PREFIX)) {
        s->prefix = test_rng_range(&d->rng, 0, d->k.longest + 1);
        if (test_rng_chance(&d->rng, 50)) {
            d->c->args.prefix = test_tensor(&d->c->arena, draw_int(d), 1, &d->N);
            test_fill_range(&d->c->args.prefix, &d->rng, 0, d->k.longest + 1);
        }
        draw_on(d, TEST_INDEX_PREFIX);
    }
    if (draw_wants(d, TEST_INDEX_WINDOW)) {
        s->window.on = true;
        s->window.left = test_rng_range(&d->rng, -1, 1 + d->k.longest / 2);
        s->window.right = test_rng_range(&d->rng, -1, 1 + d->k.longest / 2);
        draw_on(d, TEST_INDEX_WINDOW);
    }
    if (draw_wants(d, TEST_INDEX_CHUNK)) {
        s->chunk = test_rng_range(&d->rng, 1, 2 + d->k.longest / 2);
        draw_on(d, TEST_INDEX_CHUNK);
    }
}

static void position_table(draw *d, attn_rel_kind kind, int64_t width, test_option_index option)
{
    d->c->spec.rel.kind = kind;
    d->c->args.rel_table = draw_input(d, draw_float(d), 2, (int64_t[]){d->H, width});
    test_fill_normal(&d->c->args.rel_table, &d->rng, 1.5);
    draw_on(d, option);
}

static void position_relative(draw *d)
{
    attn_rel_spec *rel = &d->c->spec.rel;
    if (draw_wants(d, TEST_INDEX_REL_BUCKET)) {
        rel->causal_buckets = test_rng_chance(&d->rng, 50);
        int64_t n = test_rng_chance(&d->rng, 30) ? 32 : 4 * test_rng_range(&d->rng, 1, 12);
        rel->max_distance =
            test_rng_chance(&d->rng, 50) ? 0 : n + test_rng_range(&d->rng, 1, 200);
        position_table(d, ATTN_REL_BUCKET, n, TEST_INDEX_REL_BUCKET);
    } else if (draw_wants(d, TEST_INDEX_REL_GRID)) {
        rel->width = test_rng_range(&d->rng, 1, 9);
        rel->height = (d->positions + rel->width - 1) / rel->width;
        rel->height += test_rng_range(&d->rng, 0, 1);
        position_table(d, ATTN_REL_GRID, (2 * rel->height - 1) * (2 * rel->width - 1),
                       TEST_INDEX_REL_GRID);
    } else if (draw_wants(d, TEST_INDEX_REL_OFFSET)) {
        position_table(d, ATTN_REL_OFFSET, 2 * test_rng_range(&d->rng, 0, 9) + 1,
                       TEST_INDEX_REL_OFFSET);
    }
}

static void position_shaw(draw *d, attn_tensor *t, int64_t n, int64_t width,
                          test_option_index option)
{
    if (!draw_wants(d, option)) return;
    *t = draw_input(d, draw_float(d), 3, (int64_t[]){d->H, n, width});
    test_fill_normal(t, &d->rng, 1);
    draw_on(d, option);
}

/* Positions of their own: small ones, or any when they index no table. */
static void position_own(draw *d, attn_tensor *t, const draw_side *s)
{
    bool table = draw_wants(d, TEST_INDEX_ROPE_TABLE);
    int64_t high = test_rng_chance(&d->rng, 20) && !table ? 100000 : 60;
    if (!test_rng_chance(&d->rng, 70)) return;
    *t = draw_input(d, draw_int(d), 2, (int64_t[]){s->batch, s->rows});
    test_fill_range(t, &d->rng, table ? 0 : -20, high);
    if (d->positions <= high) d->positions = high + 1;
    draw_on(d, TEST_INDEX_POSITIONS);
}

static void position_rope(draw *d)
{
    test_case *c = d->c;
    if (!draw_wants(d, TEST_INDEX_ROPE) || d->D < 2) return;
    draw_on(d, TEST_INDEX_ROPE);
    c->spec.rope.kind = test_rng_chance(&d->rng, 50) ? ATTN_ROPE_HALF : ATTN_ROPE_INTERLEAVED;
    c->spec.rope.dims = 2 * test_rng_range(&d->rng, 1, d->D / 2);
    int64_t half = c->spec.rope.dims / 2;
    if (d->D % 2 == 0 && test_rng_chance(&d->rng, 40)) {
        c->spec.rope.dims = 0;
        half = d->D / 2;
    }
    if (test_rng_chance(&d->rng, 50))
        c->spec.rope.base = (double)test_rng_range(&d->rng, 2, 500000);
    if (draw_wants(d, TEST_INDEX_POSITIONS)) {
        position_own(d, &c->args.q_pos, &d->q);
        position_own(d, &c->args.k_pos, &d->k);
    }
    if (!draw_wants(d, TEST_INDEX_ROPE_TABLE)) return;
    const int64_t shape[2] = {d->positions + test_rng_range(&d->rng, 0, 2), half};
    attn_dtype dtype = draw_float(d);
    c->args.rope_cos = draw_input(d, dtype, 2, shape);
    c->args.rope_sin = draw_input(d, dtype, 2, shape);
    test_fill_normal(&c->args.rope_cos, &d->rng, 0.7);
    test_fill_normal(&c->args.rope_sin, &d->rng, 0.7);
    draw_on(d, TEST_INDEX_ROPE_TABLE);
}

void draw_positions(draw *d)
{
    if (!draw_wants(d, TEST_INDEX_ROPE)) {
        draw_off(d, TEST_INDEX_ROPE_TABLE);
        draw_off(d, TEST_INDEX_POSITIONS);
    }
    position_align(d);
    position_masks(d);
    position_relative(d);
    int64_t shaw = 2 * test_rng_range(&d->rng, 0, 6) + 1;
    position_shaw(d, &d->c->args.rel_k, shaw, d->D, TEST_INDEX_REL_K);
    position_shaw(d, &d->c->args.rel_v, shaw, d->E, TEST_INDEX_REL_V);
    position_rope(d);
}
