/* SPDX-License-Identifier: MIT
 * Scalar functions whose bits do not depend on the C library. They use +, -, *, / and fma only,
 * which are exact by definition everywhere, so a log-sum-exp or a rotation is the same number
 * on every machine. Errors are about one unit in the last place. */
#include <math.h>
#include <string.h>

#include "kernel/kernel.h"

/* x = 2^e f with f in [sqrt 1/2, sqrt 2); log f = 2 artanh(s), s = (f - 1) / (f + 1). What the
 * roundings of f + 1, of the quotient and of the product with log2(e) lose is carried along. */
static double log2_near(double e, double f)
{
    static const double odd[] = {1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11, 1.0 / 13,
                                 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23};
    double top = f - 1, bottom = f + 1, lost = f - (bottom - 1);
    double s = top / bottom, rest = (fma(-s, bottom, top) - s * lost) / bottom;
    double z = s * s, sum = 0;
    for (int k = 10; k >= 0; k--) sum = (sum + odd[k]) * z;
    const double log2e = 0x1.71547652b82fep+0, low = 0x1.777d0ffda0d24p-56;
    double y = 2 * s, product = y * log2e, whole = e + product;
    double small = fma(y, log2e, -product) + (y * low + (y * sum + 2 * rest) * log2e);
    return whole + ((product - (whole - e)) + small);
}

double attn__log2(double x)
{
    if (x == 0) return -(double)INFINITY;
    if (!(x > 0) || x > 0x1.fffffffffffffp1023) return x > 0 ? x : (double)NAN;
    uint64_t bits;
    int64_t e = 0;
    if (x < 0x1p-1022) x *= 0x1p54, e = -54;
    memcpy(&bits, &x, sizeof bits);
    uint64_t from = bits - 0x3FE6A09E667F3BCDu; /* bits of sqrt 1/2 */
    e += (int64_t)from >> 52;
    bits -= (uint64_t)((int64_t)from >> 52) << 52;
    memcpy(&x, &bits, sizeof x);
    return log2_near((double)e, x);
}

static double exp2_poly(double f)
{
    /* log(2)^k / k! */
    static const double c[] = {0x1p+0,
                               0x1.62e42fefa39efp-1,
                               0x1.ebfbdff82c58fp-3,
                               0x1.c6b08d704a0c0p-5,
                               0x1.3b2ab6fba4e77p-7,
                               0x1.5d87fe78a6731p-10,
                               0x1.430912f86c787p-13,
                               0x1.ffcbfc588b0c7p-17,
                               0x1.62c0223a5c824p-20,
                               0x1.b5253d395e7c4p-24,
                               0x1.e4cf5158b8ecap-28,
                               0x1.e8cac7351bb25p-32,
                               0x1.c3bd650fc2986p-36,
                               0x1.816193166d0f9p-40};
    double p = 0;
    for (int i = (int)(sizeof c / sizeof c[0]) - 1; i >= 0; i--) p = fma(p, f, c[i]);
    return p;
}

double attn__exp2(double x)
{
    if (!(x >= -1021)) return x != x ? x : 0;
    if (x >= 1024) return (double)INFINITY;
    double n = (x + 0x1.8p52) - 0x1.8p52;
    uint64_t bits = (uint64_t)((int64_t)n - (n > 1023) + 1023) << 52;
    double pow2;
    memcpy(&pow2, &bits, sizeof pow2);
    return exp2_poly(x - n) * pow2 * (n > 1023 ? 2 : 1);
}

/* Quarter turns are taken off in three pieces of pi/2, the second product and its difference
 * exactly: near a multiple of pi/2 little else is left. Then the two series. */
void attn__sincos(double x, double *s, double *c)
{
    if (!(fabs(x) < 0x1p51)) { /* too large to be an angle: 0; inf and NaN: NaN */
        *s = x - x;
        *c = *s + 1;
        return;
    }
    double n = (x * 0x1.45f306dc9c883p-1 + 0x1.8p52) - 0x1.8p52;
    double r = fma(-n, 0x1.921fb54442d18p+0, x), second = n * 0x1.1a62633145c07p-54;
    double r2 = r - second, back = r2 - r;
    double low = ((r - (r2 - back)) - (second + back)) -
                 (fma(n, 0x1.1a62633145c07p-54, -second) - n * 0x1.f1976b7ed8fbcp-110);
    double z = r2 * r2, sine = 0, cosine = 0;
    for (int k = 19; k >= 3; k -= 2) sine = (sine * z + 1) * (-1.0 / (k * (k - 1)));
    for (int k = 20; k >= 4; k -= 2) cosine = (cosine * z + 1) * (-1.0 / (k * (k - 1)));
    double half = 0.5 * z, top = 1 - half;
    sine = r2 + (r2 * (sine * z) + low * top);
    cosine = top + (((1 - top) - half) + (-0.5 * z * (cosine * z) - r2 * low));
    const double turned[4] = {sine, cosine, -sine, -cosine};
    *s = turned[(int64_t)n & 3];
    *c = turned[((int64_t)n + 1) & 3];
}

/* Doubles in pairs, hi + lo, for one exact-to-the-bit root. */
typedef struct pair {
    double hi, lo;
} pair;

static pair pair_mul(pair a, pair b)
{
    double p = a.hi * b.hi, e = fma(a.hi, b.hi, -p) + (a.hi * b.lo + a.lo * b.hi);
    double hi = p + e;
    return (pair){hi, e - (hi - p)};
}

static pair pair_power(pair x, int64_t n)
{
    pair y = {1, 0};
    for (; n > 0; n >>= 1, x = pair_mul(x, x))
        if (n & 1) y = pair_mul(y, x);
    return y;
}

/* x = base^(1/n): a first guess by logarithms, mended by Newton on x^n = base in pairs; then
 * the power t, and its reciprocal. */
double attn__root_power(double base, int64_t t, int64_t n)
{
    double guess = attn__exp2(attn__log2(base) / (double)n);
    if (!(guess > 0) || !isfinite(guess)) return guess;
    pair x = {guess, 0}, power = pair_power(x, n);
    double miss = ((base - power.hi) - power.lo) / base;
    x.lo = guess * (miss / (double)n);
    pair y = pair_power(x, t);
    double inverse = 1 / y.hi;
    return inverse + inverse * (fma(-inverse, y.hi, 1) - inverse * y.lo);
}
