/* SPDX-License-Identifier: MIT
 * Reads npy, versions 1.0, 2.0 and 3.0. The header is the text of a Python dict; it is matched
 * against the one shape NumPy writes,
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 * with the keys in any order, each once. Nothing is evaluated and nothing is unpickled. */
#include "io/io.h"

#include <string.h>

enum { NPY_MAX_HEADER = 65536 };

static const char where_header[] = "npy header", where_data[] = "npy data";

typedef struct npy_text {
    const uint8_t *p, *end;
} npy_text;

typedef struct npy_header {
    attn_dtype dtype;
    bool swap, fortran;
    int rank;
    int64_t shape[ATTN_MAX_RANK];
} npy_header;

/* ---- the grammar's small words ----------------------------------------------------------- */

static attn_status npy_bad(const char *what, attn_error *error)
{
    return attn__fail(error, ATTN_E_FORMAT, where_header, what);
}

static void npy_blank(npy_text *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\n')) t->p++;
}

/* Whether the next character after blanks is c; takes it. */
static bool npy_take(npy_text *t, char c)
{
    npy_blank(t);
    if (t->p == t->end || *t->p != (uint8_t)c) return false;
    t->p++;
    return true;
}

static bool npy_take_word(npy_text *t, const char *word)
{
    size_t n = strlen(word);
    npy_blank(t);
    if ((size_t)(t->end - t->p) < n || memcmp(t->p, word, n) != 0) return false;
    t->p += n;
    return true;
}

/* A quoted string without escapes, at most room - 1 bytes. */
static attn_status npy_string(npy_text *t, char *out, size_t room, attn_error *error)
{
    npy_blank(t);
    if (t->p == t->end || (*t->p != '\'' && *t->p != '"'))
        return npy_bad("a quoted word is missing", error);
    uint8_t quote = *t->p++;
    size_t n = 0;
    while (t->p < t->end && *t->p != quote) {
        if (n + 1 == room || *t->p < ' ' || *t->p > '~' || *t->p == '\\')
            return npy_bad("a quoted word is too long or holds an escape", error);
        out[n++] = (char)*t->p++;
    }
    if (t->p == t->end) return npy_bad("a quote is not closed", error);
    t->p++;
    out[n] = 0;
    return ATTN_OK;
}

/* ---- the three values -------------------------------------------------------------------- */

attn_status attn__npy_fail_dtype(const char *name, attn_error *error)
{
    return attn__fail_name(error, ATTN_E_DTYPE, "npy header",
                           "npy has no type for bf16; use safetensors", name);
}

static attn_status npy_find_dtype(const char *descr, npy_header *h, attn_error *error)
{
    static const struct {
        char code[3];
        attn_dtype dtype;
    } types[] = {{"f8", ATTN_DTYPE_F64}, {"f4", ATTN_DTYPE_F32}, {"f2", ATTN_DTYPE_F16},
                 {"i8", ATTN_DTYPE_I64}, {"i4", ATTN_DTYPE_I32}, {"i2", ATTN_DTYPE_I16},
                 {"i1", ATTN_DTYPE_I8},  {"u8", ATTN_DTYPE_U64}, {"u4", ATTN_DTYPE_U32},
                 {"u2", ATTN_DTYPE_U16}, {"u1", ATTN_DTYPE_U8},  {"b1", ATTN_DTYPE_BOOL}};
    if (descr[0] && strcmp(descr + 1, "V2") == 0) return attn__npy_fail_dtype("", error);
    for (size_t i = 0; descr[0] && i < sizeof types / sizeof *types; i++) {
        if (strcmp(descr + 1, types[i].code) != 0) continue;
        bool one_byte = types[i].code[1] == '1';
        if (!strchr(one_byte ? "|<>" : "<>", descr[0]))
            return attn__fail(error, ATTN_E_DTYPE, where_header,
                              "the byte order is neither < nor >");
        h->dtype = types[i].dtype;
        h->swap = (descr[0] == '>') != ATTN__HOST_BIG;
        return ATTN_OK;
    }
    return attn__fail(error, ATTN_E_DTYPE, where_header,
                      "not a number type: strings, objects, records and complex are refused");
}

static attn_status npy_descr(npy_text *t, npy_header *h, attn_error *error)
{
    char descr[16];
    npy_blank(t);
    if (t->p < t->end && *t->p == '[')
        return attn__fail(error, ATTN_E_DTYPE, where_header, "records are refused");
    ATTN_TRY(npy_string(t, descr, sizeof descr, error));
    return npy_find_dtype(descr, h, error);
}

static attn_status npy_order(npy_text *t, npy_header *h, attn_error *error)
{
    h->fortran = npy_take_word(t, "True");
    if (h->fortran || npy_take_word(t, "False")) return ATTN_OK;
    return npy_bad("fortran_order is neither True nor False", error);
}

