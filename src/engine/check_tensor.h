/* SPDX-License-Identifier: MIT
 * check_tensor.c: one tensor of a call that has no table of operands, for the files of such
 * calls: rope.c, merge.c, cache_rows.c, cache_read.c. */
#ifndef ATTN__ENGINE_CHECK_TENSOR_H
#define ATTN__ENGINE_CHECK_TENSOR_H

#include "engine/engine.h"

attn_status attn__check_floats(const attn_tensor *t, const char *where, attn_error *error);
attn_status attn__check_ints(const attn_tensor *t, const char *where, attn_error *error);
attn_status attn__check_data(const attn_tensor *t, const char *where, attn_error *error);
/* Floats as B H T D: a tensor of rank 3 is B T D, one of rank 2 T D. */
attn_status attn__check_lift(attn_tensor *t, const char *where, attn_error *error);
/* A rotation of heads of width D; fills in its defaults. */
attn_status attn__check_rope(attn_rope_spec *rope, int64_t D, attn_error *error);

#endif
