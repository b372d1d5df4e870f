/* SPDX-License-Identifier: MIT
 * Gradients that many pairs add to: biases and masks, slopes, relative tables (sums.def). How
 * the sums come together is decided in the plan by the dimensions that the gradient has:
 *
 *   every dimension: each pair has its own element, written at once;
 *
 *   rows and keys, but not every batch entry or head: reals of all in lanes (back_lanes.c), to
 *   which a tile adds in one piece; units follow each other step by step where a step always
 *   means the same rows, else unit by unit;
 *
 *   less: f64 sums of a unit, small, which join those of all as the units end, in their order.
 */
#include <string.h>

#include "engine/back.h"

typedef struct sum_rule {
    size_t field; /* in attn_args */
    const char *dims;
} sum_rule;

static const sum_rule sum_rules[] = {
#define SUM(name, field, dims) {offsetof(attn_args, field), dims},
#include "engine/sums.def"
#undef SUM
};

static const attn_tensor *sum_tensor(const attn__problem *p, int i)
{
    return (const attn_tensor *)(const void *)((const char *)&p->at + sum_rules[i].field);
}

/* ---- plan -------------------------------------------------------------------------------- */

/* Whether step s of any two units that meet at an element means the same rows. */
static bool sum_in_step(const attn__problem *p, const attn__sum *sum)
{
    const attn_args *a = &p->at;
    if (sum->heads == 1 && p->H != p->G) return false;
    if (sum->batch > 1 || p->N == 1) return true;
    return !p->packed_q && !attn__present(&a->q_start) && !attn__present(&a->q_len) &&
           !attn__present(&a->k_start);
}

/* dense: the gradient of an operand B H T S. */
static attn__sum_mode sum_mode(const attn__problem *p, const attn__sum *sum, bool dense)
{
    const bool rows = sum->rows > 1 || p->T == 1, keys = sum->keys > 1 || p->S == 1;
    if (!dense || !rows || !keys) return ATTN__SUM_UNIT;
    if (sum->batch == p->N && sum->heads == p->H) return ATTN__SUM_DIRECT;
    return sum_in_step(p, sum) ? ATTN__SUM_STEP : ATTN__SUM_SERIAL;
}

/* Whether the first and the last unit that meet a tile can be told: all sequences have all rows
 * and keys, and a panel is rows of one head. */
static bool sum_in_time(const attn__problem *p)
{
    const attn_args *a = &p->at;
    return p->G > 0 && !p->packed_q && !p->packed_k && !attn__present(&a->q_start) &&
           !attn__present(&a->q_len) && !attn__present(&a->k_start) &&
           !attn__present(&a->k_len) &&
           attn__panels_count(p, p->T) == p->H / p->G * attn__ceil_div(p->T, ATTN__PANEL);
}

static void sum_describe(const attn__problem *p, int i, attn__sum *sum)
{
    const attn_tensor *t = sum_tensor(p, i);
    const char *dims = sum_rules[i].dims;
    int64_t sizes['z' + 1];
    for (int c = 0; c <= 'z'; c++) sizes[c] = 1;
    for (int d = 0; dims[d]; d++) sizes[(int)dims[d]] = t->shape[d];
    sum->batch = sizes['N'], sum->heads = sizes['H'];
    sum->rows = sizes['t'], sum->keys = sizes['s'];
    sum->width = sizes['U'] * sizes['W'] * sizes['D'] * sizes['E'];
    sum->mode = sum_mode(p, sum, strchr(dims, 's') != NULL);
    sum->in_time = sum->mode == ATTN__SUM_STEP && sum_in_time(p);
}

/* Numbers in memory: of all, and of one unit. */
static bool sum_counts(const attn__problem *p, attn__sum *sum)
{
    const int64_t members = sum->heads > 1 ? p->H / attn__max(p->G, 1) : 1;
    const int64_t tiles = attn__ceil_div(sum->rows, ATTN__PANEL) * ATTN__PANEL;
    const bool lanes = attn__back_in_lanes(sum);
    int64_t n;
    if (sum->mode == ATTN__SUM_DIRECT) return true;
    if (!attn__mul(sum->batch * sum->heads, lanes ? tiles : sum->rows, &n) ||
        !attn__mul(n, sum->keys, &n) || !attn__mul(n, sum->width, &sum->count))
        return false;
    if (lanes) return true;
    n = sum->rows > 1 ? ATTN__BACK_ROWS : sum->keys > 1 ? members * ATTN__BACK_CHUNK : members;
    return attn__mul(n, sum->width, &sum->unit_count);
}

