/* SPDX-License-Identifier: MIT
 * The suites of attn bench as tables. */
#include "bench.h"

/* The suites of issue-sized questions: heads of 64 and of 128, all heads with keys of their own
 * or four with the same. The last row is causal only. */
static const bench_row prefill_rows[] = {
    {{1, 8, 8, 4096, 4096, 64}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 128}, 0, NULL},
    {{1, 32, 8, 2048, 2048, 128}, 0, NULL},
    {{1, 8, 8, 1024, 1024, 64}, 0, NULL},
};
enum { PREFILL_FULL = 3 };
static const bench_row long_rows[] = {{{1, 4, 4, 16384, 16384, 64}, 0, NULL}};
static const bench_row short_rows[] = {
    {{16, 12, 12, 128, 128, 64}, 0, NULL},
    {{16, 12, 12, 128, 128, 64}, BENCH_CAUSAL, NULL},
};
/* Large scores: weights of which one is nearly all. */
static const bench_row peaked_rows[] = {
    {{1, 8, 8, 4096, 4096, 64}, BENCH_X40, NULL},
    {{1, 8, 8, 4096, 4096, 64}, BENCH_X200, NULL},
    {{1, 8, 8, 2048, 2048, 128}, BENCH_X40, NULL},
    {{1, 8, 8, 2048, 2048, 128}, BENCH_X200, NULL},
    {{1, 32, 8, 2048, 2048, 128}, BENCH_X40, NULL},
    {{1, 32, 8, 2048, 2048, 128}, BENCH_X200, NULL},
    {{1, 8, 8, 4096, 4096, 64}, BENCH_CAUSAL | BENCH_X40, NULL},
    {{1, 8, 8, 4096, 4096, 64}, BENCH_CAUSAL | BENCH_X200, NULL},
    {{1, 8, 8, 2048, 2048, 128}, BENCH_CAUSAL | BENCH_X40, NULL},
    {{1, 8, 8, 2048, 2048, 128}, BENCH_CAUSAL | BENCH_X200, NULL},
    {{1, 32, 8, 2048, 2048, 128}, BENCH_CAUSAL | BENCH_X40, NULL},
    {{1, 32, 8, 2048, 2048, 128}, BENCH_CAUSAL | BENCH_X200, NULL},
    {{1, 8, 8, 1024, 1024, 64}, BENCH_CAUSAL | BENCH_X40, NULL},
    {{1, 8, 8, 1024, 1024, 64}, BENCH_CAUSAL | BENCH_X200, NULL},
};
static const bench_row dtype_rows[] = {
    {{1, 8, 8, 4096, 4096, 64}, 0, "bf16"},   {{1, 8, 8, 4096, 4096, 64}, 0, "f16"},
    {{1, 8, 8, 2048, 2048, 128}, 0, "bf16"},  {{1, 8, 8, 2048, 2048, 128}, 0, "f16"},
    {{1, 32, 8, 2048, 2048, 128}, 0, "bf16"}, {{1, 32, 8, 2048, 2048, 128}, 0, "f16"},
    {{1, 8, 8, 2048, 2048, 128}, 0, "f64"},
};
/* precision = half. */
static const bench_row half_rows[] = {
    {{1, 8, 8, 4096, 4096, 64}, 0, "bf16"},
    {{1, 8, 8, 4096, 4096, 64}, 0, "f16"},
    {{1, 8, 8, 2048, 2048, 128}, 0, "bf16"},
    {{1, 8, 8, 2048, 2048, 128}, 0, "f16"},
    {{1, 32, 8, 2048, 2048, 128}, 0, "bf16"},
    {{1, 32, 8, 2048, 2048, 128}, 0, "f16"},
    {{1, 8, 8, 4096, 4096, 64}, BENCH_CAUSAL, "bf16"},
    {{1, 8, 8, 4096, 4096, 64}, BENCH_CAUSAL, "f16"},
    {{1, 8, 8, 2048, 2048, 128}, BENCH_CAUSAL, "bf16"},
    {{1, 8, 8, 2048, 2048, 128}, BENCH_CAUSAL, "f16"},
    {{1, 32, 8, 2048, 2048, 128}, BENCH_CAUSAL, "bf16"},
    {{1, 32, 8, 2048, 2048, 128}, BENCH_CAUSAL, "f16"},
};
/* One token of four query heads to a key/value head; and eight tokens to be verified at once. */
static const bench_row decode_rows[] = {
    {{1, 32, 8, 1, 8192, 128}, 0, NULL},
    {{1, 32, 8, 1, 65536, 128}, 0, NULL},
    {{8, 32, 8, 1, 4096, 128}, 0, NULL},
    {{1, 32, 8, 1, 8192, 128}, 0, "bf16"},
    {{1, 32, 8, 1, 65536, 128}, 0, "bf16"},
    {{8, 32, 8, 1, 4096, 128}, 0, "bf16"},
    {{1, 32, 8, 1, 8192, 128}, 0, "f16"},
    {{1, 32, 8, 1, 65536, 128}, 0, "f16"},
    {{8, 32, 8, 1, 4096, 128}, 0, "f16"},
    {{1, 32, 8, 1, 8192, 128}, BENCH_CACHE, "f32"},
    {{1, 32, 8, 1, 8192, 128}, BENCH_CACHE, "bf16"},
    {{1, 32, 8, 1, 8192, 128}, BENCH_CACHE, "f16"},
    {{1, 32, 8, 1, 8192, 128}, BENCH_CACHE, "int8"},
    {{1, 32, 8, 1, 65536, 128}, BENCH_CACHE, "int8"},
    {{8, 32, 8, 1, 4096, 128}, BENCH_CACHE, "int8"},
    {{1, 32, 8, 1, 8192, 128}, BENCH_CACHE, "int4"},
    {{1, 32, 8, 1, 8192, 128}, BENCH_PAGE16, "bf16"},
    {{1, 32, 8, 1, 8192, 128}, BENCH_PAGE16, "int8"},
    {{1, 32, 8, 1, 8192, 128}, BENCH_PAGE256, "bf16"},
    {{1, 32, 8, 1, 8192, 128}, BENCH_PAGE256, "int8"},
};
static const bench_row verify_rows[] = {
    {{1, 32, 8, 8, 8192, 128}, 0, NULL},    {{1, 32, 8, 8, 65536, 128}, 0, NULL},
    {{8, 32, 8, 8, 4096, 128}, 0, NULL},    {{1, 32, 8, 8, 8192, 128}, 0, "bf16"},
    {{1, 32, 8, 8, 65536, 128}, 0, "bf16"}, {{8, 32, 8, 8, 4096, 128}, 0, "bf16"},
    {{1, 32, 8, 8, 8192, 128}, 0, "f16"},   {{1, 32, 8, 8, 65536, 128}, 0, "f16"},
    {{8, 32, 8, 8, 4096, 128}, 0, "f16"},
};
/* One row of each suite, and how much more threads give. */
static const bench_row threads_rows[] = {
    {{1, 8, 8, 4096, 4096, 64}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 128}, 0, NULL},
    {{1, 8, 8, 4096, 4096, 64}, BENCH_CAUSAL, NULL},
    {{1, 8, 8, 2048, 2048, 128}, BENCH_CAUSAL, NULL},
    {{1, 4, 4, 16384, 16384, 64}, BENCH_CAUSAL, NULL},
    {{16, 12, 12, 128, 128, 64}, 0, NULL},
    {{16, 12, 12, 128, 128, 64}, BENCH_CAUSAL, NULL},
    {{1, 8, 8, 4096, 4096, 64}, BENCH_X200, NULL},
    {{1, 8, 8, 2048, 2048, 64}, BENCH_BACKWARD, NULL},
    {{1, 8, 8, 2048, 2048, 64}, BENCH_CAUSAL | BENCH_BACKWARD, NULL},
    {{1, 8, 8, 4096, 4096, 64}, 0, "bf16"},
    {{1, 8, 8, 4096, 4096, 64}, BENCH_HALF, "bf16"},
    {{1, 32, 8, 1, 8192, 128}, BENCH_COLD, NULL},
    {{1, 32, 8, 8, 8192, 128}, BENCH_COLD | BENCH_CAUSAL, NULL},
};
/* How cost grows: with T = S, with S of one token, with D, with B. */
static const bench_row growth_rows[] = {
    {{1, 8, 8, 256, 256, 64}, 0, NULL},
    {{1, 8, 8, 512, 512, 64}, 0, NULL},
    {{1, 8, 8, 1024, 1024, 64}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 64}, 0, NULL},
    {{1, 8, 8, 4096, 4096, 64}, 0, NULL},
    {{1, 8, 8, 8192, 8192, 64}, 0, NULL},
    {{1, 32, 8, 1, 512, 128}, BENCH_COLD, NULL},
    {{1, 32, 8, 1, 1024, 128}, BENCH_COLD, NULL},
    {{1, 32, 8, 1, 2048, 128}, BENCH_COLD, NULL},
    {{1, 32, 8, 1, 4096, 128}, BENCH_COLD, NULL},
    {{1, 32, 8, 1, 8192, 128}, BENCH_COLD, NULL},
    {{1, 32, 8, 1, 16384, 128}, BENCH_COLD, NULL},
    {{1, 32, 8, 1, 32768, 128}, BENCH_COLD, NULL},
    {{1, 32, 8, 1, 65536, 128}, BENCH_COLD, NULL},
    {{1, 8, 8, 2048, 2048, 16}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 32}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 96}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 128}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 192}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 256}, 0, NULL},
    {{2, 8, 8, 512, 512, 64}, 0, NULL},
    {{4, 8, 8, 512, 512, 64}, 0, NULL},
    {{8, 8, 8, 512, 512, 64}, 0, NULL},
    {{16, 8, 8, 512, 512, 64}, 0, NULL},
};
static const bench_row small_rows[] = {{{1, 1, 1, 16, 16, 16}, 0, NULL}};
static const bench_row backward_rows[] = {
    {{1, 8, 8, 2048, 2048, 64}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 64}, BENCH_CAUSAL, NULL},
    {{1, 1, 1, 4096, 4096, 64}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 128}, 0, NULL},
    {{4, 8, 8, 1024, 1024, 64}, BENCH_BIAS, NULL},
    {{4, 8, 8, 1024, 1024, 64}, BENCH_D_BIAS, NULL},
};
static const bench_row jvp_rows[] = {
    {{1, 8, 8, 2048, 2048, 64}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 64}, BENCH_CAUSAL, NULL},
};
/* Large products in the four layouts, a batch of heads, and those that memory bounds: tall and
 * thin, one row, one column. */
