/* SPDX-License-Identifier: MIT
 * All bodies, and the one table that a stub exports. */
#include "body/real.h"

#include "body/exp2.h"

#include "body/gemm.h"
#include "body/map.h"
#include "body/matmul.h"
#include "body/probe.h"
#include "body/scan.h"
#include "body/softmax.h"
#include "body/state.h"

#include "body/backward.h"
#include "body/code.h"
#include "body/few.h"
#include "body/norm.h"
#include "body/rows.h"
#include "body/score.h"
#include "body/turn.h"

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
    .widen_rows =
        {
#define ROW(NAME, name, bits, coded) K(widen_rows_##name),
#include "kernel/rows.def"
#undef ROW
        },
    .sincos = K(sincos),
    .turn = K(turn),
    .extent = K_CODE(extent),
    .code = K_CODE(code),
    .pack = K(pack),
    .scores = K(scores),
    .scores_max = K(scores_max),
    .scale = K(scale),
    .add = K(add),
    .cap = K(cap),
    .row_max = K(row_max),
    .exp_sum = K(exp_sum),
    .drop = K(drop),
    .weigh = K(weigh),
    .weigh_steps = K(weigh_steps),
    .few_scores = K_FEW(few_scores),
    .few_weigh = K_FEW(few_weigh),
    .fold = K(fold),
    .finish = K(finish),
    .finish_chunk = K(finish_chunk),
    .probe = K(probe),
    .probe_read = K(probe_read),
    .grade = K(grade),
    .lay = K(lay),
    .spread = K(spread),
    .bend = K(bend),
    .times = K(times),
    .tilt = K(tilt),
    .dot = K(dot),
    .gather = K(gather),
    .settle = K(settle),
    .finite = K(finite),
    .tidy = K(tidy),
    .l2_scores = K(l2_scores),
    .l2_tangents = K(l2_tangents),
    .l2_weigh = K(l2_weigh),
    .l2_spread = K(l2_spread),
    .tanh_scores = K(tanh_scores),
    .tanh_tangents = K(tanh_tangents),
    .tanh_grad = K(tanh_grad),
    .forbid = K(forbid),
    .count_above = K(count_above),
    .entmax_total = K(entmax_total),
    .entmax_sums = K(entmax_sums),
    .norm =
        {
#define NORM(name) K(norm_##name),
#include "kernel/norm.def"
#undef NORM
        },
    .norm_grade =
        {
#define NORM(name) K(grade_##name),
#include "kernel/norm.def"
#undef NORM
        },
    .gemm_rows = V_TILE_R,
    .gemm_cols = V_TILE_V * V_LANES,
    .gemm = K(gemm),
    .scan = K(scan),
    .map =
        {
#define MAP(name) K(map_##name),
#include "kernel/map.def"
#undef MAP
        },
};
