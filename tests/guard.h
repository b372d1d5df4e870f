/* SPDX-License-Identifier: MIT
 * Tensors between pages that may not be touched. Each operand has a slot of memory with a
 * PROT_NONE page before and behind it; a tensor lies flush against the end of its slot, then
 * against the start, so that one byte too many on either side is a fault. Bytes of the slot
 * that belong to no element hold a pattern, checked after the run.
 *
 * guard_run tells the case in the message when a fault or a changed byte shows. */
#ifndef ATTN_TESTS_GUARD_H
#define ATTN_TESTS_GUARD_H

#include "safety.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_SLOTS = 40, GUARD_SLOT_BYTES = 48 << 20, GUARD_PATTERN = 64, GUARD_MARGIN = 192 };

typedef enum guard_side { GUARD_RIGHT, GUARD_LEFT } guard_side;

static char *guard_slot[GUARD_SLOTS]; /* the first usable byte of each */
static sigjmp_buf guard_jump;

static inline int guard_setup(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    (void)state;
    for (int i = 0; i < GUARD_SLOTS; i++) {
        char *p = mmap(NULL, GUARD_SLOT_BYTES + 2 * page, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) return -1;
        if (mprotect(p + page, GUARD_SLOT_BYTES, PROT_READ | PROT_WRITE) != 0) return -1;
        guard_slot[i] = p + page;
    }
    return 0;
}

static inline int guard_finish(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < GUARD_SLOTS; i++)
        munmap(guard_slot[i] - page, GUARD_SLOT_BYTES + 2 * page);
    return safety_finish(state);
}

/* Memory of n bytes at one side of a slot; align is a power of two. */
static inline void *guard_place(int slot, guard_side side, size_t n, size_t align)
{
    assert_true(slot < GUARD_SLOTS && n <= GUARD_SLOT_BYTES - 2 * GUARD_MARGIN);
    if (side == GUARD_LEFT) return guard_slot[slot];
    return guard_slot[slot] + (GUARD_SLOT_BYTES - n) / align * align;
}

/* ---- tensors in slots ------------------------------------------------------------------- */

/* How a tensor lies in its memory. */
typedef enum guard_layout {
    GUARD_DENSE,
    GUARD_GAPS,     /* rows with space between them */
    GUARD_SWAPPED,  /* heads inside rows, as B T H D, with space */
    GUARD_BACKWARD, /* rows from the last to the first */
    GUARD_SPREAD,   /* every second element */
    GUARD_N_LAYOUTS
} guard_layout;

typedef struct guard_tensor {
    attn_tensor view;
    int slot;
    char *low, *high; /* the bytes its elements reach */
    bool output;
} guard_tensor;

static inline void guard_strides(attn_tensor *t, guard_layout layout)
{
    int64_t step = layout == GUARD_SPREAD ? 2 : 1, gap = layout == GUARD_DENSE ? 0 : 3;
    int order[ATTN_MAX_RANK]; /* innermost first */
    for (int d = 0; d < t->rank; d++) order[d] = t->rank - 1 - d;
    if (layout == GUARD_SWAPPED && t->rank == 4) order[1] = 1, order[2] = 2;
    for (int n = 0; n < t->rank; n++) {
        t->stride[order[n]] = step;
        step = step * (t->shape[order[n]] > 0 ? t->shape[order[n]] : 1) + (n == 0 ? gap : 0);
    }
    int row = t->rank - 2;
    if (layout == GUARD_BACKWARD && row >= 0) t->stride[row] = -t->stride[row];
}

static inline guard_tensor guard_make(int slot, guard_side side, attn_dtype dtype, int rank,
                                      const int64_t *shape, guard_layout layout)
{
    guard_tensor g = {.view = attn_tensor_make(NULL, dtype, rank, shape), .slot = slot};
    size_t size = attn_dtype_size(dtype);
    int64_t low = 0, high = 0;
    guard_strides(&g.view, layout);
    for (int d = 0; d < rank; d++) {
        int64_t reach = g.view.stride[d] * (shape[d] > 0 ? shape[d] - 1 : 0);
        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
    }
    size_t bytes = test_tensor_empty(&g.view) ? 0 : (size_t)(high - low + 1) * size;
    g.low = guard_place(slot, side, bytes, size);
    g.high = g.low + bytes;
    g.view.data = g.low - low * (int64_t)size;
    return g;
}

/* The pattern differs by side, so an output element nobody wrote shows up as a difference. */
static inline int guard_byte(guard_side side)
{
    return side == GUARD_LEFT ? 0x5A : 0xA5;
}

static inline char *guard_from(const guard_tensor *g)
{
    return g->low - guard_slot[g->slot] < GUARD_MARGIN ? guard_slot[g->slot]
                                                       : g->low - GUARD_MARGIN;
}

static inline char *guard_to(const guard_tensor *g)
{
    char *end = guard_slot[g->slot] + GUARD_SLOT_BYTES;
    return end - g->high < GUARD_MARGIN ? end : g->high + GUARD_MARGIN;
}

static inline void guard_paint(guard_tensor *g, guard_side side)
{
    memset(guard_from(g), guard_byte(side), (size_t)(guard_to(g) - guard_from(g)));
}

/* Inputs repeat a block of exact values. Elements are written, gaps keep NaN (0xFF bytes). */
static inline void guard_fill(guard_tensor *g, uint64_t seed)
{
    char pattern[GUARD_PATTERN * sizeof(double)];
    size_t size = attn_dtype_size(g->view.dtype);
    int64_t index[ATTN_MAX_RANK] = {0}, i = 0;
    for (int64_t k = 0; k < GUARD_PATTERN; k++)
        oracle_put(g->view.dtype, pattern, k, safety_value(seed, k));
    memset(guard_from(g), 0xFF, (size_t)(guard_to(g) - guard_from(g)));
    if (test_tensor_empty(&g->view)) return;
    do {
        char *at = (char *)g->view.data + test_offset(&g->view, index) * (int64_t)size;
        memcpy(at, pattern + (size_t)(i++ % GUARD_PATTERN) * size, size);
    } while (test_index_next(&g->view, index));
}

/* Nothing but elements has changed; the elements are painted over on the way. */
static inline bool guard_gaps_intact(guard_tensor *g, guard_side side)
{
    size_t size = attn_dtype_size(g->view.dtype);
    int64_t index[ATTN_MAX_RANK] = {0};
    char want = (char)guard_byte(side);
    if (!test_tensor_empty(&g->view)) do {
            memset((char *)g->view.data + test_offset(&g->view, index) * (int64_t)size, want,
                   size);
        } while (test_index_next(&g->view, index));
    for (const char *p = guard_from(g); p < guard_to(g); p++)
        if (*p != want) return false;
    return true;
}

/* ---- faults -------------------------------------------------------------------------- */

static inline void guard_fault(int signal_number)
{
    siglongjmp(guard_jump, signal_number);
}

/* Until the end of the test: cmocka puts its own handlers back for the next one. */
static inline void guard_catch_faults(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = guard_fault;
    action.sa_flags = SA_NODEFER;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

#endif
