/* SPDX-License-Identifier: MIT
 * The parts of `attn compute`: files to slots, outputs, outputs to files. */
#ifndef ATTN_CLI_COMPUTE_H
#define ATTN_CLI_COMPUTE_H

#include "cli.h"

enum { COMPUTE_FILES = 64 };

enum { COMPUTE_ENTRIES = 2 * ATTN_MAX_SLOTS };

/* One tensor per slot of the mechanism, and behind those the gradient d_<slot> of each, which
 * is an entry when gradients are asked for; from names the file it came from. */
typedef struct compute_set {
    const attn_mech *mech;
    bool grad, random; /* --grad; --random fills what is not given */
    attn_tensor slots[COMPUTE_ENTRIES];
    attn_value params[ATTN_MAX_PARAMS];
    const char *from[COMPUTE_ENTRIES];
    bool owned[COMPUTE_ENTRIES], wanted[COMPUTE_ENTRIES];
    char names[COMPUTE_ENTRIES][48]; /* "" where there is no entry */
    attn_archive *archives[COMPUTE_FILES];
    int n_archives;
} compute_set;

/* ---- entry.c ----------------------------------------------------------------------------- */

void compute_entries(compute_set *set);                           /* names, by mech and grad */
const attn_slot *compute_slot(const compute_set *set, int entry); /* the one it belongs to */
bool compute_output(const compute_set *set, int entry);           /* gradients of inputs too */
int compute_entry(const compute_set *set, const char *name);      /* -1: none */
/* For cli_nearest: table is the set. */
const char *compute_name(const void *set, int i);
/* What a name that is no entry has to do with gradients, a clause; NULL: nothing. */
const char *compute_why(const compute_set *set, const char *name);
/* Says that, or that the name is unknown; returns CLI_USAGE. */
int compute_unknown(const compute_set *set, const char *kind, const char *name);
/* "q=path": the entry, and *path behind the '='; -1: no such form; -2: unknown, said so. */
int compute_split(const compute_set *set, const char *text, const char **path);

/* ---- input.c: 0, or an exit code after a message ---------------------------------------- */

int compute_load(compute_set *set, const char *operand, bool extra_ok);

/* ---- output.c --------------------------------------------------------------------------- */

int compute_check_outputs(compute_set *set, const cli_args *args); /* marks what -o wants */
int compute_save(const compute_set *set, const cli_args *args);
void compute_show(const char *name, attn_tensor t); /* on standard output, as text */
void compute_show_json(cli_json *json, attn_tensor t);

/* ---- deflate.c -------------------------------------------------------------------------- */

attn_deflate_fn compute_deflate(void); /* NULL: this build cannot compress */

#endif
