/* SPDX-License-Identifier: Apache-2.0 */
#include "report/drawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bp_status bp_drawn_open(bp_drawn *drawn, const char *folder, bp_series series, bp_error *error) {
    char *kept = NULL;
    if (asprintf(&kept, "%s/pyramid", folder) < 0)
        return bp_fail(error, BP_ERROR_MEMORY, "out of memory to draw %s", folder);
    const bp_pyramid_options options = {.in_memory = access(kept, F_OK) != 0};
    free(kept);
    *drawn = (bp_drawn){.series = series};
    return bp_pyramid_open(&drawn->pyramid, folder, series, &options, error);
}

bp_status bp_drawn_view(bp_drawn *drawn, int64_t first, int64_t last, uint32_t n_columns,
                        bp_error *error) {
    return bp_pyramid_view(drawn->pyramid, &drawn->view, first, last, n_columns, error);
}

void bp_drawn_close(bp_drawn *drawn) {
    bp_view_free(&drawn->view);
    bp_pyramid_close(drawn->pyramid);
    *drawn = (bp_drawn){0};
}

bp_series bp_drawn_preferred(uint64_t columns) {
    static const bp_quantity preferred[] = {BP_Q_GRADIENT_RMS, BP_Q_ERROR_NORM, BP_Q_UPDATE_RMS,
                                            BP_Q_ACTIVATION_RMS, BP_Q_WEIGHT_RMS};
    for (size_t i = 0; i < sizeof preferred / sizeof *preferred; i++)
        if (bp_series_is_in(bp_series_of(preferred[i]), columns)) return bp_series_of(preferred[i]);
    return BP_N_SERIES;
}

uint64_t bp_drawn_most_steps(const bp_view *view) {
    uint32_t most = 0;
    const size_t n = (size_t)view->n_columns * view->n_rows;
    for (size_t i = 0; i < n; i++)
        if (view->cells[i].count > most) most = view->cells[i].count;
    return most;
}
