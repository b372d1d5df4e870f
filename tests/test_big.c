/* SPDX-License-Identifier: MIT
 * Offsets beyond 2^31 and 2^32 elements. Huge strides over reserved address space move every
 * dimension of every operand there; nothing but the touched pages costs memory. Masks, biases
 * and keys with more than 2^32 elements lie in zero pages or in one small file mapped many
 * times. Lengths and counts pass 2^15 and 2^16. */
#include "safety.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { B = 2, H = 2, T = 3, S = 5, D = 2, E = 2, REGIONS = 64 };

static const int64_t big_31 = INT64_C(1) << 31, big_32 = INT64_C(1) << 32;

/* ---- address space ------------------------------------------------------------------- */

static struct {
    void *at;
    size_t bytes;
} big_regions[REGIONS];
static int big_n_regions;

/* Address space without memory; NULL when there is none. access 0: must be opened page by page;
 * else it reads as zeros. */
static char *big_reserve(int64_t bytes, int access)
{
    void *p =
        mmap(NULL, (size_t)bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
    assert_true(big_n_regions < REGIONS);
    big_regions[big_n_regions].at = p;
    big_regions[big_n_regions++].bytes = (size_t)bytes;
    return p;
}

static int big_end(void **state)
{
    while (big_n_regions > 0) {
        big_n_regions--;
        munmap(big_regions[big_n_regions].at, big_regions[big_n_regions].bytes);
    }
    return safety_end(state);
}

#define BIG_CASE(f) cmocka_unit_test_setup_teardown(f, safety_begin, big_end)

static void big_need(const void *p)
{
    if (p != NULL) return;
    print_message("# skipped: this much address space is not available here\n");
    skip();
}

/* The elements of t become touchable. */
static bool big_open(attn_tensor t)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), size = attn_dtype_size(t.dtype);
    for (int64_t i = 0, n = safety_count(t); i < n; i++) {
        uintptr_t at = (uintptr_t)t.data + (uintptr_t)(safety_offset(t, i) * (int64_t)size);
        if (mprotect((void *)(at / page * page), page, PROT_READ | PROT_WRITE) != 0)
            return false;
    }
    return true;
}

/* The elements of t, with `stride` elements between neighbours of dimension dim. */
static attn_tensor big_spread(attn_tensor t, int dim, int64_t stride)
{
    attn_tensor far = attn_tensor_make(NULL, t.dtype, t.rank, t.shape);
    int64_t size = (int64_t)attn_dtype_size(t.dtype),
            reach = (t.shape[dim] - 1) * llabs(stride);
    far.stride[dim] = stride;
    char *p = big_reserve((reach + 2 * safety_count(t)) * size + 8192, PROT_NONE);
    big_need(p);
    far.data = p + (stride < 0 ? reach * size : 0);
    assert_true(big_open(far));
    for (int64_t i = 0, n = safety_count(t); i < n; i++) safety_put(far, i, safety_at(t, i));
    return far;
}

/* ---- huge strides -------------------------------------------------------------------- */

typedef struct big_operand {
    const char *name;
    size_t at;
    bool output;
} big_operand;

#define IN(field)                                                                              \
    {                                                                                          \
#        field, offsetof(attn_args, field), false                                              \
    }
#define OUT(field)                                                                             \
    {                                                                                          \
#        field, offsetof(attn_args, field), true                                               \
    }
static const big_operand big_operands[] = {
    IN(q),       IN(k),     IN(v),     OUT(out),  OUT(lse),      OUT(weights), OUT(scores),
    IN(bias),    IN(mask),  IN(sink),  IN(alibi), IN(bias_pre),  IN(q_seg),    IN(k_seg),
    IN(q_start), IN(k_len), IN(rel_k), IN(rel_v), IN(rel_table), IN(q_pos),    IN(k_pos),
};
enum { OPERANDS = sizeof big_operands / sizeof big_operands[0] };

