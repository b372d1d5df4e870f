/* SPDX-License-Identifier: MIT
 * Blocks of elements of an operand in the order of the result. Dimensions that lie seamlessly
 * behind each other, or repeat together, are joined first, so the usual cases are one run (the
 * same shape, a scalar) or two (a row, a column), and a block that lies inside a dense run is
 * not copied at all. */
#include "tape/walk.h"

#include <string.h>

static void walk_push(attn__walk *w, int64_t size, int64_t step)
{
    const int last = w->rank - 1;
    if (size == 1) return;
    if (last >= 0 && w->step[last] == size * step) {
        w->size[last] *= size;
        w->step[last] = step;
    } else {
        w->size[w->rank] = size;
        w->step[w->rank++] = step;
    }
}

attn_tensor attn__spread(const attn_tensor *t, const attn_tensor *shape)
{
    attn_tensor wide = *shape;
    wide.data = t->data;
    wide.dtype = t->dtype;
    for (int i = 0; i < shape->rank; i++) {
        const int own = i - (shape->rank - t->rank);
        wide.stride[i] = own >= 0 && t->shape[own] != 1 ? t->stride[own] : 0;
    }
    return wide;
}

attn__walk attn__walk_of(const attn_tensor *t, const attn_tensor *shape)
{
    const attn_tensor wide = attn__spread(t, shape);
    attn__walk w = {.data = t->data, .width = (int64_t)attn_dtype_size(t->dtype)};
    for (int i = 0; i < wide.rank; i++) walk_push(&w, wide.shape[i], wide.stride[i] * w.width);
    if (w.rank == 0) {
        w.size[0] = 1;
        w.rank = 1;
    }
    return w;
}

const void *attn__walk_at(const attn__walk *w, int64_t i)
{
    int64_t offset = 0;
    for (int d = w->rank - 1; d > 0; d--) {
        offset += i % w->size[d] * w->step[d];
        i /= w->size[d];
    }
    return w->data + offset + i * w->step[0];
}

/* Called with a literal width, which turns memcpy into one move. */
static inline void walk_copy_sized(char *restrict to, const char *from, int64_t n, int64_t step,
                                   const int64_t width)
{
    for (int64_t i = 0; i < n; i++) memcpy(to + i * width, from + i * step, (size_t)width);
}

static inline void walk_fill_sized(char *restrict to, const char *from, int64_t n,
                                   const int64_t width)
{
    char one[8];
    memcpy(one, from, (size_t)width);
    for (int64_t i = 0; i < n; i++) memcpy(to + i * width, one, (size_t)width);
}

static inline void walk_copy_width(char *to, const char *from, int64_t n, int64_t step,
                                   const int64_t width)
{
    if (step == width)
        memcpy(to, from, (size_t)(n * width));
    else if (step == 0)
        walk_fill_sized(to, from, n, width);
    else
        walk_copy_sized(to, from, n, step, width);
}

static void walk_copy(const attn__walk *w, char *to, const char *from, int64_t n, int64_t step)
{
    if (w->width == 8)
        walk_copy_width(to, from, n, step, 8);
    else if (w->width == 4)
        walk_copy_width(to, from, n, step, 4);
    else
        walk_copy_width(to, from, n, step, 1);
}

const void *attn__walk_block(const attn__walk *w, int64_t from, int64_t n, void *room)
{
    const int64_t size = w->size[w->rank - 1], step = w->step[w->rank - 1];
    int64_t at = from % size;
    if (step == w->width && at + n <= size) return attn__walk_at(w, from);
    for (int64_t done = 0; done < n; at = 0) {
        const int64_t run = attn__min(size - at, n - done);
        walk_copy(w, (char *)room + done * w->width, attn__walk_at(w, from + done), run, step);
        done += run;
    }
    return room;
}
