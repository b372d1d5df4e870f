/* SPDX-License-Identifier: MIT
 * The table of formats, from format.def, and the choice of one: named by the caller or told by
 * the end of the file's name, in any case of letters. */
#include "io/io.h"

#include <string.h>

static const attn__format formats[] = {
#define FORMAT(NAME, name, suffix, many)                                                       \
    {ATTN_FORMAT_##NAME, suffix, many, attn__##name##_read, attn__##name##_write},
#include "io/format.def"
#undef FORMAT
};

enum { N_FORMATS = sizeof formats / sizeof *formats };

static char format_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool format_ends(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    if (n < m) return false;
    for (size_t i = 0; i < m; i++)
        if (format_lower(path[n - m + i]) != suffix[i]) return false;
    return true;
}

attn_status attn__format_find(const attn__format **found, attn_format format, const char *path,
                              attn_error *error)
{
    bool by_name = format == ATTN_FORMAT_AUTO && path;
    for (size_t i = 0; i < N_FORMATS; i++)
        if (by_name ? format_ends(path, formats[i].suffix) : formats[i].id == format) {
            *found = &formats[i];
            return ATTN_OK;
        }
    if (by_name)
        return attn__fail_name(error, ATTN_E_NAME, "path",
                               "does not end in .npy, .npz, .safetensors or .pb", path);
    return attn__fail(error, ATTN_E_ENUM, "format", "is not a format that serves here");
}
