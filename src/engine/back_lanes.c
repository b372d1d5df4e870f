/* SPDX-License-Identifier: MIT
 * Sums of dense gradients that batch entries or heads share, as reals in lanes:
 * [b][h][i/48][j][48]. A tile of ds adds to them in one piece. Where the first and the last
 * unit that meet a tile are known, they make it 0 and turn it into rows for the caller while it
 * is near; else both is done for all tiles at once, before and after the units. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/back.h"

bool attn__back_in_lanes(const attn__sum *sum)
{
    return sum->mode == ATTN__SUM_STEP || sum->mode == ATTN__SUM_SERIAL;
}

/* Where row i of head h begins, at key 0. */
static char *lanes_at(const attn__run *r, const attn__sum *sum, int64_t b, int64_t h, int64_t i)
{
    const int64_t batch = sum->batch == 1 ? 0 : b, head = sum->heads == 1 ? 0 : h;
    const int64_t tiles = attn__ceil_div(sum->rows, ATTN__PANEL);
    const int64_t tile = (batch * sum->heads + head) * tiles + i / ATTN__PANEL;
    const int64_t at = tile * sum->keys * ATTN__PANEL + i % ATTN__PANEL;
    return r->workspace + sum->all + at * (int64_t)attn__real_size(r->plan->kernels);
}

/* What the add of kernel.h makes of one element: a sum of finite numbers stays finite. */
static void lanes_add(const attn__kernels *k, char *to, int64_t at, double term)
{
    const double most = k->dtype == ATTN_DTYPE_F64 ? DBL_MAX : (double)FLT_MAX;
    const double old = attn__real_get(k, to, at);
    attn__real_put(k, to, at, old + term);
    if (isinf(attn__real_get(k, to, at)) && isfinite(old) && isfinite(term))
        attn__real_put(k, to, at, copysign(most, old));
}

/* Lanes beyond the panel's queries hold anything; where other sequences have rows there, only a
 * whole panel goes in one piece. */
void attn__back_lanes_tile(attn__tile *t, attn__sum_index index, const attn_tensor *out)
{
    (void)out;
    const attn__run *r = t->r;
    const attn__kernels *k = r->plan->kernels;
    const attn__panel *panel = t->panel;
    const attn__sum *sum = &r->plan->back.sum[index];
    const int64_t real = (int64_t)attn__real_size(k), key0 = t->seq->jk + t->j0;
    const int64_t i0 = t->seq->iq + panel->i[0];
    char *to = lanes_at(r, sum, t->seq->b, panel->h[0], i0) + key0 * ATTN__PANEL * real;
    const bool one = panel->h[0] == panel->h[panel->n - 1] && i0 % ATTN__PANEL == 0;
    if (one && panel->n == ATTN__PANEL) {
        k->add(t->n, panel->w, t->ds, 1, to);
        return;
    }
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < panel->n; l++) {
            to = lanes_at(r, sum, t->seq->b, panel->h[l], t->seq->iq + panel->i[l]);
            lanes_add(k, to, (key0 + j) * ATTN__PANEL,
                      attn__real_get(k, t->ds, j * panel->w + l));
        }
}

void attn__back_lanes_warm(attn__back_step *s, const attn__panel *panel, int64_t j, int64_t n)
{
    const attn__run *r = s->u->r;
    const int64_t row = ATTN__PANEL * (int64_t)attn__real_size(r->plan->kernels);
    for (int i = 0; i < ATTN__N_SUMS; i++) {
        const attn__sum *sum = &s->u->b->sum[i];
        if (!attn__back_in_lanes(sum)) continue;
        const char *at = lanes_at(r, sum, s->u->seq.b, panel->h[0], s->u->seq.iq + panel->i[0]);
        attn__warm_memory(&s->warm, at + (s->u->seq.jk + j) * row, n * row);
    }
}

