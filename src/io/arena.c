/* SPDX-License-Identifier: MIT
 * An arena: many small pieces of memory that are freed together. Names, tables and copied
 * tensors of one archive live here, so that destroying it is one walk and a failed load cannot
 * forget a piece. Small pieces share a chunk; a large one gets a chunk of its own. */
#include "io/io.h"

#include <string.h>

enum { CHUNK_HEAD = 64, CHUNK_SMALL = 4096 };

struct attn__chunk {
    struct attn__chunk *next;
    size_t size, used; /* both with the head */
};

_Static_assert(sizeof(struct attn__chunk) <= CHUNK_HEAD, "the head keeps pieces aligned");

static struct attn__chunk *arena_grow(attn__arena *arena, size_t size)
{
    size_t whole = size < CHUNK_SMALL - CHUNK_HEAD ? CHUNK_SMALL : size + CHUNK_HEAD;
    struct attn__chunk *chunk = attn__new(arena->ctx, whole);
    if (!chunk) return NULL;
    *chunk = (struct attn__chunk){.next = arena->chunks, .size = whole, .used = CHUNK_HEAD};
    arena->chunks = chunk;
    return chunk;
}

void *attn__arena_new(attn__arena *arena, size_t size)
{
    if (size > SIZE_MAX - 2 * CHUNK_HEAD) return NULL;
    size = (size + 63) & ~(size_t)63;
    struct attn__chunk *chunk = arena->chunks;
    if (!chunk || chunk->size - chunk->used < size) chunk = arena_grow(arena, size);
    if (!chunk) return NULL;
    uint8_t *piece = (uint8_t *)chunk + chunk->used;
    chunk->used += size;
    return piece;
}

char *attn__arena_text(attn__arena *arena, const void *bytes, size_t n)
{
    char *text = attn__arena_new(arena, n + 1);
    if (!text) return NULL;
    if (n) memcpy(text, bytes, n);
    text[n] = 0;
    return text;
}

void attn__arena_free(attn__arena *arena)
{
    while (arena->chunks) {
        struct attn__chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        attn__delete(arena->ctx, chunk, chunk->size);
    }
}
