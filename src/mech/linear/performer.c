/* SPDX-License-Identifier: MIT
 * FAVOR+ of the Performer: softmax attention estimated by positive random features, in linear
 * time.
 *
 *     phi(x) = exp(w x' - |x'|^2 / 2 - stab) / sqrt(R) + eps,  x' = x / D^(1/4),  w R x D
 *     out_i = phi(q_i)^T sum_j phi(k_j) v_j^T / phi(q_i)^T sum_j phi(k_j)
 *
 * q B H T D, k B H S D, v B H S E. The mean of phi(q).phi(k) over w is exp(q.k / sqrt(D)), its
 * error falls as 1 / sqrt(R). w comes as a slot, or is drawn from seed: Gaussian rows made
 * orthogonal in blocks of D, with the lengths of Gaussian rows (chi) or sqrt(D). stab keeps exp
 * in range and cancels but for eps: the row's maximum for queries, the maximum of a head for
 * keys; with causal=true keys have none, which would tell what comes later. mask B S hides
 * keys. Choromanski et al. 2020 (2009.14794). */
#include <math.h>

#include "mech/mech.h"

enum { Q, K, V, W, MASK, OUT };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H S E", "values"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R D",
           "the projection; drawn from seed"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "the weighted means of v"},
    {0}};

enum { FEATURES, SEED, LENGTHS, CAUSAL, EPS };
static const attn_param params[] = {
    [FEATURES] = {"features", 'i', "8", NULL, "R, rows of w; D log D is usual", 'R'},
    [SEED] = {"seed", 'i', "0", NULL, "of w, if it is not given"},
    [LENGTHS] = {"lengths", 'e', "chi", "chi|sqrt_d", "of the rows that are drawn"},
    [CAUSAL] = {"causal", 'b', "false", NULL, "keys up to the query's position"},
    [EPS] = {"eps", 'f', "1e-4", NULL, "added to every feature"},
    {0}};

/* ---- the projection ---------------------------------------------------------------------- */

/* Element i of a sequence of normal numbers. */
static double performer_normal(uint64_t seed, uint64_t i)
{
    const uint32_t counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), 0, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4];
    double sine, cosine;
    attn__philox(counter, key, words);
    const double u = ((double)words[0] + 1) * 0x1p-32, angle = (double)words[1] * 0x1p-32;
    attn__sincos(0x1.921fb54442d18p+2 * angle, &sine, &cosine);
    return sqrt(-2 * 0x1.62e42fefa39efp-1 * attn__log2(u)) * cosine;
}

static double performer_dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum = fma(a[i], b[i], sum);
    return sum;
}

/* Row r of w R D: what is left of a Gaussian row beside the rows of its block, of length 1. */
static void performer_row(double *w, int64_t r, int64_t D)
{
    double *row = w + r * D;
    for (int64_t i = r / D * D; i < r; i++) {
        const double along = performer_dot(row, w + i * D, D);
        for (int64_t d = 0; d < D; d++) row[d] = fma(-along, w[i * D + d], row[d]);
    }
    const double length = sqrt(performer_dot(row, row, D));
    for (int64_t d = 0; d < D && length > 0; d++) row[d] /= length;
}

static double performer_length(const attn__build *b, int64_t r, int64_t R, int64_t D)
{
    const uint64_t seed = (uint64_t)b->params[SEED].i;
    double sum = 0;
    if (b->params[LENGTHS].i) return sqrt((double)D);
    for (int64_t d = 0; d < D; d++) {
        const double x = performer_normal(seed, (uint64_t)((R + r) * D + d));
        sum = fma(x, x, sum);
    }
    return sqrt(sum);
}

/* A dense variable of the tape, to be written. */
static attn_var performer_memory(attn_tape *t, int64_t rows, int64_t columns,
                                 attn_tensor *value)
{
    const attn_dims shape = ATTN_DIMS(rows, columns);
    const attn_var x =
        attn__tape_contiguous(t, attn_tape_expand(t, attn_tape_scalar(t, 0), shape));
    *value = attn_tape_value(t, x);
    return x;
}