int attn__back_turn(const attn__run *r, const char *from, int64_t step, int64_t keys, int lanes,
                    void *memory)
{
    const attn__kernels *k = r->plan->kernels;
    const void *rows[ATTN__PANEL];
    for (int64_t j = 0; j < keys; j++) rows[j] = from + j * step;
    const int w = (int)((keys + k->step - 1) / k->step * k->step);
    k->pack((int)keys, w, lanes, rows, 1, memory);
    k->tidy(lanes * w, memory);
    return w;
}

/* Keys j0 .. j1 of 48 rows of a head, from lanes to rows. */
static void lanes_turn(const attn__run *r, const attn__sum *sum, const attn_tensor *t,
                       char *memory, int64_t b, int64_t h, int64_t i0, int64_t j0, int64_t j1)
{
    const attn__kernels *k = r->plan->kernels;
    const int64_t real = (int64_t)attn__real_size(k), step = ATTN__PANEL * real;
    const char *from = lanes_at(r, sum, b, h, i0);
    const int lanes = (int)attn__min(ATTN__PANEL, sum->rows - i0);
    for (int64_t j = j0, n; j < j1; j += n) {
        n = attn__min(ATTN__PANEL, j1 - j);
        const int w = attn__back_turn(r, from + j * step, step, n, lanes, memory);
        for (int l = 0; l < lanes; l++)
            attn__write_row(k, t, n, memory + l * w * real, attn__at(t, b, h, i0 + l, j));
    }
}

void attn__back_lanes_step(const attn__back_unit *u, const attn__sum *sum, const attn_tensor *t,
                           int64_t step, bool end)
{
    const attn__run *r = u->r;
    const int64_t real = (int64_t)attn__real_size(r->plan->kernels);
    const int64_t b = end ? r->p->N - 1 : 0, g = end ? r->p->G - 1 : 0;
    if ((sum->batch == 1 && u->seq.b != b) || (sum->heads == 1 && u->g != g)) return;
    const int64_t first = (u->range * ATTN__BACK_RANGE + step) * ATTN__BACK_STEP;
    const int64_t last = attn__min(first + ATTN__BACK_STEP, u->panels);
    char *memory = u->scratch + r->plan->at.term;
    for (int64_t index = first; index < last; index++) {
        int64_t h, i;
        attn__panel_first(r->p, &u->seq, u->g, index, &h, &i);
        if (end)
            lanes_turn(r, sum, t, memory, sum->batch == 1 ? 0 : u->seq.b,
                       sum->heads == 1 ? 0 : h, i, u->j0, u->j0 + u->n);
        else
            memset(lanes_at(r, sum, u->seq.b, h, i) + u->j0 * ATTN__PANEL * real, 0,
                   (size_t)(u->n * ATTN__PANEL * real));
    }
}

/* ---- all at once ------------------------------------------------------------------------- */

typedef struct lanes_settle {
    attn__run *r;
    const attn__sum *sum;
    const attn_tensor *t;
} lanes_settle;

static void lanes_settle_share(void *arg, int thread)
{
    const lanes_settle *s = arg;
    const attn__run *r = s->r;
    char *memory =
        r->workspace + r->plan->scratch + thread * r->plan->at.bytes + r->plan->at.term;
    const attn__fpenv saved = attn__fpenv_enter();
    int64_t at = 0;
    for (int64_t b = 0; b < s->sum->batch; b++)
        for (int64_t h = 0; h < s->sum->heads; h++)
            for (int64_t i = 0; i < s->sum->rows; i += ATTN__PANEL)
                if (at++ % r->plan->threads == thread)
                    lanes_turn(r, s->sum, s->t, memory, b, h, i, 0, s->sum->keys);
    attn__fpenv_leave(saved);
}

void attn__back_lanes_settle(attn__run *r, const attn__sum *sum, const attn_tensor *t)
{
    lanes_settle settle = {r, sum, t};
    if (!sum->in_time)
        attn__parallel(r->plan->ctx, r->plan->threads, lanes_settle_share, &settle);
}
