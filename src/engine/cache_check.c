/* SPDX-License-Identifier: MIT
 * What a cache may be: the only place that says no to a spec. */
#include <math.h>

#include "engine/cache_store.h"

typedef struct cache_rule {
    bool ok;
    attn_status status;
    const char *where, *what;
    int64_t want, got;
} cache_rule;

static attn_status cache_rules(const cache_rule *rules, size_t n, attn_error *error)
{
    for (size_t i = 0; i < n; i++)
        if (!rules[i].ok)
            return attn__fail_count(error, rules[i].status, rules[i].where, rules[i].what,
                                    rules[i].want, rules[i].got);
    return ATTN_OK;
}

#define CACHE_RULES(rules, error) cache_rules(rules, sizeof(rules) / sizeof((rules)[0]), error)

static attn_status cache_check_sizes(const attn_cache_spec *s, attn_error *error)
{
    const struct {
        const char *name;
        int64_t size;
    } sizes[] = {{"sequences", s->sequences},
                 {"heads", s->heads},
                 {"key_width", s->key_width},
                 {"value_width", s->value_width},
                 {"capacity", s->capacity},
                 {"sinks", s->sinks},
                 {"page", s->page},
                 {"pages", s->pages},
                 {"value_from", s->value_from},
                 {"longest", s->longest}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i].size < 0)
            return attn__fail_count(error, ATTN_E_PARAM, sizes[i].name, "must not be negative",
                                    0, sizes[i].size);
        if (sizes[i].size > ATTN__FAR)
            return attn__fail_count(error, ATTN_E_LIMIT, sizes[i].name, "is too large",
                                    ATTN__FAR, sizes[i].size);
    }
    return ATTN_OK;
}

static attn_status cache_check_kind(const attn_cache_spec *s, attn_error *error)
{
    const bool ring = s->kind == ATTN_CACHE_RING, paged = s->kind == ATTN_CACHE_PAGED;
    const cache_rule rules[] = {
        {(unsigned)s->kind <= ATTN_CACHE_PAGED, ATTN_E_ENUM, "kind", "not an attn_cache_kind",
         ATTN_CACHE_PAGED, s->kind},
        {ring || s->sinks == 0, ATTN_E_PARAM, "sinks", "belong to a ring", 0, s->sinks},
        {!ring || s->sinks < s->capacity, ATTN_E_PARAM, "capacity",
         "a ring holds more keys than its sinks", s->sinks + 1, s->capacity},
        {!paged || s->capacity == 0, ATTN_E_PARAM, "capacity",
         "does not belong to pages: see pages and longest", 0, s->capacity},
        {paged || s->page == 0, ATTN_E_PARAM, "page", "belongs to a paged cache", 0, s->page},
        {paged || s->pages == 0, ATTN_E_PARAM, "pages", "belong to a paged cache", 0, s->pages},
        {!paged || s->page > 0, ATTN_E_PARAM, "page", "must be at least 1", 1, s->page},
        {s->kind != ATTN_CACHE_CONTIGUOUS || s->longest <= s->capacity, ATTN_E_PARAM, "longest",
         "goes beyond the capacity", s->capacity, s->longest},
    };
    return CACHE_RULES(rules, error);
}

static attn_status cache_check_latent(const attn_cache_spec *s, attn_error *error)
{
    const int64_t room = s->key_width - s->value_from;
    const cache_rule rules[] = {
        {s->latent || s->value_from == 0, ATTN_E_PARAM, "value_from",
         "belongs to a latent cache", 0, s->value_from},
        {!s->latent || s->value_width <= room, ATTN_E_PARAM, "value_width",
         "goes beyond the keys it is part of", room, s->value_width},
        {!s->latent || s->key.type != ATTN_CACHE_I4 || s->value_from % 2 == 0, ATTN_E_PARAM,
         "value_from", "must be even where two elements share a byte", s->value_from + 1,
         s->value_from},
    };
    return CACHE_RULES(rules, error);
}

/* Scales or zeros by column. */
static attn_status cache_check_columns(const attn_tensor *t, const char *where, int64_t heads,
                                       int64_t width, bool positive, attn_error *error)
{
    if (!attn__present(t)) return ATTN_OK;
    ATTN_TRY(attn__tensor_check(t, where, error));
    const cache_rule rules[] = {
        {t->dtype == ATTN_DTYPE_F32, ATTN_E_DTYPE, where, "must be f32", ATTN_DTYPE_F32,
         t->dtype},
        {t->rank == 2, ATTN_E_RANK, where, "must be heads x width", 2, t->rank},
        {t->shape[0] == heads, ATTN_E_SHAPE, where, "one row for each head", heads,
         t->shape[0]},
        {t->shape[1] == width, ATTN_E_SHAPE, where, "one number for each column", width,
         t->shape[1]},
        {t->data || heads == 0 || width == 0, ATTN_E_NULL, where, "has elements but no data", 1,
         0}};
    ATTN_TRY(CACHE_RULES(rules, error));
    for (int64_t g = 0; g < heads; g++)
        for (int64_t d = 0; d < width; d++) {
            const double x =
                attn__get(ATTN_DTYPE_F32, t->data, g * t->stride[0] + d * t->stride[1]);
            if (!isfinite(x) || (positive && x <= 0))
                return attn__fail(error, ATTN_E_PARAM, where,
                                  positive ? "scales must be positive and finite"
                                           : "zeros must be finite");
        }
    return ATTN_OK;
}

