/* SPDX-License-Identifier: MIT
 * What views show: the public functions that look at the same elements otherwise, and plain
 * loops that copy them. */
#include "tape_case.h"

enum { VIEW_RANK = 5 };

static int view_shape(tape_draw *d, int least_rank, int64_t *shape)
{
    const int rank = (int)test_rng_range(d->rng, least_rank, VIEW_RANK);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, 0);
    return rank;
}

/* Dimension dim of rank many, counted from the end now and then. */
static int64_t view_name(tape_draw *d, int64_t dim, int rank)
{
    return test_rng_chance(d->rng, 30) ? dim - rank : dim;
}

/* Number of an index in row-major order. */
static int64_t view_place(const attn_tensor *t, const int64_t *index)
{
    int64_t place = 0;
    for (int i = 0; i < t->rank; i++) place = place * t->shape[i] + index[i];
    return place;
}

/* out at every index is in at the index that source leaves in from. */
static void view_copy(const tape_draw *d, const double *in, const attn_tensor *shape,
                      double *out,
                      void (*source)(const tape_draw *d, const int64_t *index, int64_t *from))
{
    int64_t index[ATTN_MAX_RANK] = {0}, from[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(shape)) return;
    do {
        source(d, index, from);
        out[view_place(shape, index)] = in[view_place(&d->in[0], from)];
    } while (test_index_next(shape, index));
}

/* ---- reshape: i[0] 0 reshape, 1 unsqueeze, 2 squeeze, at i[1] --------------------------- */

/* The sizes are cut into primes and dealt out anew. */
static attn_dims reshape_deal(tape_draw *d, int64_t count)
{
    attn_dims dims = {.n = (int)test_rng_range(d->rng, 1, VIEW_RANK)};
    for (int i = 0; i < dims.n; i++) dims.at[i] = 1;
    for (int64_t p = 2; count > 1; p++)
        for (; count % p == 0; count /= p) dims.at[test_rng_range(d->rng, 0, dims.n - 1)] *= p;
    if (count == 0) dims.at[0] = 0;
    if (count > 0 && test_rng_chance(d->rng, 40))
        dims.at[test_rng_range(d->rng, 0, dims.n - 1)] = -1;
    return dims;
}

static void reshape_draw(tape_draw *d)
{
    int64_t shape[VIEW_RANK], count = 1;
    d->i[0] = test_rng_range(d->rng, 0, 2);
    const int rank = view_shape(d, d->i[0] == 2, shape);
    d->i[1] = test_rng_range(d->rng, 0, d->i[0] == 1 ? rank : rank > 0 ? rank - 1 : 0);
    if (d->i[0] == 2) shape[d->i[1]] = 1;
    tape_reals(d, rank, shape, true);
    for (int i = 0; i < rank; i++) count *= shape[i];
    d->dims = reshape_deal(d, count);
    if (d->i[0]) d->i[1] = view_name(d, d->i[1], rank + (d->i[0] == 1));
}

static void reshape_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    if (d->i[0] == 0)
        out[0] = attn_tape_reshape(t, in[0], d->dims);
    else if (d->i[0] == 1)
        out[0] = attn_tape_unsqueeze(t, in[0], (int)d->i[1]);
    else
        out[0] = attn_tape_squeeze(t, in[0], (int)d->i[1]);
}

static void reshape_oracle(const tape_draw *d, const double *const *in,
                           const attn_tensor *shape, double *const *out)
{
    int64_t count = 1;
    (void)d;
    for (int i = 0; i < shape[0].rank; i++) count *= shape[0].shape[i];
    for (int64_t i = 0; i < count; i++) out[0][i] = in[0][i];
}

const tape_case tape_case_reshape = {
    "reshape", 1, reshape_draw, reshape_apply, reshape_oracle, .exact = true};

/* ---- permute: i[0] 1 transpose of i[1] and i[2] ----------------------------------------- */

static void permute_draw(tape_draw *d)
{
    int64_t shape[VIEW_RANK];
    d->i[0] = test_rng_range(d->rng, 0, 1);
    const int rank = view_shape(d, (int)d->i[0], shape);
    tape_reals(d, rank, shape, true);
    d->dims.n = rank;
    for (int i = 0; i < rank; i++) d->dims.at[i] = i;
    d->i[1] = d->i[0] ? test_rng_range(d->rng, 0, rank - 1) : 0;
    d->i[2] = d->i[0] ? test_rng_range(d->rng, 0, rank - 1) : 0;
    for (int i = rank - 1; i >= 0; i--) {
        const int64_t from = d->i[0] ? d->i[1] : i;
        const int64_t to = d->i[0] ? d->i[2] : test_rng_range(d->rng, 0, i);
        const int64_t kept = d->dims.at[from];
        if (d->i[0] && i > 0) continue;
        d->dims.at[from] = d->dims.at[to];
        d->dims.at[to] = kept;
    }
}

static void permute_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    attn_dims order = d->dims;
    if (order.n > 2) order.at[1] -= order.n;
    if (d->i[0])
        out[0] = attn_tape_transpose(t, in[0], (int)d->i[1], (int)d->i[2] - order.n);
    else
        out[0] = attn_tape_permute(t, in[0], order);
}

