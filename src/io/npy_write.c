/* SPDX-License-Identifier: MIT
 * Writes npy version 1.0: magic, a dict padded with blanks so that the data starts at a
 * multiple of 64, then the elements in C order, little-endian. */
#include "io/io.h"

#include <string.h>

static const char *npy_code(attn_dtype dtype)
{
    static const struct {
        attn_dtype dtype;
        const char *code;
    } codes[] = {{ATTN_DTYPE_F64, "<f8"}, {ATTN_DTYPE_F32, "<f4"}, {ATTN_DTYPE_F16, "<f2"},
                 {ATTN_DTYPE_I64, "<i8"}, {ATTN_DTYPE_I32, "<i4"}, {ATTN_DTYPE_I16, "<i2"},
                 {ATTN_DTYPE_I8, "|i1"},  {ATTN_DTYPE_U64, "<u8"}, {ATTN_DTYPE_U32, "<u4"},
                 {ATTN_DTYPE_U16, "<u2"}, {ATTN_DTYPE_U8, "|u1"},  {ATTN_DTYPE_BOOL, "|b1"}};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].dtype == dtype) return codes[i].code;
    return NULL;
}

size_t attn__npy_header(uint8_t *p, const attn_tensor *t)
{
    const char *code = npy_code(t->dtype);
    if (!code) return 0;
    attn__sink text;
    attn__sink_init(&text, -1);
    text.memory = p;
    attn__sink_put(&text, "\x93NUMPY\x01\x00??", 10);
    attn__sink_text(&text, "{'descr': '");
    attn__sink_text(&text, code);
    attn__sink_text(&text, "', 'fortran_order': False, 'shape': (");
    for (int d = 0; d < t->rank; d++) {
        attn__sink_number(&text, (uint64_t)t->shape[d]);
        attn__sink_text(&text, d == 0 ? "," : "");
        attn__sink_text(&text, d + 1 < t->rank ? (d == 0 ? " " : ", ") : "");
    }
    attn__sink_text(&text, "), }");
    attn__sink_fill(&text, ' ', (size_t)(63 - text.n % 64));
    attn__sink_text(&text, "\n");
    attn__store16(p + 8, text.n - 10);
    return (size_t)text.n;
}

attn_status attn__npy_write(attn__sink *sink, const attn__job *job, attn_error *error)
{
    uint8_t header[ATTN__NPY_HEADER_ROOM];
    size_t n = attn__npy_header(header, &job->tensors[0]);
    if (n == 0) return attn__npy_fail_dtype("", error);
    attn__sink_put(sink, header, n);
    attn__sink_tensor(sink, &job->tensors[0]);
    return ATTN_OK;
}
