/* SPDX-License-Identifier: MIT
 * Nystrom attention: the softmax matrix from a few landmarks, their mutual weights inverted.
 *
 *     ql, kl = means of q, k over m segments of the sequence
 *     A = softmax(ql kl^T / sqrt(D));  Z ~ pseudo-inverse of A
 *     out = softmax(q kl^T / sqrt(D)) Z softmax(ql k^T / sqrt(D)) v   (+ v convolved by w_conv)
 *
 *     Z_0 = A^T / |A|_1;  `iterations` times  Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4
 *
 * q, k B H T D, v B H T E, m = landmarks or T when this is less. Segment s holds tokens
 * floor(s T / m) ... floor((s + 1) T / m) - 1, so T need not divide. mask B T hides tokens:
 * they are in no mean (public code counts them as zeros), are not asked, and a segment of
 * hidden ones is no landmark. |A|_1 is the largest column sum, of each matrix (public code
 * takes the largest of the whole batch); rows of A sum to 1. Six iterations are customary and
 * are not convergence for a badly conditioned A: residual is the largest element of
 * |A Z A - A|. The gradient goes through the iterations. With every token a landmark, and Z
 * converged, out is softmax attention. w_conv H K, K odd, convolves each head along the
 * sequence, as the paper's skip connection. Rows need not sum to 1 and weights may be
 * negative. Xiong et al. 2021 (2102.03902). */
#include "mech/mech.h"

#include <math.h>

enum { Q, K, V, W_CONV, MASK, OUT, RESIDUAL };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [W_CONV] = {"w_conv", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "H K",
                "added convolution of v, K odd"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a token"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [RESIDUAL] = {"residual", ATTN_OUT | ATTN_OPTIONAL, "B H",
                  "how far Z is from a pseudo-inverse"},
    {0}};

enum { LANDMARKS, ITERATIONS };
static const attn_param params[] = {
    [LANDMARKS] = {"landmarks", 'i', "64", NULL, "segments of the sequence"},
    [ITERATIONS] = {"iterations", 'i', "6", NULL, "of the pseudo-inverse"},
    {0}};

enum { NYSTROM_ITERATIONS = 100 }; /* more would only wait */

typedef struct nystrom {
    int64_t B, H, T, m;
    int64_t *segment; /* T: the landmark of each token */
    double *share;    /* B T: 1 over the tokens of its segment; 0: hidden */
    uint8_t *some;    /* B m: landmarks that have a token */
} nystrom;

static bool nystrom_open(const attn__build *b, nystrom *p)
{
    attn_tape *t = b->t;
    const int64_t T = attn__build_size(b, 'T'), B = attn__build_size(b, 'B');
    const int64_t m = attn__min(b->params[LANDMARKS].i, T);
    const uint8_t *visible = attn__tape_visible(t, b->in[MASK], 1);
    double *count = attn__tape_memory(t, B * m, sizeof *count);
    *p = (nystrom){.B = B, .H = attn__build_size(b, 'H'), .T = T, .m = m};
    p->segment = attn__tape_memory(t, T, sizeof *p->segment);
    p->share = attn__tape_memory(t, B * T, sizeof *p->share);
    p->some = attn__tape_memory(t, B * m, 1);
    if (!count || !p->segment || !p->share || !p->some) return false;
    for (int64_t s = 0; s < m; s++)
        for (int64_t i = s * T / m; i < (s + 1) * T / m; i++) p->segment[i] = s;
    for (int64_t x = 0; x < B * T; x++)
        count[x / T * m + p->segment[x % T]] += !visible || visible[x];
    for (int64_t x = 0; x < B * T; x++)
        p->share[x] = !visible || visible[x] ? 1 / count[x / T * m + p->segment[x % T]] : 0;
    for (int64_t x = 0; x < B * m; x++) p->some[x] = count[x] > 0;
    return true;
}

