/* SPDX-License-Identifier: MIT
 * A call of a mechanism from the text of a case: sizes, parameters, and which optional slots
 * are left out; inputs by what their slots say they hold. */
#include "gallery_run.h"

#include <stdlib.h>
#include <string.h>

#define MECH(family, name) {#family, #name, NULL, &gallery_oracle_##name},
static const gallery_row gallery_rows[] = {
#include "../src/mech/mechs.def"
};
#undef MECH

void gallery_each(void (*fn)(const gallery_row *row))
{
    const char *only = getenv("ATTN_MECH");
    const int64_t share = test_env_int("ATTN_SHARE", 1); /* slow machines: every so many */
    for (size_t i = 0; i < sizeof gallery_rows / sizeof gallery_rows[0]; i++) {
        gallery_row row = gallery_rows[i];
        row.mech = attn_mech_find(row.name);
        if (!only && share > 1 && (int64_t)i % share != 0) continue;
        if (only && strcmp(only, row.name) != 0 && strcmp(only, row.family) != 0) continue;
        if (!row.mech) fprintf(stderr, "no mechanism is called %s\n", row.name), exit(1);
        fn(&row);
    }
}

/* ---- what oracles ask -------------------------------------------------------------------- */

static int gallery_need(int found, const char *kind, const char *name)
{
    if (found < 0) fprintf(stderr, "an oracle asks for %s '%s'\n", kind, name), exit(1);
    return found;
}

double *gallery_at(const gallery_call *c, const char *slot)
{
    return c->at[gallery_need(attn_mech_slot(c->mech, slot), "slot", slot)];
}

int64_t gallery_size(const gallery_call *c, char letter)
{
    return c->size[letter - 'A'];
}

double gallery_f(const gallery_call *c, const char *param)
{
    return c->params[gallery_need(attn_mech_param(c->mech, param), "parameter", param)].f;
}

int64_t gallery_i(const gallery_call *c, const char *param)
{
    return c->params[gallery_need(attn_mech_param(c->mech, param), "parameter", param)].i;
}

double *gallery_new(const gallery_call *c, int64_t count)
{
    return test_alloc(c->arena, (size_t)(count + 1) * sizeof(double));
}

/* ---- the text of a case ------------------------------------------------------------------ */

static void gallery_sizes(gallery_call *c, const char *text, size_t n)
{
    for (size_t i = 0; i + 2 < n; i++)
        if (text[i] >= 'A' && text[i] <= 'Z' && text[i + 1] == '=')
            c->size[text[i] - 'A'] = strtoll(text + i + 2, NULL, 10);
}

static void gallery_params(gallery_call *c, const char *text, size_t n)
{
    char copy[256] = "", *rest = copy;
    memcpy(copy, text, n < sizeof copy - 1 ? n : sizeof copy - 1);
    for (char *word; (word = strtok_r(rest, ", ", &rest)) != NULL;) {
        char *value = strchr(word, '=');
        gallery_need(value ? 0 : -1, "parameter without a value", word);
        *value++ = 0;
        attn_error error;
        if (attn_mech_set(c->mech, c->params, word, value, &error) != ATTN_OK)
            gallery_need(-1, "parameter of a case", word);
    }
}

static void gallery_leave_out(gallery_draw *d, const char *text)
{
    char copy[512] = "", *rest = copy;
    strncpy(copy, text, sizeof copy - 1);
    for (char *word; (word = strtok_r(rest, ", -", &rest)) != NULL;)
        d->absent[gallery_need(attn_mech_slot(d->call.mech, word), "slot", word)] = true;
}

static void gallery_read(gallery_draw *d, const char *text)
{
    const size_t sizes = strcspn(text, ";");
    gallery_sizes(&d->call, d->call.mech->sizes, strlen(d->call.mech->sizes));
    gallery_sizes(&d->call, text, sizes);
    attn_mech_defaults(d->call.mech, d->call.params);
    if (!text[sizes]) return;
    const char *params = text + sizes + 1;
    const size_t n = strcspn(params, ";");
    gallery_params(&d->call, params, n);
    if (params[n]) gallery_leave_out(d, params + n + 1);
}

/* Letters whose size is a parameter. */
static void gallery_letters(gallery_call *c)
{
    for (int i = 0; c->mech->params[i].name; i++)
        if (c->mech->params[i].letter)
            c->size[c->mech->params[i].letter - 'A'] = c->params[i].i;
}

/* ---- shapes ------------------------------------------------------------------------------ */

