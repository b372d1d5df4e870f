/* SPDX-License-Identifier: MIT
 * The parts of `attn conformance`: one ONNX operator test directory in memory, and the
 * operators that can be run. */
#ifndef ATTN_CLI_CONFORMANCE_H
#define ATTN_CLI_CONFORMANCE_H

#include "cli.h"

enum { ONNX_INPUTS = 8, ONNX_OUTPUTS = 4, ONNX_ARRAYS = 16 };

/* One test_data_set: tensors by their place in the operator's list, absent ones zero. */
typedef struct onnx_case {
    attn_ctx *ctx;
    const attn_onnx_node *node;
    attn_tensor in[ONNX_INPUTS];
    attn_tensor want[ONNX_OUTPUTS]; /* from the files; got is asked for where want is present */
    attn_tensor got[ONNX_OUTPUTS];
    attn_archive *archives[ONNX_INPUTS + ONNX_OUTPUTS];
    int n_archives;
    attn_tensor arrays[ONNX_ARRAYS]; /* made on the way, freed with the case */
    int n_arrays;
    attn_error error;
} onnx_case;

/* ---- onnx_case.c --------------------------------------------------------------------- */

attn_status onnx_case_load(onnx_case *c, const char *directory); /* of the .pb files */
void onnx_case_destroy(onnx_case *c);
static inline bool onnx_present(attn_tensor t)
{
    return t.dtype != ATTN_DTYPE_NONE;
}
attn_status onnx_fail(onnx_case *c, attn_status status, const char *where, const char *what);
/* A new array of the case in *t. */
attn_status onnx_new(onnx_case *c, attn_dtype dtype, int rank, const int64_t *shape,
                     attn_tensor *t);
/* B L (heads width) as the view B heads L width; rank 4 passes. */
attn_status onnx_heads(onnx_case *c, const char *where, attn_tensor t, int64_t heads,
                       attn_tensor *view);

typedef struct onnx_worst {
    bool pass;
    double error;     /* largest |got - want| / (atol + rtol |want|), inf for another shape */
    double absolute;  /* largest |got - want| */
    const char *name; /* of the output */
} onnx_worst;
void onnx_compare(const onnx_case *c, double rtol, double atol, onnx_worst *worst);

/* ---- the operators ------------------------------------------------------------------- */

attn_status onnx_attention(onnx_case *c);
attn_status onnx_rotary(onnx_case *c);
attn_status onnx_scan(onnx_case *c);

#endif
