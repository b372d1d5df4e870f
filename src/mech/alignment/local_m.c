/* SPDX-License-Identifier: MIT
 * Local attention with a monotonic window: query t looks at the keys around key t.
 *
 *     w = softmax of s over [t - window, t + window],   s = scale q.k + bias
 *
 * Tiles outside the window are never touched, so time grows with T window. A window of S is
 * softmax. q B H T D, k B G S D, v B G S E, mask B S. Luong et al. 2015 (1508.04025); where the
 * window's centre is predicted see local_p. */
#include "mech/alignment/align.h"

enum { WINDOW = ALIGN_PARAMS };
static const attn_param params[] = {
    ALIGN_PARAM_ROWS, [WINDOW] = {"window", 'i', "2", NULL, "keys seen on each side"}, {0}};

static void local_m_build(const attn__build *b)
{
    attn_spec spec = attn__align_spec(b);
    const int64_t window = b->params[WINDOW].i;
    if (!attn__build_need(b, window >= 0, ATTN_E_PARAM, "window", "must not be negative", 0,
                          window))
        return;
    spec.window = (attn_window){.on = true, .left = window, .right = window};
    attn__align_run(b, &spec);
}

const attn_mech attn__mech_local_m = {
    .name = "local_m",
    .family = "alignment",
    .about = "softmax over a window that moves with the query",
    .formula = "w = softmax(s) over [t - window, t + window]",
    .cost = "n k: time T window (D + E), memory of the outputs",
    .source = "1508.04025",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = attn__align_slots,
    .params = params,
    .traits = ATTN_SHIFT_INVARIANT | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = local_m_build,
};
