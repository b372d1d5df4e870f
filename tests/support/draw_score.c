/* SPDX-License-Identifier: MIT
 * How queries and keys meet, and where a query looks. Drawn behind everything else. */
#include "support/draw.h"

#include <string.h>

static void score_kind(draw *d)
{
    test_case *c = d->c;
    if (c->args.rel_k.dtype) return; /* a product with q */
    if (draw_wants(d, TEST_INDEX_L2)) {
        c->spec.score = ATTN_SCORE_L2;
        draw_on(d, TEST_INDEX_L2);
    } else if (draw_wants(d, TEST_INDEX_ADDITIVE)) {
        c->spec.score = ATTN_SCORE_ADDITIVE;
        draw_on(d, TEST_INDEX_ADDITIVE);
    }
}

static void score_weights(draw *d)
{
    attn_tensor *t = &d->c->args.score_w;
    const int64_t shape[2] = {test_rng_chance(&d->rng, 20) ? 1 : d->H, d->D};
    const int missing = test_rng_chance(&d->rng, 20);
    if (!(d->c->options & TEST_OPTION(ADDITIVE)) || !draw_wants(d, TEST_INDEX_SCORE_W)) return;
    *t = draw_input(d, draw_float(d), 2 - missing, shape + missing);
    test_fill_normal(t, &d->rng, 1);
    draw_on(d, TEST_INDEX_SCORE_W);
}

/* Widths and centres of few digits, so that the ends of the window are exact. */
static void score_center(draw *d)
{
    test_case *c = d->c;
    int64_t shape[3], index[ATTN_MAX_RANK] = {0};
    const int64_t full[3] = {d->N, d->H, d->q.extent};
    const int kind = (int)test_rng_range(&d->rng, 0, 3);
    int first = 0;
    if (!draw_wants(d, TEST_INDEX_CENTER)) return;
    if (kind != 0) c->spec.center_sigma = 0.5 + 6 * test_rng_uniform(&d->rng);
    if (kind < 2) c->spec.center_width = 0.5 * (double)test_rng_range(&d->rng, 1, 40);
    for (int i = 0; i < 3; i++) shape[i] = test_rng_chance(&d->rng, 30) ? 1 : full[i];
    while (first < 2 && shape[first] == 1 && test_rng_chance(&d->rng, 60)) first++;
    c->args.center = draw_input(d, draw_float(d), 3 - first, shape + first);
    draw_on(d, TEST_INDEX_CENTER);
    if (test_tensor_empty(&c->args.center)) return;
    do
        test_put(&c->args.center, index,
                 0.25 * (double)test_rng_range(&d->rng, -8, 4 * d->k.longest + 8));
    while (test_index_next(&c->args.center, index));
}

void draw_scores(draw *d)
{
    score_kind(d);
    score_weights(d);
    score_center(d);
}
