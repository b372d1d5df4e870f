/* SPDX-License-Identifier: MIT
 * The machines: loops over plain arrays, once per instruction set and per arithmetic.
 *
 * A table serves one arithmetic: a "real" is float in the f32 tables and double in the f64
 * ones, and every void pointer below that is not said to be something else points at reals.
 * Every number these loops produce is one chain in a fixed order, so all tables give the same
 * bits. A panel is a block of at most ATTN__PANEL queries that lie in the lanes of vectors;
 * arrays over a panel are [row][w] with w its width, a multiple of the table's step.
 *
 * Weights carry their mask in the sign: an allowed weight is >= +0, a forbidden one is -0. */
#ifndef ATTN__KERNEL_H
#define ATTN__KERNEL_H

#include "base/base.h"
#include "kernel/half.h"
#include "kernel/row.h"
#include "kernel/soon.h"

enum {
    ATTN__PANEL = 48,  /* queries at most in a panel; lanes of a mask word */
    ATTN__CHUNK = 512, /* keys folded at once, and keys summed in one chain: both are part of */
    ATTN__BLOCK = 64,  /* the numeric contract (docs/numerics.md) */
    ATTN__SLICE = 16,  /* lanes that see and stop seeing keys together */
    ATTN__SLICES = ATTN__PANEL / ATTN__SLICE,
    ATTN__FEW = 16,  /* lanes at most of the kernels for few */
    ATTN__PARTS = 4, /* parts at most that spread takes */
    ATTN__N_FLOATS = ATTN_DTYPE_F16 + 1
};

/* ATTN__MAP_exp, ATTN__MAP_expm1 ... of map.def */
typedef enum attn__map {
#define MAP(name) ATTN__MAP_##name,
#include "kernel/map.def"
#undef MAP
    ATTN__N_MAPS
} attn__map;

/* One block of a product of matrices: reals, strides in elements. */
typedef struct attn__gemm {
    int64_t m, n, depth;
    const void *a; /* m x depth */
    int64_t a_row, a_step;
    const void *b; /* depth x n, a panel of gemm_cols columns side by side, then the next one */
    int64_t b_row, b_panel;
    void *c; /* m x n, columns side by side */
    int64_t c_row;
    bool fresh; /* c counts as 0 and is only written */
} attn__gemm;

/* Lanes of one panel: for each key a row of numbers, for each lane a row of elements. */
typedef struct attn__part {
    const void *a;           /* [key][ld] */
    const void *const *rows; /* [n] */
    const void *laid;        /* the same rows, as lay leaves them; spread alone reads these */
    int n, ld;
    /* spread: bit l of word j is clear where a[j][l] is a 0, of either sign; NULL: none of them
     * has to be one */
    const uint64_t *lanes;
} attn__part;

/* Keys as rows against queries in lanes, for scores that are no products: q, weight and t_q are
 * [depth][ld], lanes w. */
typedef struct attn__pairs {
    int64_t n, depth;
    int w, ld;
    const void *k;
    int64_t k_stride;
    const void *q, *weight;
    const void *t_k, *t_q; /* tangents */
    int64_t t_k_stride;
} attn__pairs;

/* What the gradient of a tanh score is made from and goes to. */
typedef struct attn__tanh_sums {
    const void *ds;       /* [n][ld] */
    bool fresh;           /* d_q counts as 0 and is only written */
    int lanes;            /* those that are queries */
    void *d_q, *d_weight; /* [depth][ld] */
    double *d_k;          /* [n][depth], or NULL */
    void *t, *turned;     /* memory: [n][ld], [lanes][n rounded up to a vector] */
} attn__tanh_sums;
/* ATTN__NORM_sigmoid ... of norm.def */
typedef enum attn__norm_op {
#define NORM(name) ATTN__NORM_##name,
#include "kernel/norm.def"
#undef NORM
    ATTN__N_NORMS
} attn__norm_op;

/* What a normaliser knows of every row of a panel, in each lane of it. x is a score in units of
 * log 2, LN2 x in natural ones.
 *   sigmoid  factor / (1 + 2^-(x + shift))           linear  factor LN2 (x + shift)
 *   relu2    factor max(LN2 (x + shift), 0)^2
 *   entmax   factor max(y, 0)^power, y = slope (x - top) - shift; power 0: factor 2^y. top is a
 *            real near the largest x, so that no size of the scores costs digits */
