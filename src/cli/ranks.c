/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ranks.h"
#include "cli/build.h" /* written by the build: BP_HAS_MPI */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Set by mpirun: of Open MPI, of MPICH and its kin. Without them MPI_Init, which takes a while, is
 * not called. */
static const char *launcher_variable(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i])) return names[i];
    return NULL;
}

bool bp_ranks_any(const bp_ranks *ranks, bool mine) {
    double any = mine ? 1 : 0;
    if (ranks->n_ranks > 1) ranks->sum_f64(ranks->context, &any, 1);
    return any > 0;
}

#if BP_HAS_MPI

#include <mpi.h>

/* An error of MPI ends all processes (MPI_ERRORS_ARE_FATAL, its default): none waits for ever. */
static void sum(void *context, bp_real *values, int64_t n) {
    (void)context;
    const int64_t most = 1 << 30; /* counts of MPI are ints */
    for (int64_t at = 0; at < n; at += most) {
        const int count = (int)(n - at < most ? n - at : most);
        MPI_Allreduce(MPI_IN_PLACE, values + at, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    }
}

static void sum_f64(void *context, double *values, int64_t n) {
    (void)context;
    MPI_Allreduce(MPI_IN_PLACE, values, (int)n, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

bp_status bp_ranks_begin(bp_ranks *ranks, bp_error *error) {
    int rank, n_ranks;
    *ranks = (bp_ranks){.n_ranks = 1};
    if (!launcher_variable()) return BP_OK;
    if (MPI_Init(NULL, NULL) != MPI_SUCCESS)
        return bp_fail(error, BP_ERROR_IO, "MPI could not begin");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    *ranks = (bp_ranks){rank, n_ranks, NULL, sum, sum_f64};
    return BP_OK;
}

void bp_ranks_end(void) {
    int began = 0;
    MPI_Initialized(&began);
    if (began) MPI_Finalize();
}

void bp_ranks_share_text(const bp_ranks *ranks, char *text, size_t capacity) {
    if (ranks->n_ranks > 1) MPI_Bcast(text, (int)capacity, MPI_CHAR, 0, MPI_COMM_WORLD);
}

const char *bp_ranks_library(void) {
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(text, &length);
    text[strcspn(text, ",\n")] = '\0'; /* host and build follow */
    return text;
}

#else

bp_status bp_ranks_begin(bp_ranks *ranks, bp_error *error) {
    const char *variable = launcher_variable();
    *ranks = (bp_ranks){.n_ranks = 1};
    if (!variable || strcmp(getenv(variable), "1") == 0) return BP_OK;
    return bp_fail(error, BP_ERROR_NOT_SUPPORTED,
                   "started by mpirun (%s=%s), but MPI was not built in: install Open MPI's "
                   "libopenmpi-dev and build again",
                   variable, getenv(variable));
}

void bp_ranks_end(void) {}

void bp_ranks_share_text(const bp_ranks *ranks, char *text, size_t capacity) {
    (void)ranks, (void)text, (void)capacity;
}

const char *bp_ranks_library(void) {
    return "not built in (libopenmpi-dev was not there)";
}

#endif
