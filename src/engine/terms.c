/* SPDX-License-Identifier: MIT
 * What is added to the scores of a tile, in the order of terms.def. Scores are in units of log
 * 2 here, so a natural term is multiplied by log2(e) in the fma that adds it. A term is first
 * laid out as a tile of its own, [key][lane], and one kernel adds it. -inf in a dense operand
 * forbids its pair: the bit is cleared and 0 is added. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/norm.h"

static const attn__kernels *term_kernels(const attn__tile *t)
{
    return t->r->plan->kernels;
}

static void *term_memory(const attn__tile *t)
{
    return t->scratch + t->r->plan->at.term;
}

static void term_add(const attn__tile *t, double coef)
{
    term_kernels(t)->add(t->n, t->panel->w, term_memory(t), coef, t->s);
}

/* What real arithmetic makes of x, kept finite where x is. */
static double term_real(const attn__kernels *k, double x, double factor)
{
    const double most = k->dtype == ATTN_DTYPE_F64 ? DBL_MAX : (double)FLT_MAX;
    if (!(fabs(x) <= DBL_MAX)) return x;
    x *= factor;
    if (fabs(x) > most) return copysign(most, x);
    return k->dtype == ATTN_DTYPE_F64 ? x : (double)(float)x;
}

/* From here on the tile has mask bits. */
static void term_need_bits(attn__tile *t)
{
    if (t->masked) return;
    for (int64_t j = 0; j < t->n; j++) t->allowed[j] = attn__low_bits(t->panel->n);
    t->masked = true;
}

/* ---- relative keys ---------------------------------------------------------------------- */

static bool term_rel_k_on(const attn__problem *p)
{
    return attn__present(&p->at.rel_k);
}

static void term_rel_k(attn__tile *t)
{
    const attn__kernels *k = term_kernels(t);
    const attn__panel *panel = t->panel;
    void *term = term_memory(t);
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < panel->w; l++) {
            double x = 0;
            if (l < panel->n)
                x = attn__real_get(
                    k, panel->rq,
                    attn__shaw_index(t->r->p, panel->p[l], t->j0 + j) * panel->w + l);
            attn__real_put(k, term, j * panel->w + l, x);
        }
    term_add(t, 1);
}

/* ---- scale: with nothing after it, the exponential multiplies in passing ---------------- */

static bool term_scale_on(const attn__problem *p)
{
    const attn_args *a = &p->at;
    return p->spec.softcap > 0 || p->spec.tile || attn__norm_on(p) ||
           attn__present(&a->bias_pre) || attn__present(&a->bias) || attn__present(&a->alibi) ||
           attn__present(&a->rel_table) || p->spec.center_sigma > 0 ||
           (attn__present(&a->mask) && attn__dtype_is_float(a->mask.dtype));
}

static void term_scale(attn__tile *t)
{
    term_kernels(t)->scale(t->n, t->panel->w, t->coef, t->s);
    t->coef = 1;
}

/* ---- dense operands --------------------------------------------------------------------- */

/* Clears the bits of lanes where row is -inf and makes it finite there. A double that only
 * rounds to an infinity becomes the float nearest to it. */
static void term_forbid(attn__tile *t, uint64_t lanes, attn_dtype dtype, const char *src,
                        int64_t stride, void *row)
{
    const attn__kernels *k = term_kernels(t);
    for (int64_t j = 0; j < t->n; j++) {
        if (fabs(attn__real_get(k, row, j)) <= (double)FLT_MAX) continue;
        const double exact = attn__get(dtype, src, j * stride);
        if (exact == -(double)INFINITY) {
            term_need_bits(t);
            t->allowed[j] &= ~lanes;
            attn__real_put(k, row, j, 0);
        } else {
            attn__real_put(k, row, j, term_real(k, exact, 1));
        }
    }
}

/* The rows of the lanes as finite reals in scratch, -inf forbidding its lanes. Lanes that read
 * the same row (the operand broadcasts over queries or heads) share one. */
static void term_dense_stage(attn__tile *t, const attn_tensor *operand, const void **rows)
{
    const attn__kernels *k = term_kernels(t);
    const attn__panel *panel = t->panel;
    const int64_t stride = operand->stride[3], size = t->n * (int64_t)attn__real_size(k);
    for (int first = 0, l; first < panel->n; first = l) {
        const char *src = attn__operand_row(t, operand, first);
        char *row = t->scratch + t->r->plan->at.rows + first * size;
        uint64_t lanes = 0;
        for (l = first; l < panel->n && attn__operand_row(t, operand, l) == src; l++) {
            lanes |= (uint64_t)1 << l;
            rows[l] = row;
        }
        attn__stage_row(k, operand->dtype, src, stride, t->n, row);
        if (!k->finite(t->n, row)) term_forbid(t, lanes, operand->dtype, src, stride, row);
    }
}

