/* SPDX-License-Identifier: MIT
 * The io room: hostile bytes end here. Every reader works on bytes that are already in memory
 * and owned by the archive it fills, so a file that shrinks or changes cannot hurt; every
 * writer puts into a sink that can also merely count and checksum.
 *
 * The way of a load:  file_read.c -> one reader (npy, npz, safetensors, tensor_pb) ->
 * attn__archive_add for each tensor -> attn__archive_finish. */
#ifndef ATTN__IO_H
#define ATTN__IO_H

#include "attn/io.h"
#include "base/base.h"

enum {
    ATTN__MAX_NAME = 4096,       /* bytes of a tensor's name */
    ATTN__MAX_TENSORS = 1 << 20, /* in one file */
    ATTN__MAX_HEADER = 16 << 20, /* bytes of a safetensors header */
    ATTN__NPY_HEADER_ROOM = 512  /* more than any npy header this library writes */
};

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#    define ATTN__HOST_BIG true
#else
#    define ATTN__HOST_BIG false
#endif

/* ---- arena.c: memory that goes all at once ----------------------------------------------- */

typedef struct attn__arena {
    const attn_ctx *ctx;
    struct attn__chunk *chunks;
} attn__arena;

/* Aligned to 64 bytes, uninitialised; NULL on failure. */
void *attn__arena_new(attn__arena *arena, size_t size);
/* n bytes and a final 0. */
char *attn__arena_text(attn__arena *arena, const void *bytes, size_t n);
void attn__arena_free(attn__arena *arena);

/* ---- bytes.c: numbers in bytes, text, order ---------------------------------------------- */

/* Little-endian loads and stores at any alignment. */
uint16_t attn__load16(const uint8_t *p);
uint32_t attn__load32(const uint8_t *p);
uint64_t attn__load64(const uint8_t *p);
void attn__store16(uint8_t *p, uint64_t value);
void attn__store32(uint8_t *p, uint64_t value);
void attn__store64(uint8_t *p, uint64_t value);
/* Reverses the bytes of each of n elements. */
void attn__swap(uint8_t *p, size_t n, size_t size);

/* The bytes of the code point at p, 1 to 4; 0 when it is not UTF-8 or runs past n. */
size_t attn__utf8_next(const uint8_t *p, size_t n);
bool attn__utf8_valid(const uint8_t *p, size_t n);
/* A name a tensor may have: UTF-8, no control character, at most ATTN__MAX_NAME bytes. */
attn_status attn__name_check(const char *where, const uint8_t *name, size_t n,
                             attn_error *error);
/* Writes value in decimal at p (20 bytes at most, no final 0); returns the length. */
size_t attn__decimal(char *p, uint64_t value);
/* Puts a name on an error that has none yet; returns status. */
attn_status attn__named(attn_error *error, attn_status status, const char *name);

/* Sorts indices so that less(user, a, b) never holds for a neighbour pair (b, a). Needs no
 * memory and no more than n log n steps whatever the data. */
typedef bool (*attn__less_fn)(const void *user, int64_t a, int64_t b);
void attn__sort(int64_t *index, int64_t n, attn__less_fn less, const void *user);

/* ---- archive.c --------------------------------------------------------------------------- */

typedef struct attn__entry {
    const char *name;
    attn_tensor tensor; /* data points into the archive's bytes or into its arena */
    size_t size;        /* bytes of data */
    bool swap;          /* data is in the other byte order until finish */
} attn__entry;

struct attn_archive {
    attn__arena arena;
    uint8_t *bytes; /* the file */
    size_t n_bytes, capacity;
    attn__entry *entries;
    int64_t n, room;
    int64_t *by_name;
};

/* A dense tensor of this shape, data not set yet, with its size in bytes. Checks rank, dims and
 * every product. */
attn_status attn__layout(attn_dtype dtype, int rank, const int64_t *shape, bool fortran,
                         const char *where, attn__entry *entry, attn_error *error);
/* Copies the entry; its name must live in the arena. */
attn_status attn__archive_add(attn_archive *archive, const attn__entry *entry,
                              attn_error *error);
/* After the last entry: names are unique, data is aligned and in host order, bools are 0 or 1.
 */
attn_status attn__archive_finish(attn_archive *archive, attn_error *error);

/* ---- format.c: the table of formats ------------------------------------------------------ */

typedef struct attn__sink attn__sink;

