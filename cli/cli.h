/* SPDX-License-Identifier: MIT
 * The command line's private door. A command is one constant: its story, its table of options
 * and one function. Parser, help, manual page and completion all read these tables.
 *
 * Standard output carries the result alone, standard error everything else. */
#ifndef ATTN_CLI_H
#define ATTN_CLI_H

#include "attn.h"

#include <stdio.h>

/* ---- report.c: exit codes, and one sentence on standard error ------------------------- */

enum cli_exit {
#define EXIT(name, number, about) CLI_##name = number,
#include "exits.def"
#undef EXIT
};

typedef struct cli_exit_row {
    int code;
    const char *about;
} cli_exit_row;
const cli_exit_row *cli_exits(void); /* ends with about NULL */

int cli_exit_of(attn_status status);
/* "attn: ..." and a newline; returns code. */
int cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "attn: subject: what the library said."; subject NULL: left out. */
int cli_fail_error(const char *subject, const attn_error *error);
/* The same for a file that was read: what the system refuses is a bad file here. */
int cli_fail_input(const char *path, const attn_error *error);

/* ---- nearest.c: did you mean --------------------------------------------------------- */

/* Name i of a table, NULL past its end. */
typedef const char *(*cli_name_fn)(const void *table, int i);
const char *cli_nearest(const char *word, cli_name_fn name, const void *table);
/* "attn: unknown KIND 'WORD'. Did you mean 'NAME'?"; returns CLI_USAGE. */
int cli_unknown(const char *kind, const char *word, cli_name_fn name, const void *table);
const char *cli_slot_name(const void *mech, int i); /* these serve as cli_name_fn */
const char *cli_param_name(const void *mech, int i);
const char *cli_mech_name(const void *unused, int i);

/* ---- option.c: the parser ------------------------------------------------------------ */

typedef struct cli_option {
    const char *name; /* "threads": --threads */
    char letter;      /* 't': -t; 0: none */
    char kind;        /* 'b' flag, 's' text, 'm' text that may stand several times,
                         'i' integer, 'f' number */
    const char *value, *fallback, *about; /* "N"; the default or NULL; one line */
} cli_option;

#define CLI_THREADS                                                                            \
    {                                                                                          \
        "threads", 't', 'i', "N", "0", "threads; 0: every CPU"                                 \
    }
#define CLI_ISA                                                                                \
    {                                                                                          \
        "isa", 0, 's', "NAME", NULL, "only this kernel table, see 'attn info'"                 \
    }
#define CLI_DTYPE                                                                              \
    {                                                                                          \
        "dtype", 0, 's', "TYPE", "f32", "f64 f32 bf16 or f16"                                  \
    }
#define CLI_LAST                                                                               \
    {"json", 0, 'b', NULL, NULL, "JSON Lines on standard output"},                             \
        {"help", 'h', 'b', NULL, NULL, "show this help"},                                      \
    {                                                                                          \
        0                                                                                      \
    }

typedef struct cli_given {
    const cli_option *option;
    const char *value;
} cli_given;

typedef struct cli_args cli_args;

typedef struct cli_command {
    const char *name, *operands; /* "NAME [IN...]" */
    const char *about;           /* one line */
    const char *details;         /* paragraphs, lines of at most 78 characters, or NULL */
    const char *const *examples; /* what follows "attn", ends with NULL */
    const char *complete;        /* words or one of: <mechanism> <command> <file> <directory> */
    const cli_option *options;   /* ends with CLI_LAST */
    int least, most;             /* operands; most -1: any number */
    int (*run)(const cli_args *args);
} cli_command;

struct cli_args {
    const cli_command *command;
    const char **operands;
    cli_given *given;
    int n_operands, n_given;
};

/* Fills args from argv; 0, or an exit code after a message. args is always destroyable. */
int cli_args_init(cli_args *args, const cli_command *command, int argc, char **argv);
void cli_args_destroy(cli_args *args);
bool cli_flag(const cli_args *args, const char *name);
const char *cli_text(const cli_args *args, const char *name); /* last one, default or NULL */
/* Walks the values of a repeatable option: start with *at = 0; NULL at the end. */
const char *cli_each(const cli_args *args, const char *name, int *at);
int64_t cli_integer(const cli_args *args, const char *name);
double cli_number(const cli_args *args, const char *name);
/* A context by --threads and --isa; 0 or an exit code after a message. */
int cli_context(const cli_args *args, attn_ctx **ctx);
int cli_context_with(const cli_args *args, int64_t threads, attn_ctx **ctx);
int cli_dtype(const cli_args *args, attn_dtype *dtype); /* by --dtype, float types only */

