/* SPDX-License-Identifier: MIT
 * The memory of a tape: everything comes from the context's allocator and is counted, so that
 * attn_tape_memory can tell. A block carries its size and its holders in front of the data. */
#include "tape/graph.h"

#include <string.h>

enum { MEMORY_HEAD = 64 }; /* keeps the data aligned */

_Static_assert(sizeof(attn__block) <= MEMORY_HEAD, "a block's head must fit before its data");

void *attn__tape_new(attn_tape *t, size_t size)
{
    void *ptr = attn__new(t->ctx, size);
    if (ptr) t->memory += size;
    return ptr;
}

void attn__tape_delete(attn_tape *t, void *ptr, size_t size)
{
    if (ptr) t->memory -= size;
    attn__delete(t->ctx, ptr, size);
}

attn__block *attn__block_new(attn_tape *t, size_t size)
{
    size_t whole;
    if (!attn__add_size(size, MEMORY_HEAD, &whole)) return NULL;
    attn__block *block = attn__tape_new(t, whole);
    if (block) *block = (attn__block){.size = size, .holders = 1};
    return block;
}

void *attn__block_data(attn__block *block)
{
    return (char *)block + MEMORY_HEAD;
}

attn__block *attn__block_of(void *data)
{
    return data ? (attn__block *)(void *)((char *)data - MEMORY_HEAD) : NULL;
}

attn__block *attn__block_hold(attn__block *block)
{
    if (block) block->holders++;
    return block;
}

void attn__block_release(attn_tape *t, attn__block **block)
{
    attn__block *b = *block;
    *block = NULL;
    if (b && --b->holders == 0) attn__tape_delete(t, b, b->size + MEMORY_HEAD);
}

attn_status attn__tape_grow(attn_tape *t, void **array, int64_t *room, int64_t n, size_t size)
{
    if (n <= *room) return ATTN_OK;
    int64_t more = attn__max(n, *room < INT32_MAX / 2 ? 2 * *room : n);
    size_t bytes;
    if (!attn__mul_size((size_t)more, size, &bytes)) return ATTN_E_OVERFLOW;
    void *moved = attn__tape_new(t, bytes);
    if (!moved) return ATTN_E_MEMORY;
    if (*room > 0) memcpy(moved, *array, (size_t)*room * size);
    attn__tape_delete(t, *array, (size_t)*room * size);
    *array = moved;
    *room = more;
    return ATTN_OK;
}
