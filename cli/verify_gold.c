/* SPDX-License-Identifier: MIT
 * Values computed once in double precision and written down with six digits: attention small
 * enough to follow by hand. The score functions that are a dot product with a changed query are
 * recorded with that query. */
#include "verify.h"

#include <math.h>
#include <string.h>

/* Four keys and values, one query; or three of each, where all value rows sum to 1. */
typedef struct verify_data {
    int n_keys;
    float k[4][2], v[4][2];
} verify_data;

static const verify_data gold_four = {
    4, {{1, 0}, {0, 1}, {1, 1}, {-1, .5F}}, {{1, 0}, {0, 1}, {2, 2}, {-1, 1}}};
static const verify_data gold_three = {3, {{1, 0}, {0, 1}, {1, 1}}, {{1, 0}, {0, 1}, {2, -1}}};

static const struct verify_gold_row {
    const char *name, *params;
    const verify_data *data;
    int n_queries;
    float q[3][2];
    double out[3][2];
} gold_rows[] = {
    {"gold: dot", "scale=1", &gold_four, 1, {{1, .5F}}, {{1.202577, 1.189185}}},
    {"gold: scaled dot", "scale=0", &gold_four, 1, {{1, .5F}}, {{1.041469, 1.124141}}},
    {"gold: general", "scale=1", &gold_four, 1, {{1, 1.5F}}, {{1.304703, 1.469425}}},
    {"gold: biased", "scale=1", &gold_four, 1, {{2.1F, -.7F}}, {{1.264446, .678937}}},
    {"gold: softmax1", "softmax1=true", &gold_four, 1, {{1, .5F}}, {{.910119, .982364}}},
    {"gold: self, full",
     "scale=0",
     &gold_three,
     3,
     {{1, .5F}, {0, 1}, {-1, .5F}},
     {{1.230921, -.230921}, {1, 0}, {.724388, .275612}}},
    {"gold: self, causal",
     "causal=true",
     &gold_three,
     3,
     {{1, .5F}, {0, 1}, {-1, .5F}},
     {{1, 0}, {.330238, .669762}, {.724388, .275612}}},
};

enum { GOLD_ROWS = (int)(sizeof gold_rows / sizeof gold_rows[0]) };

static attn_tensor gold_tensor(const float (*x)[2], int n)
{
    const int64_t shape[] = {n, 2};
    return attn_tensor_make((void *)(uintptr_t)x, ATTN_DTYPE_F32, 2, shape);
}

static double gold_error(const struct verify_gold_row *row, attn_ctx *ctx)
{
    verify_problem p = {.mech = attn_mech_find("softmax")};
    attn_mech_defaults(p.mech, p.params);
    p.slots[attn_mech_slot(p.mech, "q")] = gold_tensor(row->q, row->n_queries);
    p.slots[attn_mech_slot(p.mech, "k")] = gold_tensor(row->data->k, row->data->n_keys);
    p.slots[attn_mech_slot(p.mech, "v")] = gold_tensor(row->data->v, row->data->n_keys);
    float got[3][2];
    double worst = 0;
    attn_tensor out = gold_tensor((const float(*)[2])got, row->n_queries);
    if (!verify_set(&p, row->params) || !verify_run(&p, ctx, out)) return HUGE_VAL;
    for (int i = 0; i < row->n_queries * 2; i++) {
        double error = fabs((double)got[i / 2][i % 2] - row->out[i / 2][i % 2]);
        if (!(error <= worst)) worst = error;
    }
    return isnan(worst) ? HUGE_VAL : worst;
}

bool verify_gold(int i, const attn_mech *mech, attn_ctx *ctx, const char **name,
                 verify_finding *finding)
{
    if (i >= GOLD_ROWS) return false;
    *name = gold_rows[i].name;
    *finding =
        (verify_finding){.applies = strcmp(mech->name, "softmax") == 0, .allowed = 1.5e-6};
    if (finding->applies) finding->error = gold_error(&gold_rows[i], ctx);
    return true;
}
