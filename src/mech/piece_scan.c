/* SPDX-License-Identifier: MIT
 * What recurrent mechanisms share: decays as the engine wants them, and the engine itself with
 * its last state in an output slot. */
#include "mech/mech.h"

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
