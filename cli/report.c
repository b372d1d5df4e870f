/* SPDX-License-Identifier: MIT
 * How the command says no: one sentence on standard error and an exit code by table. */
#include "cli.h"

#include <stdarg.h>
#include <string.h>

static const cli_exit_row report_exits[] = {
#define EXIT(name, number, about) {number, about},
#include "exits.def"
#undef EXIT
    {0}};

static const struct {
    attn_status status;
    int code;
} report_codes[] = {
#define ON(status, name) {ATTN_##status, CLI_##name},
#include "exits.def"
#undef ON
};

const cli_exit_row *cli_exits(void)
{
    return report_exits;
}

int cli_exit_of(attn_status status)
{
    for (size_t i = 0; i < sizeof report_codes / sizeof report_codes[0]; i++)
        if (report_codes[i].status == status) return report_codes[i].code;
    return CLI_RUNTIME;
}

int cli_fail(int code, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fputs("attn: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    return code;
}

/* What is said of a file as a whole names it; the subject has done that. */
static attn_error report_of_file(attn_error error)
{
    if (strcmp(error.where, "file") == 0 || strcmp(error.where, "path") == 0) {
        error.where = "";
        error.name[0] = '\0';
    }
    return error;
}

int cli_fail_error(const char *subject, const attn_error *error)
{
    char text[512];
    attn_error told = subject ? report_of_file(*error) : *error;
    attn_error_text(&told, text, sizeof text);
    return cli_fail(cli_exit_of(error->status), "%s%s%s.", subject ? subject : "",
                    subject ? ": " : "", text);
}

int cli_fail_input(const char *path, const attn_error *error)
{
    int code = cli_fail_error(path, error);
    bool ours = error->status == ATTN_E_MEMORY || error->status == ATTN_E_UNSUPPORTED;
    return ours ? code : CLI_FILE;
}
