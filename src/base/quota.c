/* SPDX-License-Identifier: MIT
 * The CPU time that control groups grant this process, as a number of CPUs. Containers are
 * limited this way; starting one thread per visible CPU inside one makes them wait for each
 * other.
 *
 * /proc/self/cgroup has lines "id:controllers:path". In version 2 (no controllers) the limit is
 * the file cpu.max, "quota period" or "max period"; in version 1 (controllers include cpu) it
 * is cpu.cfs_quota_us, -1 for none, and cpu.cfs_period_us. Every ancestor limits too. */
#define _POSIX_C_SOURCE 200809L

#include "base/base.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { QUOTA_PATH = 4096, QUOTA_FILE = 8192 };

/* The first n - 1 bytes of a file as text; false when it cannot be read. */
static bool quota_read(const char *path, char *text, size_t n)
{
    size_t used = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    for (;;) {
        ssize_t got = read(file, text + used, n - 1 - used);
        if (got <= 0) break;
        used += (size_t)got;
    }
    close(file);
    text[used] = 0;
    return used > 0;
}

static bool quota_read_in(const char *dir, const char *name, char *text, size_t n)
{
    char path[QUOTA_PATH];
    int length = snprintf(path, sizeof path, "%s/%s", dir, name);
    return length > 0 && (size_t)length < sizeof path && quota_read(path, text, n);
}

/* Microseconds per period, rounded up to whole CPUs; text like "max", "-1" or rubbish: no
 * limit. */
static int quota_cpus(const char *quota, const char *period)
{
    long long granted = strtoll(quota, NULL, 10), every = strtoll(period, NULL, 10);
    if (granted <= 0 || every <= 0) return INT_MAX;
    long long cpus = granted / every + (granted % every != 0);
    return cpus < INT_MAX ? (int)cpus : INT_MAX;
}

static int quota_of_v2(const char *dir)
{
    char text[128];
    if (!quota_read_in(dir, "cpu.max", text, sizeof text)) return INT_MAX;
    const char *period = strchr(text, ' ');
    return period ? quota_cpus(text, period) : INT_MAX;
}

static int quota_of_v1(const char *dir)
{
    char quota[64], period[64];
    bool known = quota_read_in(dir, "cpu.cfs_quota_us", quota, sizeof quota) &&
                 quota_read_in(dir, "cpu.cfs_period_us", period, sizeof period);
    return known ? quota_cpus(quota, period) : INT_MAX;
}

/* The least of a group and its ancestors: base itself, then each longer prefix of path. Inside
 * a container the path may be the one outside; then only base is there, and right. */
static int quota_walk(const char *base, const char *path, int (*of)(const char *dir))
{
    char dir[QUOTA_PATH];
    int length = snprintf(dir, sizeof dir, "%s%s", base, path);
    if (length < 0 || (size_t)length >= sizeof dir) return of(base);
    int least = INT_MAX;
    size_t top = strlen(base);
    for (;;) {
        least = (int)attn__min(least, of(dir));
        char *slash = strrchr(dir + top, '/');
        if (!slash) return least;
        *slash = 0;
    }
}

static bool quota_lists_cpu(const char *controllers)
{
    for (const char *p = controllers; *p;) {
        size_t n = strcspn(p, ",");
        if (n == 3 && strncmp(p, "cpu", n) == 0) return true;
        p += n + (p[n] == ',');
    }
    return false;
}

/* One line "id:controllers:path" of self, cut into its fields in place. */
static int quota_line(char *line, const char *root)
{
    char base[QUOTA_PATH];
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path || path[1] != '/') return INT_MAX;
    *controllers++ = 0;
    *path++ = 0;
    if (!*controllers) return quota_walk(root, path, quota_of_v2);
    if (!quota_lists_cpu(controllers)) return INT_MAX;
    int length = snprintf(base, sizeof base, "%s/%s", root, controllers);
    return length > 0 && (size_t)length < sizeof base ? quota_walk(base, path, quota_of_v1)
                                                      : INT_MAX;
}

int attn__cpu_quota(const char *self, const char *root)
{
    char text[QUOTA_FILE];
    int least = INT_MAX;
    if (!quota_read(self, text, sizeof text)) return INT_MAX;
    for (char *line = text; *line;) {
        char *end = line + strcspn(line, "\n");
        char *next = *end ? end + 1 : end;
        *end = 0;
        least = (int)attn__min(least, quota_line(line, root));
        line = next;
    }
    return least;
}
