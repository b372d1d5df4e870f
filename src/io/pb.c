/* SPDX-License-Identifier: MIT
 * Reads one ONNX TensorProto: dims, data_type, name, and the elements either as raw_data or in
 * the one typed field that belongs to the data type. Strings, external data, segments and the
 * types this library has not are refused; fields that carry no data are passed over. */
#include "io/io.h"

#include <string.h>

static const char where[] = "onnx tensor";

enum {
    PB_DIMS = 1,
    PB_DATA_TYPE = 2,
    PB_SEGMENT = 3,
    PB_FLOATS = 4,
    PB_INT32S = 5,
    PB_STRINGS = 6,
    PB_INT64S = 7,
    PB_NAME = 8,
    PB_RAW = 9,
    PB_DOUBLES = 10,
    PB_UINT64S = 11,
    PB_EXTERNAL = 13,
    PB_LOCATION = 14
};

/* ORDER: by number in onnx. The elements of a type may stand in raw_data or in field. */
typedef struct pb_type {
    int64_t number;
    attn_dtype dtype;
    uint32_t field;
} pb_type;

static const pb_type types[] = {
    {1, ATTN_DTYPE_F32, PB_FLOATS},   {2, ATTN_DTYPE_U8, PB_INT32S},
    {3, ATTN_DTYPE_I8, PB_INT32S},    {4, ATTN_DTYPE_U16, PB_INT32S},
    {5, ATTN_DTYPE_I16, PB_INT32S},   {6, ATTN_DTYPE_I32, PB_INT32S},
    {7, ATTN_DTYPE_I64, PB_INT64S},   {9, ATTN_DTYPE_BOOL, PB_INT32S},
    {10, ATTN_DTYPE_F16, PB_INT32S},  {11, ATTN_DTYPE_F64, PB_DOUBLES},
    {12, ATTN_DTYPE_U32, PB_UINT64S}, {13, ATTN_DTYPE_U64, PB_UINT64S},
    {16, ATTN_DTYPE_BF16, PB_INT32S}};

typedef struct pb_reader {
    attn_archive *archive;
    attn_error *error;
    attn__span message;
    unsigned seen;  /* bit of every field that came */
    uint32_t typed; /* the field with typed elements, 0: none came */
    int64_t shape[ATTN_MAX_RANK];
    int rank;
    int64_t data_type;
    const char *name;
    attn__span raw;
} pb_reader;

static attn_status pb_fail(const pb_reader *r, attn_status status, const char *what)
{
    return attn__fail(r->error, status, where, what);
}

/* ---- the fields -------------------------------------------------------------------------- */

static attn_status pb_add_dim(pb_reader *r, uint64_t dim)
{
    if (r->rank == ATTN_MAX_RANK) return pb_fail(r, ATTN_E_RANK, "more than 8 dimensions");
    if (dim > (uint64_t)ATTN__FAR)
        return pb_fail(r, ATTN_E_DIM, "a dimension is negative or too large");
    r->shape[r->rank++] = (int64_t)dim;
    return ATTN_OK;
}

/* Repeated numbers come one a field, or packed many in one. */
static attn_status pb_dims(pb_reader *r, const attn__field *field)
{
    if (field->wire == ATTN__WIRE_VARINT) return pb_add_dim(r, field->value);
    ATTN_TRY(attn__pb_expect(field, ATTN__WIRE_BYTES, where, r->error));
    for (attn__span in = field->bytes; in.p < in.end;) {
        uint64_t dim;
        ATTN_TRY(attn__pb_varint(&in, &dim, where, r->error));
        ATTN_TRY(pb_add_dim(r, dim));
    }
    return ATTN_OK;
}

static attn_status pb_data_type(pb_reader *r, const attn__field *field)
{
    ATTN_TRY(attn__pb_expect(field, ATTN__WIRE_VARINT, where, r->error));
    if (field->value > INT32_MAX) return pb_fail(r, ATTN_E_DTYPE, "data_type is out of range");
    r->data_type = (int64_t)field->value;
    return ATTN_OK;
}

static attn_status pb_name(pb_reader *r, const attn__field *field)
{
    return attn__pb_name(&r->archive->arena, field, &r->name, where, r->error);
}

static attn_status pb_raw(pb_reader *r, const attn__field *field)
{
    ATTN_TRY(attn__pb_expect(field, ATTN__WIRE_BYTES, where, r->error));
    r->raw = field->bytes;
    return ATTN_OK;
}

static attn_status pb_typed(pb_reader *r, const attn__field *field)
{
    if (r->typed && r->typed != field->number)
        return pb_fail(r, ATTN_E_FORMAT, "its elements stand in two fields");
    r->typed = field->number;
    return ATTN_OK;
}

