/* SPDX-License-Identifier: MIT
 * Compression for npz files: raw deflate by zlib, when this build has it. The library itself
 * does not know zlib; it is handed this function. */
#include "compute.h"

#ifdef HAVE_ZLIB

#    include <limits.h>
#    include <string.h>
#    include <zlib.h>

/* zlib counts in unsigned int; whatever is longer goes in several pieces. */
static uInt deflate_piece(size_t left)
{
    return left < UINT_MAX / 2 ? (uInt)left : UINT_MAX / 2;
}

static size_t deflate_all(void *user, const void *bytes, size_t n, void *out, size_t capacity)
{
    (void)user;
    z_stream z;
    memset(&z, 0, sizeof z);
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.next_out = out;
    int state = Z_OK;
    while (state == Z_OK) {
        size_t taken = (size_t)(z.next_in - (const Bytef *)bytes);
        size_t given = (size_t)(z.next_out - (Bytef *)out);
        if (given == capacity) break;
        z.avail_in = deflate_piece(n - taken);
        z.avail_out = deflate_piece(capacity - given);
        state = deflate(&z, taken + z.avail_in == n ? Z_FINISH : Z_NO_FLUSH);
    }
    deflateEnd(&z);
    return state == Z_STREAM_END ? (size_t)(z.next_out - (Bytef *)out) : 0;
}

attn_deflate_fn compute_deflate(void)
{
    return deflate_all;
}

#else

attn_deflate_fn compute_deflate(void)
{
    return NULL;
}

#endif
