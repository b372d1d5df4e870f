/* SPDX-License-Identifier: MIT
 * Saying no: the names and meanings of statuses, the filling of an attn_error, and its
 * sentence.
 *
 * An error holds static strings and one copied name, so filling it allocates nothing and it may
 * outlive everything the failed call was about. */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

typedef struct error_entry {
    const char *name, *text;
} error_entry;

static const error_entry error_table[] = {
#define STATUS(name, number, text) [number] = {#name, text},
#include "attn/status.def"
#undef STATUS
};

/* Numbers may come from a newer library or a stray cast: they get words too. */
static const error_entry *error_find(attn_status status)
{
    static const error_entry unknown = {"E_?", "a status this library does not know"};
    size_t i = (size_t)status;
    bool known = i < sizeof error_table / sizeof error_table[0] && error_table[i].name;
    return known ? &error_table[i] : &unknown;
}

const char *attn_status_name(attn_status status)
{
    return error_find(status)->name;
}

const char *attn_status_text(attn_status status)
{
    return error_find(status)->text;
}

attn_status attn__fail(attn_error *error, attn_status status, const char *where,
                       const char *what)
{
    if (error) {
        *error = (attn_error){
            .status = status, .where = where ? where : "", .what = what ? what : ""};
    }
    return status;
}

attn_status attn__fail_count(attn_error *error, attn_status status, const char *where,
                             const char *what, int64_t want, int64_t got)
{
    attn__fail(error, status, where, what);
    if (error) {
        error->counted = true;
        error->want = want;
        error->got = got;
    }
    return status;
}

/* The length at which a name is cut so that it fits and no UTF-8 character is halved. */
static size_t error_name_length(const char *name, size_t room)
{
    size_t n = 0;
    while (n < room && name[n]) n++;
    if (!name[n]) return n;
    while (n > 0 && ((unsigned char)name[n] & 0xC0) == 0x80) n--;
    return n;
}

attn_status attn__fail_name(attn_error *error, attn_status status, const char *where,
                            const char *what, const char *name)
{
    attn__fail(error, status, where, what);
    if (!error || !name) return status;
    size_t n = error_name_length(name, sizeof error->name - 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        error->name[i] = c < 0x20 || c == 0x7F ? '?' : name[i];
    }
    return status;
}

/* snprintf into what is left of text after *used bytes; counts on when there is no room. */
static void error_append(char *text, size_t n, size_t *used, const char *before,
                         const char *part)
{
    size_t at = *used < n ? *used : n;
    int length = snprintf(at < n ? text + at : NULL, n - at, "%s%s", before, part);
    if (length > 0) *used += (size_t)length;
}

static bool error_given(const char *text)
{
    return text && text[0];
}

size_t attn_error_text(const attn_error *error, char *text, size_t n)
{
    size_t used = 0;
    attn_status status = error ? error->status : ATTN_OK;
    if (!text) n = 0;
    if (status == ATTN_OK) {
        error_append(text, n, &used, "", attn_status_text(ATTN_OK));
        return used;
    }
    if (error_given(error->where)) error_append(text, n, &used, error->where, ": ");
    error_append(text, n, &used, "",
                 error_given(error->what) ? error->what : attn_status_text(status));
    if (error->name[0]) error_append(text, n, &used, ": ", error->name);
    if (error->counted) {
        char counts[64];
        snprintf(counts, sizeof counts, " (expected %lld, got %lld)", (long long)error->want,
                 (long long)error->got);
        error_append(text, n, &used, "", counts);
    }
    return used;
}