/* Rows of reals are read in place, once, if it turns out that they are finite. */
static void term_dense(attn__tile *t, const attn_tensor *operand)
{
    const attn__kernels *k = term_kernels(t);
    const attn__panel *panel = t->panel;
    const void *rows[ATTN__PANEL];
    bool done = operand->dtype == k->dtype && (operand->stride[3] == 1 || t->n == 1);
    for (int l = 0; l < panel->n && done; l++) rows[l] = attn__operand_row(t, operand, l);
    if (done) k->pack(panel->n, panel->w, t->n, rows, 1, term_memory(t));
    done = done && k->finite(t->n * panel->w, term_memory(t));
    if (!done) {
        term_dense_stage(t, operand, rows);
        k->pack(panel->n, panel->w, t->n, rows, 1, term_memory(t));
    }
    term_add(t, ATTN__LOG2E);
}

static bool term_bias_pre_on(const attn__problem *p)
{
    return attn__present(&p->at.bias_pre);
}

static void term_bias_pre(attn__tile *t)
{
    term_dense(t, &t->r->p->at.bias_pre);
}

static bool term_bias_on(const attn__problem *p)
{
    return attn__present(&p->at.bias);
}

static void term_bias(attn__tile *t)
{
    term_dense(t, &t->r->p->at.bias);
}

static bool term_mask_on(const attn__problem *p)
{
    return attn__present(&p->at.mask) && attn__dtype_is_float(p->at.mask.dtype);
}

static void term_mask(attn__tile *t)
{
    term_dense(t, &t->r->p->at.mask);
}

/* ---- softcap ---------------------------------------------------------------------------- */

static bool term_softcap_on(const attn__problem *p)
{
    return p->spec.softcap > 0;
}

static void term_softcap(attn__tile *t)
{
    const attn__kernels *k = term_kernels(t);
    k->cap(t->n, t->panel->w, t->r->p->spec.softcap * ATTN__LOG2E, t->s);
    if (t->capped) memcpy(t->capped, t->s, (size_t)(t->n * t->panel->w) * attn__real_size(k));
}

/* ---- terms by distance ------------------------------------------------------------------ */

static bool term_alibi_on(const attn__problem *p)
{
    return attn__present(&p->at.alibi);
}

static void term_alibi(attn__tile *t)
{
    const attn__panel *panel = t->panel;
    double slope[ATTN__PANEL] = {0}, pos[ATTN__PANEL] = {0};
    for (int l = 0; l < panel->n; l++) {
        slope[l] = -attn__float_at(&t->r->p->at.alibi, t->seq->b, panel->h[l]);
        pos[l] = (double)panel->p[l];
    }
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < panel->w; l++)
            attn__real_put(term_kernels(t), term_memory(t), j * panel->w + l,
                           slope[l] * fabs(pos[l] - (double)(t->j0 + j)));
    term_add(t, ATTN__LOG2E);
}

static bool term_rel_table_on(const attn__problem *p)
{
    return attn__present(&p->at.rel_table);
}

static void term_rel_table(attn__tile *t)
{
    const attn__run *r = t->r;
    const attn__panel *panel = t->panel;
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < panel->w; l++) {
            double x = 0;
            if (l < panel->n)
                x = attn__float_at(&r->p->at.rel_table, panel->h[l],
                                   attn__rel_index(r->plan, r->p, panel->p[l], t->j0 + j));
            attn__real_put(term_kernels(t), term_memory(t), j * panel->w + l, x);
        }
    term_add(t, ATTN__LOG2E);
}

static bool term_center_on(const attn__problem *p)
{
    return p->spec.center_sigma > 0;
}

static void term_center(attn__tile *t)
{
    const attn__kernels *k = term_kernels(t);
    const attn__panel *panel = t->panel;
    const double sigma = t->r->p->spec.center_sigma;
    double center[ATTN__PANEL] = {0};
    for (int l = 0; l < panel->n; l++)
        center[l] = attn__center_at(t->r->p, t->seq, panel->h[l], panel->i[l]);
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < panel->w; l++) {
            const double far = (double)(t->j0 + j) - center[l];
            attn__real_put(k, term_memory(t), j * panel->w + l,
                           term_real(k, -(far * far) / (2 * sigma * sigma), 1));
        }
    term_add(t, ATTN__LOG2E);
}

