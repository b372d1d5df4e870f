/* SPDX-License-Identifier: MIT
 * The parts of `attn compute`: files to slots, outputs, outputs to files. */
#ifndef ATTN_CLI_COMPUTE_H
#define ATTN_CLI_COMPUTE_H

#include "cli.h"

enum { COMPUTE_FILES = 64 };

/* One tensor per slot of the mechanism; from names the file it came from. */
typedef struct compute_set {
    const attn_mech *mech;
    attn_tensor slots[ATTN_MAX_SLOTS];
    attn_value params[ATTN_MAX_PARAMS];
    const char *from[ATTN_MAX_SLOTS];
    bool owned[ATTN_MAX_SLOTS], wanted[ATTN_MAX_SLOTS];
    attn_archive *archives[COMPUTE_FILES];
    int n_archives;
} compute_set;

/* "q=path": the slot, and *path behind the '='; -1: no such form; -2: unknown, said so. */
int compute_split(const compute_set *set, const char *text, const char **path);

/* ---- input.c: 0, or an exit code after a message --------------------------------------------
 */

int compute_load(compute_set *set, const char *operand, bool extra_ok);

/* ---- output.c -------------------------------------------------------------------------------
 */

int compute_check_outputs(compute_set *set, const cli_args *args); /* marks what -o wants */
int compute_save(const compute_set *set, const cli_args *args);
void compute_show(const char *name, attn_tensor t); /* on standard output, as text */
void compute_show_json(cli_json *json, attn_tensor t);

/* ---- deflate.c ------------------------------------------------------------------------------
 */

attn_deflate_fn compute_deflate(void); /* NULL: this build cannot compress */

#endif
