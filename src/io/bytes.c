/* SPDX-License-Identifier: MIT
 * Small tools every format needs: little-endian numbers at any alignment, byte order, UTF-8,
 * names, decimal digits, and a sort that hostile data cannot slow down. */
#include "io/io.h"

#include <string.h>

/* ---- numbers ---------------------------------------------------------------------------- */

uint16_t attn__load16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t attn__load32(const uint8_t *p)
{
    return (uint32_t)attn__load16(p) | (uint32_t)attn__load16(p + 2) << 16;
}

uint64_t attn__load64(const uint8_t *p)
{
    return (uint64_t)attn__load32(p) | (uint64_t)attn__load32(p + 4) << 32;
}

void attn__store16(uint8_t *p, uint64_t value)
{
    p[0] = (uint8_t)(value & 255);
    p[1] = (uint8_t)(value >> 8 & 255);
}

void attn__store32(uint8_t *p, uint64_t value)
{
    attn__store16(p, value);
    attn__store16(p + 2, value >> 16);
}

void attn__store64(uint8_t *p, uint64_t value)
{
    attn__store32(p, value);
    attn__store32(p + 4, value >> 32);
}

void attn__swap(uint8_t *p, size_t n, size_t size)
{
    for (size_t i = 0; i < n; i++, p += size)
        for (size_t a = 0, b = size - 1; a < b; a++, b--) {
            uint8_t t = p[a];
            p[a] = p[b];
            p[b] = t;
        }
}

size_t attn__decimal(char *p, uint64_t value)
{
    char digits[20];
    size_t n = 0;
    do digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    for (size_t i = 0; i < n; i++) p[i] = digits[n - 1 - i];
    return n;
}

/* ---- text ------------------------------------------------------------------------------- */

size_t attn__utf8_next(const uint8_t *p, size_t n)
{
    /* The first byte gives the length, and with some lengths the second byte has less freedom:
     * no overlong forms, no surrogates, nothing above U+10FFFF. */
    static const struct {
        uint8_t first, last, length, low, high;
    } forms[] = {
        {0x00, 0x7F, 1, 0, 0},       {0xC2, 0xDF, 2, 0x80, 0xBF}, {0xE0, 0xE0, 3, 0xA0, 0xBF},
        {0xE1, 0xEC, 3, 0x80, 0xBF}, {0xED, 0xED, 3, 0x80, 0x9F}, {0xEE, 0xEF, 3, 0x80, 0xBF},
        {0xF0, 0xF0, 4, 0x90, 0xBF}, {0xF1, 0xF3, 4, 0x80, 0xBF}, {0xF4, 0xF4, 4, 0x80, 0x8F}};
    if (n == 0) return 0;
    size_t f = 0, n_forms = sizeof forms / sizeof *forms;
    while (f < n_forms && (p[0] < forms[f].first || p[0] > forms[f].last)) f++;
    if (f == n_forms || forms[f].length > n) return 0;
    if (forms[f].length > 1 && (p[1] < forms[f].low || p[1] > forms[f].high)) return 0;
    for (size_t i = 2; i < forms[f].length; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    return forms[f].length;
}

bool attn__utf8_valid(const uint8_t *p, size_t n)
{
    for (size_t i = 0, step; i < n; i += step) {
        step = p[i] < 0x80 ? 1 : attn__utf8_next(p + i, n - i);
        if (step == 0) return false;
    }
    return true;
}

attn_status attn__name_check(const char *where, const uint8_t *name, size_t n,
                             attn_error *error)
{
    if (n > ATTN__MAX_NAME)
        return attn__fail_count(error, ATTN_E_NAME, where, "a name is too long", ATTN__MAX_NAME,
                                (int64_t)n);
    if (!attn__utf8_valid(name, n))
        return attn__fail(error, ATTN_E_NAME, where, "a name is not UTF-8");
    for (size_t i = 0; i < n; i++)
        if (name[i] < 0x20 || name[i] == 0x7F)
            return attn__fail(error, ATTN_E_NAME, where, "a name holds a control character");
    return ATTN_OK;
}

attn_status attn__named(attn_error *error, attn_status status, const char *name)
{
    if (status == ATTN_OK || !error || error->name[0]) return status;
    attn_error old = *error;
    attn__fail_name(error, status, old.where, old.what, name);
    error->counted = old.counted;
    error->want = old.want;
    error->got = old.got;
    return status;
}

/* ---- order ------------------------------------------------------------------------------ */

static void sort_sift(int64_t *index, int64_t top, int64_t n, attn__less_fn less,
                      const void *user)
{
    for (int64_t child; (child = 2 * top + 1) < n; top = child) {
        if (child + 1 < n && less(user, index[child], index[child + 1])) child++;
        if (!less(user, index[top], index[child])) return;
        int64_t t = index[top];
        index[top] = index[child];
        index[child] = t;
    }
}

void attn__sort(int64_t *index, int64_t n, attn__less_fn less, const void *user)
{
    for (int64_t top = n / 2 - 1; top >= 0; top--) sort_sift(index, top, n, less, user);
    for (int64_t last = n - 1; last > 0; last--) {
        int64_t t = index[0];
        index[0] = index[last];
        index[last] = t;
        sort_sift(index, 0, last, less, user);
    }
}