/* ---- main.c, help.c, man.c ----------------------------------------------------------- */

const cli_command *cli_command_at(int i); /* NULL past the end */
const cli_command *cli_command_find(const char *name);
int cli_unknown_command(const char *name);
void cli_overview(FILE *to);
void cli_help(const cli_command *command, FILE *to);
void cli_usage(const cli_command *command, FILE *to);                 /* six lines */
void cli_option_text(const cli_option *option, char *text, size_t n); /* "-t, --threads N" */
void cli_man(FILE *to);

/* ---- json.c -------------------------------------------------------------------------- */

typedef struct cli_json {
    FILE *to;
    bool follows; /* the next member needs a comma */
} cli_json;

cli_json cli_json_begin(const char *schema); /* on stdout: {"schema":"attn.<schema>/1" */
void cli_json_end(cli_json *json);           /* } and a newline */
void cli_json_open(cli_json *json, const char *key, char bracket); /* key NULL inside arrays */
void cli_json_close(cli_json *json, char bracket);
void cli_json_text(cli_json *json, const char *key, const char *text); /* NULL: null */
void cli_json_number(cli_json *json, const char *key, double x);       /* NaN, inf: null */
void cli_json_integer(cli_json *json, const char *key, int64_t x);
void cli_json_bool(cli_json *json, const char *key, bool x);

/* ---- array.c: tensors of our own ----------------------------------------------------- */

/* A dense tensor filled with zero; absent when there is no memory or the size does not fit. */
attn_tensor cli_array_new(attn_dtype dtype, int rank, const int64_t *shape);
void cli_array_free(attn_tensor *t);
double cli_array_get(attn_tensor t, int64_t i); /* element i in row-major order; any strides */
void cli_array_normal(attn_tensor t, uint64_t seed); /* standard normal, by seed and index */
double cli_uniform(uint64_t seed, uint64_t i);       /* in (0, 1) */

/* ---- shape.c: shape strings, to make data for any mechanism -------------------------- */

typedef struct cli_sizes {
    int64_t of[26]; /* by letter */
} cli_sizes;

/* Those of the mechanism's table; every other letter 4. */
void cli_sizes_init(cli_sizes *sizes, const attn_mech *mech);
/* "B=1,T=8": 0, or an exit code after a message. */
int cli_sizes_parse(cli_sizes *sizes, const char *text);
int cli_sizes_shape(const cli_sizes *sizes, const char *shape, int64_t *dims); /* the rank */
/* Required inputs that are absent, filled with normal numbers. False without memory. */
bool cli_slots_fill(const attn_mech *mech, const cli_sizes *sizes, uint64_t seed,
                    attn_tensor *slots);

/* ---- context.c ----------------------------------------------------------------------- */

bool cli_color(FILE *to); /* a terminal, and neither NO_COLOR nor TERM=dumb */

/* ---- measure.c: clocks and this machine's ceilings ----------------------------------- */

enum { CLI_MEASURE_THREADS = 256 };
double cli_seconds(void);                     /* monotonic */
int cli_measure_threads(const attn_ctx *ctx); /* as many as the arrays of a measurement hold */
/* body(args[i]) for all i < n at once, the last one here; the seconds it took. */
double cli_measure_together(void (*body)(void *), void *const *args, int n);
double cli_measure_fma(const attn_ctx *ctx); /* f32 multiply-adds as flop/s, all threads */

/* ---- measure_read.c ------------------------------------------------------------------ */

typedef struct cli_reader {
    attn_tensor buffer;  /* 256 MiB, or 8 times the last cache */
    int64_t n, n_cached; /* floats: all, and those that stay in the last cache */
} cli_reader;

bool cli_reader_init(cli_reader *reader); /* false without memory; to be destroyed anyway */
void cli_reader_destroy(cli_reader *reader);
/* Bytes read a second by all threads of ctx; 0 without memory. */
double cli_measure_memory(const cli_reader *reader, const attn_ctx *ctx);
double cli_measure_cache(const cli_reader *reader, const attn_ctx *ctx);

#endif
