/* SPDX-License-Identifier: MIT
 * The vocabularies of all instruction sets against the scalar one, bit for bit, on random and
 * special numbers. A NaN that arithmetic makes may have any sign and payload; one that is only
 * moved keeps its bits.
 *
 *   ATTN_CASES=n  n / 8 rounds over 8000 random triples of operands (200) */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/kernel.h"

#include "kernel_memory.h"
#include "support/support.h"
#include "vec_table.h"

enum { SPECIALS = 20, N = SPECIALS * SPECIALS * SPECIALS };
_Static_assert(N % 64 == 0, "the bits of the mask come in words");

static const vec_table *const vec_tables[] = {
    &vec_scalar,
#if defined(__x86_64__)
    &vec_avx2,
    &vec_avx512,
#elif defined(__aarch64__)
    &vec_neon,   &vec_sve128, &vec_sve256, &vec_sve512,
#endif
};
enum { VEC_TABLES = sizeof vec_tables / sizeof vec_tables[0] };

static const char *const vec_op_names[] = {
#define OP(name, exact, expression) #name,
#include "vec_ops.def"
#undef OP
};
static const bool vec_op_exact[] = {
#define OP(name, exact, expression) exact,
#include "vec_ops.def"
#undef OP
};

/* Tables this machine can run and ATTN_ISA allows; NULL past the last one. */
static const vec_table *vec_usable(int *next)
{
    uint32_t allowed = 0;
    assert_int_equal(attn__isa_allowed(NULL, &allowed, NULL), ATTN_OK);
    while (*next < VEC_TABLES) {
        const vec_table *table = vec_tables[(*next)++];
        if (table->isa & allowed) return table;
    }
    return NULL;
}

static int vec_rounds(void)
{
    return 1 + (int)test_env_int("ATTN_CASES", test_env_long() ? 10000 : 200) / 8;
}

/* ---- numbers of one arithmetic, as bits ------------------------------------------------ */

typedef struct vec_format {
    size_t size;
    int fraction_bits, bias;
} vec_format;

static const vec_format vec_f32 = {4, 23, 127}, vec_f64 = {8, 52, 1023};

static uint64_t vec_bits(vec_format f, const void *array, int64_t i)
{
    uint64_t bits = 0; /* little endian, as all we run on */
    memcpy(&bits, (const char *)array + i * (int64_t)f.size, f.size);
    return bits;
}

static void vec_put(vec_format f, void *array, int64_t i, uint64_t bits)
{
    memcpy((char *)array + i * (int64_t)f.size, &bits, f.size);
}

static uint64_t vec_infinity(vec_format f)
{
    return (uint64_t)(2 * f.bias + 1) << f.fraction_bits;
}

static uint64_t vec_sign(vec_format f)
{
    return (uint64_t)1 << (8 * f.size - 1);
}

static bool vec_is_nan(vec_format f, uint64_t bits)
{
    return (bits & ~vec_sign(f)) > vec_infinity(f);
}

/* Ten magnitudes, each with both signs. */
static uint64_t vec_special(vec_format f, int i)
{
    const uint64_t one = (uint64_t)f.bias << f.fraction_bits, inf = vec_infinity(f),
                   least = (uint64_t)1 << f.fraction_bits, quiet = least >> 1;
    const uint64_t magnitudes[SPECIALS / 2] = {
        0, 1, least - 1, least, one, one + 1, inf - 1, inf, inf | quiet, inf | 0x1234};
    return magnitudes[i / 2] | (i % 2 ? vec_sign(f) : 0);
}

/* Any bits, or numbers of like size, whose sums and differences round and cancel. */
static uint64_t vec_random(vec_format f, test_rng *rng)
{
    uint64_t bits = test_rng_next(rng) >> (64 - 8 * f.size);
    if (test_rng_chance(rng, 25)) return bits;
    if (test_rng_chance(rng, 25)) return vec_special(f, (int)(bits % SPECIALS));
    uint64_t exponent = (uint64_t)(f.bias + test_rng_range(rng, -2, 2)) << f.fraction_bits;
    return (bits & (vec_sign(f) | (((uint64_t)1 << f.fraction_bits) - 1))) | exponent;
}

static void vec_put_number(vec_format f, void *array, int64_t i, double x)
{
    oracle_put(f.size == 4 ? ATTN_DTYPE_F32 : ATTN_DTYPE_F64, array, i, x);
}

/* ---- lane by lane -------------------------------------------------------------------- */

typedef struct vec_data {
    double x[N], y[N], z[N], k[N], p[N]; /* room for floats as well */
    uint64_t bits[N / 64];
    double want[VEC_N_OPS][N], got[VEC_N_OPS][N];
} vec_data;

