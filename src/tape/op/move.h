/* SPDX-License-Identifier: MIT
 * Bodies of the moves: pad, roll, concat.
 *
 * Each is a list of bands: n indices of one dimension of an operand, from index in, are indices
 * out, out + 1, ... of the result. Forward copies the bands, any strides and types; backward
 * adds the bands of d_out, dense, into d_in, dense. Every element of d_in belongs to one piece.
 */

typedef struct move_band {
    int operand;
    int64_t in, out, n;
} move_band;

typedef struct move_list {
    int dim, n;
    move_band band[ATTN__OP_MOST];
} move_list;

enum { MOVE_GRAIN = 1 << 15 }; /* elements worth a thread */

/* ---- forward ----------------------------------------------------------------------------- */

typedef struct move_copy {
    attn_tensor to, from;
    int dim;
} move_copy;

static void move_copy_piece(void *arg, int64_t from, int64_t to)
{
    const move_copy *m = arg;
    attn_tensor_copy(attn_tensor_slice(m->to, m->dim, from, to),
                     attn_tensor_slice(m->from, m->dim, from, to), NULL);
}

/* to = from, any strides and types; shared out along the outermost dimension that has more than
 * one index. */
static void move_copy_run(const attn__call *c, attn_tensor to, attn_tensor from)
{
    move_copy m = {to, from, 0};
    const int64_t count = attn_tensor_count(to);
    if (count == 0) return;
    while (m.dim < to.rank - 1 && to.shape[m.dim] == 1) m.dim++;
    if (to.rank == 0) {
        attn_tensor_copy(to, from, NULL);
        return;
    }
    const int64_t n = to.shape[m.dim];
    attn__call_share(c, n, attn__ceil_div(MOVE_GRAIN, count / n), move_copy_piece, &m);
}

/* Indices begin .. end of dim of out 0 are the value attr.f[0]. */
static void move_fill(const attn__call *c, int dim, int64_t begin, int64_t end)
{
    uint64_t cell = 0;
    attn_tensor to = attn_tensor_slice(c->out[0], dim, begin, end), from = to;
    attn__put(to.dtype, &cell, 0, c->attr.f[0]);
    from.data = &cell;
    memset(from.stride, 0, sizeof from.stride);
    move_copy_run(c, to, from);
}

static attn_status move_forward(const attn__call *c, const move_list *m)
{
    for (int i = 0; i < m->n; i++) {
        const move_band *b = &m->band[i];
        move_copy_run(c, attn_tensor_slice(c->out[0], m->dim, b->out, b->out + b->n),
                      attn_tensor_slice(c->in[b->operand], m->dim, b->in, b->in + b->n));
    }
    return ATTN_OK;
}

/* ---- backward ---------------------------------------------------------------------------- */

typedef struct move_rows { /* runs of run elements, their starts a step apart */
    real *to;
    const real *from;
    int64_t run, to_step, from_step;
} move_rows;

static void K(move_add_piece)(void *arg, int64_t begin, int64_t end)
{
    const move_rows *m = arg;
    for (int64_t at = begin, n; at < end; at += n) {
        const int64_t row = at / m->run, first = at % m->run;
        real *to = m->to + row * m->to_step + first;
        const real *from = m->from + row * m->from_step + first;
        n = attn__min(m->run - first, end - at);
        for (int64_t i = 0; i < n; i++) to[i] += from[i];
    }
}

static attn_status K(move_backward)(const attn__call *c, const move_list *m)
{
    const attn__axis y = attn__axis_of(&c->d_out[0], m->dim);
    for (int i = 0; i < m->n; i++) {
        const move_band *b = &m->band[i];
        const attn_tensor *d = &c->d_in[b->operand];
        if (!attn__present(d) || b->n == 0) continue;
        const attn__axis x = attn__axis_of(d, m->dim);
        move_rows rows = {(real *)d->data + b->in * x.after,
                          (const real *)c->d_out[0].data + b->out * y.after, b->n * x.after,
                          x.n * x.after, y.n * y.after};
        attn__call_share(c, x.before * rows.run, MOVE_GRAIN, K(move_add_piece), &rows);
    }
    return ATTN_OK;
}

/* ---- the lists --------------------------------------------------------------------------- */

static move_list move_begin(const attn__call *c)
{
    return (move_list){.dim = attn__dim(c->in[0].rank, c->attr.i[0])};
}

/* The indices of the operand that neither side cuts away. */
static move_list pad_bands(const attn__call *c)
{
    move_list m = move_begin(c);
    const int64_t n = c->in[0].shape[m.dim], before = c->attr.i[1], after = c->attr.i[2];
    const int64_t begin = attn__min(attn__max(-before, 0), n);
    const int64_t end = attn__max(attn__min(n + after, n), begin);
    const int64_t out = attn__min(attn__max(begin + before, 0), n + before + after);
    m.band[m.n++] = (move_band){0, begin, out, end - begin};
    return m;
}

static move_list roll_bands(const attn__call *c)
{
    move_list m = move_begin(c);
    const int64_t n = c->in[0].shape[m.dim];
    int64_t by = n > 0 ? c->attr.i[1] % n : 0;
    if (by < 0) by += n;
    m.band[m.n++] = (move_band){0, 0, by, n - by};
    m.band[m.n++] = (move_band){0, n - by, 0, by};
    return m;
}

static move_list concat_bands(const attn__call *c)
{
    move_list m = move_begin(c);
    int64_t at = 0;
    for (int i = 0; i < c->n_in; i++) {
        const int64_t n = c->in[i].shape[m.dim];
        m.band[m.n++] = (move_band){i, 0, at, n};
        at += n;
    }
    return m;
}

/* ---- the bodies -------------------------------------------------------------------------- */

static attn_status K(pad_forward)(attn__call *c)
{
    const move_list m = pad_bands(c);
    const move_band *b = &m.band[0];
    const int64_t n = c->out[0].shape[m.dim];
    move_fill(c, m.dim, 0, b->out);
    move_fill(c, m.dim, b->out + b->n, n);
    return move_forward(c, &m);
}

static attn_status K(pad_backward)(attn__call *c)
{
    const move_list m = pad_bands(c);
    return K(move_backward)(c, &m);
}

static attn_status K(roll_forward)(attn__call *c)
{
    const move_list m = roll_bands(c);
    return move_forward(c, &m);
}

static attn_status K(roll_backward)(attn__call *c)
{
    const move_list m = roll_bands(c);
    return K(move_backward)(c, &m);
}

static attn_status K(concat_forward)(attn__call *c)
{
    const move_list m = concat_bands(c);
    return move_forward(c, &m);
}

static attn_status K(concat_backward)(attn__call *c)
{
    const move_list m = concat_bands(c);
    return K(move_backward)(c, &m);
}
