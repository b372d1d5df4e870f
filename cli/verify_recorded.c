/* SPDX-License-Identifier: MIT
 * Recorded values of every mechanism: its small call (the sizes of its table, required inputs
 * only) on numbers that are the same everywhere, and three figures of its first output as the
 * oracle of the tests found them in double precision. test_gallery_values keeps
 * verify_recorded.def true. */
#include "verify.h"

#include <math.h>
#include <string.h>

typedef struct recorded_row {
    const char *name;
    double sum, norm, turn;
} recorded_row;

static const recorded_row recorded_rows[] = {
#define RECORDED(name, sum, norm, turn) {#name, sum, norm, turn},
#include "verify_recorded.def"
#undef RECORDED
};

/* Reals in -1 .. 1 on a grid that floats hold, ids and flags from the same numbers. */
static void recorded_fill(const attn_slot *slot, const cli_sizes *sizes, int i, attn_tensor *t)
{
    int64_t below = 4;
    if (slot->below) cli_sizes_shape(sizes, slot->below, &below);
    for (int64_t x = 0; x < attn_tensor_count(*t); x++) {
        const double u = floor(cli_uniform((uint64_t)i, (uint64_t)x) * 0x1p20) * 0x1p-20;
        if (t->dtype == ATTN_DTYPE_F32)
            ((float *)t->data)[x] = (float)(2 * u - 1);
        else if (t->dtype == ATTN_DTYPE_I64)
            ((int64_t *)t->data)[x] = (int64_t)(u * (double)below);
        else
            ((uint8_t *)t->data)[x] = u < 0.75;
    }
}

/* The sum, the root of the sum of squares, and the sum with weights 1, 2, 3, -4 in turn. */
static double recorded_error(const recorded_row *row, const attn_tensor *out)
{
    static const double turns[] = {1, 2, 3, -4};
    double sum = 0, norm = 0, turn = 0;
    const int64_t n = attn_tensor_count(*out);
    for (int64_t i = 0; i < n; i++) {
        const double x = cli_array_get(*out, i);
        sum += x, norm += x * x, turn += turns[i % 4] * x;
    }
    const double scale = fmax(row->norm, 1e-3) * sqrt((double)n);
    const double error =
        fabs(sum - row->sum) + fabs(sqrt(norm) - row->norm) + fabs(turn - row->turn) / 4;
    return isnan(error) ? HUGE_VAL : error / scale;
}

static double recorded_run(const recorded_row *row, const attn_mech *mech, attn_ctx *ctx)
{
    verify_problem p = {.mech = mech};
    cli_sizes sizes;
    attn_mech_defaults(mech, p.params);
    cli_sizes_init(&sizes, mech);
    bool ok = cli_slots_fill(mech, &sizes, 0, p.slots);
    for (int i = 0; ok && mech->slots[i].name; i++)
        if (p.slots[i].data) recorded_fill(&mech->slots[i], &sizes, i, &p.slots[i]);
    attn_tensor out = ok ? verify_new_output(&p) : (attn_tensor){0};
    const double error =
        out.data && verify_run(&p, ctx, out) ? recorded_error(row, &out) : HUGE_VAL;
    cli_array_free(&out);
    verify_destroy(&p);
    return error;
}

bool verify_recorded(const attn_mech *mech, attn_ctx *ctx, verify_finding *finding)
{
    for (size_t i = 0; i < sizeof recorded_rows / sizeof recorded_rows[0]; i++) {
        if (strcmp(recorded_rows[i].name, mech->name) != 0) continue;
        *finding = (verify_finding){.applies = true, .allowed = 1e-5};
        finding->error = recorded_run(&recorded_rows[i], mech, ctx);
        return true;
    }
    return false;
}