/* Means of x over segments: B H m D. */
static attn_var nystrom_landmarks(const attn__build *b, const nystrom *p, attn_var x)
{
    attn_tape *t = b->t;
    const int64_t rows = p->B * p->H * p->T, D = attn__build_size(b, 'D');
    const int64_t shape[] = {p->B, 1, p->T, 1};
    int64_t *ids = attn__tape_memory(t, rows, sizeof *ids);
    for (int64_t r = 0; ids && r < rows; r++) ids[r] = r / p->T * p->m + p->segment[r % p->T];
    const attn_var to =
        attn_tape_expand(t, attn__tape_ids(t, ids, ATTN_DIMS(rows, 1)), ATTN_DIMS(rows, D));
    const attn_var share =
        attn_tape_input(t, attn_tensor_make(p->share, ATTN_DTYPE_F64, 4, shape));
    const attn_var zeros =
        attn_tape_expand(t, attn_tape_scalar(t, 0), ATTN_DIMS(p->B * p->H * p->m, D));
    const attn_var parts = attn_tape_mul(t, attn__mask_rows(b->t, x, b->in[MASK]), share);
    const attn_var sum = attn_tape_scatter_add(t, zeros, 0, to, attn__tape_rows(t, parts));
    return attn_tape_reshape(t, sum, ATTN_DIMS(p->B, p->H, p->m, D));
}

/* softmax(ql kl^T / sqrt(D)), 0 in rows and columns that are no landmark. */
static attn_var nystrom_core(const attn__build *b, attn_var ql, attn_var kl, attn_var some)
{
    attn_tape *t = b->t;
    const double scale = 1 / sqrt((double)attn__build_size(b, 'D'));
    const attn_var scores = attn_tape_mul_scalar(
        t, attn_tape_matmul(t, ql, attn_tape_transpose(t, kl, 2, 3)), scale);
    const attn_var rows = attn_tape_unsqueeze(t, attn_tape_unsqueeze(t, some, 1), 3);
    const attn_var columns = attn_tape_unsqueeze(t, attn_tape_unsqueeze(t, some, 1), 1);
    return attn_tape_where(t, rows, attn_tape_softmax(t, scores, columns, -1),
                           attn_tape_scalar(t, 0));
}

/* c I - x, the m x m matrices of x. */
static attn_var nystrom_from(attn_tape *t, double c, const double *identity, int64_t m,
                             attn_var x)
{
    const attn_var one =
        attn_tape_input(t, attn_tensor_make((void *)(uintptr_t)identity, ATTN_DTYPE_F64, 2,
                                            (const int64_t[]){m, m}));
    return attn_tape_sub(t, attn_tape_mul_scalar(t, one, c), x);
}

static attn_var nystrom_invert(const attn__build *b, attn_var a, int64_t m)
{
    attn_tape *t = b->t;
    double *one = attn__tape_memory(t, m * m, sizeof *one);
    for (int64_t i = 0; one && i < m; i++) one[i * m + i] = 1;
    if (!one) return (attn_var){0};
    const attn_var sums = attn_tape_sum(t, a, ATTN_DIMS(-2), true);
    const attn_var norm = attn_tape_maximum(t, attn_tape_max(t, sums, ATTN_DIMS(-1), true),
                                            attn_tape_scalar(t, 1e-30));
    attn_var z = attn_tape_div(t, attn_tape_transpose(t, a, 2, 3), norm);
    for (int64_t i = 0; i < b->params[ITERATIONS].i; i++) {
        const attn_var az = attn_tape_matmul(t, a, z);
        attn_var y = nystrom_from(t, 7, one, m, az);
        y = nystrom_from(t, 15, one, m, attn_tape_matmul(t, az, y));
        y = nystrom_from(t, 13, one, m, attn_tape_matmul(t, az, y));
        z = attn_tape_mul_scalar(t, attn_tape_matmul(t, z, y), 0.25);
    }
    return z;
}

