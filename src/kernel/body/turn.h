/* SPDX-License-Identifier: MIT
 * Rotary positions: cosines and sines of a position, and pairs of a row that turn by them. Each
 * number is one operation after the other, in doubles; the loops are plain, and compilers make
 * vectors of them: where one would see a branch - quarters of a turn, NaN - bits are moved
 * instead. Called by the engine for keys and queries, and for each row of an append. */
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

/* attn__sincos (math.c) of an angle that is not too large. */
static inline __attribute__((always_inline)) void K(sincos_one)(double x, double *c, double *s)
{
    const double shifted = x * 0x1.45f306dc9c883p-1 + 0x1.8p52, n = shifted - 0x1.8p52;
    const double r = fma(-n, 0x1.921fb54442d18p+0, x), second = n * 0x1.1a62633145c07p-54;
    const double r2 = r - second, back = r2 - r;
    const double low = ((r - (r2 - back)) - (second + back)) -
                       (fma(n, 0x1.1a62633145c07p-54, -second) - n * 0x1.f1976b7ed8fbcp-110);
    const double z = r2 * r2, half = 0.5 * z, top = 1 - half;
    double sine = 0, cosine = 0;
    uint64_t quarters, a, b;
    UNROLL(9)
    for (int k = 19; k >= 3; k -= 2) sine = (sine * z + 1) * (-1.0 / (k * (k - 1)));
    UNROLL(9)
    for (int k = 20; k >= 4; k -= 2) cosine = (cosine * z + 1) * (-1.0 / (k * (k - 1)));
    sine = r2 + (r2 * (sine * z) + low * top);
    cosine = top + (((1 - top) - half) + (-0.5 * z * (cosine * z) - r2 * low));
    memcpy(&quarters, &shifted, sizeof quarters); /* n is in its low bits */
    memcpy(&a, &cosine, sizeof a);
    memcpy(&b, &sine, sizeof b);
    const uint64_t swap = (0 - (quarters & 1)) & (a ^ b);
    a ^= swap ^ (quarters + 1) >> 1 << 63;
    b ^= swap ^ quarters >> 1 << 63;
    memcpy(c, &a, sizeof a);
    memcpy(s, &b, sizeof b);
}

static void K(sincos)(int64_t n, double m, const double *restrict theta, double *restrict c,
                      double *restrict s)
{
    uint64_t far = 0;
    for (int64_t t = 0; t < n; t++) far |= !(fabs(m * theta[t]) < 0x1p51);
    if (far)
        for (int64_t t = 0; t < n; t++) attn__sincos(m * theta[t], &s[t], &c[t]);
    else
        for (int64_t t = 0; t < n; t++) K(sincos_one)(m * theta[t], &c[t], &s[t]);
}

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
