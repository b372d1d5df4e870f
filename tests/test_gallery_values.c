/* SPDX-License-Identifier: MIT
 * cli/verify_recorded.def holds what the oracles give for the small call of every mechanism, so
 * that `attn verify` can compare without them. With ATTN_RECORD=FILE the table is written anew:
 *
 *     ATTN_RECORD=cli/verify_recorded.def build/test/tests/test_gallery_values */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gallery_run.h"

typedef struct values_row {
    const char *name;
    double figure[3]; /* sum, norm, turn */
} values_row;

static const values_row values_rows[] = {
#define RECORDED(name, sum, norm, turn) {#name, {sum, norm, turn}},
#include "../cli/verify_recorded.def"
#undef RECORDED
};

static FILE *values_file;

/* The numbers of the command: two rounds of a finaliser over seed and index. */
static double values_uniform(uint64_t seed, uint64_t i)
{
    uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + i * UINT64_C(0xd1342543de82ef95);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return floor(((double)(x >> 11) + 0.5) * 0x1p-53 * 0x1p20) * 0x1p-20;
}

static void values_fill(gallery_draw *d)
{
    for (int i = 0; d->call.mech->slots[i].name; i++) {
        const attn_slot *slot = &d->call.mech->slots[i];
        double *at = d->given[i].data;
        for (int64_t x = 0; at && x < d->call.count[i]; x++) {
            const double u = values_uniform((uint64_t)i, (uint64_t)x);
            at[x] = slot->kind & ATTN_IDS     ? floor(u * (double)gallery_below(d, i))
                    : slot->kind & ATTN_FLAGS ? u < 0.75
                                              : 2 * u - 1;
        }
    }
    gallery_spread(d);
}

static void values_figures(const gallery_row *row, double *figure)
{
    static const double turns[] = {1, 2, 3, -4};
    gallery_draw d;
    int out = 0;
    gallery_draw_bare(&d, row, "", 1);
    for (int i = 0; row->mech->slots[i].name; i++)
        if (d.given[i].dtype || (row->mech->slots[i].kind & ATTN_OUT))
            d.call.at[i] = gallery_new(&d.call, d.call.count[i]);
    values_fill(&d);
    row->oracle->run(&d.call);
    while (!(row->mech->slots[out].kind & ATTN_OUT)) out++;
    memset(figure, 0, 3 * sizeof *figure);
    for (int64_t i = 0; i < d.call.count[out]; i++) {
        const double x = d.call.at[out][i];
        figure[0] += x, figure[1] += x * x, figure[2] += turns[i % 4] * x;
    }
    figure[1] = sqrt(figure[1]);
    gallery_free(&d);
}

static void values_of(const gallery_row *row)
{
    double figure[3];
    values_figures(row, figure);
    if (values_file) {
        fprintf(values_file, "RECORDED(%s, %.9g, %.9g, %.9g)\n", row->name, figure[0],
                figure[1], figure[2]);
        return;
    }
    for (size_t i = 0; i < sizeof values_rows / sizeof values_rows[0]; i++) {
        if (strcmp(values_rows[i].name, row->name) != 0) continue;
        for (int f = 0; f < 3; f++)
            if (!(fabs(values_rows[i].figure[f] - figure[f]) <= 1e-7 * (1 + figure[1])))
                fail_msg("%s: recorded %.9g, the oracle gives %.9g", row->name,
                         values_rows[i].figure[f], figure[f]);
        return;
    }
    fail_msg("%s is not in cli/verify_recorded.def", row->name);
}

static void test_recorded(void **state)
{
    (void)state;
    const char *path = getenv("ATTN_RECORD");
    values_file = path ? fopen(path, "w") : NULL;
    if (values_file)
        fputs("/* SPDX-License-Identifier: MIT\n"
              " * First outputs of the small calls, by the oracles: RECORDED(name, sum, norm, "
              "turn), see\n"
              " * verify_recorded.c. Written by tests/test_gallery_values.c. */\n",
              values_file);
    gallery_each(values_of);
    if (values_file) fclose(values_file);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_recorded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
