/* SPDX-License-Identifier: MIT
 * Bodies of embedding, index_select and one_hot; gather and scatter_add are in index_lines.h.
 *
 * A forward that a backward may follow saves its indices: they belong to the caller, who may
 * write others meanwhile, and the ones that were checked are the ones that count. Where several
 * elements go to one place they are summed in f64 in ascending order, on top of what stands
 * there, and rounded once. The owner of a place is one thread, so no sum depends on threads. */

enum {
    INDEX_GRAIN = 1 << 14, /* elements worth a thread */
    INDEX_BLOCK = 128      /* columns summed at once */
};

/* Operand i of a forward, dense; saved when a backward may follow. */
static const int64_t *index_ids(attn__call *c, int i)
{
    const int64_t n = attn_tensor_count(c->in[i]);
    const int64_t *ids = attn__call_ints(c, &c->in[i]);
    if (!ids || !c->recording) return ids;
    int64_t *saved = attn__call_save(c, n, sizeof *saved);
    if (saved && n > 0) memcpy(saved, ids, (size_t)n * sizeof *saved);
    return saved;
}

/* ---- rows: embedding and index_select ---------------------------------------------------- */

typedef struct index_rows {
    const int64_t *ids; /* n_ids */
    attn_tensor table;  /* forward of embedding: N D, any strides */
    const real *from;   /* before n_ids after */
    real *to;           /* before n after, or the other way round */
    int64_t padding;    /* the row that stays 0; -1 for none */
    int64_t n_ids, n, after;
    const int64_t *start; /* the ids of target t are numbers order[start[t] .. start[t + 1]) */
    const int64_t *order; /* ascending in each target */
} index_rows;

static int64_t index_grain(int64_t size)
{
    return attn__ceil_div(INDEX_GRAIN, attn__max(size, 1));
}

/* start and order by counting; ids that are padding go nowhere. */
static attn_status index_count(attn__call *c, index_rows *r)
{
    int64_t *start = attn__call_temp(c, r->n + 2, sizeof *start);
    int64_t *order = attn__call_temp(c, r->n_ids, sizeof *order);
    if (!start || !order) return ATTN_E_MEMORY;
    memset(start, 0, (size_t)(r->n + 2) * sizeof *start);
    for (int64_t i = 0; i < r->n_ids; i++)
        if (r->ids[i] != r->padding) start[r->ids[i] + 2]++;
    for (int64_t t = 2; t < r->n + 2; t++) start[t] += start[t - 1];
    for (int64_t i = 0; i < r->n_ids; i++)
        if (r->ids[i] != r->padding) order[start[r->ids[i] + 1]++] = i;
    r->start = start;
    r->order = order;
    return ATTN_OK;
}

/* to[0 .. width) += these columns of n rows of from, which lie step apart. */
static void K(index_sum)(const real *from, int64_t step, const int64_t *order, int64_t n,
                         real *to, int64_t width)
{
    double sum[INDEX_BLOCK];
    for (int64_t i = 0; i < width; i++) sum[i] = (double)to[i];
    for (int64_t j = 0; j < n; j++) {
        const real *row = from + order[j] * step;
        for (int64_t i = 0; i < width; i++) sum[i] += (double)row[i];
    }
    for (int64_t i = 0; i < width; i++) to[i] = (real)sum[i];
}

/* Targets begin .. end of before n. */
static void K(index_scatter_piece)(void *arg, int64_t begin, int64_t end)
{
    const index_rows *r = arg;
    for (int64_t at = begin; at < end; at++) {
        const int64_t first = r->start[at % r->n], n = r->start[at % r->n + 1] - first;
        const real *from = r->from + at / r->n * r->n_ids * r->after;
        real *to = r->to + at * r->after;
        for (int64_t i = 0; n > 0 && i < r->after; i += INDEX_BLOCK) {
            const int64_t width = attn__min(r->after - i, INDEX_BLOCK);
            K(index_sum)(from + i, r->after, r->order + first, n, to + i, width);
        }
    }
}

/* to (before n after) += the rows of from (before n_ids after), each where its id says. */
static attn_status K(index_scatter)(attn__call *c, index_rows *r, int64_t before)
{
    if (r->n == 0 || r->n_ids == 0) return ATTN_OK;
    ATTN_TRY(index_count(c, r));
    attn__call_share(c, before * r->n, index_grain(r->after), K(index_scatter_piece), r);
    return ATTN_OK;
}

