/* SPDX-License-Identifier: MIT
 * Bodies of gather and scatter_add, which work on lines: the elements of a tensor along dim.
 *
 * Lines of the indices belong to different lines of the tensor they count in, so threads share
 * out lines. A line of sums in f64 is kept for each piece of them, not for the tensor. */

enum { INDEX_SLOTS = 64 }; /* pieces of the lines */

typedef struct index_lines {
    attn_tensor wide, narrow; /* dense sizes and strides of a and of ids; no data */
    int dim;
    const int64_t *ids;
    const real *from; /* of one of the two shapes */
    real *to;         /* of the other */
    int64_t n;        /* lines of ids */
    int64_t n_slots;
    double *sums; /* n_slots lines of wide, 0 */
} index_lines;

static index_lines index_lines_make(const attn_tensor *wide, const attn_tensor *narrow,
                                    int64_t dim)
{
    index_lines l = {.dim = attn__dim(wide->rank, dim)};
    l.wide = attn_tensor_make(NULL, REAL_DTYPE, wide->rank, wide->shape);
    l.narrow = attn_tensor_make(NULL, REAL_DTYPE, wide->rank, narrow->shape);
    l.n = narrow->shape[l.dim] > 0 ? attn_tensor_count(*narrow) / narrow->shape[l.dim] : 0;
    l.n_slots = attn__min(l.n, INDEX_SLOTS);
    return l;
}

/* Where line number line begins in both. */
static void index_line(const index_lines *l, int64_t line, int64_t *wide, int64_t *narrow)
{
    *wide = *narrow = 0;
    for (int i = l->narrow.rank - 1; i >= 0; i--) {
        if (i == l->dim) continue;
        const int64_t at = line % l->narrow.shape[i];
        line /= l->narrow.shape[i];
        *wide += at * l->wide.stride[i];
        *narrow += at * l->narrow.stride[i];
    }
}

/* to (narrow) = or += from (wide) at the indices. */
static inline void K(index_take)(const index_lines *l, int64_t begin, int64_t end, bool add)
{
    const int64_t n = l->narrow.shape[l->dim], step = l->narrow.stride[l->dim];
    const int64_t wide_step = l->wide.stride[l->dim];
    for (int64_t line = begin; line < end; line++) {
        int64_t wide, narrow;
        index_line(l, line, &wide, &narrow);
        for (int64_t j = 0; j < n; j++, narrow += step) {
            const real x = l->from[wide + l->ids[narrow] * wide_step];
            l->to[narrow] = add ? l->to[narrow] + x : x;
        }
    }
}

static void K(index_take_piece)(void *arg, int64_t begin, int64_t end)
{
    K(index_take)(arg, begin, end, false);
}

static void K(index_take_add_piece)(void *arg, int64_t begin, int64_t end)
{
    K(index_take)(arg, begin, end, true);
}

/* One line of to (wide) += from (narrow). A place takes its whole sum at its first index; the
 * sum is 0 again when the next line comes. */
static void K(index_put_line)(const index_lines *l, int64_t wide, int64_t narrow, double *sum)
{
    const int64_t n = l->narrow.shape[l->dim], step = l->narrow.stride[l->dim];
    const int64_t wide_step = l->wide.stride[l->dim];
    for (int64_t j = 0, at = narrow; j < n; j++, at += step)
        sum[l->ids[at]] += (double)l->from[at];
    for (int64_t j = 0, at = narrow; j < n; j++, at += step) {
        real *to = l->to + wide + l->ids[at] * wide_step;
        *to = (real)((double)*to + sum[l->ids[at]]);
        sum[l->ids[at]] = 0;
    }
}

/* Slots begin .. end; a slot walks its share of the lines. */
static void K(index_put_piece)(void *arg, int64_t begin, int64_t end)
{
    const index_lines *l = arg;
    for (int64_t slot = begin; slot < end; slot++) {
        const int64_t each = attn__ceil_div(l->n, l->n_slots);
        const int64_t last = attn__min((slot + 1) * each, l->n);
        for (int64_t line = slot * each; line < last; line++) {
            int64_t wide, narrow;
            index_line(l, line, &wide, &narrow);
            K(index_put_line)(l, wide, narrow, l->sums + slot * l->wide.shape[l->dim]);
        }
    }
}

static attn_status K(index_put)(attn__call *c, index_lines *l)
{
    const int64_t count = l->n_slots * l->wide.shape[l->dim];
    if (l->n == 0) return ATTN_OK;
    l->sums = attn__call_temp(c, count, sizeof *l->sums);
    if (!l->sums) return ATTN_E_MEMORY;
    memset(l->sums, 0, (size_t)count * sizeof *l->sums);
    const int64_t work = attn__ceil_div(l->n, l->n_slots) * l->narrow.shape[l->dim];
    attn__call_share(c, l->n_slots, index_grain(work), K(index_put_piece), l);
    return ATTN_OK;
}

static attn_status K(gather_forward)(attn__call *c)
{
    index_lines l = index_lines_make(&c->in[0], &c->in[1], c->attr.i[0]);
    l.ids = index_ids(c, 1);
    l.from = attn__call_reals(c, &c->in[0]);
    l.to = c->out[0].data;
    if (!l.ids || !l.from) return ATTN_E_MEMORY;
    attn__call_share(c, l.n, index_grain(c->in[1].shape[l.dim]), K(index_take_piece), &l);
    return ATTN_OK;
}

static attn_status K(gather_backward)(attn__call *c)
{
    if (!attn__present(&c->d_in[0])) return ATTN_OK;
    index_lines l = index_lines_make(&c->d_in[0], &c->d_out[0], c->attr.i[0]);
    l.ids = c->saved;
    l.from = c->d_out[0].data;
    l.to = c->d_in[0].data;
    return K(index_put)(c, &l);
}

static attn_status K(scatter_add_forward)(attn__call *c)
{
    index_lines l = index_lines_make(&c->in[0], &c->in[1], c->attr.i[0]);
    const real *a = attn__call_reals(c, &c->in[0]);
    l.ids = index_ids(c, 1);
    l.from = attn__call_reals(c, &c->in[2]);
    l.to = c->out[0].data;
    if (!l.ids || !l.from || !a) return ATTN_E_MEMORY;
    const int64_t count = attn_tensor_count(c->out[0]);
    if (count > 0) memcpy(l.to, a, (size_t)count * sizeof *l.to);
    return K(index_put)(c, &l);
}

static attn_status K(scatter_add_backward)(attn__call *c)
{
    const attn_tensor *d_a = &c->d_in[0], *d_src = &c->d_in[2], *d_out = &c->d_out[0];
    if (attn__present(d_a)) ATTN_TRY(attn__call_reduce(c, d_out->data, d_out, d_a));
    if (!attn__present(d_src)) return ATTN_OK;
    index_lines l = index_lines_make(d_out, d_src, c->attr.i[0]);
    l.ids = c->saved;
    l.from = d_out->data;
    l.to = d_src->data;
    attn__call_share(c, l.n, index_grain(d_src->shape[l.dim]), K(index_take_add_piece), &l);
    return ATTN_OK;
}