static attn_status pb_refuse(pb_reader *r, const attn__field *field)
{
    if (field->number == PB_STRINGS) return pb_fail(r, ATTN_E_DTYPE, "strings are refused");
    if (field->number == PB_LOCATION && field->wire == ATTN__WIRE_VARINT && field->value == 0)
        return ATTN_OK;
    return pb_fail(r, ATTN_E_UNSUPPORTED, "external or segmented data is refused");
}

static attn_status pb_field(pb_reader *r, const attn__field *field)
{
    static const struct {
        uint32_t number;
        bool repeats;
        attn_status (*take)(pb_reader *r, const attn__field *field);
    } takers[] = {{PB_DIMS, true, pb_dims},       {PB_DATA_TYPE, false, pb_data_type},
                  {PB_SEGMENT, true, pb_refuse},  {PB_FLOATS, true, pb_typed},
                  {PB_INT32S, true, pb_typed},    {PB_STRINGS, true, pb_refuse},
                  {PB_INT64S, true, pb_typed},    {PB_NAME, false, pb_name},
                  {PB_RAW, false, pb_raw},        {PB_DOUBLES, true, pb_typed},
                  {PB_UINT64S, true, pb_typed},   {PB_EXTERNAL, true, pb_refuse},
                  {PB_LOCATION, false, pb_refuse}};
    for (size_t i = 0; i < sizeof takers / sizeof *takers; i++) {
        if (takers[i].number != field->number) continue;
        if (!takers[i].repeats && r->seen & 1u << field->number)
            return pb_fail(r, ATTN_E_DUP, "a field stands twice");
        r->seen |= 1u << field->number;
        return takers[i].take(r, field);
    }
    return ATTN_OK;
}

static attn_status pb_collect(pb_reader *r)
{
    attn__field field;
    for (attn__span in = r->message;;) {
        ATTN_TRY(attn__pb_next(&in, &field, where, r->error));
        if (field.number == 0) return ATTN_OK;
        ATTN_TRY(pb_field(r, &field));
    }
}

/* ---- the elements ------------------------------------------------------------------------ */

typedef struct pb_store {
    attn_dtype dtype;
    uint8_t *data;
    int64_t n, count; /* stored, wanted */
} pb_store;

/* Whether value, a sign-extended number of the wire, can be an element; half floats and bools
 * come as their bits. */
static bool pb_fits(attn_dtype dtype, int64_t value)
{
    static const struct {
        attn_dtype dtype;
        int64_t low, high;
    } ranges[] = {{ATTN_DTYPE_I8, INT8_MIN, INT8_MAX},
                  {ATTN_DTYPE_U8, 0, UINT8_MAX},
                  {ATTN_DTYPE_I16, INT16_MIN, INT16_MAX},
                  {ATTN_DTYPE_U16, 0, UINT16_MAX},
                  {ATTN_DTYPE_I32, INT32_MIN, INT32_MAX},
                  {ATTN_DTYPE_U32, 0, UINT32_MAX},
                  {ATTN_DTYPE_F16, 0, UINT16_MAX},
                  {ATTN_DTYPE_BF16, 0, UINT16_MAX},
                  {ATTN_DTYPE_BOOL, 0, 1}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].dtype == dtype) return value >= ranges[i].low && value <= ranges[i].high;
    return true;
}

static attn_status pb_put(const pb_reader *r, pb_store *s, uint64_t value, size_t item)
{
    uint8_t bytes[8];
    if (s->n == s->count)
        return pb_fail(r, ATTN_E_TRAIL, "more elements than its shape asks for");
    if (!pb_fits(s->dtype, (int64_t)value))
        return pb_fail(r, ATTN_E_FORMAT, "an element is out of the range of its type");
    attn__store64(bytes, value);
    memcpy(s->data + (size_t)s->n++ * item, bytes, item);
    return ATTN_OK;
}

static attn_status pb_put_packed(const pb_reader *r, pb_store *s, attn__span in,
                                 attn__wire wire)
{
    size_t item = attn_dtype_size(s->dtype), step = wire == ATTN__WIRE_32 ? 4 : 8;
    if (wire != ATTN__WIRE_VARINT && (size_t)(in.end - in.p) % step != 0)
        return pb_fail(r, ATTN_E_FORMAT, "packed elements end in the middle of one");
    while (in.p < in.end) {
        uint64_t value;
        if (wire == ATTN__WIRE_VARINT) {
            ATTN_TRY(attn__pb_varint(&in, &value, where, r->error));
        } else {
            value = step == 4 ? attn__load32(in.p) : attn__load64(in.p);
            in.p += step;
        }
        ATTN_TRY(pb_put(r, s, value, item));
    }
    return ATTN_OK;
}