static attn_status cache_check_format(const attn_cache_format *f, const char *const names[4],
                                      int64_t heads, int64_t width, attn_error *error)
{
    const bool coded = f->type == ATTN_CACHE_I8 || f->type == ATTN_CACHE_I4;
    const bool columns = attn__present(&f->columns), offsets = attn__present(&f->offsets);
    const cache_rule rules[] = {
        {(unsigned)f->type <= ATTN_CACHE_I4, ATTN_E_ENUM, names[0], "not an attn_cache_type",
         ATTN_CACHE_I4, f->type},
        {coded || !f->asymmetric, ATTN_E_PARAM, names[1], "belongs to coded types", 0, 1},
        {coded || !columns, ATTN_E_PARAM, names[2], "belong to coded types", 0, 1},
        {offsets == (columns && f->asymmetric), ATTN_E_PARAM, names[3],
         "come with columns, where asymmetric, and only there", !offsets, offsets}};
    ATTN_TRY(CACHE_RULES(rules, error));
    ATTN_TRY(cache_check_columns(&f->columns, names[2], heads, width, true, error));
    return cache_check_columns(&f->offsets, names[3], heads, width, false, error);
}

static int64_t cache_default_longest(const attn_cache_spec *s)
{
    int64_t keys = s->capacity;
    if (s->kind == ATTN_CACHE_RING) return (int64_t)1 << 40;
    if (s->kind == ATTN_CACHE_PAGED && !attn__mul(s->page, s->pages, &keys)) return ATTN__FAR;
    return attn__min(keys, ATTN__FAR);
}

attn_status attn__cache_spec_check(attn_cache_spec *out, const attn_cache_spec *spec,
                                   attn_error *error)
{
    static const char *const key[] = {"key.type", "key.asymmetric", "key.columns",
                                      "key.offsets"};
    static const char *const value[] = {"value.type", "value.asymmetric", "value.columns",
                                        "value.offsets"};
    if (!spec) return attn__fail(error, ATTN_E_NULL, "spec", "is required");
    if (spec->size != sizeof *spec)
        return attn__fail_count(error, ATTN_E_VERSION, "spec",
                                "size must be that of attn_cache_spec: use ATTN_CACHE()",
                                (int64_t)sizeof *spec, (int64_t)spec->size);
    ATTN_TRY(cache_check_sizes(spec, error));
    ATTN_TRY(cache_check_kind(spec, error));
    ATTN_TRY(cache_check_format(&spec->key, key, spec->heads, spec->key_width, error));
    if (!spec->latent)
        ATTN_TRY(
            cache_check_format(&spec->value, value, spec->heads, spec->value_width, error));
    ATTN_TRY(cache_check_latent(spec, error));
    *out = *spec;
    if (out->longest == 0) out->longest = cache_default_longest(out);
    if (out->latent) out->value = (attn_cache_format){.type = ATTN_CACHE_F32};
    return ATTN_OK;
}

attn_status attn__cache_seq_check(const attn_cache *c, int64_t seq, const char *where,
                                  attn_error *error)
{
    if (!c) return attn__fail(error, ATTN_E_NULL, "cache", "is required");
    if (!attn__cache_alive(c))
        return attn__fail(error, ATTN_E_HANDLE, "cache", "not a live cache");
    if (seq < 0 || seq >= c->spec.sequences)
        return attn__fail_count(error, ATTN_E_PAGE, where, "there is no such sequence",
                                c->spec.sequences, seq);
    return ATTN_OK;
}

attn_status attn__cache_range_check(const attn_cache *c, int64_t seq, int64_t first, int64_t n,
                                    attn_error *error)
{
    ATTN_TRY(attn__cache_seq_check(c, seq, "seq", error));
    const int64_t length = c->length[seq];
    if (first < 0 || first > length)
        return attn__fail_count(error, ATTN_E_POSITION, "first", "is outside of the sequence",
                                length, first);
    if (n < 0 || n > length - first)
        return attn__fail_count(error, ATTN_E_POSITION, "n", "goes beyond the sequence",
                                length - first, n);
    return ATTN_OK;
}
