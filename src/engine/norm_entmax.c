/* SPDX-License-Identifier: MIT
 * The threshold of alpha-entmax (Peters, Niculae, Martins 2019): with p = 1 / (alpha - 1) and
 * x_j = (alpha - 1) s_j, tau is where
 *
 *   F(tau) = sum over j of max(x_j - tau, 0)^p = 1,    a_j = max(x_j - tau, 0)^p / F(tau)
 *
 * It lies in [max x - 1, max x). For p >= 1 the p-norm F^(1/p) is convex in tau, so Newton's
 * steps for F^(1/p) = 1 from the left end rise to tau and never past it; they end with a step
 * under 2^-30, or where none rises. For p < 1 the interval is halved. All sums are f64 chains
 * over ascending keys, and a row that has ended stays where it is while others go on, so no row
 * depends on its neighbours. A sink is one more key, without a value. */
#include <math.h>

#include "engine/norm.h"

enum { ENTMAX_STEPS = 64 };
#define ENTMAX_LAST 0x1p-30 /* what a step this short leaves is its square */

typedef struct entmax_search {
    const attn__norm_look *look;
    double total[ATTN__PANEL], slope[ATTN__PANEL]; /* F, and the sum of max(x - tau, 0)^(p-1) */
    double low[ATTN__PANEL], high[ATTN__PANEL];    /* p < 1 */
    bool done[ATTN__PANEL];                        /* the last step was made */
} entmax_search;

double attn__norm_power(double y, double power, double *slope)
{
    if (power == 0) return *slope = attn__exp2(y);
    if (y <= 0) return *slope = 0;
    if (power == 1) {
        *slope = 1;
        return y;
    }
    const double value = power == 2 ? y * y : attn__exp2(power * attn__log2(y));
    *slope = power == 2 ? y : value / y;
    return value;
}

double attn__norm_sink_y(const attn__norm_rows *rows, int l, double sink)
{
    return fma(sink - rows->top[l], rows->slope[l], -rows->shift[l]);
}

double attn__norm_sink_slope(const attn__norm_rows *rows, int l, double sink)
{
    double slope;
    const double value =
        attn__norm_power(attn__norm_sink_y(rows, l, sink), rows->power[l], &slope);
    return rows->power[l] == 0 ? rows->factor[l] * value : slope;
}

static void entmax_start(entmax_search *e)
{
    const attn__norm_look *look = e->look;
    const attn__kernels *k = look->r->plan->kernels;
    const attn__panel *panel = look->panel;
    attn__norm_rows *rows = &panel->norm->rows;
    double most[ATTN__PANEL]; /* holds reals */
    for (int l = 0; l < panel->w; l++) attn__real_put(k, most, l, -(double)INFINITY);
    const int64_t stop[] = {look->n, look->n, look->n};
    k->row_max(stop, panel->w, look->scores, NULL, most);
    for (int l = 0; l < panel->w; l++) {
        double sinks[2], top = attn__real_get(k, most, l);
        const int64_t h = panel->h[l < panel->n ? l : 0];
        const int n = attn__norm_sinks(look->r->p, look->seq, h, sinks);
        for (int i = 0; i < n; i++) top = sinks[i] > top ? sinks[i] : top;
        attn__real_put(k, most, l, top < 0 && isinf(top) ? 0 : top);
        rows->top[l] = attn__real_get(k, most, l);
        e->high[l] = rows->slope[l] * (top - rows->top[l]);
        e->low[l] = rows->shift[l] = rows->power[l] == 0 ? 0 : e->high[l] - 1;
    }
}

static void entmax_total(entmax_search *e)
{
    const attn__norm_look *look = e->look;
    const attn__panel *panel = look->panel;
    const attn__norm_rows *rows = &panel->norm->rows;
    look->r->plan->kernels->entmax_total(look->n, panel->w, rows, look->scores, e->total,
                                         e->slope);
    for (int l = 0; l < panel->n; l++) {
        double sinks[2], slope;
        const int n = attn__norm_sinks(look->r->p, look->seq, panel->h[l], sinks);
        for (int i = 0; i < n; i++) {
            const double y = attn__norm_sink_y(rows, l, sinks[i]);
            e->total[l] += attn__norm_power(y, rows->power[l], &slope);
            e->slope[l] += slope;
        }
    }
}

static bool entmax_newton(entmax_search *e, int l)
{
    attn__norm_rows *rows = &e->look->panel->norm->rows;
    const double power = rows->power[l], total = e->total[l];
    const double norm = power == 1   ? total
                        : power == 2 ? sqrt(total)
                                     : attn__exp2(attn__log2(total) / power);
    const double next = rows->shift[l] + (norm - 1) * total / (norm * e->slope[l]);
    if (e->done[l] || !(next > rows->shift[l])) return false;
    e->done[l] = next - rows->shift[l] < ENTMAX_LAST;
    rows->shift[l] = next;
    return true;
}

static bool entmax_halve(entmax_search *e, int l)
{
    attn__norm_rows *rows = &e->look->panel->norm->rows;
    if (e->total[l] >= 1)
        e->low[l] = rows->shift[l];
    else
        e->high[l] = rows->shift[l];
    const double middle = e->low[l] + (e->high[l] - e->low[l]) / 2;
    if (!(middle > e->low[l] && middle < e->high[l]) || middle == rows->shift[l]) return false;
    rows->shift[l] = middle;
    return true;
}

/* Whether some row moved. */
static bool entmax_step(entmax_search *e)
{
    const attn__panel *panel = e->look->panel;
    const double *power = panel->norm->rows.power;
    bool moved = false;
    for (int l = 0; l < panel->n; l++) {
        if (power[l] == 0 || !(e->total[l] > 0)) continue;
        const bool on = power[l] >= 1 ? entmax_newton(e, l) : entmax_halve(e, l);
        moved = moved || on;
    }
    return moved;
}

/* total belongs to the last shift. A row that met a NaN is NaN. */
void attn__norm_entmax(const attn__norm_look *look)
{
    entmax_search e = {.look = look};
    attn__norm_rows *rows = &look->panel->norm->rows;
    entmax_start(&e);
    entmax_total(&e);
    for (int step = 0; step < ENTMAX_STEPS && entmax_step(&e); step++) entmax_total(&e);
    for (int l = 0; l < look->panel->n; l++) {
        rows->factor[l] = e.total[l] == 0 ? 0 : 1 / e.total[l];
        if (e.total[l] != e.total[l]) rows->shift[l] = rows->factor[l] = (double)NAN;
    }
}
