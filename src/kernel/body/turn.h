/* SPDX-License-Identifier: MIT
 * Rotary positions: pairs of a row turn by their angles. Each number is two products and a sum
 * of doubles, rounded once; the loop is plain, and compilers make vectors of it: one that asks
 * u == u would have a branch in it, so bits tell what is a NaN. Called by the engine for keys
 * and queries, and for each row of an append. */
#ifndef ATTN__BODY_TURN_H
#define ATTN__BODY_TURN_H

#if REAL_BITS == 32
typedef uint32_t K(turn_bits);
#    define TURN_INF 0x7F800000u
#    define TURN_NAN 0x7FC00000u
#else
typedef uint64_t K(turn_bits);
#    define TURN_INF UINT64_C(0x7FF0000000000000)
#    define TURN_NAN UINT64_C(0x7FF8000000000000)
#endif

static inline __attribute__((always_inline)) real K(turn_round)(double u, const bool odd)
{
    real y = (real)u;
    K(turn_bits) bits;
    memcpy(&bits, &y, sizeof bits);
    if (odd) { /* one step towards u, where u lies between and the last bit is 0 */
        const K(turn_bits) off = ((double)y != u) & ~bits & 1;
        bits += off * (2 * (K(turn_bits))(fabs((double)y) < fabs(u)) - 1);
    }
    const K(turn_bits) size = bits & ~((K(turn_bits))1 << (REAL_BITS - 1));
    const K(turn_bits) nan = 0 - (K(turn_bits))(size > TURN_INF);
    bits = (bits & ~nan) | (TURN_NAN & nan);
    memcpy(&y, &bits, sizeof bits);
    return y;
}

static inline __attribute__((always_inline)) void
K(turn_pairs)(int64_t n, const double *restrict c, const double *restrict s, const int step,
              const bool odd, real *restrict x, real *restrict y)
{
    for (int64_t t = 0; t < n; t++) {
        const double a = (double)x[t * step], b = (double)y[t * step];
        x[t * step] = K(turn_round)(a * c[t] - b * s[t], odd);
        y[t * step] = K(turn_round)(b * c[t] + a * s[t], odd);
    }
}

static void K(turn)(int64_t n, const double *c, const double *s, int64_t apart, bool odd,
                    void *row)
{
    real *x = row;
    if (apart == 1 && odd)
        K(turn_pairs)(n, c, s, 2, true, x, x + 1);
    else if (apart == 1)
        K(turn_pairs)(n, c, s, 2, false, x, x + 1);
    else if (odd)
        K(turn_pairs)(n, c, s, 1, true, x, x + apart);
    else
        K(turn_pairs)(n, c, s, 1, false, x, x + apart);
}

#undef TURN_INF
#undef TURN_NAN

#endif