/* specials: every triple of them; else random ones. */
static void vec_fill(vec_data *d, vec_format f, test_rng *rng, bool specials)
{
    for (int i = 0; i < N; i++) {
        int at = i;
        double *const operands[] = {d->x, d->y, d->z};
        for (int o = 0; o < 3; o++, at /= SPECIALS)
            vec_put(f, operands[o], i,
                    specials ? vec_special(f, at % SPECIALS) : vec_random(f, rng));
        vec_put_number(f, d->k, i, (double)test_rng_range(rng, 1 - f.bias, f.bias));
        vec_put_number(f, d->p, i, test_rng_chance(rng, 30) ? -0.0 : test_rng_uniform(rng));
    }
    for (int i = 0; i < N / 64; i++) d->bits[i] = test_rng_next(rng);
}

static void vec_run(const vec_arithmetic *a, const vec_data *d, double out[VEC_N_OPS][N])
{
    void *to[VEC_N_OPS];
    for (int op = 0; op < VEC_N_OPS; op++) to[op] = out[op];
    vec_input in = {N, d->x, d->y, d->z, d->k, d->p, d->bits, 0x1.23456789abcdep-3};
    a->run(&in, to);
}

static void vec_same(vec_format f, const char *isa, const char *op, bool exact,
                     const void *want, const void *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t a = vec_bits(f, want, i), b = vec_bits(f, got, i);
        if (a == b || (!exact && vec_is_nan(f, a) && vec_is_nan(f, b))) continue;
        fail_msg("%s %s, %d bytes, element %d: %#llx, scalar %#llx", isa, op, (int)f.size,
                 (int)i, (unsigned long long)b, (unsigned long long)a);
    }
}

static void vec_lanes(vec_format f)
{
    static vec_data d;
    test_rng rng = test_rng_make(41);
    for (int round = 0, rounds = vec_rounds(); round <= rounds; round++) {
        const vec_table *t;
        vec_fill(&d, f, &rng, round == 0);
        vec_run(f.size == 4 ? vec_scalar.f32 : vec_scalar.f64, &d, d.want);
        for (int next = 0; (t = vec_usable(&next)) != NULL;) {
            vec_run(f.size == 4 ? t->f32 : t->f64, &d, d.got);
            for (int op = 0; op < VEC_N_OPS; op++)
                vec_same(f, t->name, vec_op_names[op], vec_op_exact[op], d.want[op], d.got[op],
                         N);
        }
    }
}

static void lanes_f32(void **state)
{
    (void)state;
    vec_lanes(vec_f32);
}

static void lanes_f64(void **state)
{
    (void)state;
    vec_lanes(vec_f64);
}

/* ---- parts of a vector --------------------------------------------------------------- */

static void vec_parts(const vec_table *t, vec_format f, memory_side side)
{
    const vec_arithmetic *a = f.size == 4 ? t->f32 : t->f64;
    double all[VEC_MAX_LANES], want[VEC_MAX_LANES];
    for (int n = 0; n <= 2 * a->lanes; n++) {
        int there = n < a->lanes ? n : a->lanes;
        char *memory = memory_place(0, side, (size_t)there * f.size);
        memset(want, 0, sizeof want);
        for (int i = 0; i < there; i++) {
            vec_put(f, memory, i, vec_special(f, (n + i) % SPECIALS));
            vec_put(f, want, i, vec_special(f, (n + i) % SPECIALS));
        }
        a->load_n(memory, n, all);
        vec_same(f, t->name, "load_n", true, want, all, a->lanes);

        for (int i = 0; i < a->lanes; i++) vec_put(f, all, i, (uint64_t)(i + 1));
        memory_place(0, side, (size_t)there * f.size);
        a->store_n(all, n, memory);
        vec_same(f, t->name, "store_n", true, all, memory, there);
    }
}

static void parts_stay_inside(void **state)
{
    (void)state;
    const vec_table *t;
    for (int next = 0; (t = vec_usable(&next)) != NULL;)
        for (int side = 0; side < MEMORY_N_SIDES; side++) {
            vec_parts(t, vec_f32, (memory_side)side);
            vec_parts(t, vec_f64, (memory_side)side);
        }
}

static void vec_transposes(const vec_table *t, vec_format f)
{
    const vec_arithmetic *a = f.size == 4 ? t->f32 : t->f64;
    double square[VEC_MAX_LANES * VEC_MAX_LANES], want[VEC_MAX_LANES * VEC_MAX_LANES];
    for (int r = 0; r < a->lanes; r++)
        for (int c = 0; c < a->lanes; c++) {
            vec_put_number(f, square, r * a->lanes + c, 100 * r + c);
            vec_put_number(f, want, c * a->lanes + r, 100 * r + c);
        }
    a->transpose(square);
    vec_same(f, t->name, "transpose", true, want, square, a->lanes * a->lanes);
}