typedef struct attn__norm_rows {
    double shift[ATTN__PANEL], slope[ATTN__PANEL], power[ATTN__PANEL], factor[ATTN__PANEL];
    double top[ATTN__PANEL];
    double mean[ATTN__PANEL]; /* entmax: what is taken from the gradients of the weights */
} attn__norm_rows;

/* Sums over the keys of a row that the gradient of entmax is made of. a: weights, w: their
 * slopes, d: gradients of the weights, h = -a ln a. */
typedef struct attn__norm_sums {
    double w[ATTN__PANEL], wd[ATTN__PANEL], ad[ATTN__PANEL], h[ATTN__PANEL], hd[ATTN__PANEL];
    double hl[ATTN__PANEL], hld[ATTN__PANEL]; /* h ln a, times d */
} attn__norm_sums;

/* ---- scans: body/scan.h ------------------------------------------------------------------ */

/* Rows and lanes of n pairs for each token t: row m at rows + t row_step + m row_head, [rows];
 * its lanes at lanes + t lane_step + m lane_head, [w]. Doubles, whatever the arithmetic. */
typedef struct attn__scan_side {
    int n;
    const double *rows;
    int64_t row_step, row_head;
    double *lanes;
    int64_t lane_step, lane_head;
} attn__scan_side;

typedef enum attn__scan_decay {
    ATTN__SCAN_KEEP,
    ATTN__SCAN_ROWS, /* a[row] */
    ATTN__SCAN_LANES /* a[lane] */
} attn__scan_decay;

typedef struct attn__scan {
    int64_t n, rows, w; /* tokens; the state is [rows][w], w a multiple of lanes */
    bool back;          /* from token n - 1 down to 0 */
    double *state;
    int64_t ld; /* between its rows */
    attn__scan_decay decay;
    bool late;       /* the decay comes last */
    const double *a; /* of token t at a + t a_step */
    int64_t a_step;
    attn__scan_side before; /* read behind an early decay; n is 0 or 1 */
    attn__scan_side updates, reads;
    attn__scan_side after; /* added behind the reads, before a late decay */
    const double *key;     /* not NULL: solve, and no before or after */
    int64_t key_step;
    const double *beta; /* [n] */
    double *value;      /* in: v (or 0, from_zero); out: v - key . S */
    int64_t value_step;
    bool from_zero;
} attn__scan;

