/* SPDX-License-Identifier: MIT
 * All bodies, and the one table that a stub exports. */
#include "body/real.h"

#include "body/exp2.h"

#include "body/matmul.h"
#include "body/softmax.h"
#include "body/state.h"

#define STRING2(x)  #x
#define STRING(x)   STRING2(x)
#define ISA_BIT2(x) ATTN_ISA_##x
#define ISA_BIT(x)  ISA_BIT2(x)

const attn__kernels GLUE(attn__kernels, REAL_NAME, VEC_NAME) = {
    .name = STRING(VEC_NAME),
    .isa = ISA_BIT(VEC_NAME),
    .dtype = REAL_DTYPE,
    .step = V_LANES,
    .widen = K_WIDEN,
    .narrow = K_NARROW,
    .pack = K(pack),
    .scores = K(scores),
    .scale = K(scale),
    .add = K(add),
    .cap = K(cap),
    .row_max = K(row_max),
    .exp_sum = K(exp_sum),
    .drop = K(drop),
    .weigh = K(weigh),
    .fold = K(fold),
    .finish = K(finish),
    .probe = K(probe),
};
