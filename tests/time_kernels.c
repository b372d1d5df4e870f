/* SPDX-License-Identifier: MIT
 * The kernels of a forward call alone, on warm data: cycles of one thread, beside the fewest that
 * their multiply-adds can take. A cycle is that of the probe of multiply-adds, two vectors of them
 * to a cycle, measured around every round; of the rounds the fastest tenth counts, because who
 * shares a core with a neighbour has half of its instructions and most of its multiply-adds.
 * docs/limits.md reads it.
 *
 *   make bench-kernels
 *   ATTN_ISA=avx2 build/release/attn_kernels */
#include "kernel/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEYS = 64, WIDE = 48, FEW = 4, MOST = 128, ROUNDS = 201, REPEAT = 64, PROBE = 20000 };

typedef struct kernels_bench {
    const attn__kernels *k;
    const attn__half *half; /* or NULL */
    int64_t D;
    attn__row_kind kind;
    float *q, *s, *acc, *rows, *m, *l, *out, *scale; /* q [D][w], s [64][w], acc [D][w] */
    double *inv;
    float *sum; /* what inv is 1 over */
    const void *row[KEYS];
    void *to[WIDE];
} kernels_bench;

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static attn__rows bench_rows(kernels_bench *b)
{
    const attn__row_form form = attn__row_form_of(b->kind);
    for (int i = 0; i < KEYS; i++) b->row[i] = (char *)b->rows + i * b->D * form.bits / 8;
    return (attn__rows){.kind = b->kind, .row = b->row, .scale = form.coded ? b->scale : NULL};
}

static void run_scores(kernels_bench *b)
{
    const int64_t stop[ATTN__SLICES] = {KEYS, KEYS, KEYS}, open[] = {0, KEYS};
    b->k->scores_max(stop, WIDE, b->D, b->rows, b->D, b->q, WIDE, b->s, open, b->m, NULL);
}

static void run_weigh(kernels_bench *b)
{
    const int64_t stop[ATTN__SLICES] = {KEYS, KEYS, KEYS};
    b->k->weigh_steps(stop, stop, WIDE, b->D, b->s, WIDE, b->rows, b->D, false, b->acc, NULL);
}

static void run_exp(kernels_bench *b)
{
    const int64_t stop[ATTN__SLICES] = {KEYS, KEYS, KEYS};
    b->k->exp_sum(stop, stop, WIDE, 1e-3, b->s, NULL, b->m, b->l);
}

static void run_pack(kernels_bench *b)
{
    b->k->pack(WIDE, WIDE, b->D, (const void *const *)b->to, 1, b->q);
}

static void run_finish(kernels_bench *b)
{
    b->k->finish_chunk(WIDE, WIDE, b->D, b->m, b->sum, b->acc, b->inv, b->to);
}

/* As close as scores of few lie. */
static int bench_width(const kernels_bench *b)
{
    return b->k->step > FEW ? FEW : b->k->step;
}

static void run_few_scores(kernels_bench *b)
{
    const attn__rows rows = bench_rows(b);
    b->k->few_scores[b->kind](KEYS, FEW, bench_width(b), b->D, &rows, b->q, ATTN__SLICE, b->s);
}

static void run_few_exp(kernels_bench *b)
{
    const int64_t stop[ATTN__SLICES] = {KEYS, KEYS, KEYS};
    b->k->row_max(stop, bench_width(b), b->s, NULL, b->m);
    b->k->exp_sum(stop, stop, bench_width(b), 1e-3, b->s, NULL, b->m, NULL);
}

static void run_few_weigh(kernels_bench *b)
{
    const attn__rows rows = bench_rows(b);
    b->k->few_weigh[b->kind](KEYS, FEW, bench_width(b), b->D, b->s, b->l, &rows, false, false,
                             b->acc, b->D);
}

static const int16_t *bench_pairs(const float *x)
{
    return (const int16_t *)(const void *)x;
}

static void run_half_scores(kernels_bench *b)
{
    b->half->scores(KEYS, WIDE, b->D / 2, bench_pairs(b->rows), b->scale, bench_pairs(b->q),
                    b->scale, WIDE, b->s, b->m);
}

static void run_half_exp(kernels_bench *b)
{
    b->half->exp_block(WIDE, 1e-3, b->s, b->scale, b->m, b->l, b->out, b->out + WIDE);
}

static void run_half_weigh(kernels_bench *b)
{
    const attn__half_block block = {.n = ATTN__HALF_BLOCK,
                                    .v = bench_pairs(b->rows),
                                    .sum = b->scale + 1,
                                    .most = b->scale + 1};
    b->half->weigh(&block, WIDE, b->D, b->s, WIDE, false, b->acc);
}

/* What is counted: a vector of scores (keys x lanes, of a few keys or of a block of the half
 * mode), of a panel (lanes x D), or a key. */
