/* SPDX-License-Identifier: MIT
 * Linear maps along an axis as lists of taps (picture.h), and their transposes. */
#include <string.h>

#include "tape/picture.h"

bool attn__taps_make(attn__call *c, attn__taps *taps, int64_t n_out, int64_t n_in, int64_t most)
{
    *taps = (attn__taps){.n_out = n_out,
                         .n_in = n_in,
                         .begin = attn__call_temp(c, n_out + 1, sizeof *taps->begin),
                         .index = attn__call_temp(c, most, sizeof *taps->index),
                         .weight = attn__call_temp(c, most, sizeof *taps->weight)};
    if (taps->begin) taps->begin[0] = 0;
    return taps->begin && taps->index && taps->weight;
}

bool attn__taps_one(attn__call *c, attn__taps *taps)
{
    if (!attn__taps_make(c, taps, 1, 1, 1)) return false;
    taps->begin[1] = 1;
    taps->index[0] = 0;
    taps->weight[0] = 1;
    return true;
}

/* Counted, summed up, then dealt out: begin[i + 1] walks from the start of input i to its end.
 */
void attn__taps_turn(const attn__taps *taps, attn__taps *turned)
{
    const int64_t n = taps->n_in;
    int64_t *next = turned->begin + 1;
    memset(turned->begin, 0, (size_t)(n + 1) * sizeof *turned->begin);
    for (int64_t t = 0; t < taps->begin[taps->n_out]; t++)
        if (taps->index[t] + 1 < n) next[taps->index[t] + 1]++;
    for (int64_t i = 1; i < n; i++) next[i] += next[i - 1];
    for (int64_t o = 0; o < taps->n_out; o++)
        for (int64_t t = taps->begin[o]; t < taps->begin[o + 1]; t++) {
            const int64_t at = next[taps->index[t]]++;
            turned->index[at] = o;
            turned->weight[at] = taps->weight[t];
        }
}

bool attn__taps_turned(attn__call *c, const attn__taps *taps, attn__taps *turned)
{
    if (!attn__taps_make(c, turned, taps->n_in, taps->n_out, taps->begin[taps->n_out]))
        return false;
    attn__taps_turn(taps, turned);
    return true;
}
