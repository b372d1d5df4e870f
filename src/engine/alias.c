/* SPDX-License-Identifier: MIT
 * Outputs may overlap nothing, the memory of a cache included. Views that interleave inside one array without touching (q, k, v
 * and out as slices of it) are told apart by attn__tensor_overlap. */
#include "engine/args.h"

attn_status attn__alias_check(const attn__problem *p, attn_error *error)
{
    for (int i = 0; i < ATTN__N_ARGS; i++) {
        const attn_tensor *out = attn__arg_in(&p->at, &attn__arg_list[i]);
        if (!attn__arg_output(&attn__arg_list[i], p->call) || !out->data) continue;
        if (p->source == ATTN__SOURCE_CACHE && attn__cache_overlaps(p->at.cache, out))
            return attn__fail_name(error, ATTN_E_ALIAS, attn__arg_list[i].name,
                                   "an output overlaps another tensor", "cache");
        for (int j = 0; j < ATTN__N_ARGS; j++) {
            const attn_tensor *other = attn__arg_in(&p->at, &attn__arg_list[j]);
            if (i != j && other->data && attn__tensor_overlap(out, other))
                return attn__fail_name(error, ATTN_E_ALIAS, attn__arg_list[i].name,
                                       "an output overlaps another tensor",
                                       attn__arg_list[j].name);
        }
    }
    return ATTN_OK;
}