typedef enum kernels_unit { SCORES, BLOCK, PANEL, KEY } kernels_unit;
static const struct {
    const char *name;
    void (*run)(kernels_bench *);
    kernels_unit unit;
    int at_once; /* of D multiply-adds a score, by one instruction; 0: there are none */
    bool codes;  /* numbers are decoded, a multiply-add for each */
    bool half;   /* a kernel of the half mode */
} kernels_rows[] = {
    {"scores_max", run_scores, SCORES, 1, false, false},
    {"weigh_steps", run_weigh, SCORES, 1, false, false},
    {"exp_sum", run_exp, SCORES, 0, false, false},
    {"pack", run_pack, PANEL, 0, false, false},
    {"finish_chunk", run_finish, PANEL, 0, false, false},
    {"half_scores", run_half_scores, SCORES, 2, false, true},
    {"half_weigh", run_half_weigh, BLOCK, 2, false, true},
    {"half_exp", run_half_exp, BLOCK, 0, false, true},
    {"few_scores", run_few_scores, KEY, 1, true, false},
    {"few_exp", run_few_exp, KEY, 0, false, false},
    {"few_weigh", run_few_weigh, KEY, 1, true, false},
};
static const char *const kernels_units[] = {"score vector", "score vector", "panel vector",
                                            "key, 4 queries"};

static double rate_of(const attn__kernels *k)
{
    double sink;
    const double start = now(), flops = k->probe(PROBE, &sink);
    return flops / (now() - start);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Cycles a unit. */
static double measured(kernels_bench *b, int row)
{
    const int lanes = b->k->step;
    const kernels_unit unit = kernels_rows[row].unit;
    const double units = unit == SCORES  ? (double)KEYS * WIDE / lanes
                         : unit == BLOCK ? (double)ATTN__HALF_BLOCK * WIDE / lanes
                         : unit == PANEL ? (double)b->D * WIDE / lanes
                                         : KEYS;
    double cycles[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        memset(b->m, 0, WIDE * sizeof *b->m);
        const double before = rate_of(b->k), start = now();
        for (int r = 0; r < REPEAT; r++) kernels_rows[row].run(b);
        const double seconds = (now() - start) / REPEAT, after = rate_of(b->k);
        cycles[i] = seconds * (before + after) / 2 / (4.0 * lanes) / units;
    }
    qsort(cycles, ROUNDS, sizeof cycles[0], by_size);
    return cycles[ROUNDS / 10];
}

/* Cycles that the multiply-adds alone take, two instructions to a cycle. */
static double floor_of(const kernels_bench *b, int row)
{
    const double D = (double)b->D, numbers = D / b->k->step;
    if (kernels_rows[row].at_once == 0) return 0;
    if (kernels_rows[row].unit != KEY) return D / 2 / kernels_rows[row].at_once;
    const bool coded = kernels_rows[row].codes && attn__row_form_of(b->kind).coded;
    return numbers * (FEW + (coded ? 1 : 0)) / 2;
}

static void report(kernels_bench *b, int row, const char *kind)
{
    const double cycles = measured(b, row), least = floor_of(b, row);
    printf("%-13s %4lld  %-5s %8.2f", kernels_rows[row].name, (long long)b->D, kind, cycles);
    if (least > 0)
        printf(" %8.2f  %5.3f", least, least / cycles);
    else
        printf(" %8s  %5s", "", "");
    printf("  %s\n", kernels_units[kernels_rows[row].unit]);
}

static bool made(kernels_bench *b)
{
    float **const part[] = {&b->q, &b->s,   &b->acc,   &b->rows, &b->m,
                            &b->l, &b->out, &b->scale, &b->sum};
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        const size_t n = (size_t)KEYS * MOST;
        *part[i] = aligned_alloc(64, n * sizeof(float));
        if (!*part[i]) return false;
        for (size_t x = 0; x < n; x++) (*part[i])[x] = 1e-2f * (float)(x % 7);
    }
    b->inv = aligned_alloc(64, (size_t)MOST * sizeof *b->inv);
    for (int i = 0; b->inv && i < MOST; i++) b->sum[i] = 1, b->inv[i] = 1;
    for (int l = 0; l < WIDE; l++) b->to[l] = b->out + l * MOST;
    return b->inv != NULL;
}

int main(void)
{
    static const struct {
        attn__row_kind kind;
        const char *name;
    } kinds[] = {{ATTN__ROW_F32, "f32"},
                 {ATTN__ROW_BF16, "bf16"},
                 {ATTN__ROW_F16, "f16"},
                 {ATTN__ROW_I8, "int8"},
                 {ATTN__ROW_I4, "int4"}};
    uint32_t allowed;
    kernels_bench b = {.D = 0};
    if (attn__isa_allowed(NULL, &allowed, NULL) != ATTN_OK || !made(&b)) return EXIT_FAILURE;
    b.k = attn__kernels_pick(ATTN_DTYPE_F32, allowed);
    b.half = attn__half_pick(b.k);
    double rate = 0;
    for (int i = 0; i < ROUNDS; i++) rate = 1e-9 * rate_of(b.k);
    printf("%s: %.1f GFLOP/s of multiply-adds = %.2f GHz, if a cycle takes two vectors\n"
           "kernel          D  kind    cycles   fewest  share  of a\n",
           b.k->name, rate, rate / (4 * b.k->step));
    for (int row = 0; row < (int)(sizeof kernels_rows / sizeof kernels_rows[0]); row++)
        for (b.D = 64; b.D <= MOST; b.D *= 2) {
            const bool few = kernels_rows[row].unit == KEY;
            if (few && (b.D < MOST || !b.k->few_scores[ATTN__ROW_F32])) continue;
            if (kernels_rows[row].half && !b.half) continue;
            const bool read = few && kernels_rows[row].at_once > 0;
            for (size_t i = 0; i < (read ? sizeof kinds / sizeof kinds[0] : 1); i++) {
                b.kind = kinds[i].kind;
                report(&b, row, kernels_rows[row].half ? "int16" : kinds[i].name);
            }
        }
    return EXIT_SUCCESS;
}
