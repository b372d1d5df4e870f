/* SPDX-License-Identifier: MIT
 * Every file of tests/hostile (made by tools/make_hostile.py) gets its own answer: the status
 * of the table, a sentence, and no object; some are odd but good, and read well. Nothing in the
 * folder is unknown to the table, and every file is also read from memory of exactly its size.
 */
#define _POSIX_C_SOURCE 200809L
#include "test_io.h"

typedef struct hostile_row {
    const char *file;
    attn_status status;
} hostile_row;

static const hostile_row rows[] = {
#define HOSTILE(file, status) {file, ATTN_##status},
#include "test_io_hostile.def"
#undef HOSTILE
};

enum { N_ROWS = sizeof rows / sizeof *rows };

/* What came of reading one file; at most one of the objects is there. */
typedef struct reading {
    attn_status status;
    attn_error error;
    attn_archive *archive;
    attn_onnx_node *node;
} reading;

/* AUTO stands for a model, which is no archive. */
static attn_format format_of(const char *file)
{
    static const struct {
        const char *suffix;
        attn_format format;
    } formats[] = {{".npy", ATTN_FORMAT_NPY},
                   {".npz", ATTN_FORMAT_NPZ},
                   {".safetensors", ATTN_FORMAT_SAFETENSORS},
                   {".pb", ATTN_FORMAT_PB},
                   {".onnx", ATTN_FORMAT_AUTO}};
    const char *dot = strrchr(file, '.');
    for (size_t i = 0; dot && i < sizeof formats / sizeof *formats; i++)
        if (strcmp(dot, formats[i].suffix) == 0) return formats[i].format;
    fail_msg("%s has an unknown suffix", file);
    return ATTN_FORMAT_AUTO;
}

static reading read_path(const char *path)
{
    reading r = {0};
    if (format_of(path) == ATTN_FORMAT_AUTO)
        r.status = attn_onnx_load(&r.node, NULL, path, &r.error);
    else
        r.status = attn_archive_load(&r.archive, NULL, path, ATTN_FORMAT_AUTO, &r.error);
    return r;
}

static reading read_memory(const char *path)
{
    reading r = {0};
    size_t n;
    uint8_t *bytes = io_slurp(path, &n);
    attn_format format = format_of(path);
    if (format == ATTN_FORMAT_AUTO)
        r.status = attn_onnx_parse(&r.node, NULL, bytes, n, &r.error);
    else
        r.status = attn_archive_parse(&r.archive, NULL, bytes, n, format, &r.error);
    free(bytes);
    return r;
}

static void expect(const hostile_row *row, reading r)
{
    char text[256];
    attn_error_text(&r.error, text, sizeof text);
    if (r.status != row->status)
        fail_msg("%s: expected %s, got %s (%s)", row->file, attn_status_name(row->status),
                 attn_status_name(r.status), text);
    assert_true((r.archive || r.node) == (r.status == ATTN_OK));
    assert_int_equal(r.error.status, r.status);
    assert_true(r.status == ATTN_OK || (r.error.what[0] && r.error.where[0]));
    io_touch(r.archive);
    attn_archive_destroy(r.archive);
    attn_onnx_destroy(r.node);
}

static void test_every_file_gets_its_answer(void **state)
{
    char path[512];
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        expect(&rows[i], read_path(io_hostile(path, rows[i].file)));
        expect(&rows[i], read_memory(path));
    }
}

static void test_no_error_wanted_is_fine(void **state)
{
    char path[512];
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        attn_archive *archive = NULL;
        if (format_of(rows[i].file) == ATTN_FORMAT_AUTO) continue;
        io_hostile(path, rows[i].file);
        assert_int_equal(attn_archive_load(&archive, NULL, path, ATTN_FORMAT_AUTO, NULL),
                         rows[i].status);
        attn_archive_destroy(archive);
    }
}

static void test_folder_holds_only_these(void **state)
{
    char path[512];
    size_t found = 0;
    (void)state;
    DIR *folder = opendir(io_hostile(path, ""));
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        size_t i = 0;
        if (entry->d_name[0] == '.') continue;
        while (i < N_ROWS && strcmp(rows[i].file, entry->d_name) != 0) i++;
        if (i == N_ROWS) fail_msg("%s is not in the table", entry->d_name);
        found++;
    }
    closedir(folder);
    assert_int_equal(found, N_ROWS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_file_gets_its_answer),
        cmocka_unit_test(test_no_error_wanted_is_fine),
        cmocka_unit_test(test_folder_holds_only_these),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