/* A row of the table is read as it lies: a table of halves is not widened as a whole. */
static void K(embedding_piece)(void *arg, int64_t begin, int64_t end)
{
    const index_rows *r = arg;
    const int64_t step = r->table.stride[1];
    const attn_dtype dtype = r->table.dtype;
    for (int64_t at = begin; at < end; at++) {
        real *to = r->to + at * r->after;
        const char *row = (const char *)r->table.data +
                          r->ids[at] * r->table.stride[0] * (int64_t)attn_dtype_size(dtype);
        const real *from = (const real *)(const void *)row;
        if (r->ids[at] == r->padding)
            memset(to, 0, (size_t)r->after * sizeof *to);
        else if (dtype == REAL_DTYPE && step == 1)
            memcpy(to, from, (size_t)r->after * sizeof *to);
        else if (dtype == REAL_DTYPE)
            for (int64_t i = 0; i < r->after; i++) to[i] = from[i * step];
        else
            attn__convert((attn__row){REAL_DTYPE, 1}, to, (attn__row){dtype, step}, row,
                          r->after);
    }
}

static attn_status K(embedding_forward)(attn__call *c)
{
    index_rows r = {.ids = index_ids(c, 1),
                    .table = c->in[0],
                    .to = c->out[0].data,
                    .padding = c->attr.i[0],
                    .after = c->in[0].shape[1]};
    if (!r.ids) return ATTN_E_MEMORY;
    attn__call_share(c, attn_tensor_count(c->in[1]), index_grain(r.after), K(embedding_piece),
                     &r);
    return ATTN_OK;
}

static attn_status K(embedding_backward)(attn__call *c)
{
    const attn_tensor *d = &c->d_in[0], *d_out = &c->d_out[0];
    if (!attn__present(d) || attn_tensor_count(*d) == 0) return ATTN_OK;
    index_rows r = {.ids = c->saved,
                    .from = d_out->data,
                    .to = d->data,
                    .padding = c->attr.i[0],
                    .n_ids = attn_tensor_count(*d_out) / d->shape[1],
                    .n = d->shape[0],
                    .after = d->shape[1]};
    return K(index_scatter)(c, &r, 1);
}

static void K(index_select_piece)(void *arg, int64_t begin, int64_t end)
{
    const index_rows *r = arg;
    for (int64_t at = begin; at < end; at++) {
        const int64_t before = at / r->n_ids, id = r->ids[at % r->n_ids];
        const real *from = r->from + (before * r->n + id) * r->after;
        real *to = r->to + at * r->after;
        for (int64_t i = 0; i < r->after; i++) to[i] = from[i];
    }
}

static attn_status K(index_select_forward)(attn__call *c)
{
    const attn__axis a = attn__axis_of(&c->in[0], attn__dim(c->in[0].rank, c->attr.i[0]));
    index_rows r = {.ids = index_ids(c, 1),
                    .from = attn__call_reals(c, &c->in[0]),
                    .to = c->out[0].data,
                    .n_ids = c->in[1].shape[0],
                    .n = a.n,
                    .after = a.after};
    if (!r.ids || !r.from) return ATTN_E_MEMORY;
    attn__call_share(c, a.before * r.n_ids, index_grain(a.after), K(index_select_piece), &r);
    return ATTN_OK;
}

static attn_status K(index_select_backward)(attn__call *c)
{
    const attn_tensor *d = &c->d_in[0], *d_out = &c->d_out[0];
    if (!attn__present(d)) return ATTN_OK;
    const int dim = attn__dim(d->rank, c->attr.i[0]);
    const attn__axis a = attn__axis_of(d, dim);
    index_rows r = {.ids = c->saved,
                    .from = d_out->data,
                    .to = d->data,
                    .padding = -1,
                    .n_ids = d_out->shape[dim],
                    .n = a.n,
                    .after = a.after};
    return K(index_scatter)(c, &r, a.before);
}

/* ---- one_hot ----------------------------------------------------------------------------- */

static attn_status K(one_hot_forward)(attn__call *c)
{
    const int64_t n = attn_tensor_count(c->in[0]), classes = c->attr.i[0];
    const int64_t *ids = attn__call_ints(c, &c->in[0]);
    real *y = c->out[0].data;
    if (!ids) return ATTN_E_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        memset(y + i * classes, 0, (size_t)classes * sizeof *y);
        y[i * classes + ids[i]] = 1;
    }
    return ATTN_OK;
}