static attn_args big_args(void)
{
    attn_args a =
        ATTN_ARGS(.q = SAFETY_FILLED(F32, 1, B, H, T, D),
                  .k = SAFETY_FILLED(F32, 2, B, H, S, D),
                  .v = SAFETY_FILLED(F32, 3, B, H, S, E), .out = SAFETY_EMPTY(F32, B, H, T, E),
                  .lse = SAFETY_EMPTY(F32, B, H, T), .weights = SAFETY_EMPTY(F32, B, H, T, S),
                  .scores = SAFETY_EMPTY(F32, B, H, T, S),
                  .bias = SAFETY_FILLED(F32, 4, B, H, T, S),
                  .mask = SAFETY_EMPTY(U8, B, H, T, S), .sink = SAFETY_FILLED(F32, 5, B, H),
                  .alibi = SAFETY_FILLED(F32, 6, B, H),
                  .bias_pre = SAFETY_FILLED(F32, 7, H, T, S), .q_seg = SAFETY_EMPTY(I32, B, T),
                  .k_seg = SAFETY_EMPTY(I32, B, S), .q_start = SAFETY_LIST(I64, 0, 1),
                  .k_len = SAFETY_LIST(I64, 5, 4), .rel_k = SAFETY_FILLED(F32, 8, H, 3, D),
                  .rel_v = SAFETY_FILLED(F32, 9, H, 3, E));
    a.rel_table = SAFETY_FILLED(F32, 10, H, 5);
    a.q_pos = SAFETY_EMPTY(I64, B, T), a.k_pos = SAFETY_EMPTY(I64, B, S);
    for (int64_t i = 0; i < B * H * T * S; i++) safety_put(a.mask, i, (double)(i % 7 != 3));
    for (int64_t i = 0; i < B * T; i++) safety_put(a.q_seg, i, (double)(i % 2));
    for (int64_t i = 0; i < B * S; i++) safety_put(a.k_seg, i, (double)(i % 3 % 2));
    for (int64_t i = 0; i < B * T; i++) safety_put(a.q_pos, i, (double)(3 * i));
    for (int64_t i = 0; i < B * S; i++) safety_put(a.k_pos, i, (double)(2 * i));
    return a;
}

static const attn_spec big_spec = {.size = sizeof(attn_spec),
                                   .align = ATTN_ALIGN_TOP_LEFT,
                                   .rope = {.kind = ATTN_ROPE_HALF},
                                   .rel = {.kind = ATTN_REL_OFFSET}};

static void big_compare(const attn_args *far, const attn_args *near, const char *what)
{
    safety_same(far->out, near->out, what);
    safety_same(far->lse, near->lse, what);
    safety_same(far->weights, near->weights, what);
    safety_same(far->scores, near->scores, what);
}

static void big_move(const big_operand *o, const attn_args *near, int isa)
{
    const int64_t strides[] = {big_31 - 1, big_31 + 3, big_32 + 5, -big_31 - 3, -big_32 - 5};
    attn_tensor dense = *(const attn_tensor *)(const void *)((const char *)near + o->at);
    for (int dim = 0; dim < dense.rank; dim++)
        for (int n = 0; n < 5 && dense.shape[dim] > 1; n++) {
            attn_args far = *near;
            far.out = SAFETY_EMPTY(F32, B, H, T, E), far.lse = SAFETY_EMPTY(F32, B, H, T);
            far.weights = SAFETY_EMPTY(F32, B, H, T, S),
            far.scores = SAFETY_EMPTY(F32, B, H, T, S);
            attn_tensor *moved = (attn_tensor *)(void *)((char *)&far + o->at);
            *moved = big_spread(dense, dim, strides[n]);
            if (o->output) test_fill_value(moved, 77);
            safety_run(safety_isa(isa), &big_spec, &far);
            big_compare(&far, near, o->name);
            big_n_regions--;
            munmap(big_regions[big_n_regions].at, big_regions[big_n_regions].bytes);
        }
}