static attn_status pb_put_all(const pb_reader *r, pb_store *s)
{
    attn__wire wire = r->typed == PB_FLOATS    ? ATTN__WIRE_32
                      : r->typed == PB_DOUBLES ? ATTN__WIRE_64
                                               : ATTN__WIRE_VARINT;
    attn__field field;
    for (attn__span in = r->message;;) {
        ATTN_TRY(attn__pb_next(&in, &field, where, r->error));
        if (field.number == 0) break;
        if (field.number != r->typed) continue;
        if (field.wire == ATTN__WIRE_BYTES) {
            ATTN_TRY(pb_put_packed(r, s, field.bytes, wire));
            continue;
        }
        ATTN_TRY(attn__pb_expect(&field, wire, where, r->error));
        ATTN_TRY(pb_put(r, s, field.value, attn_dtype_size(s->dtype)));
    }
    return s->n == s->count
               ? ATTN_OK
               : attn__fail_count(r->error, ATTN_E_TRUNC, where,
                                  "fewer elements than its shape asks for", s->count, s->n);
}

static attn_status pb_take_typed(const pb_reader *r, const pb_type *type, attn__entry *entry)
{
    size_t item = attn_dtype_size(type->dtype);
    if (r->typed != type->field)
        return pb_fail(r, ATTN_E_FORMAT, "its elements stand in a field of another type");
    /* Every element takes at least one byte of the message. */
    if (entry->size / item > (size_t)(r->message.end - r->message.p))
        return pb_fail(r, ATTN_E_TRUNC, "fewer elements than its shape asks for");
    pb_store store = {.dtype = type->dtype, .count = (int64_t)(entry->size / item)};
    store.data = attn__arena_new(&r->archive->arena, entry->size);
    if (!store.data) return pb_fail(r, ATTN_E_MEMORY, "elements");
    entry->tensor.data = store.data;
    return pb_put_all(r, &store);
}

static attn_status pb_take_raw(const pb_reader *r, attn__entry *entry)
{
    size_t n = (size_t)(r->raw.end - r->raw.p);
    if (n != entry->size)
        return attn__fail_count(r->error, n < entry->size ? ATTN_E_TRUNC : ATTN_E_TRAIL, where,
                                "raw_data has not the size its shape asks for",
                                (int64_t)entry->size, (int64_t)n);
    if (n) entry->tensor.data = r->archive->bytes + (r->raw.p - r->archive->bytes);
    return ATTN_OK;
}

static attn_status pb_entry(const pb_reader *r, attn__entry *entry)
{
    size_t i = 0, n = sizeof types / sizeof *types;
    while (i < n && types[i].number != r->data_type) i++;
    if (i == n) return pb_fail(r, ATTN_E_DTYPE, "data_type is not one that serves here");
    entry->name = r->name;
    entry->swap = ATTN__HOST_BIG;
    ATTN_TRY(attn__layout(types[i].dtype, r->rank, r->shape, false, where, entry, r->error));
    bool raw = r->seen & 1u << PB_RAW;
    if (raw && r->typed) return pb_fail(r, ATTN_E_FORMAT, "its elements stand in two fields");
    return r->typed ? pb_take_typed(r, &types[i], entry) : pb_take_raw(r, entry);
}

attn_status attn__pb_read(attn_archive *archive, attn_error *error)
{
    pb_reader r = {.archive = archive,
                   .error = error,
                   .message = {archive->bytes, archive->bytes + archive->n_bytes},
                   .name = ""};
    attn__entry entry = {0};
    ATTN_TRY(pb_collect(&r));
    ATTN_TRY(attn__named(error, pb_entry(&r, &entry), r.name));
    return attn__archive_add(archive, &entry, error);
}

/* ---- writing ----------------------------------------------------------------------------- */

static void pb_write_varint(attn__sink *sink, uint64_t value)
{
    do {
        uint8_t byte = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
        attn__sink_put(sink, &byte, 1);
    } while (value >>= 7);
}

static void pb_write_tag(attn__sink *sink, uint32_t number, attn__wire wire)
{
    pb_write_varint(sink, (uint64_t)number << 3 | (uint64_t)wire);
}

attn_status attn__pb_write(attn__sink *sink, const attn__job *job, attn_error *error)
{
    const attn_tensor *t = &job->tensors[0];
    const char *name = job->names ? job->names[0] : "";
    size_t i = 0;
    (void)error;
    while (types[i].dtype != t->dtype) i++; /* every dtype of a tensor is in the table */
    for (int d = 0; d < t->rank; d++) {
        pb_write_tag(sink, PB_DIMS, ATTN__WIRE_VARINT);
        pb_write_varint(sink, (uint64_t)t->shape[d]);
    }
    pb_write_tag(sink, PB_DATA_TYPE, ATTN__WIRE_VARINT);
    pb_write_varint(sink, (uint64_t)types[i].number);
    pb_write_tag(sink, PB_NAME, ATTN__WIRE_BYTES);
    pb_write_varint(sink, strlen(name));
    attn__sink_text(sink, name);
    pb_write_tag(sink, PB_RAW, ATTN__WIRE_BYTES);
    pb_write_varint(sink, (uint64_t)attn_tensor_count(*t) * attn_dtype_size(t->dtype));
    attn__sink_tensor(sink, t);
    return ATTN_OK;
}