/* w R D, drawn. The work is done in doubles: floats twice as many have their memory. */
static attn_var performer_draw(const attn__build *b)
{
    const int64_t R = attn__build_size(b, 'R'), D = attn__build_size(b, 'D');
    const uint64_t seed = (uint64_t)b->params[SEED].i;
    attn_tensor to, doubles;
    const attn_var x = performer_memory(b->t, R, D, &to);
    const attn_var scratch = performer_memory(b->t, R, 2 * D, &doubles);
    double *w = doubles.data;
    if (!attn__present(&to) || !attn__present(&doubles) || D == 0) return x;
    for (int64_t i = 0; i < R * D; i++) w[i] = performer_normal(seed, (uint64_t)i);
    for (int64_t r = 0; r < R; r++) performer_row(w, r, D);
    for (int64_t r = 0; r < R; r++) {
        const double length = performer_length(b, r, R, D);
        for (int64_t d = 0; d < D; d++)
            attn__put(to.dtype, to.data, r * D + d, length * w[r * D + d]);
    }
    attn_tape_drop(b->t, scratch);
    return x;
}

/* ---- the features ------------------------------------------------------------------------ */

/* The maximum over these dimensions, no gradient; 0 where there is nothing to look at. */
static attn_var performer_stab(attn_tape *t, attn_var h, attn_dims dims)
{
    const attn_tensor v = attn_tape_value(t, h);
    if (!attn__present(&v) || attn_tensor_count(v) == 0) return attn_tape_scalar(t, 0);
    return attn_tape_stop(t, attn_tape_max(t, h, dims, true));
}

static attn_var performer_features(const attn__build *b, attn_var x, attn_var w, attn_dims dims)
{
    attn_tape *t = b->t;
    const attn_var none = {0};
    const double D = (double)attn__build_size(b, 'D'), R = (double)attn__build_size(b, 'R');
    const attn_var y = attn_tape_mul_scalar(t, x, D > 0 ? 1 / sqrt(sqrt(D)) : 1);
    const attn_var half = attn_tape_mul_scalar(
        t, attn_tape_sum(t, attn_tape_mul(t, y, y), ATTN_DIMS(-1), true), 0.5);
    attn_var h = attn_tape_sub(t, attn_tape_linear(t, y, w, none, ATTN_ACT_NONE), half);
    if (dims.n > 0) h = attn_tape_sub(t, h, performer_stab(t, h, dims));
    const attn_var phi = attn_tape_mul_scalar(t, attn_tape_exp(t, h), R > 0 ? 1 / sqrt(R) : 1);
    return attn_tape_add_scalar(t, phi, b->params[EPS].f);
}

static void performer_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const bool causal = b->params[CAUSAL].i;
    const int64_t T = attn__build_size(b, 'T'), S = attn__build_size(b, 'S');
    if (!attn__build_need(b, !causal || T == S, ATTN_E_CAUSAL, "causal",
                          "queries stand at the keys: T and S must agree", T, S))
        return;
    const attn_dims head = ATTN_DIMS(2, 3), nothing = {0};
    const attn_var w = attn__given(in[W]) ? in[W] : performer_draw(b);
    const attn_var k =
        performer_features(b, attn__mask_rows(t, in[K], in[MASK]), w, causal ? nothing : head);
    const attn_scan_spec spec = ATTN_SCAN_SPEC(.scale = 1, .whole = !causal, .normalise = true);
    const attn_scan_vars vars = {.q = performer_features(b, in[Q], w, ATTN_DIMS(-1)),
                                 .k = attn__mask_rows(t, k, in[MASK]),
                                 .v = attn__mask_rows(t, in[V], in[MASK])};
    b->out[OUT] = attn__remember(b, &spec, &vars, -1);
}

const attn_mech attn__mech_performer = {
    .name = "performer",
    .family = "linear",
    .about = "softmax attention estimated by positive random features",
    .formula = "out_i = phi(q_i)^T sum_j phi(k_j) v_j^T / phi(q_i)^T sum_j phi(k_j)",
    .cost = "n: time (T + S) R (D + E), memory (T + S) R",
    .source = "2009.14794",
    .sizes = "B=1,H=2,T=6,S=6,D=4,E=4,R=8",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE |
              ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = performer_build,
};