static void big_strides(void **state)
{
    (void)state;
    for (int isa = 0; safety_isa(isa) != NULL; isa++)
        for (int o = 0; o < OPERANDS; o++) {
            attn_args near = big_args();
            safety_run(safety_isa(isa), &big_spec, &near);
            big_move(&big_operands[o], &near, isa);
            test_arena_reset(&safety_arena);
        }
}

/* ---- planes of more than 2^32 elements ----------------------------------------------- */

enum { LONG = 65537 };
static const int64_t big_rows[] = {0, 1, 255, 32766, 32767, 32768, 32769, 65534, 65535, 65536};
enum { ROWS = sizeof big_rows / sizeof big_rows[0] };

static attn_args big_square(attn_spec *spec)
{
    *spec = ATTN_SPEC(.window = ATTN_WINDOW(1, 0), .align = ATTN_ALIGN_TOP_LEFT);
    return ATTN_ARGS(.q = SAFETY_FILLED(F32, 1, LONG, 1), .k = SAFETY_FILLED(F32, 2, LONG, 1),
                     .v = SAFETY_FILLED(F32, 3, LONG, 2), .out = SAFETY_EMPTY(F32, LONG, 2));
}

static bool big_listed(int64_t i)
{
    for (int n = 0; n < ROWS; n++)
        if (big_rows[n] == i) return true;
    return false;
}

/* Of a mask of zeros only the listed diagonal elements are set. */
static void big_mask(void **state)
{
    (void)state;
    attn_spec spec;
    attn_args args = big_square(&spec);
    char *plane = big_reserve((int64_t)LONG * LONG, PROT_READ | PROT_WRITE);
    big_need(plane);
    args.mask = attn_tensor_make(plane, ATTN_DTYPE_BOOL, SAFETY_DIMS(LONG, LONG));
    for (int n = 0; n < ROWS; n++) plane[big_rows[n] * LONG + big_rows[n]] = 1;
    safety_run(NULL, &spec, &args);
    for (int64_t i = 0; i < LONG; i++)
        for (int64_t e = 0; e < 2; e++)
            safety_near(safety_at(args.out, 2 * i + e),
                        big_listed(i) ? safety_at(args.v, 2 * i + e) : 0, 0,
                        "mask beyond 2^32");
}

/* A bias of zeros with -inf on the listed diagonal elements: those rows see the key before. */
static void big_bias(void **state)
{
    (void)state;
    attn_spec spec;
    attn_args args = big_square(&spec);
    char *plane = big_reserve((int64_t)LONG * LONG * 4, PROT_READ | PROT_WRITE);
    big_need(plane);
    args.bias = attn_tensor_make(plane, ATTN_DTYPE_F32, SAFETY_DIMS(LONG, LONG));
    for (int n = 0; n < ROWS; n++)
        safety_put(args.bias, big_rows[n] * (LONG + 1), (double)-INFINITY);
    safety_run(NULL, &spec, &args);
    for (int n = 1; n < ROWS; n++)
        for (int64_t e = 0; e < 2; e++)
            safety_near(safety_at(args.out, 2 * big_rows[n] + e),
                        safety_at(args.v, 2 * (big_rows[n] - 1) + e), 0, "bias beyond 2^32");
}

/* ---- keys of more than 2^32 elements ------------------------------------------------- */

enum { WIDE = 2048, KEYS = (1 << 21) + 1, FILE_BYTES = 2 << 20 };

/* Address space in which one small file of zeros appears again and again; its last page is one
 * of its own. NULL when that is not possible here. */
