/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/network.h"

#include <stdlib.h>
#include <string.h>

static bp_status out_of_memory(bp_error *error) {
    return bp_fail(error, BP_ERROR_MEMORY, "out of memory for the network file");
}

bp_status bp_network_copy(bp_network *network, const char *path, const char *text,
                          bp_error *error) {
    *network = (bp_network){.path = strdup(path), .text = strdup(text)};
    if (network->path && network->text) return BP_OK;
    bp_network_free(network);
    return out_of_memory(error);
}

bp_status bp_network_read(bp_network *network, const char *path, bp_error *error) {
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    *network = (bp_network){0};
    bp_status status =
        bp_io_read_file(&bp_io_system, path, BP_NETFILE_MAX_BYTES, NULL, &bytes, &n_bytes, error);
    if (status != BP_OK) return status;
    if (memchr(bytes, '\0', n_bytes))
        status = bp_fail(error, BP_ERROR_INPUT, "%s: expected a text, found a NUL byte", path);
    else
        status = bp_network_copy(network, path, (const char *)bytes, error);
    bp_release(NULL, bytes, n_bytes + 1, 1);
    return status;
}

void bp_network_free(bp_network *network) {
    free(network->path);
    free(network->text);
    free(network->edited);
    *network = (bp_network){0};
}

/* The library's text moves into ours, so that there is one way to free it. */
static bp_status apply(const bp_network *network, const bp_netfile_edit *edits, size_t n_edits,
                       char **text, bp_error *error) {
    char *edited = NULL;
    bp_status status =
        bp_netfile_apply(network->path, network->text, edits, n_edits, NULL, &edited, error);
    if (status != BP_OK) return status;
    *text = strdup(edited);
    bp_netfile_release(NULL, edited);
    return *text ? BP_OK : out_of_memory(error);
}

bp_status bp_network_set(bp_network *network, const char *key, const char *value, bp_error *error) {
    bp_netfile_edit edit = {key, value};
    char *text = NULL;
    bp_error reason = {.status = BP_OK};
    bp_status status = apply(network, &edit, 1, &text, &reason);
    if (status != BP_OK) return bp_fail(error, status, "%s=%s: %s", key, value, reason.text);
    free(network->text);
    network->text = text;
    return BP_OK;
}

const char *bp_network_edited(void *context, const bp_edit *edits, uint32_t n_edits) {
    bp_network *network = context;
    bp_netfile_edit *copies = calloc(n_edits > 0 ? n_edits : 1, sizeof *copies);
    if (!copies) return NULL;
    for (uint32_t i = 0; i < n_edits; i++)
        copies[i] = (bp_netfile_edit){edits[i].key, edits[i].value};
    char *text = NULL;
    bp_status status = apply(network, copies, n_edits, &text, NULL);
    free(copies);
    if (status != BP_OK) return NULL;
    free(network->edited);
    network->edited = text;
    return text;
}
