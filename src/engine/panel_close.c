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

void attn__panel_write(const attn__run *r, char *scratch, const attn__seq *seq,
                       const attn__panel *panel, const attn_tensor *out, const double *so,
                       const double *inv)
{
    const attn__kernels *k = r->plan->kernels;
    const int64_t width = out->shape[3];
    char *rows[ATTN__PANEL], *reals[ATTN__PANEL];
    if (!attn__present(out)) return;
    attn__panel_rows(seq, panel, out, rows);
    for (int l = 0; l < panel->n; l++)
        reals[l] = scratch + r->plan->at.rows + l * width * (int64_t)attn__real_size(k);
    const bool direct = attn__stage_direct(k, out);
    k->finish(panel->n, panel->w, width, so, inv, (void *const *)(direct ? rows : reals));
    for (int l = 0; l < panel->n && !direct; l++)
        attn__write_row(k, out, width, reals[l], rows[l]);
}

/* Joins the sink to the state of lane l: afterwards sl is the whole denominator relative to
 * exp2(sm). Returns the factor that turns so into the output; *mean is it without the dropout.
 */
static double panel_join(const attn__problem *p, attn__panel *panel, int l, double sink,
                         double *mean)
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
    *mean = keep == 0 ? total * 0 : keep / total;
    return keep == 0 ? total * 0 : keep / (total * (1 - p->spec.dropout));
}

static double panel_lse(const attn__panel *panel, int l)
{
    if (panel->sl[l] == 0) return -(double)INFINITY;
    return (panel->sm[l] + attn__log2(panel->sl[l])) * ATTN__LN2;
}

/* The state keeps the joined maximum and sum, which is what the weights still need. */
void attn__panel_close(const attn__run *r, char *scratch, const attn__seq *seq,
                       attn__panel *panel)
{
    const attn__problem *p = r->p;
    const attn_tensor *lse = &p->at.lse;
    double inv[ATTN__PANEL] = {0}, mean[ATTN__PANEL] = {0};
    const bool final = attn__norm_of(p)->op >= 0; /* the weights are what they are */
    if (panel->fresh) attn__panel_reset(r, panel);
    for (int l = 0; l < panel->n; l++) {
        inv[l] = 1 / (1 - p->spec.dropout);
        if (final) continue;
        inv[l] = panel_join(p, panel, l, panel_sink(p, seq, panel->h[l]), &mean[l]);
        if (attn__present(lse))
            attn__put(lse->dtype, attn__at(lse, seq->qb, panel->h[l], seq->q0 + panel->i[l], 0),
                      0, panel_lse(panel, l));
    }
    attn__panel_write(r, scratch, seq, panel, &p->at.out, panel->so, inv);
    if (p->call == ATTN__JVP) attn__jvp_close(r, scratch, seq, panel, mean, inv);
}
