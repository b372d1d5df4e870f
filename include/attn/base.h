/* SPDX-License-Identifier: MIT
 * What every other header stands on: status and error, element types, tensor views.
 *
 * A tensor here is a view. The caller owns the memory; nothing in this library frees it. */
#ifndef ATTN_BASE_H
#define ATTN_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(ATTN_BUILDING) && defined(__GNUC__)
#    define ATTN_API __attribute__((visibility("default")))
#else
#    define ATTN_API
#endif

#define ATTN_VERSION_MAJOR 0
#define ATTN_VERSION_MINOR 1
#define ATTN_VERSION_PATCH 0
#define ATTN_VERSION       "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that is running, "0.1.0". */
ATTN_API const char *attn_version(void);

/* ---- status and error ------------------------------------------------------------------ */

typedef enum attn_status {
#define STATUS(name, number, text) ATTN_##name = number,
#include "attn/status.def"
#undef STATUS
} attn_status;

/* "E_SHAPE", and "two tensors disagree about a size". Never NULL, also for unknown numbers. */
ATTN_API const char *attn_status_name(attn_status status);
ATTN_API const char *attn_status_text(attn_status status);

/* What went wrong, where, what was expected and what came. Every call that can say no takes a
 * pointer to one, or NULL. It is written only on failure. */
typedef struct attn_error {
    attn_status status;
    const char *what;  /* static: the rule that was broken, "head width must equal that of q" */
    const char *where; /* static: the field or slot it is about, "k"; "" when there is none */
    char name[64];     /* a name from outside (a tensor in a file, a parameter); "" when none */
    bool counted;      /* want and got mean something */
    int64_t want, got;
} attn_error;

/* Writes one sentence, "k: head width must equal that of q (expected 64, got 32)", at most n
 * bytes with the final 0. Returns the length it would have had, as snprintf does. */
ATTN_API size_t attn_error_text(const attn_error *error, char *text, size_t n);

/* ---- element types --------------------------------------------------------------------- */

typedef enum attn_dtype {
#define DTYPE(NAME, name, number, bytes, kind) ATTN_DTYPE_##NAME = number,
#include "attn/dtype.def"
#undef DTYPE
} attn_dtype;

ATTN_API const char *attn_dtype_name(attn_dtype dtype); /* "bf16"; "?" for an unknown number */
ATTN_API size_t attn_dtype_size(attn_dtype dtype);      /* bytes; 0 for an unknown number */
ATTN_API attn_dtype attn_dtype_find(const char *name);  /* ATTN_DTYPE_NONE when unknown */

/* ---- tensor views ---------------------------------------------------------------------- */

enum { ATTN_MAX_RANK = 8 };

typedef struct attn_tensor {
    void *data;
    attn_dtype dtype; /* ATTN_DTYPE_NONE: the tensor is absent */
    int32_t rank;
    int64_t shape[ATTN_MAX_RANK];
    int64_t stride[ATTN_MAX_RANK]; /* in elements; 0 repeats one element, negative walks back */
} attn_tensor;

/* A row-major view of data with the given shape; strides are filled in. A rank outside
 * 0..ATTN_MAX_RANK gives an absent tensor. */
ATTN_API attn_tensor attn_tensor_make(void *data, attn_dtype dtype, int rank,
                                      const int64_t *shape);
/* The same memory with dimensions reordered: result dim i is dim order[i] of t. */
ATTN_API attn_tensor attn_tensor_permute(attn_tensor t, const int *order);
/* The part begin <= index < end of one dimension. */
ATTN_API attn_tensor attn_tensor_slice(attn_tensor t, int dim, int64_t begin, int64_t end);
/* Product of the shape; 1 for rank 0; -1 when it does not fit. */
ATTN_API int64_t attn_tensor_count(attn_tensor t);
/* Copies every element of src to dst (same shape, any strides, any two dtypes), rounding once,
 * to nearest even. */
ATTN_API attn_status attn_tensor_copy(attn_tensor dst, attn_tensor src, attn_error *error);

#ifndef __cplusplus
/* attn_tensor q = ATTN_TENSOR(ptr, F32, B, H, T, D); */
#    define ATTN_TENSOR(ptr, TYPE, ...)                                                        \
        attn_tensor_make((ptr), ATTN_DTYPE_##TYPE,                                             \
                         (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),            \
                         (const int64_t[]){__VA_ARGS__})
#endif

#ifdef __cplusplus
}
#endif
#endif