static void squares_are_turned(void **state)
{
    (void)state;
    const vec_table *t;
    for (int next = 0; (t = vec_usable(&next)) != NULL;) {
        vec_transposes(t, vec_f32);
        vec_transposes(t, vec_f64);
    }
}

/* ---- other element types ------------------------------------------------------------- */

enum { HALVES = 1 << 16 };

static void halves_are_widened(void **state)
{
    (void)state;
    static uint16_t from[HALVES];
    static float want[2][HALVES], got[HALVES];
    const vec_table *t;
    for (int i = 0; i < HALVES; i++) from[i] = (uint16_t)i;
    vec_scalar.load_bf16(HALVES, from, want[0]);
    vec_scalar.load_f16(HALVES, from, want[1]);
    for (int next = 0; (t = vec_usable(&next)) != NULL;) {
        t->load_bf16(HALVES, from, got);
        vec_same(vec_f32, t->name, "load_bf16", false, want[0], got, HALVES);
        t->load_f16(HALVES, from, got);
        vec_same(vec_f32, t->name, "load_f16", false, want[1], got, HALVES);
    }
}

/* A float at, just beside, or half way between two neighbouring halves. */
static float vec_near_half(test_rng *rng, bool bf16)
{
    uint16_t half = (uint16_t)test_rng_next(rng);
    float low = bf16 ? attn__bf16_to_f32(half) : attn__f16_to_f32(half);
    float high =
        bf16 ? attn__bf16_to_f32((uint16_t)(half + 1)) : attn__f16_to_f32((uint16_t)(half + 1));
    float middle = test_rng_chance(rng, 70) ? low / 2 + high / 2 : low;
    int64_t beside = test_rng_range(rng, -1, 1);
    return beside == 0 ? middle : nextafterf(middle, beside < 0 ? -INFINITY : INFINITY);
}

static void vec_narrow(const float *from, const vec_table *t)
{
    const vec_format half = {2, 10, 15};
    uint16_t want[N], got[N];
    vec_scalar.store_bf16(N, from, want);
    t->store_bf16(N, from, got);
    vec_same(half, t->name, "store_bf16", true, want, got, N);
    vec_scalar.store_f16(N, from, want);
    t->store_f16(N, from, got);
    vec_same(half, t->name, "store_f16", true, want, got, N);
}

static void floats_are_narrowed(void **state)
{
    (void)state;
    static float from[N];
    test_rng rng = test_rng_make(42);
    for (int round = 0, rounds = 4 * vec_rounds(); round < rounds; round++) {
        const vec_table *t;
        for (int i = 0; i < N; i++) {
            from[i] = vec_near_half(&rng, i % 2 == 0);
            if (round % 2) vec_put(vec_f32, from, i, vec_random(vec_f32, &rng));
        }
        for (int next = 0; (t = vec_usable(&next)) != NULL;) vec_narrow(from, t);
    }
}

/* Products of doubles around the size of floats, where rounding, overflow and denormals are. */
static void doubles_cross(void **state)
{
    (void)state;
    static float from[N], product_want[N], product_got[N], scaled_want[N], scaled_got[N];
    static double a[N], b[N], wide_want[N], wide_got[N];
    test_rng rng = test_rng_make(43);
    for (int round = 0, rounds = vec_rounds(); round < rounds; round++) {
        const vec_table *t;
        for (int i = 0; i < N; i++) {
            vec_put(vec_f32, from, i, vec_random(vec_f32, &rng));
            vec_put(vec_f64, a, i, vec_random(vec_f64, &rng));
            b[i] = ldexp(test_rng_normal(&rng), (int)test_rng_range(&rng, -155, 130));
        }
        vec_scalar.load_f32(N, from, wide_want);
        vec_scalar.mul_f64(N, a, b, product_want);
        vec_scalar.scale_f64(N, from, b, scaled_want);
        for (int next = 0; (t = vec_usable(&next)) != NULL;) {
            t->load_f32(N, from, wide_got);
            vec_same(vec_f64, t->name, "load_f32", false, wide_want, wide_got, N);
            t->mul_f64(N, a, b, product_got);
            vec_same(vec_f32, t->name, "mul_f64", false, product_want, product_got, N);
            t->scale_f64(N, from, b, scaled_got);
            vec_same(vec_f32, t->name, "scale_f64", false, scaled_want, scaled_got, N);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_f32),          cmocka_unit_test(lanes_f64),
        cmocka_unit_test(parts_stay_inside),  cmocka_unit_test(squares_are_turned),
        cmocka_unit_test(halves_are_widened), cmocka_unit_test(floats_are_narrowed),
        cmocka_unit_test(doubles_cross),
    };
    return cmocka_run_group_tests_name("vec", tests, memory_begin, memory_end);
}