/* What a writer is asked to write; everything in it has been checked. */
typedef struct attn__job {
    const attn_ctx *ctx;
    int64_t n;
    const char *const *names;
    const attn_tensor *tensors;
    const attn_save_options *options;
} attn__job;

typedef struct attn__format {
    attn_format id;
    const char *suffix;
    bool many; /* holds any number of named tensors, not exactly one */
    attn_status (*read)(attn_archive *archive, attn_error *error);
    attn_status (*write)(attn__sink *sink, const attn__job *job, attn_error *error);
} attn__format;

#define FORMAT(NAME, name, suffix, many)                                                       \
    attn_status attn__##name##_read(attn_archive *archive, attn_error *error);                 \
    attn_status attn__##name##_write(attn__sink *sink, const attn__job *job, attn_error *error);
#include "io/format.def"
#undef FORMAT

/* path may be NULL when format is not AUTO. */
attn_status attn__format_find(const attn__format **found, attn_format format, const char *path,
                              attn_error *error);

/* ---- file_read.c, file_write.c: the system ---------------------------------------------- */

/* The sentence for an errno, static. */
const char *attn__errno_text(int number);
attn_status attn__fail_file(attn_error *error, const char *what, const char *path);
/* All bytes of a file or pipe, for attn__delete(ctx, *bytes, *capacity). */
attn_status attn__file_read(const attn_ctx *ctx, const char *path, uint8_t **bytes, size_t *n,
                            size_t *capacity, attn_error *error);

typedef struct attn__file {
    const char *path;     /* as the caller wrote it */
    char target[4096];    /* with symbolic links followed */
    char temp[4096 + 64]; /* "" when writing directly */
    int fd;
} attn__file;

attn_status attn__file_create(attn__file *file, const char *path, attn_error *error);
/* Syncs and renames; on failure it has cleaned up as abandon does. */
attn_status attn__file_commit(attn__file *file, attn_error *error);
void attn__file_abandon(attn__file *file);

/* ---- crc.c ------------------------------------------------------------------------------- */

typedef struct attn__crc {
    uint32_t table[8][256];
} attn__crc;

void attn__crc_init(attn__crc *crc);
/* The CRC-32 of zip over bytes, going on from value (0 at the start). */
uint32_t attn__crc_run(const attn__crc *crc, uint32_t value, const uint8_t *p, size_t n);

/* ---- sink.c: where writers put bytes ---------------------------------------------------- */

struct attn__sink {
    int fd;               /* -1: into memory, or nowhere */
    uint8_t *memory;      /* NULL, or room for all that will be put */
    const attn__crc *crc; /* NULL: no checksum */
    uint32_t sum;
    uint64_t n;       /* bytes put so far */
    int error_number; /* the first errno; later puts do nothing */
    size_t used;
    uint8_t buffer[8192];
};

void attn__sink_init(attn__sink *sink, int fd);
void attn__sink_put(attn__sink *sink, const void *bytes, size_t n);
void attn__sink_text(attn__sink *sink, const char *text);
void attn__sink_fill(attn__sink *sink, char c, size_t n);
void attn__sink_number(attn__sink *sink, uint64_t value);
/* The elements of t in row-major order, little-endian. */
void attn__sink_tensor(attn__sink *sink, const attn_tensor *t);
bool attn__sink_flush(attn__sink *sink); /* false when anything failed */

/* ---- npy.c, npy_write.c ----------------------------------------------------------------- */

/* One npy file of n bytes at p, memory of the archive, as an entry called name. */
attn_status attn__npy_parse(attn_archive *archive, const char *name, uint8_t *p, size_t n,
                            attn_error *error);
/* The header of a dense tensor at p (ATTN__NPY_HEADER_ROOM bytes); its length, 0 when npy has
 * no such element type. */
size_t attn__npy_header(uint8_t *p, const attn_tensor *t);
attn_status attn__npy_fail_dtype(const char *name, attn_error *error);

/* ---- npz.c, npz_write.c ----------------------------------------------------------------- */

/* Refuses a name that is an absolute path or has a ".." part. */
attn_status attn__npz_check_name(const char *name, attn_error *error);

/* ---- inflate.c -------------------------------------------------------------------------- */

/* Raw deflate: n bytes at in must give exactly out_size bytes and be used up. */
attn_status attn__inflate(const uint8_t *in, size_t n, uint8_t *out, size_t out_size,
                          attn_error *error);

/* ---- zip.c: the members of a zip file, in order ------------------------------------------ */