bool attn__back_sums_plan(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    attn__back_plan *b = &plan->back;
    const attn_tensor *d_sink = &p->at.d_sink;
    const int64_t sinks = attn__present(d_sink) ? d_sink->shape[0] * d_sink->shape[1] : 0;
    const attn__plan_part rows[] = {{&b->sink, sinks, 8},
                                    {&b->alpha, attn__present(&p->at.d_alpha) ? p->H : 0, 8}};
    if (!attn__plan_parts(&plan->bytes, rows, 2)) return false;
    for (int i = 0; i < ATTN__N_SUMS; i++) {
        attn__sum *sum = &b->sum[i];
        if (!attn__present(sum_tensor(p, i))) continue;
        sum_describe(p, i, sum);
        if (!sum_counts(p, sum)) return false;
        const int64_t size =
            sum->mode == ATTN__SUM_UNIT ? 8 : (int64_t)attn__real_size(plan->kernels);
        const attn__plan_part all = {&sum->all, sum->count, size};
        const attn__plan_part unit = {&sum->unit, sum->unit_count, 8};
        if (!attn__plan_parts(&plan->bytes, &all, 1) ||
            !attn__plan_parts(&plan->at.bytes, &unit, 1))
            return false;
        b->ordered_steps = b->ordered_steps || sum->mode == ATTN__SUM_STEP;
        b->ordered_units = b->ordered_units || sum->mode == ATTN__SUM_UNIT;
        b->serial = b->serial || sum->mode == ATTN__SUM_SERIAL;
    }
    return true;
}

/* ---- the sums of a unit ------------------------------------------------------------------ */

static int64_t sum_member(const attn__problem *p, const attn__sum *sum, int64_t h)
{
    if (sum->heads == 1) return 0;
    return p->spec.head_map == ATTN_HEADS_TILED ? h / p->G : h % (p->H / p->G);
}

static double *sum_unit(const attn__back_unit *u, const attn__sum *sum)
{
    return (double *)(void *)(u->scratch + sum->unit);
}

double *attn__back_sum_at(const attn__back_step *s, attn__sum_index index, int x, int l,
                          int64_t j)
{
    const attn__back_unit *u = s->u;
    const attn__sum *sum = &u->b->sum[index];
    const int64_t member = sum_member(u->r->p, sum, s->panel[x].lanes.h[l]);
    int64_t at = member;
    if (sum->rows > 1)
        at = (s->step * ATTN__BACK_STEP + x) * ATTN__PANEL + l;
    else if (sum->keys > 1)
        at = member * ATTN__BACK_CHUNK + j;
    return sum_unit(u, sum) + at * sum->width;
}

void attn__back_sums_begin(const attn__back_unit *u)
{
    for (int i = 0; i < ATTN__N_SUMS; i++) {
        const attn__sum *sum = &u->b->sum[i];
        if (sum->mode == ATTN__SUM_UNIT)
            memset(sum_unit(u, sum), 0, (size_t)sum->unit_count * sizeof(double));
    }
}

/* Those of all for head h, row i, key j of the unit's sequence. */
static double *sum_all(const attn__back_unit *u, const attn__sum *sum, int64_t h, int64_t i,
                       int64_t j)
{
    const int64_t batch = sum->batch == 1 ? 0 : u->seq.b, head = sum->heads == 1 ? 0 : h;
    const int64_t row = sum->rows == 1 ? 0 : u->seq.iq + i;
    const int64_t key = sum->keys == 1 ? 0 : u->seq.jk + j;
    return (double *)(void *)(u->r->workspace + sum->all) +
           (((batch * sum->heads + head) * sum->rows + row) * sum->keys + key) * sum->width;
}

static void sum_join(const double *from, int64_t n, double *to)
{
    for (int64_t i = 0; i < n; i++) to[i] += from[i];
}

static void sum_end_rows(const attn__back_unit *u, const attn__sum *sum)
{
    const int64_t first = u->range * ATTN__BACK_RANGE * ATTN__BACK_STEP;
    const int64_t n = attn__min(ATTN__BACK_RANGE * ATTN__BACK_STEP, u->panels - first);
    attn__panel panel;
    for (int64_t x = 0; x < n; x++) {
        attn__panel_lanes(u->r, &u->seq, u->g, first + x, &panel);
        for (int l = 0; l < panel.n; l++)
            sum_join(sum_unit(u, sum) + x * ATTN__PANEL + l, 1,
                     sum_all(u, sum, panel.h[l], panel.i[l], 0));
    }
}

static void sum_end_heads(const attn__back_unit *u, const attn__sum *sum)
{
    const attn__problem *p = u->r->p;
    const int64_t members = sum->heads > 1 ? p->H / p->G : 1;
    const int64_t n = (sum->keys > 1 ? u->n : 1) * sum->width;
    for (int64_t m = 0; m < members; m++) {
        const int64_t h = attn__panel_head(p, u->g, m);
        sum_join(sum_unit(u, sum) + m * (sum->keys > 1 ? ATTN__BACK_CHUNK : 1) * sum->width, n,
                 sum_all(u, sum, h, 0, u->j0));
    }
}

void attn__back_sums_end(const attn__back_unit *u)
{
    for (int i = 0; i < ATTN__N_SUMS; i++) {
        const attn__sum *sum = &u->b->sum[i];
        if (sum->mode != ATTN__SUM_UNIT) continue;
        if (sum->rows > 1)
            sum_end_rows(u, sum);
        else
            sum_end_heads(u, sum);
    }
}