static void permute_source(const tape_draw *d, const int64_t *index, int64_t *from)
{
    for (int i = 0; i < d->dims.n; i++) from[d->dims.at[i]] = index[i];
}

static void permute_oracle(const tape_draw *d, const double *const *in,
                           const attn_tensor *shape, double *const *out)
{
    view_copy(d, in[0], shape, out[0], permute_source);
}

const tape_case tape_case_permute = {
    "permute", 1, permute_draw, permute_apply, permute_oracle, .exact = true};

/* ---- expand: sizes of 1 repeat, i[0] new dimensions lead -------------------------------- */

static void expand_draw(tape_draw *d)
{
    int64_t shape[VIEW_RANK];
    const int rank = view_shape(d, 0, shape);
    d->i[0] = test_rng_range(d->rng, 0, 2);
    d->dims.n = rank + (int)d->i[0];
    for (int64_t i = 0; i < d->i[0]; i++) d->dims.at[i] = tape_size(d, 0);
    for (int i = 0; i < rank; i++) {
        if (test_rng_chance(d->rng, 40)) shape[i] = 1;
        d->dims.at[i + d->i[0]] = shape[i] == 1 ? tape_size(d, 0) : shape[i];
        if (test_rng_chance(d->rng, 30)) d->dims.at[i + d->i[0]] = -1;
    }
    tape_reals(d, rank, shape, true);
}

static void expand_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_expand(t, in[0], d->dims);
}

static void expand_source(const tape_draw *d, const int64_t *index, int64_t *from)
{
    for (int i = 0; i < d->in[0].rank; i++)
        from[i] = d->in[0].shape[i] == 1 ? 0 : index[i + d->i[0]];
}

static void expand_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                          double *const *out)
{
    view_copy(d, in[0], shape, out[0], expand_source);
}

const tape_case tape_case_expand = {"expand",     1, expand_draw, expand_apply, expand_oracle,
                                    .exact = true};

/* ---- slice: of dimension i[0] from i[1] to i[2]; i[3] above 0: split into so many ------- */

enum { SLICE_PARTS = 3 };

static void slice_draw(tape_draw *d)
{
    int64_t shape[VIEW_RANK];
    const int rank = view_shape(d, 1, shape);
    d->i[0] = test_rng_range(d->rng, 0, rank - 1);
    d->i[3] = test_rng_chance(d->rng, 40) ? test_rng_range(d->rng, 1, SLICE_PARTS) : 0;
    if (d->i[3]) shape[d->i[0]] *= d->i[3];
    const int64_t n = shape[d->i[0]];
    d->i[1] = d->i[3] ? 0 : test_rng_range(d->rng, 0, n);
    d->i[2] = d->i[3] ? n / d->i[3] : test_rng_range(d->rng, d->i[1], n);
    tape_reals(d, rank, shape, true);
}

static void slice_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    const int64_t n = d->in[0].shape[d->i[0]];
    const int dim = (int)d->i[0] - (d->i[1] % 2 ? d->in[0].rank : 0);
    const int64_t begin = d->i[1] > 0 && d->i[1] < n && d->i[2] % 2 ? d->i[1] - n : d->i[1];
    const int64_t end = d->i[2] == n                ? n + 3
                        : d->i[2] > 0 && begin >= 0 ? d->i[2] - n
                                                    : d->i[2];
    if (d->i[3])
        attn_tape_split(t, in[0], dim, (int)d->i[3], out);
    else
        out[0] = attn_tape_slice(t, in[0], dim, begin, end);
}

static void slice_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                         double *const *out)
{
    for (int64_t part = 0; part < (d->i[3] ? d->i[3] : 1); part++) {
        int64_t index[ATTN_MAX_RANK] = {0}, from[ATTN_MAX_RANK];
        if (test_tensor_empty(&shape[part])) continue;
        do {
            for (int i = 0; i < d->in[0].rank; i++) from[i] = index[i];
            from[d->i[0]] += d->i[1] + part * d->i[2];
            out[part][view_place(&shape[part], index)] = in[0][view_place(&d->in[0], from)];
        } while (test_index_next(&shape[part], index));
    }
}

const tape_case tape_case_slice = {"slice",     SLICE_PARTS,  slice_draw,
                                   slice_apply, slice_oracle, .exact = true};

/* ---- flip: of dimension i[0] ------------------------------------------------------------ */

static void flip_draw(tape_draw *d)
{
    int64_t shape[VIEW_RANK];
    const int rank = view_shape(d, 1, shape);
    d->i[0] = test_rng_range(d->rng, 0, rank - 1);
    tape_reals(d, rank, shape, true);
}

static void flip_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_flip(t, in[0], (int)d->i[0] - d->in[0].rank);
}

static void flip_source(const tape_draw *d, const int64_t *index, int64_t *from)
{
    for (int i = 0; i < d->in[0].rank; i++) from[i] = index[i];
    from[d->i[0]] = d->in[0].shape[d->i[0]] - 1 - from[d->i[0]];
}

static void flip_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                        double *const *out)
{
    view_copy(d, in[0], shape, out[0], flip_source);
}

const tape_case tape_case_flip = {"flip", 1, flip_draw, flip_apply, flip_oracle, .exact = true};