typedef struct attn__kernels {
    const char *name; /* of isa.def */
    uint32_t isa;     /* its ATTN_ISA bit */
    attn_dtype dtype; /* of a real */
    int step;         /* panel widths are multiples of this */

    /* dst[i] = src[i]: n elements of a float dtype to reals, and back with one rounding.
     * Indexed by attn_dtype. */
    void (*widen[ATTN__N_FLOATS])(int64_t n, const void *src, void *dst);
    void (*narrow[ATTN__N_FLOATS])(int64_t n, const void *src, void *dst);

    /* dst[i * width + d] = the number at element d of row i, i < n: body/rows.h. Indexed by
     * attn__row_kind; a zero or offset that is NULL adds +0. */
    void (*widen_rows[ATTN__N_ROWS])(const attn__rows *rows, int64_t n, int64_t width,
                                     void *dst);

    /* c[t], s[t] = cosine and sine of m theta[t], t < n: the bits of attn__sincos. */
    void (*sincos)(int64_t n, double m, const double *theta, double *c, double *s);
    /* Pair t < n of a row is elements t and t + apart, or, where apart is 1, 2 t and 2 t + 1:
     * (a, b) becomes (a c[t] - b s[t], b c[t] + a s[t]) in doubles, rounded once; odd: to the
     * next one of two reals whose last bit is 1, so that rounding it again to fewer bits is
     * rounding once. A NaN becomes the one quiet NaN. */
    void (*turn)(int64_t n, const double *c, const double *s, int64_t apart, bool odd,
                 void *row);

    /* ---- rows to be coded: body/code.h; NULL in tables of f64 ------------------------------
     * The smallest and the largest of x[0 .. n), n > 0; whether all are finite. If they are not
     * the two are any, and a 0 may have any sign. */
    bool (*extent)(int64_t n, const float *x, float *low, float *high);
    /* q[d] = (x[d] - zero) / scale, no less than low, no more than high, to the nearest whole
     * number, ties to even; one nearer to 0 where fma(q, scale, zero) would be infinite. */
    void (*code)(const attn__coding *c, int64_t n, const float *x, void *q);

    /* t[d * w + l] = scale * rows[l][d] for l < n, 0 for n <= l < w; d < depth. */
    void (*pack)(int n, int w, int64_t depth, const void *const *rows, double scale, void *t);

    /* s[j * ld + l] = sum over d ascending of k[j * k_stride + d] * q[d * ld + l], one fma
     * chain from 0; j < n, l < w. */
    void (*scores)(int64_t n, int w, int64_t depth, const void *k, int64_t k_stride,
                   const void *q, int ld, void *s);

    /* The same where lane l is over keys j < stop[l / ATTN__SLICE], which never falls; beyond it
     * s may be written. m[l] = max(m[l], s[j * ld + l]) for open[0] <= j < open[1], whole tiles
     * of gemm_rows keys that no lane misses, or all to the end. soon: or NULL. */
    void (*scores_max)(const int64_t *stop, int w, int64_t depth, const void *k,
                       int64_t k_stride, const void *q, int ld, void *s, const int64_t *open,
                       void *m, const attn__soon *soon);

    /* s = coef * s over n x w. */
    void (*scale)(int64_t n, int w, double coef, void *s);

    /* s = fma(term, coef, s) over n x w, coef >= 0; where both are finite and the result is
     * not, it is the finite number nearest to it. */
    void (*add)(int64_t n, int w, const void *term, double coef, void *s);

    /* s = cap * tanh(s / cap) over n x w. */
    void (*cap)(int64_t n, int w, double cap, void *s);

    /* m[l] = max(m[l], s[j][l]), j < stop[l / ATTN__SLICE], bit l of allowed[j] set or NULL. */
    void (*row_max)(const int64_t *stop, int w, const void *s, const uint64_t *allowed,
                    void *m);

    /* s[j][l] = exp2(coef * s[j][l] - m[l]) (m -inf counts as 0), j < stop as for row_max; l[l]
     * += the sum of these over j ascending from 0, l NULL: none; where bit l of allowed[j] is
     * clear, at or behind clean as for weigh_steps: s = -0, nothing is added. The product is
     * rounded: scores that `scale` has met already give the same bits. */
    void (*exp_sum)(const int64_t *stop, const int64_t *clean, int w, double coef, void *s,
                    const uint64_t *allowed, const void *m, void *l);

    /* p[j][l] = -0 where bit l of keep[j] is clear. */
    void (*drop)(int64_t n, int w, const uint64_t *keep, void *p);

    /* acc[e * ld + l] += sum over j ascending of p[j * ld + l] * v[j * v_stride + e], one fma
     * chain from 0; j < n, e < width, l < w. masked: where p is -0 the value is not used, so
     * that it may be anything. fresh: acc counts as 0 and is only written. */
    void (*weigh)(int64_t n, int w, int64_t width, const void *p, int ld, const void *v,
                  int64_t v_stride, bool masked, bool fresh, void *acc);

    /* weigh where lane l is over keys j < stop[l / ATTN__SLICE], which never falls, and masked
     * from key clean[l / ATTN__SLICE] <= stop on. soon: or NULL. */
    void (*weigh_steps)(const int64_t *stop, const int64_t *clean, int w, int64_t width,
                        const void *p, int ld, const void *v, int64_t v_stride, bool fresh,
                        void *acc, const attn__soon *soon);

    /* ---- few lanes: body/few.h -------------------------------------------------------------
     * The same numbers for at most ATTN__FEW lanes, with keys, or columns of values, in the
     * lanes of vectors, and rows read where they lie. Indexed by attn__row_kind; NULL: widen
     * such rows. */

    /* scores for l < lanes, from q [depth][ld] to s [n][w]; 0 for lanes <= l < w. w may be narrow
     * here: 1, 4 or 8, below step; row_max, exp_sum and few_weigh take such rows. */
    void (*few_scores[ATTN__N_ROWS])(int64_t n, int lanes, int w, int64_t depth,
                                     const attn__rows *k, const void *q, int ld, void *s);

    /* weigh for l < lanes, from p [n][w] to acc[l * ld + e], room for w rows; ld >=
     * width is a multiple of step. Other lanes and what lies behind width may be written. total
     * [lanes]: takes the sums of exp_sum, unless NULL. */
    void (*few_weigh[ATTN__N_ROWS])(int64_t n, int lanes, int w, int64_t width, const void *p,
                                    void *total, const attn__rows *v, bool masked, bool fresh,
                                    void *acc, int64_t ld);

    /* Adds a chunk (m, l, acc) to the state (sm, sl, so) in f64:
     * M = max(sm, m); so = fma(acc, 2^(m-M), so * 2^(sm-M)); sl likewise with l; sm = M. fresh:
     * the state counts as (-inf, 0, 0) and is only written. A chunk with m -inf
     * adds nothing, whatever acc holds; a NaN in its l goes on. */
    void (*fold)(int w, int64_t width, bool fresh, const void *m, const void *l,
                 const void *acc, double *sm, double *sl, double *so);

    /* rows[l][e] = so[e * w + l] * inv[l] in f64, then rounded to a real, l < n; a NaN
     * becomes the one quiet NaN, a -0 becomes 0. */
    void (*finish)(int n, int w, int64_t width, const double *so, const double *inv,
                   void *const *rows);

    /* fold of one fresh chunk, then finish: what they do with so, without it; faster where inv
     * is 1 / l. inv has w numbers, a NaN where m is neither finite nor -inf. */
    void (*finish_chunk)(int n, int w, int64_t width, const void *m, const void *l,
                         const void *acc, const double *inv, void *const *rows);

    /* Runs n rounds of independent fmas; returns how many flops that was. *sink keeps them. */
    double (*probe)(int64_t n, double *sink);

    /* *sink = the sum of x[0 .. n), read once, in an order that is not said, by that many
     * streams side by side, each with prefetches so many bytes ahead (0: none). */
    void (*probe_read)(int64_t n, const void *x, int streams, int64_t ahead, double *sink);

    /* ---- gradients: body/backward.h ---- */

    /* p = exp2(min(coef * s[j][l] - top[l], 1)), the product rounded, takes the place of s, and
     * p * (dp[j][l] - delta[l]) that of dp; where bit l of allowed[j] is clear p is -0 and dp
     * 0. allowed NULL: all. */
    void (*grade)(int64_t n, int w, double coef, void *s, const uint64_t *allowed,
                  const void *top, const void *delta, void *dp);

    /* Copies n rows into the order in which spread reads them: n times width reals, width
     * rounded up to a vector. */
    void (*lay)(int n, int64_t width, const void *const *rows, void *laid);

    /* acc[j * width + e] += (double) of one fma chain from 0 over the parts and l < part.n in
     * ascending order of part.a[j * part.ld + l] * part.rows[l][e]; j < n, e < width. */
    void (*spread)(int64_t n, int64_t width, int parts, const attn__part *part, double *acc);

    /* ds *= 1 - (capped / cap)^2, and ds *= slope, over n x w. */
    void (*bend)(int64_t n, int w, double cap, const void *capped, void *ds);
    void (*times)(int64_t n, int w, const void *slope, void *ds);

    /* ts[j][l] = p[j][l] * ts[j][l], -0 where p is -0; sum[l] += the sum of these over j
     * ascending from 0. */
    void (*tilt)(int64_t n, int w, const void *p, void *ts, void *sum);

    /* sum[l] = the f64 fma chain over i < n of a[i][l] * b[i][l]; where b is 0, a may be
     * anything. */
    void (*dot)(int64_t n, int w, const void *a, const void *b, double *sum);
    /* sum[i] += x[i], or = when fresh; x[i] = sum[i] * factor, rounded, as finish does it. */
    void (*gather)(int64_t n, bool fresh, const void *x, double *sum);
    void (*settle)(int64_t n, const double *sum, double factor, void *x);
    bool (*finite)(int64_t n, const void *x); /* all of them */
    void (*tidy)(int64_t n, void *x); /* a NaN becomes the one quiet NaN, a -0 becomes 0 */

    /* ---- scores that are no products: body/score.h ---- */

    /* s[j * ld + l] = sign * sum over d ascending of x x, x = q[d * ld + l] - k[j * k_stride +
     * d], one fma chain from 0; sign is 1 or -1. */
    void (*l2_scores)(const attn__pairs *p, double sign, void *s);
    /* ts[j * ld + l] = the same chain of (k - q) (t_q - t_k). */
    void (*l2_tangents)(const attn__pairs *p, void *ts);
    /* acc[d * ld + l] += sum over j ascending of ds[j * ld + l] * (k - q), one fma chain from
     * 0. */
    void (*l2_weigh)(const attn__pairs *p, const void *ds, bool fresh, void *acc);
    /* spread of rows[l][e] - k[j * k_stride + e]. */
    void (*l2_spread)(int64_t n, int64_t width, int parts, const attn__part *part,
                      const void *k, int64_t k_stride, double *acc);

    /* s[j * ld + l] = sum over d ascending of weight[d * ld + l] * tanh(q + k), one fma chain
     * from 0; the tangent: of weight * ((1 - tanh^2) (t_q + t_k)). */
    void (*tanh_scores)(const attn__pairs *p, void *s);
    void (*tanh_tangents)(const attn__pairs *p, void *ts);
    /* With h = tanh(q + k), t = (ds weight) (1 - h h): d_q[d][l] += the chain of t over j,
     * d_weight[d][l] = the fma chain of ds h over j, d_k[j][d] += (double) of the chain of t
     * over l; n at most ATTN__BLOCK. */
    void (*tanh_grad)(const attn__pairs *p, const attn__tanh_sums *sums);
    /* ---- normalisers: body/norm.h ---- */

    /* s[j][l] = the weight that the rows make of it; -0 where it is 0 because the key is out,
     * or bit l of allowed[j] is clear. allowed NULL: all. */
    void (*norm[ATTN__N_NORMS])(int64_t n, int w, const attn__norm_rows *rows, void *s,
                                const uint64_t *allowed);
    /* The same, and dp[j][l] = the slope of the weight by the natural score times dp[j][l], or
     * times dp[j][l] - mean[l]; 0 where the weight is -0. */
    void (*norm_grade[ATTN__N_NORMS])(int64_t n, int w, const attn__norm_rows *rows, void *s,
                                      const uint64_t *allowed, void *dp);
    /* s[j][l] = -inf where bit l of allowed[j] is clear. */
    void (*forbid)(int64_t n, int w, const uint64_t *allowed, void *s);
    /* count[l] = how many of s[j][l] are above t[l]. */
    void (*count_above)(int64_t n, int w, const void *s, const void *t, double *count);
    /* f64 chains over j ascending: total[l] of max(y, 0)^power, slope[l] of max(y, 0)^(power -
     * 1), for y of the rows; power 0: both of 2^y. */
    void (*entmax_total)(int64_t n, int w, const attn__norm_rows *rows, const void *s,
                         double *total, double *slope);
    /* The sums of the gradient, f64 chains that go on from what they hold; weights with their
     * factor. logs: those of h as well. */
    void (*entmax_sums)(int64_t n, int w, const attn__norm_rows *rows, const void *s,
                        const void *dp, bool logs, attn__norm_sums *sums);

    /* ---- functions of the tape: map.def, indexed by attn__map ---- */

    /* y[i] = f(x[i]) for i < n, contiguous; y may be x. A NaN is the one quiet NaN. */
    void (*map[ATTN__N_MAPS])(int64_t n, const void *x, void *y);

    /* ---- products of matrices ---- */

    int gemm_rows, gemm_cols; /* of a tile */
    /* c[i * c_row + j] += sum over k ascending of a[i * a_row + k * a_step] * b(k, j), one fma
     * chain from 0; i < m, j < n, b(k, j) = b[j / gemm_cols * b_panel + k * b_row + j %
     * gemm_cols]. A NaN becomes the one quiet NaN. */
    void (*gemm)(const attn__gemm *g);

    /* For each token: S[r][l] = a S[r][l] if early; before.lanes = rows . S; S[r][l] = fma(
     * rows[m][r], lanes[m][l], S[r][l]) for each m of updates; with a key: value = v - key . S,
     * S[r][l] = fma(key[r], beta value[l], S[r][l]), the product rounded; reads.lanes[m] =
     * rows[m] . S; after, as updates; S = a S if late. rows . S is one fma chain from 0 over r
     * ascending. */
    void (*scan)(const attn__scan *s);
} attn__kernels;

/* ---- pick.c ------------------------------------------------------------------------------ */

/* The strongest table of the arithmetic (F32 or F64) that the mask of ATTN_ISA bits allows;
 * NULL when there is none. */
const attn__kernels *attn__kernels_pick(attn_dtype arithmetic, uint32_t allowed);
uint32_t attn__kernels_built(void); /* ATTN_ISA bits of the tables in this build */

/* ---- fpenv.c: the caller's rounding and flushing modes do not reach us ------------------- */

typedef struct attn__fpenv {
    uint64_t word;
} attn__fpenv;
attn__fpenv attn__fpenv_enter(void); /* round to nearest, denormals kept, no traps */
void attn__fpenv_leave(attn__fpenv saved);

/* ---- math.c: scalar functions with the same bits everywhere ------------------------------ */

double attn__log2(double x); /* x > 0 finite or inf or NaN; 0 gives -inf */
double attn__exp2(double x); /* flushed to 0 below -1021 */
void attn__sincos(double x, double *s, double *c); /* |x| < 2^31 or so; else still finite */
double attn__root_power(double base, int64_t t, int64_t n); /* base^(-t/n), n > 0 */

#endif
