/* SPDX-License-Identifier: MIT
 * io_copy OUT IN...: loads the tensors of every IN and saves all of them as OUT, formats by
 * name. An npy file's tensor takes the file's name. For io_roundtrip.py. */
#include "attn/io.h"

#include <stdio.h>
#include <string.h>

enum { MAX_FILES = 64, MAX_TENSORS = 1024 };

static const char *names[MAX_TENSORS];
static attn_tensor tensors[MAX_TENSORS];

static int complain(const char *path, const attn_error *e)
{
    char text[256];
    attn_error_text(e, text, sizeof text);
    fprintf(stderr, "%s: %s: %s\n", path, attn_status_name(e->status), text);
    return 1;
}

static const char *label(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    if (name[0]) return name;
    return slash ? slash + 1 : path;
}

int main(int argc, char **argv)
{
    attn_archive *archives[MAX_FILES] = {NULL};
    attn_error e = {0};
    int64_t n = 0;
    int failed = argc < 2 || argc - 2 > MAX_FILES;
    for (int i = 2; i < argc && !failed; i++) {
        attn_archive **a = &archives[i - 2];
        if (attn_archive_load(a, NULL, argv[i], ATTN_FORMAT_AUTO, &e))
            failed = complain(argv[i], &e);
        for (int64_t k = 0; k < attn_archive_count(*a) && n < MAX_TENSORS; k++, n++) {
            names[n] = label(argv[i], attn_archive_name(*a, k));
            tensors[n] = attn_archive_tensor(*a, k);
        }
    }
    if (!failed && attn_archive_save(NULL, argv[1], n, names, tensors, NULL, &e))
        failed = complain(argv[1], &e);
    for (int i = 0; i < MAX_FILES; i++) attn_archive_destroy(archives[i]);
    return failed;
}
