/* SPDX-License-Identifier: MIT
 * Element types: what they are called, how wide they are and of which kind, from dtype.def. */
#include "base/base.h"

#include <string.h>

typedef struct dtype_entry {
    const char *name;
    size_t size;
    char kind;
} dtype_entry;

static const dtype_entry dtype_table[] = {
#define DTYPE(NAME, name, number, bytes, kind) [number] = {#name, bytes, kind},
#include "attn/dtype.def"
#undef DTYPE
};

enum { DTYPE_COUNT = sizeof dtype_table / sizeof dtype_table[0] };

static const dtype_entry *dtype_find(attn_dtype dtype)
{
    static const dtype_entry unknown = {"?", 0, '?'};
    size_t i = (size_t)dtype;
    return i < DTYPE_COUNT && dtype_table[i].name ? &dtype_table[i] : &unknown;
}

const char *attn_dtype_name(attn_dtype dtype)
{
    return dtype_find(dtype)->name;
}

size_t attn_dtype_size(attn_dtype dtype)
{
    return dtype_find(dtype)->size;
}

attn_dtype attn_dtype_find(const char *name)
{
    for (size_t i = 0; name && i < DTYPE_COUNT; i++) {
        const char *known = dtype_table[i].name;
        if (known && strcmp(known, name) == 0) return (attn_dtype)i;
    }
    return ATTN_DTYPE_NONE;
}

bool attn__dtype_is_float(attn_dtype dtype)
{
    return dtype_find(dtype)->kind == 'f';
}

bool attn__dtype_is_int(attn_dtype dtype)
{
    return dtype_find(dtype)->kind == 'i';
}
