/* SPDX-License-Identifier: MIT
 * What programs of random cases against the oracle share: totals over cases, each drawn from
 * its own seed; and the self test, which makes every mistake of a list and counts how many
 * cases notice. */
#ifndef ATTN_TESTS_GRID_CASE_H
#define ATTN_TESTS_GRID_CASE_H

#include "contexts.h"

typedef struct grid_totals {
    int64_t cases, failures, half[2], right[2];
    int64_t judged; /* norm errors looked at; norm is the worst of them */
    double worst, norm;
} grid_totals;

/* How a failing case is repeated; program: its name. */
static inline void grid_print(const test_case *c, const char *what, const char *program)
{
    fprintf(stderr, "%s\n", what);
    test_case_print(stderr, c);
    fprintf(stderr, "repeat: ATTN_SEED=0x%llx ATTN_CASES=1 %s\n", (unsigned long long)c->seed,
            program);
}

/* Whether a call was refused; report->text says why. */
static inline bool grid_refused(attn_status status, const attn_error *error,
                                test_report *report)
{
    if (status == ATTN_OK) return false;
    report->violations = 1;
    attn_error_text(error, report->text, sizeof report->text);
    return true;
}

/* Adds a report; true: print it, it is one of the first failures. */
static inline bool grid_add(grid_totals *totals, const test_report *report, bool count_half)
{
    totals->cases++;
    for (int i = 0; i < 2 && count_half; i++) {
        totals->half[i] += report->half[i];
        totals->right[i] += report->right[i];
    }
    if (report->worst > totals->worst) totals->worst = report->worst;
    return report->violations && totals->failures++ < 5;
}

/* Correctly rounded elements among those of bf16 and f16: 99.5 % and 98 % of many. */
static inline void grid_check_half(const grid_totals *t, int64_t many)
{
    static const double least[2] = {0.995, 0.98};
    for (int i = 0; i < 2; i++) {
        if (t->half[i] < many) continue;
        double share = (double)t->right[i] / (double)t->half[i];
        print_message("# %s: %.3f %% of %lld elements correctly rounded\n", i ? "f16" : "bf16",
                      100 * share, (long long)t->half[i]);
        assert_true(share >= least[i]);
    }
}

/* Case i is drawn from seed s + i alone. */
static inline void grid_walk(int64_t n, int64_t seed, int64_t many,
                             void (*one)(uint64_t seed, grid_totals *totals))
{
    grid_totals totals = {0};
    uint64_t first = (uint64_t)test_env_int("ATTN_SEED", seed);
    double start = test_now();
    if (test_env_long()) n *= 20;
    for (uint64_t i = 0; i < (uint64_t)n; i++) {
        if (test_env_int("ATTN_TRACE", 0))
            fprintf(stderr, "0x%llx\n", (unsigned long long)(first + i));
        one(first + i, &totals);
    }
    print_message("# %lld cases, %lld failures, worst error %.3f of its bound, %.1f s\n",
                  (long long)totals.cases, (long long)totals.failures, totals.worst,
                  test_now() - start);
    if (totals.judged > 0)
        print_message("# worst norm error of %lld gradients %.2e of their masses\n",
                      (long long)totals.judged, totals.norm);
    assert_int_equal(totals.failures, 0);
    grid_check_half(&totals, many);
}

/* ---- the comparison has power ------------------------------------------------------------ */

typedef struct grid_flip {
    const char *name, *what;
    uint64_t options;
} grid_flip;

/* Whether the mistake is noticed in the case of the seed. */
typedef bool (*grid_notices)(int flip, uint64_t seed, const test_profile *profile);

/* How many of n cases with the options, and others, notice the mistake. */
static inline int grid_count_noticed(const grid_flip *flips, int flip, int n, uint64_t others,
                                     grid_notices notices)
{
    int noticed = 0;
    uint64_t options = flips[flip].options;
    test_profile profile = {.allow = options | others, .force = options};
    for (int i = 0; i < n; i++) noticed += notices(flip, (uint64_t)(flip * 1000 + i), &profile);
    return noticed;
}

/* flips[0] is no mistake and must never be noticed, the others in a tenth of the cases. */
static inline void grid_expect_noticed(const grid_flip *flips, int n_flips, int tries,
                                       uint64_t others, grid_notices notices)
{
    int missed = 0;
    assert_int_equal(grid_count_noticed(flips, 0, tries, others, notices), 0);
    for (int flip = 1; flip < n_flips; flip++) {
        int noticed = grid_count_noticed(flips, flip, tries, others, notices);
        if (noticed >= tries / 10) continue;
        fprintf(stderr, "%s (%s) noticed by %d of %d cases\n", flips[flip].name,
                flips[flip].what, noticed, tries);
        missed++;
    }
    assert_int_equal(missed, 0);
}

#endif
