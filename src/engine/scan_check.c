/* SPDX-License-Identifier: MIT
 * The check of a scan: the only place that says no. What it lets through cannot fail. */
#include <math.h>

#include "engine/scan.h"

typedef struct scan_rule {
    bool ok;
    attn_status status;
    const char *where, *what;
} scan_rule;

static attn_status scan_rules(const scan_rule *rules, size_t n, attn_error *error)
{
    for (size_t i = 0; i < n; i++)
        if (!rules[i].ok)
            return attn__fail(error, rules[i].status, rules[i].where, rules[i].what);
    return ATTN_OK;
}

#define SCAN_RULES(rules, error) scan_rules(rules, sizeof(rules) / sizeof((rules)[0]), error)

static attn_status scan_check_spec(attn__scan_problem *p, const attn_scan_spec *spec,
                                   attn_error *error)
{
    if (spec && spec->size != sizeof *spec)
        return attn__fail_count(error, ATTN_E_VERSION, "spec",
                                "size must be that of attn_scan_spec: use ATTN_SCAN_SPEC()",
                                (int64_t)sizeof *spec, (int64_t)spec->size);
    p->spec = spec ? *spec : (attn_scan_spec){.size = sizeof *spec};
    const attn_scan_spec *s = &p->spec;
    const scan_rule rules[] = {
        {(unsigned)s->update <= ATTN_SCAN_DELTA, ATTN_E_ENUM, "update",
         "not an attn_scan_update"},
        {(unsigned)s->head_map <= ATTN_HEADS_TILED, ATTN_E_ENUM, "head_map",
         "not an attn_head_map"},
        {isfinite(s->scale), ATTN_E_PARAM, "scale", "must be finite"},
        {isfinite(s->eps) && s->eps >= 0, ATTN_E_PARAM, "eps",
         "must be finite and not negative"},
        {!s->normalise || s->update == ATTN_SCAN_LINEAR, ATTN_E_PARAM, "normalise",
         "belongs to the linear update"},
        {s->normalise || s->eps == 0, ATTN_E_PARAM, "eps", "needs normalise"},
    };
    return SCAN_RULES(rules, error);
}

static attn_status scan_check_belongings(const attn__scan_problem *p, attn_error *error)
{
    const attn_scan_args *a = &p->at;
    const attn_scan_spec *s = &p->spec;
    const bool z = attn__present(&a->state_z) || attn__present(&a->final_z) ||
                   attn__present(&a->d_final_z) || attn__present(&a->d_state_z);
    const bool lengths = attn__present(&a->q_len) || attn__present(&a->k_len);
    const scan_rule rules[] = {
        {s->update == ATTN_SCAN_DELTA || !attn__present(&a->beta), ATTN_E_PARAM, "beta",
         "belongs to the delta update"},
        {s->normalise || !z, ATTN_E_PARAM, "state_z", "sums of keys need normalise"},
        {s->whole || !(attn__present(&a->cu_q) || attn__present(&a->q_len)), ATTN_E_PARAM,
         attn__present(&a->cu_q) ? "cu_q" : "q_len",
         "queries are the tokens, except with spec.whole"},
        {p->packed || !attn__present(&a->cu_q), ATTN_E_PARAM, "cu_q", "needs cu_k"},
        {!p->packed || !lengths, ATTN_E_PARAM, "k_len", "packed sequences take no lengths"},
        {s->whole || p->T == p->S, ATTN_E_SHAPE, "q",
         "T and S must agree, except with spec.whole"},
        {!p->packed || attn__present(&a->cu_q) || p->T == p->S, ATTN_E_SHAPE, "cu_q",
         "is needed where T and S differ"},
    };
    return SCAN_RULES(rules, error);
}

static bool scan_check_asked(const attn__scan_problem *p)
{
    for (int i = 0; i < ATTN__N_SCAN_ARGS; i++)
        if (attn__scan_arg_list[i].calls[p->backward] == 'o' &&
            attn__present(attn__scan_arg_in(&p->at, i)))
            return true;
    return false;
}