/* ---- a tile joins ------------------------------------------------------------------------ */

static void sum_tile_unit(attn__tile *t, attn__sum_index index, const attn_tensor *out)
{
    (void)out;
    const attn__back_step *s = t->back->s;
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < t->panel->n; l++)
            *attn__back_sum_at(s, index, t->back->x, l, t->j0 + j - s->u->j0) +=
                attn__real_get(t->r->plan->kernels, t->ds, j * t->panel->w + l);
}

static void sum_tile_direct(attn__tile *t, attn__sum_index index, const attn_tensor *out)
{
    (void)index;
    const attn__kernels *k = t->r->plan->kernels;
    const attn__panel *panel = t->panel;
    const int64_t real = (int64_t)attn__real_size(k), step = panel->w * real;
    char *memory = t->scratch + t->r->plan->at.term;
    for (int64_t j = 0, n; j < t->n; j += n) {
        n = attn__min(ATTN__PANEL, t->n - j);
        const int w =
            attn__back_turn(t->r, (char *)t->ds + j * step, step, n, panel->n, memory);
        for (int l = 0; l < panel->n; l++)
            attn__write_row(k, out, n, memory + l * w * real,
                            attn__at(out, t->seq->b, panel->h[l], t->seq->iq + panel->i[l],
                                     t->seq->jk + t->j0 + j));
    }
}

void attn__back_sums_tile(attn__tile *t, attn__sum_index index)
{
    static void (*const join[])(attn__tile *, attn__sum_index, const attn_tensor *) = {
        [ATTN__SUM_DIRECT] = sum_tile_direct,
        [ATTN__SUM_STEP] = attn__back_lanes_tile,
        [ATTN__SUM_SERIAL] = attn__back_lanes_tile,
        [ATTN__SUM_UNIT] = sum_tile_unit};
    const attn__sum_mode mode = t->r->plan->back.sum[index].mode;
    if (mode != ATTN__SUM_NONE) join[mode](t, index, sum_tensor(t->r->p, (int)index));
}

void attn__back_sums_step(attn__back_unit *u, int64_t step, bool end)
{
    for (int i = 0; i < ATTN__N_SUMS; i++)
        if (u->b->sum[i].in_time)
            attn__back_lanes_step(u, &u->b->sum[i], sum_tensor(u->r->p, i), step, end);
}

/* ---- before and after the units ---------------------------------------------------------- */

void attn__back_sums_zero(attn__run *r, bool units)
{
    const int64_t real = (int64_t)attn__real_size(r->plan->kernels);
    for (int i = 0; i < ATTN__N_SUMS; i++) {
        const attn__sum *sum = &r->plan->back.sum[i];
        const int64_t size = sum->mode == ATTN__SUM_UNIT ? 8 : real;
        if (sum->mode == ATTN__SUM_DIRECT) attn__output_zero(r, sum_tensor(r->p, i));
        if (sum->in_time && !units) attn__output_zero(r, sum_tensor(r->p, i));
        if (sum->count > 0 && !sum->in_time)
            memset(r->workspace + sum->all, 0, (size_t)(sum->count * size));
    }
}

/* What the units left out of every addend. */
static double sum_factor(const attn__run *r, int i)
{
    const attn_spec *s = &r->p->spec;
    const double sigma = s->center_sigma;
    double factors[ATTN__N_SUMS];
    for (int x = 0; x < ATTN__N_SUMS; x++) factors[x] = 1;
    factors[ATTN__SUM_rel_k] = r->plan->back.factor;
    factors[ATTN__SUM_rel_v] = r->plan->back.gain;
    factors[ATTN__SUM_score_w] = r->plan->score == ATTN_SCORE_ADDITIVE ? s->scale : 0;
    factors[ATTN__SUM_center] = sigma > 0 ? 1 / (sigma * sigma) : 0;
    return factors[i];
}

static void sum_settle_units(const attn__run *r, const attn__sum *sum, const attn_tensor *t,
                             double factor)
{
    const double *from = (const double *)(const void *)(r->workspace + sum->all);
    for (int64_t a = 0; a < t->shape[0]; a++)
        for (int64_t b = 0; b < t->shape[1]; b++)
            for (int64_t c = 0; c < t->shape[2]; c++)
                for (int64_t d = 0; d < t->shape[3]; d++)
                    attn__put(t->dtype, attn__at(t, a, b, c, d), 0, *from++ * factor);
}

void attn__back_sums_settle(attn__run *r)
{
    for (int i = 0; i < ATTN__N_SUMS; i++) {
        const attn__sum *sum = &r->plan->back.sum[i];
        const attn_tensor *t = sum_tensor(r->p, i);
        if (sum->mode == ATTN__SUM_UNIT) sum_settle_units(r, sum, t, sum_factor(r, i));
        if (attn__back_in_lanes(sum)) attn__back_lanes_settle(r, sum, t);
    }
}
