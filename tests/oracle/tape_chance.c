/* SPDX-License-Identifier: MIT
 * Dropout, Gumbel-softmax and draws by the documented recipe of random words, with the oracle's
 * own Philox. i[0] the seed, i[1] the dimension, f[0] the probability or temperature. */
#include <math.h>

#include "oracle/oracle.h"
#include "tape_case.h"

static void chance_draw(tape_draw *d, int least_rank, int64_t least_last)
{
    int64_t shape[3];
    const int rank = (int)test_rng_range(d->rng, least_rank, 3);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, i == rank - 1 ? least_last : 0);
    tape_reals(d, rank, shape, true);
    d->i[0] = (int64_t)test_rng_next(d->rng);
}

static void chance_words(const tape_draw *d, int64_t block, uint32_t kind, uint32_t words[4])
{
    const uint64_t seed = (uint64_t)d->i[0];
    const uint32_t key[2] = {(uint32_t)(seed & 0xFFFFFFFF), (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, kind};
    oracle_philox(counter, key, words);
}

static double chance_word(const tape_draw *d, int64_t element, uint32_t kind)
{
    uint32_t words[4];
    chance_words(d, element / 4, kind, words);
    return (double)words[element % 4];
}

/* ---- dropout ----------------------------------------------------------------------------- */

static void dropout_draw(tape_draw *d)
{
    static const double p[] = {0, 0.1, 0.5, 0.9, 1};
    chance_draw(d, 0, 0);
    d->f[0] = p[test_rng_range(d->rng, 0, 4)];
}

static void dropout_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_dropout(t, in[0], d->f[0], (uint64_t)d->i[0]);
}

static void dropout_oracle(const tape_draw *d, const double *const *in,
                           const attn_tensor *shape, double *const *out)
{
    const int64_t n = attn_tensor_count(shape[0]);
    for (int64_t e = 0; e < n; e++)
        if (chance_word(d, e, 1) >= floor(d->f[0] * 4294967296.0))
            out[0][e] = in[0][e] / (1 - d->f[0]);
}

const tape_case tape_case_dropout = {
    "dropout", 1, dropout_draw, dropout_apply, dropout_oracle, .exact = false};

/* ---- gumbel_softmax ---------------------------------------------------------------------- */

static void gumbel_softmax_draw(tape_draw *d)
{
    static const double temperatures[] = {0.5, 1, 2.5};
    chance_draw(d, 1, 0);
    d->i[1] = test_rng_range(d->rng, -d->in[0].rank, d->in[0].rank - 1);
    d->f[0] = temperatures[test_rng_range(d->rng, 0, 2)];
}

static void gumbel_softmax_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                 attn_var *out)
{
    out[0] =
        attn_tape_gumbel_softmax(t, in[0], d->f[0], false, (int)d->i[1], (uint64_t)d->i[0]);
}

static void gumbel_softmax_oracle(const tape_draw *d, const double *const *in,
                                  const attn_tensor *shape, double *const *out)
{
    const int rank = shape[0].rank, dim = (int)d->i[1] + (d->i[1] < 0 ? rank : 0);
    const int64_t count = attn_tensor_count(shape[0]), n = shape[0].shape[dim];
    int64_t after = 1;
    for (int i = dim + 1; i < rank; i++) after *= shape[0].shape[i];
    for (int64_t e = 0; e < count; e++) {
        const double u = (chance_word(d, e, 2) + 0.5) / 4294967296.0;
        out[0][e] = exp((in[0][e] - log(-log(u))) / d->f[0]);
    }
    for (int64_t e = 0; e < count; e++) {
        double sum = 0;
        if (e / after % n != 0) continue;
        for (int64_t i = 0; i < n; i++) sum += out[0][e + i * after];
        for (int64_t i = 0; i < n; i++) out[0][e + i * after] /= sum;
    }
}

const tape_case tape_case_gumbel_softmax = {"gumbel_softmax",      1,
                                            gumbel_softmax_draw,   gumbel_softmax_apply,
                                            gumbel_softmax_oracle, .exact = false};

/* ---- categorical ------------------------------------------------------------------------- */

static void categorical_draw(tape_draw *d)
{
    chance_draw(d, 1, 1);
    d->grad[0] = false;
}

static void categorical_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                              attn_var *out)
{
    out[0] = attn_tape_categorical(t, in[0], (uint64_t)d->i[0]);
}

static void categorical_oracle(const tape_draw *d, const double *const *in,
                               const attn_tensor *shape, double *const *out)
{
    const int64_t rows = attn_tensor_count(shape[0]), C = d->in[0].shape[d->in[0].rank - 1];
    for (int64_t row = 0; row < rows; row++) {
        const double *x = in[0] + row * C;
        uint32_t words[4];
        double whole = 0, part = 0;
        int64_t c = 0;
        chance_words(d, row, 3, words);
        const double upper = (double)words[0] * 1048576.0 + (double)(words[1] >> 12);
        const double u = (upper + 0.5) / 4503599627370496.0;
        for (int64_t i = 0; i < C; i++) whole += exp(x[i]);
        while (c < C - 1 && (part += exp(x[c])) <= u * whole) c++;
        out[0][row] = (double)c;
    }
}

const tape_case tape_case_categorical = {
    "categorical", 1, categorical_draw, categorical_apply, categorical_oracle, .exact = true};
