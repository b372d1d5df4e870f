/* SPDX-License-Identifier: MIT
 * The end of a panel: the sink joins the state, sums are divided out, rows and log-sum-exps go
 * to the caller in his types and strides. */
#include <math.h>

#include "engine/jvp.h"
#include "engine/norm.h"

/* The terms of the denominator that go nowhere: exp(sink) and exp(0). */
static double panel_sink(const attn__problem *p, const attn__seq *seq, int64_t h)
{
    double sum = p->spec.softmax1 ? 0 : -(double)INFINITY;
    if (!attn__present(&p->at.sink)) return sum;
    const double sink = attn__float_at(&p->at.sink, seq->b, h) * ATTN__LOG2E;
    if (!p->spec.softmax1) return sink;
    const double top = sink > 0 ? sink : 0;
    return top + attn__log2(attn__exp2(sink - top) + attn__exp2(-top));
}

void attn__write_row(const attn__kernels *k, const attn_tensor *out, int64_t n, const void *row,
                     void *dst)
{
    if (out->stride[3] == 1 || n <= 1) {
        k->narrow[out->dtype](n, row, dst);
        return;
    }
    for (int64_t e = 0; e < n; e++)
        attn__put(out->dtype, dst, e * out->stride[3], attn__real_get(k, row, e));
}

/* From so, or, when that is NULL, from the one chunk that lies in scratch. */
static void panel_write(const attn__run *r, char *scratch, const attn__seq *seq,
                        const attn__panel *panel, const attn_tensor *out, const double *so,
                        const double *inv)
{
    const attn__kernels *k = r->plan->kernels;
    const attn__layout *at = &r->plan->at;
    const int64_t width = out->shape[3], bytes = width * (int64_t)attn__real_size(k);
    const bool direct = attn__stage_direct(k, out);
    char *rows[ATTN__PANEL], *reals[ATTN__PANEL];
    if (!attn__present(out)) return;
    attn__panel_rows(seq, panel, out, rows);
    for (int l = 0; l < panel->n && !direct; l++) reals[l] = scratch + at->rows + l * bytes;
    void *const *to = (void *const *)(direct ? rows : reals);
    if (so)
        k->finish(panel->n, panel->w, width, so, inv, to);
    else
        k->finish_chunk(panel->n, panel->w, width, scratch + at->m, scratch + at->l,
                        scratch + at->acc, inv, to);
    for (int l = 0; l < panel->n && !direct; l++)
        attn__write_row(k, out, width, reals[l], rows[l]);
}

void attn__panel_write(const attn__run *r, char *scratch, const attn__seq *seq,
                       const attn__panel *panel, const attn_tensor *out, const double *so,
                       const double *inv)
{
    panel_write(r, scratch, seq, panel, out, so, inv);
}

/* Joins the sink to the state of lane l: afterwards sl is the whole denominator relative to
 * exp2(sm). Returns how much of the chunks is left; their sum divided by sl is the output. */
static double panel_join(attn__panel *panel, int l, double sink)
{
    const double m = panel->sm[l], top = sink > m ? sink : m;
    double keep = 0, total = panel->sl[l];
    if (total != 0) {
        keep = sink > m ? attn__exp2(m - sink) : 1;
        total *= keep;
    }
    if (sink > -(double)INFINITY || sink != sink) total += attn__exp2(sink - top);
    panel->sm[l] = top;
    panel->sl[l] = total;
    return keep;
}

typedef double panel_pair __attribute__((vector_size(2 * sizeof(double))));

/* Without a sink the state is what it will be, and a sum of 0 has kept nothing. One division
 * serves two lanes; the last of an odd number is its own neighbour. */
static void panel_divide(const attn__panel *panel, double left, double *inv)
{
    for (int l = 0; l < panel->n; l += 2) {
        const int next = l + 1 < panel->n ? l + 1 : l;
        const panel_pair total = {panel->sl[l], panel->sl[next]}, one = 1 / (total * left);
        inv[l] = total[0] == 0 ? 0 : one[0];
        inv[next] = total[1] == 0 ? 0 : one[1];
    }
}

/* inv: what turns so into the output; mean: the same without the dropout. */
static void panel_factors(const attn__run *r, const attn__seq *seq, attn__panel *panel,
                          double *mean, double *inv)
{
    const attn__problem *p = r->p;
    double sink = 0;
    if (p->call != ATTN__JVP && !p->spec.softmax1 && !attn__present(&p->at.sink)) {
        panel_divide(panel, 1 - p->spec.dropout, inv);
        return;
    }
    for (int l = 0; l < panel->n; l++) {
        if (l == 0 || panel->h[l] != panel->h[l - 1]) sink = panel_sink(p, seq, panel->h[l]);
        const double keep = panel_join(panel, l, sink), total = panel->sl[l];
        inv[l] = keep == 0 ? total * 0 : keep / (total * (1 - p->spec.dropout));
        if (p->call == ATTN__JVP) mean[l] = keep == 0 ? total * 0 : keep / total;
    }
}

static double panel_lse(const attn__panel *panel, int l)
{
    if (panel->sl[l] == 0) return -(double)INFINITY;
    return (panel->sm[l] + attn__log2(panel->sl[l])) * ATTN__LN2;
}

static void panel_write_lse(const attn__run *r, const attn__seq *seq, const attn__panel *panel)
{
    const attn_tensor *lse = &r->p->at.lse;
    for (int l = 0; l < panel->n && attn__present(lse); l++)
        attn__put(lse->dtype, attn__at(lse, seq->qb, panel->h[l], seq->q0 + panel->i[l], 0), 0,
                  panel_lse(panel, l));
}

/* The state keeps the joined maximum and sum, which is what the weights still need. */
static void panel_close(const attn__run *r, char *scratch, const attn__seq *seq,
                        attn__panel *panel, const double *so)
{
    const attn__problem *p = r->p;
    double inv[ATTN__PANEL], mean[ATTN__PANEL];
    for (int l = panel->n; l < panel->w; l++) inv[l] = mean[l] = 0;
    if (attn__norm_of(p)->op >= 0) { /* the weights are what they are */
        for (int l = 0; l < panel->n; l++) inv[l] = 1 / (1 - p->spec.dropout);
    } else {
        panel_factors(r, seq, panel, mean, inv);
        panel_write_lse(r, seq, panel);
    }
    panel_write(r, scratch, seq, panel, &p->at.out, so, inv);
    if (p->call == ATTN__JVP) attn__jvp_close(r, scratch, seq, panel, mean, inv);
    panel->closed = true;
}

void attn__panel_close(const attn__run *r, char *scratch, const attn__seq *seq,
                       attn__panel *panel)
{
    if (panel->closed) return;
    if (panel->fresh) attn__panel_reset(r, panel);
    panel_close(r, scratch, seq, panel, panel->so);
}

/* The outputs of one chunk are those of a state into which it alone is folded: so is spared. */
void attn__panel_close_one(const attn__run *r, char *scratch, const attn__seq *seq,
                           attn__panel *panel)
{
    const attn__layout *at = &r->plan->at;
    r->plan->kernels->fold(panel->w, 0, true, scratch + at->m, scratch + at->l,
                           scratch + at->acc, panel->sm, panel->sl, panel->so);
    panel->fresh = false;
    panel_close(r, scratch, seq, panel, NULL);
}
