/* SPDX-License-Identifier: MIT
 * The ONNX operator RotaryEmbedding as one call of attn_rope: inputs X, cos_cache, sin_cache
 * and position_ids?; rank 3 is B L (heads width). Without position_ids the caches are B L R/2.
 */
#include "conformance.h"

enum { X, COS, SIN, POSITIONS };

attn_status onnx_rotary(onnx_case *c)
{
    attn_tensor x = c->in[X], from, to;
    if (!onnx_present(c->in[COS]) || !onnx_present(c->in[SIN]))
        return onnx_fail(c, ATTN_E_NULL, "cos_cache", "both caches are required");
    int64_t heads = attn_onnx_int(c->node, "num_heads", 0);
    attn_status status = onnx_heads(c, "X", x, heads, &from);
    if (status == ATTN_OK) status = onnx_new(c, x.dtype, x.rank, x.shape, &c->got[0]);
    if (status == ATTN_OK) status = onnx_heads(c, "Y", c->got[0], heads, &to);
    if (status != ATTN_OK) return status;
    bool pairs = attn_onnx_int(c->node, "interleaved", 0) != 0;
    attn_rope_spec spec = {.kind = pairs ? ATTN_ROPE_INTERLEAVED : ATTN_ROPE_HALF,
                           .dims = attn_onnx_int(c->node, "rotary_embedding_dim", 0)};
    const attn_tensor *positions = onnx_present(c->in[POSITIONS]) ? &c->in[POSITIONS] : NULL;
    return attn_rope(&spec, &from, positions, &c->in[COS], &c->in[SIN], &to, &c->error);
}
