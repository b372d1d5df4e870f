/* SPDX-License-Identifier: MIT
 * Files of tensors: npy, npz, safetensors, and the protobuf files of ONNX operator tests.
 * Readers trust nothing: every count is compared with the bytes that are left before it is
 * used, and memory is bounded by the size of the file. Errors name the tensor and the rule. */
#ifndef ATTN_IO_H
#define ATTN_IO_H

#include "attn/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum attn_format {
    ATTN_FORMAT_AUTO, /* by the file's name */
    ATTN_FORMAT_NPY,
    ATTN_FORMAT_NPZ,
    ATTN_FORMAT_SAFETENSORS,
    ATTN_FORMAT_PB /* one ONNX TensorProto */
} attn_format;

/* Named tensors in memory of their own. */
typedef struct attn_archive attn_archive;

ATTN_API attn_status attn_archive_load(attn_archive **archive, attn_ctx *ctx, const char *path,
                                       attn_format format, attn_error *error);
/* The same from bytes, which may go when it returns. AUTO is not accepted here. */
ATTN_API attn_status attn_archive_parse(attn_archive **archive, attn_ctx *ctx,
                                        const void *bytes, size_t n, attn_format format,
                                        attn_error *error);
ATTN_API void attn_archive_destroy(attn_archive *archive); /* NULL is legal */
ATTN_API int64_t attn_archive_count(const attn_archive *archive);
/* Entry i in the order of the file. The view lives as long as the archive. An npy file has one
 * entry named "". */
ATTN_API const char *attn_archive_name(const attn_archive *archive, int64_t i);
ATTN_API attn_tensor attn_archive_tensor(const attn_archive *archive, int64_t i);
ATTN_API int64_t attn_archive_find(const attn_archive *archive, const char *name); /* or -1 */

/* Compresses n bytes to out (capacity bytes) as raw deflate; returns the length, 0 when it does
 * not fit. Handed to the writer of npz by programs that link with a compressor. */
typedef size_t (*attn_deflate_fn)(void *user, const void *bytes, size_t n, void *out,
                                  size_t capacity);

typedef struct attn_save_options {
    size_t size; /* sizeof(attn_save_options) */
    attn_format format;
    attn_deflate_fn deflate; /* npz: NULL stores */
    void *deflate_user;
} attn_save_options;

/* Writes beside path under a temporary name, syncs, renames: a reader sees the old file or the
 * whole new one, and a failure leaves nothing behind. Strided views are written dense. */
ATTN_API attn_status attn_archive_save(attn_ctx *ctx, const char *path, int64_t n,
                                       const char *const *names, const attn_tensor *tensors,
                                       const attn_save_options *options, attn_error *error);

/* ---- the single node of an ONNX operator test ------------------------------------------- */

typedef enum attn_onnx_kind {
    ATTN_ONNX_FLOAT = 1,
    ATTN_ONNX_INT = 2,
    ATTN_ONNX_TEXT = 3
} attn_onnx_kind;

typedef struct attn_onnx_node attn_onnx_node;

ATTN_API attn_status attn_onnx_load(attn_onnx_node **node, attn_ctx *ctx, const char *path,
                                    attn_error *error);
ATTN_API attn_status attn_onnx_parse(attn_onnx_node **node, attn_ctx *ctx, const void *bytes,
                                     size_t n, attn_error *error);
ATTN_API void attn_onnx_destroy(attn_onnx_node *node);
ATTN_API const char *attn_onnx_op(const attn_onnx_node *node); /* "Attention" */
ATTN_API int64_t attn_onnx_opset(const attn_onnx_node *node);  /* of its domain */
/* Names in order; "" for an optional one left out; NULL past the end. */
ATTN_API const char *attn_onnx_input(const attn_onnx_node *node, int i);
ATTN_API const char *attn_onnx_output(const attn_onnx_node *node, int i);
/* An attribute, or the fallback when it is absent or of another kind. */
ATTN_API int64_t attn_onnx_int(const attn_onnx_node *node, const char *name, int64_t fallback);
ATTN_API double attn_onnx_float(const attn_onnx_node *node, const char *name, double fallback);
ATTN_API const char *attn_onnx_text(const attn_onnx_node *node, const char *name,
                                    const char *fallback);
ATTN_API bool attn_onnx_has(const attn_onnx_node *node, const char *name);

#ifdef __cplusplus
}
#endif
#endif