static attn_var nystrom_residual(attn_tape *t, attn_var a, attn_var z)
{
    const attn_var aza =
        attn_tape_matmul(t, attn_tape_matmul(t, attn_tape_stop(t, a), attn_tape_stop(t, z)),
                         attn_tape_stop(t, a));
    const attn_var apart = attn_tape_abs(t, attn_tape_sub(t, aza, attn_tape_stop(t, a)));
    return attn_tape_max(t, apart, ATTN_DIMS(-2, -1), false);
}

static attn_var nystrom_convolve(const attn__build *b, attn_var out)
{
    attn_tape *t = b->t;
    const int64_t n = attn__build_size(b, 'K'), H = attn__build_size(b, 'H');
    if (!attn__given(b->in[W_CONV])) return out;
    const attn_var w = attn_tape_reshape(t, b->in[W_CONV], ATTN_DIMS(H, 1, n, 1)), none = {0};
    const attn_conv conv = {.padding = {n / 2, 0}, .groups = H};
    return attn_tape_add(
        t, out,
        attn_tape_conv2d(t, attn__mask_rows(b->t, b->in[V], b->in[MASK]), w, none, &conv));
}

static void nystrom_compose(const attn__build *b, const nystrom *p)
{
    attn_tape *t = b->t;
    const attn_tensor absent = {0};
    const attn_var *in = b->in;
    const attn_var ql = nystrom_landmarks(b, p, in[Q]), kl = nystrom_landmarks(b, p, in[K]);
    const attn_var some = attn_tape_input(
        t, attn_tensor_make(p->some, ATTN_DTYPE_U8, 2, (const int64_t[]){p->B, p->m}));
    const attn_var a = nystrom_core(b, ql, kl, some), z = nystrom_invert(b, a, p->m);
    const attn_attention_vars ask = {.q = ql, .k = in[K], .v = in[V]};
    const attn_var found =
        attn_tape_matmul(t, z, attn__attend(t, NULL, &ask, in[MASK], absent));
    const attn_attention_vars tell = {.q = in[Q], .k = kl, .v = found};
    b->out[OUT] = nystrom_convolve(b, attn__attend(t, NULL, &tell, some, absent));
    if (b->wanted[RESIDUAL]) b->out[RESIDUAL] = nystrom_residual(t, a, z);
}

static void nystrom_build(const attn__build *b)
{
    const attn_value *v = b->params;
    const int64_t conv = attn__given(b->in[W_CONV]) ? attn__build_size(b, 'K') : 1;
    nystrom p;
    if (!attn__build_need(b, v[LANDMARKS].i > 0, ATTN_E_PARAM, "landmarks", "must be positive",
                          1, v[LANDMARKS].i) ||
        !attn__build_need(b, v[ITERATIONS].i >= 0 && v[ITERATIONS].i <= NYSTROM_ITERATIONS,
                          ATTN_E_PARAM, "iterations", "must be between 0 and",
                          NYSTROM_ITERATIONS, v[ITERATIONS].i) ||
        !attn__build_need(b, conv % 2 == 1, ATTN_E_SHAPE, "w_conv", "needs an odd width",
                          conv + 1, conv) ||
        !attn__build_need(b, attn__build_size(b, 'T') > 0, ATTN_E_SHAPE, "q",
                          "needs a token for a landmark", 1, 0) ||
        !nystrom_open(b, &p))
        return;
    nystrom_compose(b, &p);
}

const attn_mech attn__mech_nystrom = {
    .name = "nystrom",
    .family = "lowrank",
    .about = "the softmax matrix from landmarks and the pseudo-inverse of their weights",
    .formula = "out = softmax(q kl^T) pinv(softmax(ql kl^T)) softmax(ql k^T) v, "
               "all scores / sqrt(D)",
    .cost = "n k: time T m (D + E) + m^3 iterations, memory T (D + E) + m^2",
    .source = "2102.03902",
    .sizes = "B=1,H=2,T=8,D=4,E=4,K=3",
    .grows = "T",
    .example = "compute nystrom -s landmarks=4 --random T=16 --want out,residual",
    .slots = slots,
    .params = params,
    .traits = ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = nystrom_build,
};