static char *big_repeat(int64_t bytes)
{
    char *p = big_reserve(bytes, PROT_NONE);
    int file = p != NULL ? memfd_create("attn-test", 0) : -1;
    if (file < 0 || ftruncate(file, FILE_BYTES) != 0) return NULL;
    bool ok = true;
    for (int64_t at = 0; ok && at + FILE_BYTES <= bytes; at += FILE_BYTES)
        ok = mmap(p + at, FILE_BYTES, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0) != MAP_FAILED;
    close(file);
    int64_t tail = bytes % FILE_BYTES, from = bytes - tail;
    if (ok && tail > 0)
        ok = mmap(p + from, (size_t)tail, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
    return ok ? p : NULL;
}

/* Every key is 0 but the last, beyond 2^32 elements: it takes the weight. */
static void big_keys(void **state)
{
    (void)state;
    char *p = big_repeat((int64_t)KEYS * WIDE * 2);
    big_need(p);
    attn_args args =
        ATTN_ARGS(.q = SAFETY_FILLED(BF16, 1, 1, WIDE), .v = SAFETY_EMPTY(F32, KEYS, 1),
                  .out = SAFETY_EMPTY(F32, 1, 1), .lse = SAFETY_EMPTY(F32, 1));
    args.k = attn_tensor_make(p, ATTN_DTYPE_BF16, SAFETY_DIMS(KEYS, WIDE));
    test_fill_value(&args.v, 0);
    safety_put(args.v, KEYS - 1, 1);
    safety_put(args.q, WIDE - 1, 1);
    safety_put(args.k, (int64_t)KEYS * WIDE - 1, 50);
    attn_spec spec = ATTN_SPEC(.scale = 1);
    safety_run(safety_threads(2), &spec, &args);
    safety_near(safety_at(args.lse, 0), 50, 1e-5, "lse of the key beyond 2^32");
    safety_near(safety_at(args.out, 0), 1, 1e-6, "the key beyond 2^32");
}

/* ---- lengths and counts -------------------------------------------------------------- */

static void big_lengths(void **state)
{
    static const int64_t lengths[] = {32767, 32768, 65535, 65536, 65537};
    (void)state;
    for (int n = 0; n < 5; n++) {
        int64_t L = lengths[n];
        attn_args keys =
            ATTN_ARGS(.q = SAFETY_FILLED(F32, 1, 2, 2), .k = SAFETY_FILLED(F32, 2, L, 2),
                      .v = SAFETY_FILLED(F32, 3, L, 1), .out = SAFETY_EMPTY(F32, 2, 1),
                      .lse = SAFETY_EMPTY(F32, 2));
        attn_args queries =
            ATTN_ARGS(.q = SAFETY_FILLED(F32, 1, L, 1), .k = SAFETY_FILLED(F32, 2, 3, 1),
                      .v = SAFETY_FILLED(F32, 3, 3, 2), .out = SAFETY_EMPTY(F32, L, 2));
        attn_spec bottom = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
        safety_run_and_judge(&bottom, &keys);
        attn_spec top =
            ATTN_SPEC(.window = ATTN_WINDOW(L - 2, -1), .align = ATTN_ALIGN_TOP_LEFT);
        safety_run_and_judge(&top, &queries);
        test_arena_reset(&safety_arena);
    }
}

static void big_counts(void **state)
{
    static const int64_t counts[][2] = {{257, 256}, {65537, 1}, {1, 65537}};
    (void)state;
    for (int n = 0; n < 3; n++) {
        int64_t b = counts[n][0], h = counts[n][1];
        attn_args args = ATTN_ARGS(.q = SAFETY_FILLED(F32, 1, b, h, 2, 1),
                                   .k = SAFETY_FILLED(F32, 2, b, h, 2, 1),
                                   .v = SAFETY_FILLED(F32, 3, b, h, 2, 1),
                                   .out = SAFETY_EMPTY(F32, b, h, 2, 1));
        attn_spec spec = ATTN_SPEC(.causal = true);
        safety_run_and_judge(&spec, &args);
        attn_tensor alone = safety_copy(args.out);
        safety_run(safety_threads(3), &spec, &args);
        safety_same(args.out, alone, "three threads");
        test_arena_reset(&safety_arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BIG_CASE(big_strides), BIG_CASE(big_mask),    BIG_CASE(big_bias),
        BIG_CASE(big_keys),    BIG_CASE(big_lengths), BIG_CASE(big_counts),
    };
    return cmocka_run_group_tests_name("big", tests, NULL, safety_finish);
}
