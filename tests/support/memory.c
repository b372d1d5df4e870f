/* SPDX-License-Identifier: MIT
 * The memory of one case: a list of blocks, freed together. A test without memory cannot say
 * anything, so it ends there. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

struct test_block {
    struct test_block *next;
};

enum { MEMORY_ALIGN = 64 };

void *test_alloc(test_arena *arena, size_t bytes)
{
    size_t whole = (bytes + 2 * MEMORY_ALIGN - 1) / MEMORY_ALIGN * MEMORY_ALIGN;
    struct test_block *block = aligned_alloc(MEMORY_ALIGN, whole);
    if (!block) {
        fprintf(stderr, "out of memory for %zu bytes\n", bytes);
        exit(1);
    }
    memset(block, 0, whole);
    block->next = arena->blocks;
    arena->blocks = block;
    return (char *)block + MEMORY_ALIGN;
}

void test_arena_reset(test_arena *arena)
{
    while (arena->blocks) {
        struct test_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}
