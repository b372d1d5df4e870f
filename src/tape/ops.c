/* SPDX-License-Identifier: MIT
 * The list of operations as a table: names, what their backward reads, shape rules. */
#include "tape/tape.h"

enum { IN = ATTN__OP_NEEDS_IN, OUT = ATTN__OP_NEEDS_OUT };

const attn__op attn__ops[ATTN__N_OPS] = {
#define OP(name, flags) {#name, (flags), attn__shape_##name},
#define OP_0(name)      {#name, ATTN__OP_NO_GRAD, attn__shape_##name},
#define OP_VIEW(name)   {#name, ATTN__OP_VIEW, attn__shape_##name},
#include "tape/ops.def"
#undef OP
#undef OP_0
#undef OP_VIEW
};