static const bench_row matmul_rows[] = {
    {{1, 512, 512, 512}, 0, NULL},
    {{1, 1024, 1024, 1024}, 0, NULL},
    {{1, 1024, 1024, 1024}, BENCH_B_TURNED, NULL},
    {{1, 1024, 1024, 1024}, BENCH_A_TURNED, NULL},
    {{1, 1024, 1024, 1024}, BENCH_A_TURNED | BENCH_B_TURNED, NULL},
    {{64, 128, 128, 64}, 0, NULL},
    {{64, 128, 128, 64}, BENCH_B_TURNED, NULL},
    {{1, 65536, 32, 64}, 0, NULL},
    {{1, 1, 4096, 4096}, 0, NULL},
    {{1, 1, 4096, 4096}, BENCH_B_TURNED, NULL},
};
/* T and S are the tokens, E is D. */
static const bench_row scan_rows[] = {
    {{1, 1, 1, 65536, 65536, 64}, 0, NULL},
    {{1, 1, 1, 65536, 65536, 64}, BENCH_DECAY, NULL},
    {{1, 1, 1, 65536, 65536, 64}, BENCH_DELTA, NULL},
    {{1, 1, 1, 65536, 65536, 64}, BENCH_DELTA | BENCH_DECAY, NULL},
    {{1, 1, 1, 65536, 65536, 64}, BENCH_BACKWARD, NULL},
    {{1, 1, 1, 65536, 65536, 64}, BENCH_BACKWARD | BENCH_DELTA | BENCH_DECAY, NULL},
};
static const bench_row long_scan_rows[] = {
    {{1, 1, 1, 1000000, 1000000, 64}, 0, NULL},
    {{1, 4, 4, 1000000, 1000000, 64}, 0, NULL},
    {{1, 1, 1, 1000000, 1000000, 64}, BENCH_DELTA | BENCH_DECAY, NULL},
    {{1, 4, 4, 1000000, 1000000, 64}, BENCH_DELTA | BENCH_DECAY, NULL},
};

