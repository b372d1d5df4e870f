/* SPDX-License-Identifier: MIT
 * What linear and recurrent mechanisms share: feature maps, and the recurrent engine with its
 * last state in an output slot. */
#include "mech/mech.h"

/* relu(x) + exp(min(x, 0)): elu(x) + 1 without the sum that loses what is small. */
static attn_var feature_elu1(attn_tape *t, attn_var x)
{
    const attn_var low = attn_tape_minimum(t, x, attn_tape_scalar(t, 0));
    return attn_tape_add(t, attn_tape_relu(t, x), attn_tape_exp(t, low));
}

static attn_var feature_square(attn_tape *t, attn_var x)
{
    return attn_tape_mul(t, x, x);
}

static attn_var feature_identity(attn_tape *t, attn_var x)
{
    (void)t;
    return x;
}

attn_var attn__feature(const attn__build *b, attn_var x, int64_t kind)
{
    /* in the order of ATTN__FEATURES */
    static attn_var (*const features[])(attn_tape *, attn_var) = {
        feature_elu1, attn_tape_relu, attn_tape_exp, feature_square, feature_identity};
    const int64_t n = sizeof features / sizeof features[0];
    if (!attn__build_need(b, kind >= 0 && kind < n, ATTN_E_ENUM, "feature",
                          "not a place in the list of features", n, kind))
        return (attn_var){0};
    return features[kind](b->t, x);
}

attn_var attn__decay(const attn__build *b, attn_var decay)
{
    const attn_dims whole = ATTN_DIMS(attn__build_size(b, 'B'), attn__build_size(b, 'H'),
                                      attn__build_size(b, 'T'), attn__build_size(b, 'D'));
    return attn_tape_expand(b->t, decay, whole);
}

attn_var attn__remember(const attn__build *b, const attn_scan_spec *spec,
                        const attn_scan_vars *vars, int final_state)
{
    const bool wanted = final_state >= 0 && b->wanted[final_state];
    return attn_tape_scan(b->t, spec, vars, NULL, wanted ? &b->out[final_state] : NULL, NULL);
}
