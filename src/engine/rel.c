/* SPDX-License-Identifier: MIT
 * Which entry of a relative table belongs to a pair. The logarithmic buckets of T5 are decided
 * by whole-number thresholds, found once in the plan, so that exact powers fall on the same
 * side everywhere. */
#include <math.h>

#include "engine/engine.h"

/* Bucket exact + x of n begins at the smallest distance a with
 * exact * (max / exact)^(x / (n - exact)) <= a. */
void attn__rel_thresholds(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    if (p->spec.rel.kind != ATTN_REL_BUCKET) return;
    const int64_t n = p->spec.rel.causal_buckets ? p->rel_n : p->rel_n / 2, exact = n / 2;
    const double ratio = attn__log2((double)p->spec.rel.max_distance / (double)exact);
    for (int64_t x = 0; x < n; x++) {
        if (x <= exact) {
            plan->buckets[x] = (int)x;
            continue;
        }
        const double share = (double)(x - exact) / (double)(n - exact);
        const double begin = (double)exact * attn__exp2(ratio * share), whole = round(begin);
        plan->buckets[x] = (int)(fabs(begin - whole) < 1e-9 * begin ? whole : ceil(begin));
    }
}

static int64_t rel_bucket(const attn_plan *plan, const attn__problem *p, int64_t rel)
{
    const bool one_sided = p->spec.rel.causal_buckets;
    const int64_t n = one_sided ? p->rel_n : p->rel_n / 2;
    const int64_t base = !one_sided && rel > 0 ? n : 0;
    const int64_t a = one_sided ? attn__max(-rel, 0) : rel < 0 ? -rel : rel;
    int64_t low = 0, high = n; /* the last bucket that begins at or before a */
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (plan->buckets[middle] <= a)
            low = middle;
        else
            high = middle;
    }
    return base + low;
}

static int64_t rel_grid(const attn__problem *p, int64_t pos, int64_t j)
{
    const int64_t width = p->spec.rel.width, height = p->spec.rel.height;
    const int64_t dy = pos / width - j / width, dx = pos % width - j % width;
    return (dy + height - 1) * (2 * width - 1) + dx + width - 1;
}

/* clip(j - pos, -R, R) + R for a table of n = 2 R + 1. */
static int64_t rel_offset(int64_t n, int64_t pos, int64_t j)
{
    const int64_t R = (n - 1) / 2;
    return attn__max(-R, attn__min(R, j - pos)) + R;
}

int64_t attn__shaw_index(const attn__problem *p, int64_t pos, int64_t j)
{
    return rel_offset(p->shaw_n, pos, j);
}

int64_t attn__rel_index(const attn_plan *plan, const attn__problem *p, int64_t pos, int64_t j)
{
    if (p->spec.rel.kind == ATTN_REL_BUCKET) return rel_bucket(plan, p, j - pos);
    if (p->spec.rel.kind == ATTN_REL_GRID) return rel_grid(p, pos, j);
    return rel_offset(p->rel_n, pos, j);
}

void attn__shaw_add(const attn__tile *t, const void *table, void *dst)
{
    const attn__kernels *k = t->r->plan->kernels;
    const attn__panel *panel = t->panel;
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < panel->n; l++) {
            const int64_t at = j * panel->w + l;
            const int64_t entry = attn__shaw_index(t->r->p, panel->p[l], t->j0 + j);
            attn__real_put(k, dst, at,
                           attn__real_get(k, dst, at) +
                               attn__real_get(k, table, entry * panel->w + l));
        }
}