#define ROWS(rows) rows, (int)(sizeof(rows) / sizeof((rows)[0]))

static const bench_suite bench_suites[] = {
    {"prefill", prefill_rows, PREFILL_FULL, 6, 0, BENCH_GIVEN, false, bench_attention},
    {"causal", ROWS(prefill_rows), 6, BENCH_CAUSAL, BENCH_GIVEN, false, bench_attention},
    {"long", ROWS(long_rows), 6, BENCH_CAUSAL, BENCH_GIVEN, false, bench_attention},
    {"short", ROWS(short_rows), 6, 0, BENCH_GIVEN, false, bench_attention},
    {"peaked", ROWS(peaked_rows), 6, 0, BENCH_GIVEN, false, bench_attention},
    {"backward", ROWS(backward_rows), 6, BENCH_BACKWARD, BENCH_ENDS, false, bench_attention},
    {"dtype", ROWS(dtype_rows), 6, 0, BENCH_GIVEN, false, bench_attention},
    {"half", ROWS(half_rows), 6, BENCH_HALF, BENCH_GIVEN, false, bench_attention},
    {"decode", ROWS(decode_rows), 6, BENCH_COLD, BENCH_GIVEN, false, bench_attention},
    {"verify", ROWS(verify_rows), 6, BENCH_COLD | BENCH_CAUSAL, BENCH_GIVEN, false,
     bench_attention},
    {"threads", ROWS(threads_rows), 6, 0, BENCH_EACH, false, bench_attention},
    {"small", ROWS(small_rows), 6, 0, BENCH_GIVEN, false, bench_attention},
    {"jvp", ROWS(jvp_rows), 6, BENCH_JVP, BENCH_ENDS, false, bench_attention},
    {"matmul", ROWS(matmul_rows), 4, 0, BENCH_GIVEN, false, bench_product},
    {"scan", ROWS(scan_rows), 6, 0, BENCH_ENDS, false, bench_scan},
    {"growth", ROWS(growth_rows), 6, 0, BENCH_EACH, true, bench_attention},
    {"long_scan", ROWS(long_scan_rows), 6, 0, BENCH_ENDS, true, bench_scan},
};

enum { BENCH_SUITES = (int)(sizeof bench_suites / sizeof bench_suites[0]) };

const bench_suite *bench_suite_at(int i)
{
    return i < BENCH_SUITES ? &bench_suites[i] : NULL;
}

const char *bench_suite_name(const void *unused, int i)
{
    (void)unused;
    return i < BENCH_SUITES ? bench_suites[i].name : NULL;
}