/* ---- user code -------------------------------------------------------------------------- */

static bool term_callback_on(const attn__problem *p)
{
    return p->spec.tile != NULL;
}

/* Lanes first .. last are one head and consecutive queries. */
static void term_call(attn__tile *t, int first, int last)
{
    const attn_spec *spec = &t->r->p->spec;
    const attn__kernels *k = term_kernels(t);
    const int w = t->panel->w;
    char *natural = term_memory(t);
    attn_tile tile = {.b = t->seq->b,
                      .h = t->panel->h[first],
                      .i0 = t->panel->i[first],
                      .n_i = last - first,
                      .j0 = t->j0,
                      .n_j = t->n,
                      .dtype = k->dtype,
                      .i_stride = 1,
                      .j_stride = w};
    const attn_tile_kind kind =
        spec->classify ? spec->classify(spec->user, &tile) : ATTN_TILE_PARTIAL;
    const int64_t lanes = first * (int64_t)attn__real_size(k);
    tile.s = natural + lanes;
    if (kind == ATTN_TILE_PARTIAL) spec->tile(spec->user, &tile);
    if (t->slope) {
        tile.s = (char *)t->slope + lanes;
        (kind == ATTN_TILE_PARTIAL ? spec->tile_slope : attn_tile_adds)(spec->user, &tile);
    }
    if (kind != ATTN_TILE_EMPTY) return;
    for (int64_t j = 0; j < t->n; j++)
        for (int l = first; l < last; l++)
            attn__real_put(k, natural, j * w + l, -(double)INFINITY);
}

static bool term_allowed(const attn__tile *t, int64_t j, int l)
{
    return t->allowed[j] >> l & 1;
}

void attn_tile_adds(void *user, const attn_tile *tile)
{
    (void)user;
    for (int64_t i = 0; i < tile->n_i; i++)
        for (int64_t j = 0; j < tile->n_j; j++) {
            const int64_t at = i * tile->i_stride + j * tile->j_stride;
            if (tile->dtype == ATTN_DTYPE_F64)
                ((double *)tile->s)[at] = 1;
            else
                ((float *)tile->s)[at] = 1;
        }
}

/* User code sees natural units, in a copy, and -inf where a pair is forbidden already. A score
 * that it leaves alone keeps its bits. */
static void term_callback(attn__tile *t)
{
    const attn__panel *panel = t->panel;
    const attn__kernels *k = term_kernels(t);
    void *natural = term_memory(t);
    const int w = panel->w;
    term_need_bits(t);
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < w; l++)
            attn__real_put(k, natural, j * w + l,
                           term_allowed(t, j, l)
                               ? term_real(k, attn__real_get(k, t->s, j * w + l), ATTN__LN2)
                               : -(double)INFINITY);
    if (t->slope) memcpy(t->slope, natural, (size_t)(t->n * w) * attn__real_size(k));
    for (int first = 0, l = 1; first < panel->n; first = l, l++) {
        while (l < panel->n && panel->h[l] == panel->h[first]) l++;
        term_call(t, first, l);
    }
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < panel->n; l++) {
            const int64_t x = j * w + l;
            if (t->slope &&
                !(term_allowed(t, j, l) && attn__real_get(k, natural, x) >= -DBL_MAX))
                attn__real_put(k, t->slope, x, 1); /* of a forbidden pair: anything finite */
            if (!term_allowed(t, j, l)) continue;
            const double now = attn__real_get(k, natural, x);
            const double before = term_real(k, attn__real_get(k, t->s, x), ATTN__LN2);
            if (now < -DBL_MAX)
                t->allowed[j] &= ~((uint64_t)1 << l);
            else if (now != before)
                attn__real_put(k, t->s, x, term_real(k, now, ATTN__LOG2E));
        }
}

/* ---- the order -------------------------------------------------------------------------- */

typedef struct term_rule {
    bool (*on)(const attn__problem *p);
    void (*apply)(attn__tile *t);
    attn__stage stage;
} term_rule;

static const term_rule term_rules[] = {
#define TERM(name, stage) {term_##name##_on, term_##name, stage},
#include "engine/terms.def"
#undef TERM
};

void attn__terms_apply(attn__tile *t, attn__stage until)
{
    for (int i = 0; i < ATTN__N_TERMS; i++)
        if (term_rules[i].stage <= until && term_rules[i].on(t->r->p)) term_rules[i].apply(t);
}

bool attn__term_on(int term, const attn__problem *p)
{
    return term_rules[term].on(p);
}
