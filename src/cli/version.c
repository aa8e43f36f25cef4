/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe version`. */
#include "cli/build.h" /* written by the build: which BLAS */
#include "cli/cli.h"
#include "cli/ranks.h"

#include <backprobe/stats.h>
#include <json-c/json_c_version.h>

typedef struct version_options {
    bp_common_options common;
    bool verbose;
} version_options;

static const bp_option options[] = {
    {"verbose", 'v', BP_OPTION_FLAG, NULL, NULL, 0, 0, "also compiler, libraries and processor",
     offsetof(version_options, verbose)},
    BP_COMMON_OPTIONS,
};

static const bp_example examples[] = {
    {"backprobe version --verbose", "what to put into a bug report"},
    {NULL, NULL},
};

static void put_processor(void) {
#if defined(__x86_64__)
    const char *name = "x86-64";
#elif defined(__aarch64__)
    const char *name = "aarch64";
#else
    const char *name = "other";
#endif
    printf("processor   %s, statistics by %s\n", name, bp_cpu_level());
}

static int run(int argc, char **argv) {
    version_options given = {.common = BP_COMMON_DEFAULTS};
    bp_words arguments;
    int code = bp_options_parse(&bp_command_version, argc, argv, &given, &arguments);
    if (code >= 0) return code;
    printf("backprobe %s\n", bp_version());
    if (!given.verbose) return BP_EXIT_GOOD;
#if defined(__clang__)
    printf("compiler    %s\n", __VERSION__);
#else
    printf("compiler    gcc %s\n", __VERSION__);
#endif
    printf("blas        " BP_BLAS "\n");
    printf("json-c      %s\n", json_c_version());
    printf("libyaml     " BP_YAML "\n");
    printf("microhttpd  " BP_MICROHTTPD "\n");
    printf("mpi         %s\n", bp_ranks_library());
    put_processor();
    printf("features    train, check, serve, runlog, safetensors\n");
    return BP_EXIT_GOOD;
}

const bp_command bp_command_version = {
    .name = "version",
    .summary = "the version; --verbose for a bug report",
    .arguments = "",
    .description = "Prints the version and, when asked, what Backprobe was built with.",
    .exits = "0 printed",
    .options = options,
    .examples = examples,
    .run = run,
};