static attn_status npy_dim(npy_text *t, int64_t *dim, attn_error *error)
{
    npy_blank(t);
    if (t->p < t->end && *t->p == '-')
        return attn__fail(error, ATTN_E_DIM, where_header, "a dimension is negative");
    const uint8_t *first = t->p;
    int64_t value = 0;
    for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++) {
        value = value * 10 + (*t->p - '0');
        if (value > ATTN__FAR)
            return attn__fail(error, ATTN_E_DIM, where_header, "a dimension is too large");
    }
    if (t->p == first) return npy_bad("shape is not a tuple of plain numbers", error);
    if (*first == '0' && t->p - first > 1) return npy_bad("a number starts with 0", error);
    *dim = value;
    return ATTN_OK;
}

static attn_status npy_shape(npy_text *t, npy_header *h, attn_error *error)
{
    bool comma = true;
    if (!npy_take(t, '(')) return npy_bad("shape is not a tuple", error);
    for (h->rank = 0; !npy_take(t, ')'); h->rank++) {
        if (!comma) return npy_bad("a comma is missing in shape", error);
        if (h->rank == ATTN_MAX_RANK)
            return attn__fail(error, ATTN_E_RANK, where_header, "more than 8 dimensions");
        ATTN_TRY(npy_dim(t, &h->shape[h->rank], error));
        comma = npy_take(t, ',');
    }
    if (h->rank == 1 && !comma) return npy_bad("a tuple of one number ends in a comma", error);
    return ATTN_OK;
}

/* ---- the header -------------------------------------------------------------------------- */

static attn_status npy_pair(npy_text *t, npy_header *h, unsigned *seen, attn_error *error)
{
    static const struct {
        const char *key;
        attn_status (*value)(npy_text *t, npy_header *h, attn_error *error);
    } keys[] = {{"descr", npy_descr}, {"fortran_order", npy_order}, {"shape", npy_shape}};
    char key[16];
    ATTN_TRY(npy_string(t, key, sizeof key, error));
    if (!npy_take(t, ':')) return npy_bad("a colon is missing", error);
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(key, keys[i].key) != 0) continue;
        if (*seen & 1u << i)
            return attn__fail(error, ATTN_E_DUP, where_header, "a key repeats");
        *seen |= 1u << i;
        return keys[i].value(t, h, error);
    }
    return npy_bad("a key is none of descr, fortran_order, shape", error);
}

static attn_status npy_dict(npy_text *t, npy_header *h, attn_error *error)
{
    unsigned seen = 0;
    bool comma = true;
    if (!npy_take(t, '{')) return npy_bad("is not a dict", error);
    while (!npy_take(t, '}')) {
        if (!comma) return npy_bad("a comma is missing", error);
        ATTN_TRY(npy_pair(t, h, &seen, error));
        comma = npy_take(t, ',');
    }
    if (seen != 7) return npy_bad("descr, fortran_order or shape is missing", error);
    npy_blank(t);
    return t->p == t->end ? ATTN_OK : npy_bad("text stands after the dict", error);
}

/* Where the header's text stands, told by magic, version and length. */
static attn_status npy_locate(const uint8_t *p, size_t n, npy_text *t, attn_error *error)
{
    static const uint8_t magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    if (n < 10) return attn__fail(error, ATTN_E_TRUNC, where_header, "the file ends in it");
    if (memcmp(p, magic, sizeof magic) != 0) return npy_bad("does not start as npy", error);
    if (p[6] < 1 || p[6] > 3 || p[7] != 0) return npy_bad("is of an unknown version", error);
    size_t start = p[6] == 1 ? 10 : 12;
    if (n < start) return attn__fail(error, ATTN_E_TRUNC, where_header, "the file ends in it");
    size_t length = p[6] == 1 ? attn__load16(p + 8) : attn__load32(p + 8);
    if (length > NPY_MAX_HEADER || length > n - start)
        return attn__fail_count(
            error, ATTN_E_FORMAT, where_header, "is longer than allowed or than the file",
            (int64_t)(n - start < NPY_MAX_HEADER ? n - start : NPY_MAX_HEADER),
            (int64_t)length);
    *t = (npy_text){p + start, p + start + length};
    return ATTN_OK;
}

static attn_status npy_entry(attn__entry *entry, uint8_t *p, size_t n, attn_error *error)
{
    npy_text text = {0};
    npy_header h = {0};
    ATTN_TRY(npy_locate(p, n, &text, error));
    size_t start = (size_t)(text.end - p);
    ATTN_TRY(npy_dict(&text, &h, error));
    ATTN_TRY(attn__layout(h.dtype, h.rank, h.shape, h.fortran, where_header, entry, error));
    if (entry->size != n - start)
        return attn__fail_count(error, entry->size > n - start ? ATTN_E_TRUNC : ATTN_E_TRAIL,
                                where_data, "has not the size its shape asks for",
                                (int64_t)entry->size, (int64_t)(n - start));
    entry->tensor.data = p + start;
    entry->swap = h.swap;
    return ATTN_OK;
}

attn_status attn__npy_parse(attn_archive *archive, const char *name, uint8_t *p, size_t n,
                            attn_error *error)
{
    attn__entry entry = {.name = name};
    ATTN_TRY(attn__named(error, npy_entry(&entry, p, n, error), name));
    return attn__archive_add(archive, &entry, error);
}

attn_status attn__npy_read(attn_archive *archive, attn_error *error)
{
    return attn__npy_parse(archive, "", archive->bytes, archive->n_bytes, error);
}
