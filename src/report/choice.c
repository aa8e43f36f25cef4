/* SPDX-License-Identifier: Apache-2.0 */
/* --select and --ignore: rules, and what they leave of a diagnosis. */
#include "report/choice.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

static bool fits(const char *pattern, const char *text) {
    return text && fnmatch(pattern, text, FNM_NOESCAPE) == 0;
}

static bool fits_a_problem(const char *pattern, const char **names, size_t *n) {
    bool any = false;
    *n = 0;
    for (int problem = 1; problem < BP_N_PROBLEMS; problem++) {
        names[(*n)++] = bp_problem_name((bp_problem)problem);
        any = any || fits(pattern, names[*n - 1]);
    }
    return any;
}

static bp_status check(const bp_choice_rule *rule, bp_error *error) {
    const char *names[BP_N_PROBLEMS];
    size_t n = 0;
    if (rule->layers && !*rule->layers)
        return bp_fail(error, BP_ERROR_ARGUMENT, "expected names of layers after '%s:'",
                       rule->problem);
    if (fits_a_problem(rule->problem, names, &n)) return BP_OK;
    const char *nearest = bp_nearest_word(rule->problem, names, n);
    if (nearest)
        return bp_fail(error, BP_ERROR_ARGUMENT, "unknown problem '%s': did you mean '%s'?",
                       rule->problem, nearest);
    return bp_fail(error, BP_ERROR_ARGUMENT, "unknown problem '%s'; 'backprobe explain' lists them",
                   rule->problem);
}

static bp_status add_rule(bp_choice *choice, const char *text, size_t n_bytes, bool ignore,
                          bp_error *error) {
    bp_choice_rule *rules = realloc(choice->rules, (choice->n + 1) * sizeof *rules);
    if (rules) choice->rules = rules;
    char *copy = rules ? strndup(text, n_bytes) : NULL;
    if (!copy) return bp_fail(error, BP_ERROR_MEMORY, "out of memory");
    bp_choice_rule *rule = &choice->rules[choice->n++];
    *rule = (bp_choice_rule){.problem = copy, .ignore = ignore};
    char *colon = strchr(copy, ':');
    if (colon) {
        *colon = '\0';
        rule->layers = colon + 1;
    }
    return check(rule, error);
}

bp_status bp_choice_add(bp_choice *choice, const char *text, bool ignore, bp_error *error) {
    for (const char *at = text;; at++) {
        const size_t n = strcspn(at, ",");
        const bp_status status = add_rule(choice, at, n, ignore, error);
        at += n;
        if (status != BP_OK || !*at) return status;
    }
}

void bp_choice_free(bp_choice *choice) {
    for (size_t i = 0; i < choice->n; i++) free(choice->rules[i].problem);
    free(choice->rules);
    *choice = (bp_choice){0};
}

/* --- what is shown ------------------------------------------------------------------------------
 */

static bool layer_fits(const bp_choice_rule *rule, const bp_model *model, uint32_t id) {
    const bp_layer *layer = bp_model_layer(model, id);
    return layer && fits(rule->layers, layer->name);
}

static bool selects(const bp_choice_rule *rule, const bp_model *model, const bp_finding *finding) {
    if (rule->ignore || !fits(rule->problem, bp_problem_name(finding->problem))) return false;
    if (!rule->layers) return true;
    for (uint32_t i = 0; i < finding->n_layers; i++)
        if (layer_fits(rule, model, finding->layers[i])) return true;
    return false;
}

static bool is_selected(const bp_choice *choice, const bp_model *model, const bp_finding *finding) {
    bool any = false;
    for (size_t i = 0; i < choice->n; i++) {
        if (selects(&choice->rules[i], model, finding)) return true;
        any = any || !choice->rules[i].ignore;
    }
    return !any;
}

/* layer 0: whatever the layers. */
static bool is_ignored_in(const bp_choice *choice, const bp_model *model, bp_problem problem,
                          uint32_t layer) {
    for (size_t i = 0; i < choice->n; i++) {
        const bp_choice_rule *rule = &choice->rules[i];
        if (!rule->ignore || !fits(rule->problem, bp_problem_name(problem))) continue;
        if (!rule->layers || (layer && layer_fits(rule, model, layer))) return true;
    }
    return false;
}

static bool is_ignored(const bp_choice *choice, const bp_model *model, const bp_finding *finding) {
    if (finding->n_layers == 0) return is_ignored_in(choice, model, finding->problem, 0);
    for (uint32_t i = 0; i < finding->n_layers; i++)
        if (!is_ignored_in(choice, model, finding->problem, finding->layers[i])) return false;
    return true;
}

bool bp_choice_shows(const bp_choice *choice, const bp_model *model, const bp_finding *finding) {
    return !choice || (is_selected(choice, model, finding) && !is_ignored(choice, model, finding));
}

void bp_findings_choose(bp_findings *findings, bp_diagnosis *diagnosis, const bp_model *model,
                        const bp_choice *choice) {
    int32_t place[BP_N_PROBLEMS]; /* in the list, of the finding itself or of its nearest cause */
    const uint32_t n = bp_diagnosis_n_findings(diagnosis);
    findings->n = findings->n_ignored = 0;
    for (uint32_t i = 0; i < n && i < BP_N_PROBLEMS; i++) {
        const bp_finding *finding = bp_diagnosis_finding(diagnosis, i);
        const int32_t parent = finding->parent >= 0 ? place[finding->parent] : -1;
        place[i] = parent;
        if (!bp_choice_shows(choice, model, finding)) {
            findings->n_ignored++;
            continue;
        }
        place[i] = (int32_t)findings->n;
        findings->list[findings->n] = *finding;
        findings->list[findings->n++].parent = parent;
    }
}

uint32_t bp_findings_number(const bp_findings *findings, uint32_t index) {
    uint32_t number = 0;
    for (uint32_t i = 0; i <= index; i++) number += findings->list[i].parent < 0;
    return findings->list[index].parent < 0 ? number : 0;
}

int bp_findings_worst(const bp_findings *findings) {
    int worst = 0;
    for (uint32_t i = 0; i < findings->n; i++)
        if ((int)findings->list[i].severity > worst) worst = (int)findings->list[i].severity;
    return worst;
}
