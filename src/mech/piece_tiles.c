/* SPDX-License-Identifier: MIT
 * Results that come tile after tile, put behind each other in place of one whole that would not
 * fit: 32 at a time, so that a list of any length needs no memory of its own. */
#include "mech/mech.h"

static void tiles_fold(attn_tape *t, attn__tiles *tiles)
{
    if (tiles->n < 2) return;
    const attn_var whole = attn_tape_concat(t, tiles->n, tiles->part, tiles->dim);
    for (int i = 0; i < tiles->n; i++) attn_tape_drop(t, tiles->part[i]);
    tiles->part[0] = whole, tiles->n = 1;
}

void attn__tiles_push(attn_tape *t, attn__tiles *tiles, attn_var part)
{
    if (tiles->n == (int)(sizeof tiles->part / sizeof tiles->part[0])) tiles_fold(t, tiles);
    tiles->part[tiles->n++] = part;
}

attn_var attn__tiles_close(attn_tape *t, attn__tiles *tiles)
{
    tiles_fold(t, tiles);
    return tiles->n ? tiles->part[0] : (attn_var){0};
}