/* The dims of a shape string, which is known to be sound. */
static int gallery_shape(const gallery_call *c, const char *shape, int64_t *dims)
{
    int rank = 0;
    for (const char *p = shape; *p;) {
        char *end = (char *)(uintptr_t)p;
        if (*p == ' ' || *p == '*') {
            p++;
            continue;
        }
        int64_t n = strtoll(p, &end, 10);
        if (*end >= 'A' && *end <= 'Z') {
            n = (end == p ? 1 : n) * c->size[*end - 'A'];
            end++;
            if (*end == '+') n += strtoll(end, &end, 10);
        }
        dims[rank++] = n;
        p = end;
    }
    return rank;
}

static int64_t gallery_count(int rank, const int64_t *shape)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    return n;
}

/* ---- values ------------------------------------------------------------------------------ */

int64_t gallery_below(const gallery_draw *d, int i)
{
    int64_t below[ATTN_MAX_RANK] = {4};
    if (d->call.mech->slots[i].below)
        gallery_shape(&d->call, d->call.mech->slots[i].below, below);
    return below[0];
}

static void gallery_fill(gallery_draw *d, int i, test_rng *rng)
{
    const attn_slot *slot = &d->call.mech->slots[i];
    double *at = d->given[i].data;
    const int64_t n = gallery_count(d->given[i].rank, d->given[i].shape);
    const int64_t below = gallery_below(d, i);
    for (int64_t x = 0; x < n; x++) {
        if (slot->kind & ATTN_IDS)
            at[x] = (double)test_rng_range(rng, 0, below > 0 ? below - 1 : 0);
        else if (slot->kind & ATTN_FLAGS)
            at[x] = test_rng_chance(rng, 75);
        else
            at[x] = (double)(float)test_rng_normal(rng);
    }
}

static void gallery_give(gallery_draw *d, int i, test_rng *rng, bool narrow)
{
    const attn_slot *slot = &d->call.mech->slots[i];
    int64_t shape[ATTN_MAX_RANK];
    memcpy(shape, d->call.shape[i], sizeof shape);
    for (int k = 0; narrow && slot->shape[0] == '*' && k < d->call.rank[i]; k++)
        if (test_rng_chance(rng, 40)) shape[k] = 1;
    d->given[i] = test_tensor(&d->arena, ATTN_DTYPE_F64, d->call.rank[i], shape);
    gallery_fill(d, i, rng);
}

void gallery_spread(gallery_draw *d)
{
    for (int i = 0; d->call.mech->slots[i].name; i++) {
        gallery_call *c = &d->call;
        if (c->mech->slots[i].kind & ATTN_OUT)
            memset(c->at[i], 0, (size_t)c->count[i] * sizeof(double));
        if (!d->given[i].dtype) continue;
        for (int64_t x = 0; x < c->count[i]; x++) {
            int64_t at = 0, rest = x, step = 1;
            for (int k = c->rank[i] - 1; k >= 0; k--) {
                const int64_t own = d->given[i].shape[k];
                at += own == 1 ? 0 : rest % c->shape[i][k] * step;
                rest /= c->shape[i][k], step *= own;
            }
            c->at[i][x] = ((const double *)d->given[i].data)[at];
        }
    }
}

/* prepare works on the oracle's arrays; what it did goes back to what is given. */
static void gallery_prepare(gallery_draw *d, test_rng *rng)
{
    if (!d->row->oracle->prepare) return;
    d->row->oracle->prepare(&d->call, rng);
    for (int i = 0; d->call.mech->slots[i].name; i++) {
        double *given = d->given[i].data;
        if (!d->given[i].dtype) continue;
        const int64_t n = gallery_count(d->given[i].rank, d->given[i].shape);
        for (int64_t x = 0; n == d->call.count[i] && x < n; x++)
            given[x] = (double)(float)d->call.at[i][x];
    }
    gallery_spread(d);
}

static void gallery_open(gallery_draw *d, const gallery_row *row, const char *text)
{
    memset(d, 0, sizeof *d);
    d->row = row;
    d->call.mech = row->mech;
    d->call.arena = &d->arena;
    gallery_read(d, text);
    gallery_letters(&d->call);
    for (int i = 0; row->mech->slots[i].name; i++) {
        gallery_call *c = &d->call;
        c->rank[i] = gallery_shape(c, row->mech->slots[i].shape, c->shape[i]);
        c->count[i] = gallery_count(c->rank[i], c->shape[i]);
    }
}

