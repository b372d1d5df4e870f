/* SPDX-License-Identifier: MIT
 * A whole file into memory. The size a file claims is only a hint: bytes are read until the end
 * comes, so pipes work, short reads are continued, and a file that changes its size meanwhile
 * is seen as what was read. Nothing is mapped, so a file cut short later cannot fault. */
#define _POSIX_C_SOURCE 200809L
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What comes without a size (a pipe, a device) may be endless. */
static const size_t stream_limit =
    SIZE_MAX < (uint64_t)1 << 32 ? SIZE_MAX / 2 : (size_t)1 << 32;

const char *attn__errno_text(int number)
{
    static const struct {
        int number;
        const char *text;
    } texts[] = {{ENOENT, "no such file or directory"},
                 {EACCES, "permission denied"},
                 {EPERM, "operation not permitted"},
                 {EISDIR, "is a directory"},
                 {ENOTDIR, "a part of the path is not a directory"},
                 {ENOSPC, "no space left on the device"},
                 {EDQUOT, "the disk quota is used up"},
                 {EFBIG, "the file grew over a limit"},
                 {EROFS, "the file system is read-only"},
                 {EMFILE, "too many open files"},
                 {ENFILE, "too many open files in the system"},
                 {ENAMETOOLONG, "the path is too long"},
                 {ELOOP, "too many symbolic links"},
                 {EPIPE, "nobody reads the other end"},
                 {EIO, "the device reports an error"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].number == number) return texts[i].text;
    return "the system refused";
}

attn_status attn__fail_file(attn_error *error, const char *what, const char *path)
{
    size_t n = strlen(path);
    if (n > 63) path += n - 63; /* the end tells more */
    while ((*path & 0xC0) == 0x80) path++;
    return attn__fail_name(error, ATTN_E_IO, "file", what, path);
}

typedef struct reading {
    const attn_ctx *ctx;
    uint8_t *bytes;
    size_t n, capacity;
    bool sized; /* a regular file: the disk bounds it */
} reading;

/* Room for at least one byte more. */
static attn_status read_grow(reading *r, attn_error *error)
{
    if (r->n < r->capacity) return ATTN_OK;
    if (!r->sized && r->capacity >= stream_limit)
        return attn__fail(error, ATTN_E_LIMIT, "file", "the stream is too long to hold");
    size_t twice;
    if (!attn__mul_size(r->capacity, 2, &twice))
        return attn__fail(error, ATTN_E_MEMORY, "file", "contents");
    uint8_t *more = attn__new(r->ctx, twice);
    if (!more) return attn__fail(error, ATTN_E_MEMORY, "file", "contents");
    memcpy(more, r->bytes, r->n);
    attn__delete(r->ctx, r->bytes, r->capacity);
    r->bytes = more;
    r->capacity = twice;
    return ATTN_OK;
}

static attn_status read_all(reading *r, int fd, const char *path, attn_error *error)
{
    for (;;) {
        ATTN_TRY(read_grow(r, error));
        size_t want = r->capacity - r->n, most = (size_t)1 << 30;
        ssize_t got = read(fd, r->bytes + r->n, want < most ? want : most);
        if (got == 0) return ATTN_OK;
        if (got > 0)
            r->n += (size_t)got;
        else if (errno != EINTR)
            return attn__fail_file(error, attn__errno_text(errno), path);
    }
}

static attn_status read_start(reading *r, int fd, const char *path, attn_error *error)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return attn__fail_file(error, attn__errno_text(errno), path);
    r->sized = S_ISREG(st.st_mode);
    /* One byte more than the size lets the end be seen without growing. */
    r->capacity = r->sized && st.st_size > 4095 ? (size_t)st.st_size + 1 : 4096;
    r->bytes = attn__new(r->ctx, r->capacity);
    if (!r->bytes) return attn__fail(error, ATTN_E_MEMORY, "file", "contents");
    return read_all(r, fd, path, error);
}

attn_status attn__file_read(const attn_ctx *ctx, const char *path, uint8_t **bytes, size_t *n,
                            size_t *capacity, attn_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return attn__fail_file(error, attn__errno_text(errno), path);
    reading r = {.ctx = ctx};
    attn_status status = read_start(&r, fd, path, error);
    close(fd);
    if (status != ATTN_OK) {
        attn__delete(ctx, r.bytes, r.capacity);
        return status;
    }
    *bytes = r.bytes;
    *n = r.n;
    *capacity = r.capacity;
    return ATTN_OK;
}
