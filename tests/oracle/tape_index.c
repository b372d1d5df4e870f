/* SPDX-License-Identifier: MIT
 * Elements by their numbers, by plain loops. Indices repeat often, so that sums meet. */
#include "tape_oracle.h"

/* ---- embedding: i[0] padding ------------------------------------------------------------- */

static void embedding_draw(tape_draw *d)
{
    const int64_t table[2] = {tape_size(d, 1), tape_size(d, 0)};
    int64_t shape[3];
    const int rank = (int)test_rng_range(d->rng, 0, 3);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, 0);
    tape_reals(d, 2, table, true);
    tape_ints(d, rank, shape, 0, table[0] - 1);
    d->i[0] = test_rng_range(d->rng, -1, table[0] - 1);
}

static void embedding_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_embedding(t, in[0], in[1], d->i[0]);
}

static void embedding_oracle(const tape_draw *d, const double *const *in,
                             const attn_tensor *shape, double *const *out)
{
    const int64_t width = d->in[0].shape[1], n = tape_count(&d->in[1]);
    (void)shape;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < width; k++) {
            const int64_t id = (int64_t)in[1][i];
            out[0][i * width + k] = id == d->i[0] ? 0 : in[0][id * width + k];
        }
}

const tape_case tape_case_embedding = {
    "embedding", 1, embedding_draw, embedding_apply, embedding_oracle, .exact = true};

/* ---- index_select ------------------------------------------------------------------------ */

static void index_select_draw(tape_draw *d)
{
    axis_draw(d, 0, 1, true);
    const int64_t n = test_rng_range(d->rng, 0, 9);
    tape_ints(d, 1, &n, 0, d->in[0].shape[d->i[0]] - 1);
    d->i[1] = n;
}

static void index_select_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                               attn_var *out)
{
    out[0] = attn_tape_index_select(t, in[0], axis_name(d), in[1]);
}

static void index_select_oracle(const tape_draw *d, const double *const *in,
                                const attn_tensor *shape, double *const *out)
{
    const axis x = axis_of(&d->in[0], d->i[0]), y = axis_of(shape, d->i[0]);
    for (int64_t b = 0; b < y.before; b++)
        for (int64_t j = 0; j < y.n; j++)
            for (int64_t a = 0; a < y.after; a++)
                out[0][(b * y.n + j) * y.after + a] =
                    in[0][(b * x.n + (int64_t)in[1][j]) * x.after + a];
}

const tape_case tape_case_index_select = {"index_select",      1,
                                          index_select_draw,   index_select_apply,
                                          index_select_oracle, .exact = true};

/* ---- gather and scatter_add -------------------------------------------------------------- */

/* The tensor and indices in it whose other sizes are at most its own. */
static void index_draw_narrow(tape_draw *d)
{
    int64_t shape[AXIS_RANK];
    axis_draw(d, 0, 1, true);
    const attn_tensor *a = &d->in[0];
    for (int i = 0; i < a->rank; i++)
        shape[i] = i == d->i[0] ? test_rng_range(d->rng, 0, 9)
                                : test_rng_range(d->rng, a->shape[i] / 2, a->shape[i]);
    tape_ints(d, a->rank, shape, 0, a->shape[d->i[0]] - 1);
    d->i[1] = test_rng_range(d->rng, 0, 1);
}

/* The number of the element of the tensor that the indices name at index. */
static int64_t index_named(const tape_draw *d, const int64_t *index, double id)
{
    int64_t place = 0;
    for (int i = 0; i < d->in[0].rank; i++)
        place = place * d->in[0].shape[i] + (i == d->i[0] ? (int64_t)id : index[i]);
    return place;
}

static void gather_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_gather(t, in[0], axis_name(d), in[1]);
}

static void gather_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                          double *const *out)
{
    int64_t index[ATTN_MAX_RANK] = {0}, i = 0;
    if (test_tensor_empty(shape)) return;
    do {
        out[0][i] = in[0][index_named(d, index, in[1][i])];
        i++;
    } while (test_index_next(shape, index));
}

const tape_case tape_case_gather = {
    "gather", 1, index_draw_narrow, gather_apply, gather_oracle, .exact = true};

static void scatter_add_draw(tape_draw *d)
{
    index_draw_narrow(d);
    tape_reals(d, d->in[1].rank, d->in[1].shape, true);
}

static void scatter_add_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                              attn_var *out)
{
    out[0] = attn_tape_scatter_add(t, in[0], axis_name(d), in[1], in[2]);
}

static void scatter_add_oracle(const tape_draw *d, const double *const *in,
                               const attn_tensor *shape, double *const *out)
{
    int64_t index[ATTN_MAX_RANK] = {0}, i = 0;
    for (int64_t k = 0; k < tape_count(shape); k++) out[0][k] = in[0][k];
    if (test_tensor_empty(&d->in[1])) return;
    do {
        out[0][index_named(d, index, in[1][i])] += in[2][i];
        i++;
    } while (test_index_next(&d->in[1], index));
}

const tape_case tape_case_scatter_add = {
    "scatter_add", 1, scatter_add_draw, scatter_add_apply, scatter_add_oracle, .exact = false};

/* ---- one_hot: i[0] classes --------------------------------------------------------------- */

static void one_hot_draw(tape_draw *d)
{
    int64_t shape[3];
    const int rank = (int)test_rng_range(d->rng, 0, 3);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, 0);
    d->i[0] = test_rng_range(d->rng, 1, 7);
    tape_ints(d, rank, shape, 0, d->i[0] - 1);
}

static void one_hot_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_one_hot(t, in[0], d->i[0]);
}

static void one_hot_oracle(const tape_draw *d, const double *const *in,
                           const attn_tensor *shape, double *const *out)
{
    (void)shape;
    for (int64_t i = 0; i < tape_count(&d->in[0]); i++)
        for (int64_t n = 0; n < d->i[0]; n++)
            out[0][i * d->i[0] + n] = (int64_t)in[0][i] == n ? 1 : 0;
}

const tape_case tape_case_one_hot = {
    "one_hot", 1, one_hot_draw, one_hot_apply, one_hot_oracle, .exact = true};