void gallery_draw_case(gallery_draw *d, const gallery_row *row, const char *text, uint64_t seed,
                       bool narrow)
{
    test_rng rng = test_rng_make(seed);
    gallery_open(d, row, text);
    for (int i = 0; row->mech->slots[i].name; i++) {
        const bool out = row->mech->slots[i].kind & ATTN_OUT;
        if (d->absent[i] && !out) continue;
        d->call.at[i] = gallery_new(&d->call, d->call.count[i]);
        if (!out) gallery_give(d, i, &rng, narrow && !row->oracle->prepare);
    }
    gallery_spread(d);
    gallery_prepare(d, &rng);
}

void gallery_draw_bare(gallery_draw *d, const gallery_row *row, const char *text, uint64_t seed)
{
    test_rng rng = test_rng_make(seed);
    gallery_open(d, row, text);
    for (int i = 0; row->mech->slots[i].name; i++) {
        const int kind = row->mech->slots[i].kind;
        d->absent[i] = kind & ATTN_OPTIONAL;
        if (!(kind & (ATTN_OPTIONAL | ATTN_OUT))) gallery_give(d, i, &rng, false);
    }
}

void gallery_draw_optional(gallery_draw *d, int slot, test_rng *rng)
{
    d->absent[slot] = false;
    if (!(d->call.mech->slots[slot].kind & ATTN_OUT)) gallery_give(d, slot, rng, true);
}

void gallery_free(gallery_draw *d)
{
    test_arena_reset(&d->arena);
}

/* ---- tensors ----------------------------------------------------------------------------- */

static void gallery_blank(const attn_tensor *t)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    const size_t size = attn_dtype_size(t->dtype);
    if (test_tensor_empty(t)) return;
    do memset((char *)t->data + test_offset(t, index) * (int64_t)size, 0xFF, size);
    while (test_index_next(t, index));
}

bool gallery_untouched(const attn_tensor *t)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    const size_t size = attn_dtype_size(t->dtype);
    static const unsigned char blank[8] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    if (!t->dtype || test_tensor_empty(t)) return true;
    do
        if (memcmp((char *)t->data + test_offset(t, index) * (int64_t)size, blank, size) != 0)
            return false;
    while (test_index_next(t, index));
    return true;
}

static attn_dtype gallery_dtype(int kind, attn_dtype real)
{
    return kind & ATTN_IDS ? ATTN_DTYPE_I64 : kind & ATTN_FLAGS ? ATTN_DTYPE_BOOL : real;
}

void gallery_tensors(gallery_draw *d, attn_dtype real, test_rng *rng, attn_tensor *slots)
{
    memset(slots, 0, ATTN_MAX_SLOTS * sizeof *slots);
    for (int i = 0; d->call.mech->slots[i].name; i++) {
        const int kind = d->call.mech->slots[i].kind;
        const bool out = kind & ATTN_OUT;
        if (d->absent[i]) continue;
        const attn_tensor *like = &d->given[i];
        slots[i] =
            test_tensor_layout(&d->arena, rng, gallery_dtype(kind, real), d->call.rank[i],
                               out ? d->call.shape[i] : like->shape, false);
        int64_t index[ATTN_MAX_RANK] = {0};
        if (out) gallery_blank(&slots[i]);
        if (out || test_tensor_empty(&slots[i])) continue;
        do test_put(&slots[i], index, test_get(like, index));
        while (test_index_next(like, index));
    }
}

bool gallery_differentiable(const gallery_row *row, int slot)
{
    const int kind = row->mech->slots[slot].kind;
    return (kind & ATTN_GRAD) && !(kind & (ATTN_OUT | ATTN_IDS | ATTN_FLAGS));
}

void gallery_gradients(gallery_draw *d, attn_dtype real, test_rng *rng,
                       const attn_tensor *slots, attn_tensor *d_slots)
{
    memset(d_slots, 0, ATTN_MAX_SLOTS * sizeof *d_slots);
    for (int i = 0; d->call.mech->slots[i].name; i++) {
        const int kind = d->call.mech->slots[i].kind;
        if (!slots[i].dtype || !(kind & ATTN_GRAD)) continue;
        d_slots[i] =
            test_tensor_layout(&d->arena, rng, real, slots[i].rank, slots[i].shape, false);
        if (kind & ATTN_OUT)
            test_fill_normal(&d_slots[i], rng, 1);
        else
            gallery_blank(&d_slots[i]);
    }
}

double gallery_error(const attn_tensor *t, const double *at)
{
    int64_t index[ATTN_MAX_RANK] = {0}, i = 0;
    double error = 0, norm = 0;
    if (test_tensor_empty(t)) return 0;
    do {
        const double x = test_get(t, index), y = at[i++];
        if (isinf(y) && x == y) continue;
        error += (x - y) * (x - y), norm += y * y;
    } while (test_index_next(t, index));
    return sqrt(error / fmax(norm, 1e-6 * (double)i));
}
