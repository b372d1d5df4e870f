/* SPDX-License-Identifier: MIT
 * A file that is there whole or not at all: written beside its place under a temporary name,
 * synced, renamed, and the directory synced. What is no regular file (a pipe, a terminal,
 * /dev/stdout) cannot be replaced and is written directly. */
#define _DEFAULT_SOURCE
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof((attn__file *)0)->target >= PATH_MAX, "realpath writes up to PATH_MAX");

/* The name of an open descriptor as a path: replacing what stands behind it would cut off
 * everyone else who holds it. */
static bool file_is_descriptor(const char *path, mode_t mode)
{
    static const char *const places[] = {"/dev/std", "/dev/fd/", "/proc/"};
    for (size_t i = 0; S_ISLNK(mode) && i < sizeof places / sizeof *places; i++)
        if (strncmp(path, places[i], strlen(places[i])) == 0) return true;
    return false;
}

static attn_status file_direct(attn__file *file, attn_error *error)
{
    file->temp[0] = 0;
    file->fd = open(file->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
    if (file->fd < 0) return attn__fail_file(error, attn__errno_text(errno), file->path);
    return ATTN_OK;
}

/* Fills file->target, the place that will be renamed to, following a symbolic link. */
static attn_status file_resolve(attn__file *file, mode_t mode, attn_error *error)
{
    size_t n = strlen(file->path);
    if (S_ISLNK(mode)) {
        if (realpath(file->path, file->target)) return ATTN_OK;
        return attn__fail_file(error, attn__errno_text(errno), file->path);
    }
    if (n >= sizeof file->target)
        return attn__fail_file(error, attn__errno_text(ENAMETOOLONG), file->path);
    memcpy(file->target, file->path, n + 1);
    return ATTN_OK;
}

/* The length of the directory part with its slash; 0 for a bare name. */
static size_t file_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

static void file_temp_name(attn__file *file, unsigned attempt)
{
    size_t n = file_directory(file->target);
    memcpy(file->temp, file->target, n);
    memcpy(file->temp + n, ".attn-", 6);
    n += 6;
    n += attn__decimal(file->temp + n, (uint64_t)getpid());
    file->temp[n++] = '-';
    n += attn__decimal(file->temp + n, attempt);
    memcpy(file->temp + n, ".tmp", 5);
}

static attn_status file_open_temp(attn__file *file, attn_error *error)
{
    for (unsigned attempt = 0; attempt < 1000; attempt++) {
        file_temp_name(file, attempt);
        file->fd = open(file->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->fd >= 0) return ATTN_OK;
        if (errno != EEXIST) break;
    }
    file->temp[0] = 0;
    return attn__fail_file(error, attn__errno_text(errno), file->path);
}

attn_status attn__file_create(attn__file *file, const char *path, attn_error *error)
{
    struct stat st;
    *file = (attn__file){.path = path, .fd = -1};
    bool exists = lstat(path, &st) == 0;
    mode_t mode = exists ? st.st_mode : S_IFREG;
    if (file_is_descriptor(path, mode)) return file_direct(file, error);
    ATTN_TRY(file_resolve(file, mode, error));
    exists = stat(path, &st) == 0;
    if (exists && !S_ISREG(st.st_mode)) return file_direct(file, error);
    ATTN_TRY(file_open_temp(file, error));
    /* A file that is replaced keeps who may read it. */
    if (exists && fchmod(file->fd, st.st_mode & 0777) != 0) {
        attn__fail_file(error, attn__errno_text(errno), path);
        attn__file_abandon(file);
        return ATTN_E_IO;
    }
    return ATTN_OK;
}

void attn__file_abandon(attn__file *file)
{
    if (file->fd >= 0) close(file->fd);
    file->fd = -1;
    if (file->temp[0]) unlink(file->temp);
    file->temp[0] = 0;
}

/* A directory that cannot be opened or synced on this file system is not a failure of the data;
 * a device error is. */
static bool file_sync_directory(const attn__file *file)
{
    char directory[sizeof file->target];
    size_t n = file_directory(file->target);
    memcpy(directory, n ? file->target : ".", n ? n : 1);
    directory[n ? n : 1] = 0;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return true;
    bool synced = fsync(fd) == 0 || errno != EIO;
    int number = errno;
    close(fd);
    errno = number;
    return synced;
}

static bool file_settle(attn__file *file)
{
    bool direct = !file->temp[0];
    if (!direct && fsync(file->fd) != 0) return false;
    int closed = close(file->fd);
    file->fd = -1;
    if (closed != 0 && errno != EINTR) return false;
    if (direct) return true;
    if (rename(file->temp, file->target) != 0) return false;
    file->temp[0] = 0;
    return file_sync_directory(file);
}

attn_status attn__file_commit(attn__file *file, attn_error *error)
{
    if (file_settle(file)) return ATTN_OK;
    attn__fail_file(error, attn__errno_text(errno), file->path);
    attn__file_abandon(file);
    return ATTN_E_IO;
}
