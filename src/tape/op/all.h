/* SPDX-License-Identifier: MIT
 * The bodies of all operations in one arithmetic, and the one table that a stub exports. A stub
 * defines REAL_BITS first. */
#include "tape/op/real.h"

/* One line a family, in alphabetical order. */
#include "tape/op/additive.h"
#include "tape/op/attention.h"
#include "tape/op/binary.h"
#include "tape/op/chance.h"
#include "tape/op/compare.h"
#include "tape/op/conv.h"
#include "tape/op/core.h"
#include "tape/op/ctc.h"
#include "tape/op/entropy.h"
#include "tape/op/index.h"
#include "tape/op/index_lines.h"
#include "tape/op/linear.h"
#include "tape/op/loss.h"
#include "tape/op/monotonic.h"
#include "tape/op/move.h"
#include "tape/op/norm.h"
#include "tape/op/order.h"
#include "tape/op/piece.h"
#include "tape/op/pool.h"
#include "tape/op/power.h"
#include "tape/op/recurrence.h"
#include "tape/op/recurrent.h"
#include "tape/op/reduce.h"
#include "tape/op/resize.h"
#include "tape/op/scan.h"
#include "tape/op/unary.h"

const attn__op_body K(attn__ops)[ATTN__N_OPS + 1] = {
#define OP(name, flags) {K(name##_forward), K(name##_backward)},
#define OP_0(name)      {K(name##_forward), NULL},
#define OP_VIEW(name)   {NULL, NULL},
#include "tape/ops.def"
#undef OP
#undef OP_0
#undef OP_VIEW
    {NULL, NULL}};