enum {
    ATTN__ZIP_LOCAL = 0x04034b50,
    ATTN__ZIP_CENTRAL = 0x02014b50,
    ATTN__ZIP_END = 0x06054b50,
    ATTN__ZIP_END64 = 0x06064b50,
    ATTN__ZIP_LOCATOR = 0x07064b50,
    ATTN__ZIP_DESCRIPTOR = 0x08074b50,
    ATTN__ZIP_LOCAL_SIZE = 30,
    ATTN__ZIP_CENTRAL_SIZE = 46,
    ATTN__ZIP_END_SIZE = 22,
    ATTN__ZIP_END64_SIZE = 56,
    ATTN__ZIP_LOCATOR_SIZE = 20,
    ATTN__ZIP_STORED = 0,
    ATTN__ZIP_DEFLATED = 8,
    ATTN__ZIP_DESCRIBED = 1 << 3, /* flag: sizes follow the data */
    ATTN__ZIP_UTF8 = 1 << 11      /* flag */
};

typedef struct attn__zip_member {
    const uint8_t *name;
    size_t n_name;
    unsigned flags, method;
    uint32_t crc;
    uint64_t packed, size; /* bytes in the file and unpacked */
    uint64_t local, data;  /* offsets of its header and its bytes */
} attn__zip_member;

typedef struct attn__zip {
    const uint8_t *bytes;
    uint64_t count;                    /* of members */
    uint64_t directory, end;           /* offsets of the central directory and of its end */
    uint64_t next_central, next_local; /* where the next member must stand */
} attn__zip;

attn_status attn__zip_open(attn__zip *zip, const uint8_t *bytes, size_t n, attn_error *error);
attn_status attn__zip_next(attn__zip *zip, attn__zip_member *member, attn_error *error);
/* After the last member: nothing is left over. */
attn_status attn__zip_close(const attn__zip *zip, attn_error *error);

/* ---- json.c: one token at a time -------------------------------------------------------- */

typedef enum attn__json_kind {
    ATTN__JSON_BAD, /* see what */
    ATTN__JSON_END, /* the text is over and was complete */
    ATTN__JSON_OBJECT,
    ATTN__JSON_OBJECT_END,
    ATTN__JSON_ARRAY,
    ATTN__JSON_ARRAY_END,
    ATTN__JSON_KEY,
    ATTN__JSON_STRING,
    ATTN__JSON_INTEGER, /* without sign, fraction and exponent, fits int64: integer */
    ATTN__JSON_NUMBER,  /* any other number */
    ATTN__JSON_TRUE,
    ATTN__JSON_FALSE,
    ATTN__JSON_NULL
} attn__json_kind;

enum { ATTN__JSON_DEPTH = 4 };

typedef struct attn__json {
    const uint8_t *p, *end;
    const char *what; /* the rule that was broken */
    int depth, state;
    bool array[ATTN__JSON_DEPTH]; /* which containers are open */
    const uint8_t *text;          /* of a key or string, between the quotes, escapes and all */
    size_t length;
    int64_t integer;
} attn__json;

/* The n bytes must live as long as the reader. */
void attn__json_init(attn__json *json, const uint8_t *bytes, size_t n);
attn__json_kind attn__json_next(attn__json *json);
/* The last key or string without its escapes, at most room bytes; returns the whole length,
 * which is never more than json->length. */
size_t attn__json_decode(const attn__json *json, char *out, size_t room);

/* ---- protobuf.c: the wire, one field at a time ------------------------------------------ */

typedef enum attn__wire {
    ATTN__WIRE_VARINT = 0,
    ATTN__WIRE_64 = 1,
    ATTN__WIRE_BYTES = 2,
    ATTN__WIRE_32 = 5
} attn__wire;

typedef struct attn__span {
    const uint8_t *p, *end;
} attn__span;

typedef struct attn__field {
    uint32_t number; /* 0: the message is over */
    attn__wire wire;
    uint64_t value;   /* VARINT, 64, 32 */
    attn__span bytes; /* BYTES */
} attn__field;

attn_status attn__pb_varint(attn__span *in, uint64_t *value, const char *where,
                            attn_error *error);
attn_status attn__pb_next(attn__span *in, attn__field *field, const char *where,
                          attn_error *error);
/* E_FORMAT unless the field came as wire. */
attn_status attn__pb_expect(const attn__field *field, attn__wire wire, const char *where,
                            attn_error *error);
/* A string field as a name in the arena. */
attn_status attn__pb_name(attn__arena *arena, const attn__field *field, const char **name,
                          const char *where, attn_error *error);

#endif
