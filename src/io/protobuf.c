/* SPDX-License-Identifier: MIT
 * The wire format of Protocol Buffers, one field at a time: varints of at most ten bytes,
 * lengths that stay inside their message, no groups. What a field means is for the caller. */
#include "io/io.h"

enum { WIRE_BITS = 3, MAX_NUMBER = (1 << 29) - 1 };

attn_status attn__pb_varint(attn__span *in, uint64_t *value, const char *where,
                            attn_error *error)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (in->p == in->end) return attn__fail(error, ATTN_E_TRUNC, where, "ends in a number");
        uint8_t byte = *in->p++;
        if (shift == 63 && byte > 1) break;
        v |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *value = v;
            return ATTN_OK;
        }
    }
    return attn__fail(error, ATTN_E_FORMAT, where, "a number is longer than 64 bits");
}

static attn_status pb_fixed(attn__span *in, attn__field *field, const char *where,
                            attn_error *error)
{
    size_t size = field->wire == ATTN__WIRE_32 ? 4 : 8;
    if ((size_t)(in->end - in->p) < size)
        return attn__fail(error, ATTN_E_TRUNC, where, "ends in a number");
    field->value = size == 4 ? attn__load32(in->p) : attn__load64(in->p);
    in->p += size;
    return ATTN_OK;
}

static attn_status pb_bytes(attn__span *in, attn__field *field, const char *where,
                            attn_error *error)
{
    uint64_t n = 0;
    ATTN_TRY(attn__pb_varint(in, &n, where, error));
    if (n > (uint64_t)(in->end - in->p))
        return attn__fail(error, ATTN_E_TRUNC, where, "a length runs past the end");
    field->bytes = (attn__span){in->p, in->p + n};
    in->p += n;
    return ATTN_OK;
}

attn_status attn__pb_next(attn__span *in, attn__field *field, const char *where,
                          attn_error *error)
{
    uint64_t tag = 0;
    *field = (attn__field){0};
    if (in->p == in->end) return ATTN_OK;
    ATTN_TRY(attn__pb_varint(in, &tag, where, error));
    uint64_t number = tag >> WIRE_BITS;
    if (number == 0 || number > MAX_NUMBER)
        return attn__fail(error, ATTN_E_FORMAT, where, "a field has an impossible number");
    field->number = (uint32_t)number;
    field->wire = (attn__wire)(tag & 7);
    if (field->wire == ATTN__WIRE_VARINT)
        return attn__pb_varint(in, &field->value, where, error);
    if (field->wire == ATTN__WIRE_BYTES) return pb_bytes(in, field, where, error);
    if (field->wire == ATTN__WIRE_32 || field->wire == ATTN__WIRE_64)
        return pb_fixed(in, field, where, error);
    return attn__fail(error, ATTN_E_FORMAT, where, "a field is a group or of no known kind");
}

attn_status attn__pb_expect(const attn__field *field, attn__wire wire, const char *where,
                            attn_error *error)
{
    if (field->wire == wire) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_FORMAT, where, "a field has the wrong wire type",
                            wire, field->wire);
}

attn_status attn__pb_name(attn__arena *arena, const attn__field *field, const char **name,
                          const char *where, attn_error *error)
{
    ATTN_TRY(attn__pb_expect(field, ATTN__WIRE_BYTES, where, error));
    size_t n = (size_t)(field->bytes.end - field->bytes.p);
    ATTN_TRY(attn__name_check(where, field->bytes.p, n, error));
    *name = attn__arena_text(arena, field->bytes.p, n);
    return *name ? ATTN_OK : attn__fail(error, ATTN_E_MEMORY, where, "name");
}
