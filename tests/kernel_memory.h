/* SPDX-License-Identifier: MIT
 * Memory between pages that may not be touched, for loops over plain arrays: an array lies
 * flush against the page behind it, or against the page before it, so that one byte too many is
 * a fault, which cmocka reports as a failure. */
#ifndef KERNEL_MEMORY_H
#define KERNEL_MEMORY_H

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY_SLOTS = 13, MEMORY_BYTES = 1 << 20 };

typedef enum memory_side { MEMORY_RIGHT, MEMORY_LEFT, MEMORY_N_SIDES } memory_side;

static char *memory_slot[MEMORY_SLOTS]; /* the first usable byte of each */

static inline int memory_begin(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < MEMORY_SLOTS; i++) {
        char *p =
            mmap(NULL, MEMORY_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return -1;
        memory_slot[i] = p + page;
        if (mprotect(p + page, MEMORY_BYTES, PROT_READ | PROT_WRITE) != 0) return -1;
    }
    return 0;
}

static inline int memory_end(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < MEMORY_SLOTS; i++)
        munmap(memory_slot[i] - page, MEMORY_BYTES + 2 * page);
    return 0;
}

/* n bytes at one side of a slot, all 0xFF: floats are NaN. */
static inline void *memory_place(int slot, memory_side side, size_t n)
{
    assert_true(slot < MEMORY_SLOTS && n <= MEMORY_BYTES);
    char *at = memory_slot[slot] + (side == MEMORY_LEFT ? 0 : MEMORY_BYTES - n);
    return memset(at, 0xFF, n);
}

#endif
