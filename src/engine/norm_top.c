/* SPDX-License-Identifier: MIT
 * The k largest scores of every row. The k-th is found by halving the interval of numbers that
 * it lies in, counted as the bits of reals order them: at most 66 counts over the row, each an
 * exact number. Of several keys with this very score the first ones are taken. What is left is
 * a mask, so that everything after it is the softmax; a NaN is always taken. */
#include <math.h>
#include <string.h>

#include "engine/norm.h"

typedef struct top_search {
    const attn__norm_look *look;
    int64_t low[ATTN__PANEL],
        high[ATTN__PANEL]; /* places: k or more above low, fewer above high */
    double level[ATTN__PANEL], count[ATTN__PANEL]; /* level holds reals */
} top_search;

/* Reals in ascending order, numbered: the bits, negative ones turned around. */
static int64_t top_place(const attn__kernels *k, double x)
{
    int64_t wide;
    int32_t narrow;
    const float y = (float)x;
    memcpy(&wide, &x, sizeof wide);
    memcpy(&narrow, &y, sizeof narrow);
    if (k->dtype == ATTN_DTYPE_F64) return wide < 0 ? INT64_MIN - wide : wide;
    return narrow < 0 ? (int64_t)INT32_MIN - narrow : narrow;
}

static double top_number(const attn__kernels *k, int64_t place)
{
    double x;
    float y;
    if (k->dtype == ATTN_DTYPE_F64) {
        const int64_t wide = place < 0 ? INT64_MIN - place : place;
        memcpy(&x, &wide, sizeof x);
        return x;
    }
    const int32_t narrow = (int32_t)(place < 0 ? (int64_t)INT32_MIN - place : place);
    memcpy(&y, &narrow, sizeof y);
    return (double)y;
}

/* How many scores of each row are above the number at its place. */
static void top_count(top_search *t, const int64_t *place)
{
    const attn__norm_look *look = t->look;
    const attn__kernels *k = look->r->plan->kernels;
    for (int l = 0; l < look->panel->w; l++)
        attn__real_put(k, t->level, l, top_number(k, place[l]));
    k->count_above(look->n, look->panel->w, look->scores, t->level, t->count);
}

/* The middle of each interval, rounded down; whether some are still open. */
static bool top_middle(const top_search *t, int64_t *middle)
{
    bool open = false;
    for (int l = 0; l < t->look->panel->w; l++) {
        const uint64_t far = (uint64_t)t->high[l] - (uint64_t)t->low[l];
        middle[l] = t->low[l] + (int64_t)(far / 2);
        open = open || far > 1;
    }
    return open;
}

/* The key behind the last of need keys with this score. */
static int64_t top_limit(const top_search *t, int l, double level, double need)
{
    const attn__norm_look *look = t->look;
    const attn__kernels *k = look->r->plan->kernels;
    for (int64_t j = 0; j < look->n; j++) {
        if (attn__real_get(k, look->scores, j * look->panel->w + l) == level) need--;
        if (need <= 0) return attn__norm_key(look, j) + 1;
    }
    return INT64_MAX;
}

static void top_settle(top_search *t)
{
    const attn__norm_look *look = t->look;
    const attn__kernels *k = look->r->plan->kernels;
    attn__norm *norm = look->panel->norm;
    const double most = (double)look->r->p->spec.top_k;
    double least[ATTN__PANEL];
    top_count(t, t->low);
    memcpy(least, t->count, sizeof least);
    top_count(t, t->high);
    for (int l = 0; l < look->panel->n; l++) {
        const double level = top_number(k, t->high[l]);
        norm->rows.shift[l] = level;
        if (level > -(double)INFINITY && least[l] > most)
            norm->limit[l] = top_limit(t, l, level, most - t->count[l]);
    }
}

/* Between -inf, where every score counts or there are fewer than k, and +inf. */
void attn__norm_top(const attn__norm_look *look)
{
    const attn__kernels *k = look->r->plan->kernels;
    top_search t = {.look = look};
    int64_t middle[ATTN__PANEL];
    for (int l = 0; l < look->panel->w; l++) {
        t.low[l] = top_place(k, -(double)INFINITY);
        t.high[l] = top_place(k, (double)INFINITY);
    }
    top_count(&t, t.low);
    for (int l = 0; l < look->panel->w; l++)
        if (t.count[l] < (double)look->r->p->spec.top_k) t.high[l] = t.low[l];
    while (top_middle(&t, middle)) {
        top_count(&t, middle);
        for (int l = 0; l < look->panel->w; l++) {
            const bool fewer = t.count[l] < (double)look->r->p->spec.top_k;
            if ((uint64_t)t.high[l] - (uint64_t)t.low[l] <= 1) continue;
            if (fewer)
                t.high[l] = middle[l];
            else
                t.low[l] = middle[l];
        }
    }
    top_settle(&t);
}

/* Of the allowed lanes those that are taken. */
static uint64_t top_word(const attn__tile *t, int64_t j, uint64_t allowed)
{
    const attn__kernels *k = t->r->plan->kernels;
    const attn__norm *norm = t->panel->norm;
    uint64_t word = 0;
    for (int l = 0; l < t->panel->n; l++) {
        if (!(allowed >> l & 1)) continue;
        const double x = attn__real_get(k, t->s, j * t->panel->w + l);
        const double level = norm->rows.shift[l];
        const bool in = !(x <= level) || (x == level && t->j0 + j < norm->limit[l]);
        word |= (uint64_t)in << l;
    }
    return word;
}

bool attn__norm_select(attn__tile *t)
{
    uint64_t any = 0;
    if (t->r->p->spec.normaliser != ATTN_NORM_TOP_K) return true;
    for (int64_t j = 0; j < t->n; j++) {
        t->allowed[j] = top_word(t, j, t->masked ? t->allowed[j] : ~(uint64_t)0);
        any |= t->allowed[j];
    }
    t->masked = true;
    return any != 0;
}
