/* SPDX-License-Identifier: MIT
 * The recurrence of attn/recurrent.h by plain loops over dense doubles. */
#ifndef ATTN_TESTS_ORACLE_SCAN_H
#define ATTN_TESTS_ORACLE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

/* Where a sequence lies. */
typedef struct oracle_scan_span {
    int64_t row, k0, S, q0, T;
} oracle_scan_span;

/* Row-major arrays of the full shapes: q B H T D, k B G S D, v B G S E, states N G D E, sums of
 * keys N G D. decay by its rank: none, G, G D, B G S, B G S D; beta: none, G, (2 is not used) B
 * G S. NULL: absent. Rows outside sequences are left as they are. */
typedef struct oracle_scan_call {
    bool delta, whole, normalise, tiled;
    double scale, eps;
    int64_t N, H, G, T, S, D, E;
    int decay_rank, beta_rank;
    const oracle_scan_span *span; /* [N] */
    const double *q, *k, *v, *decay, *beta, *state, *state_z;
    double *out, *final_state, *final_z;
} oracle_scan_call;

void oracle_scan(const oracle_scan_call *c);

#endif