static attn_status scan_check_call(const attn__scan_problem *p, attn_error *error)
{
    const attn_scan_args *a = &p->at;
    const scan_rule rules[] = {
        {p->backward || scan_check_asked(p), ATTN_E_NULL, "out",
         "at least one output is needed"},
        {!p->backward || attn__present(&a->d_out) || attn__present(&a->d_final_state) ||
             attn__present(&a->d_final_z),
         ATTN_E_NULL, "d_out", "the gradient of out or of a final state is needed"},
        {scan_check_asked(p), ATTN_E_NULL, "d_q", "at least one gradient is to be asked for"},
    };
    return SCAN_RULES(rules, error);
}

/* ---- what only pointers and contents tell ------------------------------------------------ */

/* A state may be stepped on in its own place. */
static bool scan_check_in_place(const attn__scan_problem *p, int out, int other)
{
    const bool pair = (out == ATTN__SCAN_ARG_final_state && other == ATTN__SCAN_ARG_state) ||
                      (out == ATTN__SCAN_ARG_final_z && other == ATTN__SCAN_ARG_state_z);
    return pair &&
           attn__same_view(attn__scan_arg_in(&p->at, out), attn__scan_arg_in(&p->at, other));
}

static attn_status scan_check_alias(const attn__scan_problem *p, attn_error *error)
{
    for (int i = 0; i < ATTN__N_SCAN_ARGS; i++) {
        const attn_tensor *out = attn__scan_arg_in(&p->at, i);
        if (attn__scan_arg_list[i].calls[p->backward] != 'o' || !out->data) continue;
        for (int j = 0; j < ATTN__N_SCAN_ARGS; j++) {
            const attn_tensor *other = attn__scan_arg_in(&p->at, j);
            if (i != j && other->data && !scan_check_in_place(p, i, j) &&
                attn__tensor_overlap(out, other))
                return attn__fail_name(error, ATTN_E_ALIAS, attn__scan_arg_list[i].name,
                                       "an output overlaps another tensor",
                                       attn__scan_arg_list[j].name);
        }
    }
    return ATTN_OK;
}

static attn_status scan_check_data(const attn__scan_problem *p, attn_error *error)
{
    const attn_scan_args *a = &p->at;
    ATTN_TRY(attn__data_cu(&a->cu_q, "cu_q", p->T, error));
    ATTN_TRY(attn__data_cu(&a->cu_k, "cu_k", p->S, error));
    ATTN_TRY(attn__data_range(&(attn_tensor){0}, &a->q_len, "q_len", p->T, p->N, error));
    return attn__data_range(&(attn_tensor){0}, &a->k_len, "k_len", p->S, p->N, error);
}

attn_status attn__scan_problem_check(attn__scan_problem *p, bool backward,
                                     const attn_scan_spec *spec, const attn_scan_args *args,
                                     bool with_data, attn_error *error)
{
    *p = (attn__scan_problem){.backward = backward, .with_data = with_data};
    ATTN_TRY(scan_check_spec(p, spec, error));
    ATTN_TRY(attn__scan_shapes_check(p, args, error));
    ATTN_TRY(scan_check_belongings(p, error));
    ATTN_TRY(scan_check_call(p, error));
    if (!attn__add(p->E, p->spec.normalise, &p->columns))
        return attn__fail(error, ATTN_E_OVERFLOW, "v", "sizes do not fit in 64 bits");
    if (p->spec.scale == 0) p->spec.scale = p->D > 0 ? 1 / sqrt((double)p->D) : 1;
    if (p->spec.scale == ATTN_ZERO) p->spec.scale = 0;
    if (!with_data) return ATTN_OK;
    ATTN_TRY(scan_check_alias(p, error));
    return scan_check_data(p, error);
}

attn_status attn__scan_rebind(attn__scan_problem *p, const attn_scan_args *args,
                              attn_error *error)
{
    p->with_data = true;
    for (int i = 0; i < ATTN__N_SCAN_ARGS; i++) {
        const attn_tensor *given = attn__scan_arg_in(args, i);
        attn_tensor *t = attn__scan_arg_of(&p->at, i);
        if (!attn__present(t)) continue;
        ATTN_TRY(attn__tensor_check(given, attn__scan_arg_list[i].name, error));
        if (!given->data && attn_tensor_count(*given) > 0)
            return attn__fail(error, ATTN_E_NULL, attn__scan_arg_list[i].name,
                              "has elements but no data");
        t->data = given->data;
    }
    ATTN_TRY(scan_check_alias(p, error));
    return scan_check_data(p, error);
}
